"""The pages as a person uses them: a real Chromium, by mouse, by keyboard, on a phone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from actions.ports import Entry
from analyzer.events import Approved, Demanded
from analyzer.trains.events import Continued
from rollbackd.views import ExampleView, GuardView
from tests.web.house import TOKEN, WAITING, WATCHED, House, open_house
from tests.web.test_regions_page import VIEWS as REGIONS
from tests.web.test_trains_page import IDLE
from tests.web.test_trains_page import VIEW as TRAIN

pytestmark = [pytest.mark.servers, pytest.mark.slow]

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PATIENCE_MS = 30_000
PICTURES = Path(__file__).parents[2] / "build" / "pictures"
"""Where the pages are kept as pictures, to be looked at."""


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def page(house: House) -> Iterator[Page]:
    with open_house(house) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        context = browser.new_context(base_url=url, viewport={"width": 1100, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        yield context.new_page()
        browser.close()


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("Your name").fill("ann")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


def test_a_canary_is_seen_to_degrade_without_a_reload(page: Page, house: House) -> None:
    page.goto("/")
    row = page.get_by_role("listitem").filter(has_text="<b>search</b>")
    expect(row).to_contain_text("observing", timeout=PATIENCE_MS)
    page.evaluate("window.sameDocument = true")
    worse = replace(WATCHED, phase="degraded", reasons=("errors 9 % vs 0.4 %",), updated_at=1.0)
    house.seen = tuple(worse if v.id == WATCHED.id else v for v in house.seen)
    expect(row).to_contain_text("errors 9 % vs 0.4 %", timeout=PATIENCE_MS)
    expect(row).to_contain_text("degraded")
    assert page.evaluate("window.sameDocument")


def test_a_person_approves_the_plan_they_see(page: Page, house: House, tmp_path: Path) -> None:
    sign_in(page)
    page.get_by_role("link", name="shop/checkout").click()
    page.screenshot(path=str(tmp_path / "watch.png"), full_page=True)
    page.get_by_text("Approve…").click()
    page.get_by_role("button", name="Yes: Approve").click()
    expect(page.get_by_role("status")).to_have_text(
        "Your decision was taken.", timeout=PATIENCE_MS
    )
    assert house.events == [(WAITING.id, Approved("plan-1", "ann"))]


def test_a_person_rolls_back_what_is_being_watched_and_sees_it_happen(
    page: Page, house: House
) -> None:
    sign_in(page)
    page.goto(f"/watches/{WATCHED.id}")
    page.get_by_text("Roll back now…").click()
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Yes: Roll back now").click()
    expect(page.get_by_role("status")).to_have_text(
        "Your decision was taken.", timeout=PATIENCE_MS
    )
    assert house.events == [(WATCHED.id, Demanded("ann"))]
    over = replace(WATCHED, phase="rolled back", final=True, updated_at=2.0, turn=1)
    house.seen = tuple(over if v.id == WATCHED.id else v for v in house.seen)
    expect(page.locator(".badge")).to_contain_text("rolled back", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Yes: Roll back now")).to_have_count(0)


def test_a_button_that_is_pressed_too_late_does_nothing(page: Page, house: House) -> None:
    sign_in(page)
    page.goto(f"/watches/{WAITING.id}")
    page.get_by_text("Approve…").click()
    page.route("**/stream", lambda route: route.abort())  # this page does not hear of it
    newer = replace(WAITING, plan_key="plan-2", turn=1)
    house.seen = (newer, *house.seen[1:])
    page.get_by_role("button", name="Yes: Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Too late", timeout=PATIENCE_MS)
    assert house.events == []


def test_a_hold_is_released_by_keyboard_alone(page: Page, house: House) -> None:
    house.seen = (replace(WAITING, held=("the sync of a/b",)), *house.seen[1:])
    sign_in(page)
    page.goto(f"/watches/{WAITING.id}")
    page.get_by_text("Release hold…").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Yes: Release hold"
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text(
        "Your decision was taken.", timeout=PATIENCE_MS
    )
    assert house.released == ["ann: the sync of a/b"]


def test_without_rights_there_is_nothing_to_press(page: Page, house: House) -> None:
    page.goto(f"/watches/{WAITING.id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("shop/checkout")
    expect(page.get_by_role("button")).to_have_count(0)
    assert house.events == []


def test_another_sites_form_cannot_decide(page: Page, house: House) -> None:
    sign_in(page)
    base = page.url
    form = (
        f'<form method="post" action="{base}decide"><input name="key" value="x">'
        "<button>win a prize</button></form>"
    )

    def elsewhere(route: Route) -> None:
        route.fulfill(body=form, content_type="text/html")

    page.route("http://localhost:1/**", elsewhere)
    page.goto("http://localhost:1/prize")
    page.get_by_role("button").click()
    page.wait_for_url("**/decide")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not from our own page")
    assert house.events == []


def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    sign_in(page)
    page.goto(f"/watches/{WAITING.id}")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "Skip to the content"
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Rollouts", "Journal", "Policies", "Approve…", "Reject…"} <= reached


def test_a_train_that_waits_is_let_go_on_and_seen_to_move(page: Page, house: House) -> None:
    house.trains = (TRAIN, IDLE)
    sign_in(page)
    page.get_by_role("link", name="shop", exact=True).click()
    page.evaluate("window.sameDocument = true")
    us = page.get_by_role("listitem").filter(has=page.get_by_text("us", exact=True)).first
    expect(us).to_contain_text("without a verdict", timeout=PATIENCE_MS)
    vouched = (TRAIN.stops[0], replace(TRAIN.stops[1], state="vouched for"), TRAIN.stops[2])
    house.trains = (replace(TRAIN, stops=vouched), IDLE)
    expect(us).to_contain_text("vouched for", timeout=PATIENCE_MS)
    assert page.evaluate("window.sameDocument")
    page.get_by_text("Go on…").click()
    page.get_by_role("button", name="Yes: Go on").click()
    expect(page.get_by_role("status")).to_have_text(
        "Your decision was taken.", timeout=PATIENCE_MS
    )
    assert house.events == [(TRAIN.id, Continued("ann"))]


PAGES = {
    "rollouts": "/",
    "rollout": f"/watches/{WAITING.id}",
    "regions": "/regions",
    "trains": "/trains",
    "journal": "/journal",
    "policies": "/policies",
    "sign-in": "/sign-in",
}
BRIGHTNESS = """
    () => getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g)
        .slice(0, 3).reduce((sum, part) => sum + Number(part), 0)
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "width"), [("phone", 360), ("desk", 1100)])
def test_every_page_fits_and_is_kept_as_a_picture(
    page: Page, house: House, scheme: Literal["light", "dark"], device: str, width: int
) -> None:
    guards = (GuardView("cool-down", "passed", ""), GuardView("capacity", "warned", "no room"))
    trace = ExampleView("canary", "GET /cart", "4bf92f3577b34da6a3ce929d0e0e4736")
    errors = replace(WAITING.signals[0], examples=(trace,))
    long = replace(
        WAITING, guards=guards, signals=(errors, *WAITING.signals[1:]), held=("x" * 200,)
    )
    house.seen = (long, *house.seen[1:])
    house.regions = REGIONS
    house.trains = (replace(TRAIN, note="long " * 40), IDLE)
    for kind, data in (
        ("watch", {"phase": "awaiting approval", "note": "long " * 40}),
        ("decision", {"decision": "snooze", "by": "b" * 100, "via": "slack"}),
    ):
        house.journal.append(Entry(1.8e9, long.id, kind, "", data))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, address in PAGES.items():
        page.goto(address)
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, name
        assert (page.evaluate(BRIGHTNESS) > 382) is (scheme == "light")
        page.screenshot(path=str(PICTURES / f"{name}-{device}-{scheme}.png"), full_page=True)
    page.goto(PAGES["rollout"])
    for chart in page.locator("svg.chart").all():
        box = chart.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width  # the newest is not out of sight
