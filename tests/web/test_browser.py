"""The pages as a person uses them: a real Chromium, by mouse, by keyboard, on a phone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from analyzer.events import Approved
from tests.web.house import TOKEN, WAITING, WATCHED, House, open_house

pytestmark = [pytest.mark.servers, pytest.mark.slow]

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PATIENCE_MS = 30_000


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


def test_it_fits_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for address in ("/", f"/watches/{WAITING.id}", "/journal", "/policies", "/sign-in"):
        page.goto(address)
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, address
