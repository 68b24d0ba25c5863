"""The page of trains over a real socket: the route, why it waits, and what its buttons do."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from analyzer.policy import Mode
from analyzer.trains.events import Continued, Recalled, Seen, Sight
from analyzer.trains.life import Stop, Train, TrainPhase, waiting
from analyzer.trains.policy import OnFailure, TrainPolicy
from rollbackd.decisions import Verb, offer_key
from rollbackd.trains.portrait import Glance, portray, view_id
from rollbackd.views import TimelineItem
from tests.web.house import PROXY, House, open_house
from tests.web.test_site import decide, get, signed_in

POLICY = TrainPolicy(Mode.APPROVE, OnFailure.ROLL_BACK, soak_s=1800)
SHOP = Train(
    "shop",
    300.0,
    (
        Stop("eu", "eu/<7>", released_at=10.0, healthy_at=100.0),
        Stop("us", "us/7", released_at=200.0, undecided_at=290.0),
        Stop("ap"),
    ),
    TrainPhase.NEEDS_HUMAN,
    note="us ended without a verdict: <b>too few</b> requests",
    place=1,
    release="4f2a91c",
    number=3,
    says=(("rollbackd.io/author", "bob"), ("rollbackd.io/change-url", "https://git.example/7")),
)
SEEN = (
    Seen(Sight.HEALTHY, "eu/<7>", "no harm"),
    Seen(Sight.UNDECIDED, "us/7", "ended after 30 min"),
    Seen(Sight.NOT_YET),
)
COURSE = (TimelineItem(10.0, "phase", "judging: 4f2a91c began in eu"),)


def page_of(region: str, watch: str) -> str:
    host = "" if region == "eu" else f"https://rollbackd.{region}.example"
    return f"{host}/watches/{watch}"


VIEW = portray(SHOP, POLICY, Glance(SEEN, page_of), COURSE)
IDLE = portray(waiting("cart", ("eu", "us"), 5.0), POLICY, Glance((), page_of), ())


@pytest.fixture
def house() -> House:
    return House(trains=(VIEW, IDLE))


@pytest.fixture
def url(house: House) -> Iterator[str]:
    with open_house(house, proxies=(PROXY,)) as address:
        yield address


def test_it_shows_the_regions_in_order_since_when_and_why(url: str) -> None:
    page = get(url, "/trains").text
    for text in ("needs a human", "4f2a91c", "bob", "ended after 30 min"):
        assert text in page
    assert "&lt;b&gt;too few&lt;/b&gt; requests" in page
    route = page[page.index('class="route"') :]
    places = [route.index(f"<strong>{region}</strong>") for region in ("eu", "us", "ap")]
    assert places == sorted(places)
    states = [route.index(f"</span> {s}<") for s in ("healthy", "without a verdict", "waiting")]
    assert states == sorted(states)
    assert 'href="/watches/eu/&lt;7&gt;"' in page
    assert 'href="https://rollbackd.us.example/watches/us/7" rel="noreferrer"' in page
    assert "judging: 4f2a91c began in eu" in page
    assert "<form" not in page
    assert "to decide about this train" in page
    assert "nothing was released yet" in page  # the other train


def test_the_overview_shows_them_too_and_links_of_messages_lead_there(
    url: str, house: House
) -> None:
    assert "us: without a verdict" in get(url, "/").text
    led = get(url, f"/watches/{view_id('shop', 3)}")
    assert "Release trains" in led.text
    assert led.url.endswith("/trains#shop")
    house.trains = ()
    assert "us: without a verdict" not in get(url, "/").text
    assert "No release trains are configured" in get(url, "/trains").text


@pytest.mark.parametrize(
    ("verb", "event"),
    [(Verb.CONTINUE, Continued("ann")), (Verb.TAKE_BACK, Recalled("ann"))],
    ids=["go on", "take back"],
)
def test_a_button_does_what_it_says_once(
    url: str, house: House, verb: Verb, event: Continued | Recalled
) -> None:
    with signed_in(url) as session:
        page = session.get(f"{url}/trains", timeout=10).text
        key = offer_key(VIEW, verb)
        assert key in page
        assert offer_key(VIEW, Verb.STOP) in page
        answer = decide(session, url, key)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/trains?said=taken#shop"
        assert house.events == [(VIEW.id, event)]
        assert decide(session, url, key).status_code == 409  # a second click
        assert len(house.events) == 1


def test_a_button_of_a_train_that_left_does_nothing(url: str, house: House) -> None:
    with signed_in(url) as session:
        key = offer_key(VIEW, Verb.STOP)
        house.trains = (replace(VIEW, id=view_id("shop", 4)), IDLE)
        assert decide(session, url, key).status_code == 409
        assert house.events == []
