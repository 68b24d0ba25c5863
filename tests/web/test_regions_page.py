"""The page of regions over a real socket: what it shows, and what its buttons do."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from analyzer.policy import Mode
from analyzer.regions.events import Direction, Ordered, Standing
from analyzer.regions.life import Region, RegionPhase
from rollbackd.decisions import Verb, offer_key
from rollbackd.regions.portrait import portray
from rollbackd.views import TimelineItem
from tests.web.house import PROXY, House, open_house
from tests.web.test_site import decide, get, signed_in

EU = Region(
    "eu",
    5.0,
    RegionPhase.NEEDS_HUMAN,
    note="the move failed: <b>REFUSED</b>",
    standing=Standing.SICK,
    text="errors 9 % vs 0.4 %",
    away=True,
    episode=1,
)
US = Region("us", 5.0, standing=Standing.HEALTHY, text="errors 0.4 % vs 0.4 %")
COURSE = (TimelineItem(5.0, "phase", "sick: errors 9 %"),)
VIEWS = (
    portray(EU, [US], Mode.APPROVE, COURSE),
    portray(US, [EU], Mode.APPROVE, ()),
)


@pytest.fixture
def house() -> House:
    return House(regions=VIEWS)


@pytest.fixture
def url(house: House) -> Iterator[str]:
    with open_house(house, proxies=(PROXY,)) as address:
        yield address


def test_it_shows_verdict_and_traffic_and_who_only_reads_gets_no_button(url: str) -> None:
    page = get(url, "/regions").text
    for text in ("needs a human", "sick", "its traffic goes to us", "it has its traffic"):
        assert text in page
    assert "&lt;b&gt;REFUSED&lt;/b&gt;" in page
    assert "sick: errors 9 %" in page
    assert "<form" not in page
    assert "to decide about this region" in page


def test_the_overview_shows_them_too(url: str, house: House) -> None:
    page = get(url, "/").text
    assert "its traffic goes to us" in page
    house.regions = ()
    assert "its traffic goes to us" not in get(url, "/").text
    assert "No regions are configured" in get(url, "/regions").text


def test_a_button_does_what_it_says_once(url: str, house: House) -> None:
    with signed_in(url) as session:
        page = session.get(f"{url}/regions", timeout=10).text
        key = offer_key(VIEWS[0], Verb.FAIL_BACK)
        assert key in page
        assert offer_key(VIEWS[0], Verb.FOLLOW) in page
        assert offer_key(VIEWS[1], Verb.FAIL_OVER) in page
        answer = decide(session, url, key)
        assert (answer.status_code, answer.headers["location"]) == (303, "/regions?said=taken#eu")
        assert house.events == [(VIEWS[0].id, Ordered(Direction.BACK, "ann"))]
        assert (
            "Your decision was taken" in session.get(f"{url}/regions?said=taken", timeout=10).text
        )
        assert decide(session, url, key).status_code == 409  # a second click
        assert len(house.events) == 1


def test_a_button_of_before_does_nothing(url: str, house: House) -> None:
    with signed_in(url) as session:
        old = offer_key(replace(VIEWS[0], turn=7), Verb.FAIL_BACK)
        assert decide(session, url, old).status_code == 409
        assert house.events == []
