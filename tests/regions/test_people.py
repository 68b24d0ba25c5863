"""People decide about regions by the door that rollouts have, and are told of them like rollouts."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
import requests

from analyzer.events import Approved, Rejected
from analyzer.policy import Mode
from analyzer.regions.events import RegionWish, Standing
from analyzer.regions.life import Region, RegionPhase
from rollbackd.config.settings import Deciders
from rollbackd.decisions import Answer, Decision, Decisions, Deed, Person, Verb, offer_key, offers
from rollbackd.http import BODIES, Doors, HttpServer, application
from rollbackd.notifiers.links import NO_LINKS
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.pump import Pump
from rollbackd.notifiers.wording import Severity, headline, severity, summary
from rollbackd.regions.doors import RegionOrder, region_routes
from rollbackd.regions.portrait import POLICY as REGIONS
from rollbackd.regions.portrait import offered, portray, region_of, view_id
from rollbackd.slack import blocks
from rollbackd.views import WatchView
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import TELEMETRY
from tests.regions.test_keeper import EU, POLICY, US, WWW, Life, Told, _as_it_was, bind
from tests.servers.nameservers import Bind
from tests.web.described import conforms

__all__ = ["_as_it_was", "bind"]
pytestmark = pytest.mark.servers
ANN = Person("ann", "slack", "U1")
EVE = Person("eve", "slack", "U666")
WELL = {"eu": Standing.HEALTHY, "us": Standing.HEALTHY}


@dataclass
class Desk:
    """Decisions about the regions of one life."""

    life: Life
    journal: MemoryJournal
    decisions: Decisions = field(init=False)

    def __post_init__(self) -> None:
        self.decisions = Decisions(
            views=self.life.keeper.views,
            handle=self.handle,
            deciders=lambda name: Deciders(users=("U1",)) if name == REGIONS else Deciders(),
            journal=self.journal,
            telemetry=TELEMETRY,
            now=lambda: self.life.at,
        )

    def handle(self, id_: str, deed: Deed) -> None:
        region = region_of(id_)
        assert region is not None
        assert isinstance(deed, Approved | Rejected | RegionWish)
        self.life.keeper.handle(region, deed)

    @property
    def eu(self) -> WatchView:
        return self.life.keeper.views()[0]

    def press(self, verb: Verb, by: Person = ANN, view: WatchView | None = None) -> Answer:
        pressed = offer_key(view or self.eu, verb)
        return self.decisions.press(pressed, verb, by).answer


@pytest.fixture
def desk(bind: Bind) -> Iterator[Desk]:
    journal = MemoryJournal()
    life = Life(bind, journal, Told(dict(WELL)), policy=replace(POLICY, mode=Mode.APPROVE))
    life.tick()
    yield Desk(life, journal)
    life.keeper.close()


def test_a_press_moves_traffic_once_and_another_brings_it_back(bind: Bind, desk: Desk) -> None:
    before = desk.eu
    assert offers(before) == (Verb.FAIL_OVER,)
    assert desk.press(Verb.FAIL_OVER) is Answer.TAKEN
    assert desk.press(Verb.FAIL_OVER, view=before) is Answer.STALE  # delivered twice
    desk.life.until(RegionPhase.FAILED_OVER)
    assert bind.ask(WWW, "A") == {US}
    assert desk.press(Verb.FAIL_OVER, view=before) is Answer.STALE
    assert desk.eu.outlook == "its traffic goes to us"
    assert desk.press(Verb.FAIL_BACK) is Answer.TAKEN
    desk.life.until(RegionPhase.NORMAL)
    assert bind.ask(WWW, "A") == {EU, US}
    said = [e.data["decision"] for e in desk.journal.entries(kinds=frozenset({"decision"}))]
    assert said == ["fail over", "fail back"]


def test_who_is_not_named_moves_nothing(bind: Bind, desk: Desk) -> None:
    assert desk.press(Verb.FAIL_OVER, EVE) is Answer.FORBIDDEN
    desk.life.tick()
    assert desk.life.eu.phase is RegionPhase.NORMAL
    assert bind.ask(WWW, "A") == {EU, US}
    theirs = Person("eve", "http", "eve", may_decide=lambda *_: False)
    assert desk.press(Verb.FAIL_OVER, theirs) is Answer.FORBIDDEN


def test_an_approval_is_bound_to_what_was_seen(bind: Bind, desk: Desk) -> None:
    desk.life.evidence.standing["eu"] = Standing.SICK
    desk.life.until(RegionPhase.AWAITING_APPROVAL)
    seen = desk.eu
    assert offers(seen) == (Verb.APPROVE, Verb.REJECT)
    other = Decision(seen.id, Verb.APPROVE, ANN, "another plan", seen.turn)
    assert desk.decisions.decide(other).answer is Answer.STALE
    assert bind.ask(WWW, "A") == {EU, US}
    assert desk.press(Verb.REJECT) is Answer.TAKEN
    assert desk.press(Verb.APPROVE, view=seen) is Answer.STALE
    assert desk.life.eu.phase is RegionPhase.NEEDS_HUMAN
    assert offers(desk.eu) == (Verb.FAIL_OVER, Verb.FOLLOW)
    assert desk.press(Verb.FOLLOW) is Answer.TAKEN
    desk.life.until(RegionPhase.AWAITING_APPROVAL)
    assert desk.press(Verb.APPROVE) is Answer.TAKEN
    desk.life.until(RegionPhase.FAILED_OVER)
    assert bind.ask(WWW, "A") == {US}


@dataclass
class Ear:
    """A notifier that remembers what it was told."""

    told: list[WatchView] = field(default_factory=list)

    def tell(self, view: WatchView, memo: Memo) -> None:
        self.told.append(view)
        memo.keep(told=len(self.told))

    def close(self) -> None:
        """Hold nothing."""


def test_every_phase_is_told_and_each_episode_by_itself(desk: Desk) -> None:
    ear = Ear()
    pump = Pump("ear", ear, journal=desk.journal, telemetry=TELEMETRY, now=lambda: desk.life.at)
    pump.once()
    assert ear.told == []
    for _ in range(2):
        ear.told.clear()
        assert desk.press(Verb.FAIL_OVER) is Answer.TAKEN
        pump.once()
        desk.life.until(RegionPhase.FAILED_OVER)
        pump.once()
        assert desk.press(Verb.FAIL_BACK) is Answer.TAKEN
        desk.life.until(RegionPhase.NORMAL)
        pump.once()
        first, *later = [view.phase for view in ear.told]
        assert first in {"sick", "failing over"}  # the worker may be faster than we listen
        assert later == ["failed over", "normal"]
        course = [item.text.partition(":")[0] for item in ear.told[-1].timeline]
        assert course[0] == "sick"
        assert course[-1] == "normal"
        assert [view.final for view in ear.told] == [False, False, True]
    pump.close()


def test_after_a_restart_the_episode_goes_on(bind: Bind, desk: Desk) -> None:
    desk.press(Verb.FAIL_OVER)
    desk.life.until(RegionPhase.FAILED_OVER)
    before = desk.eu
    again = Life(bind, MemoryJournal(desk.journal.entries()), Told(dict(WELL)), at=desk.life.at)
    after = again.keeper.views()[0]
    assert (after.timeline, after.turn, after.phase) == (
        before.timeline,
        before.turn,
        before.phase,
    )
    again.keeper.close()


@pytest.mark.parametrize("phase", RegionPhase)
@pytest.mark.parametrize("away", [False, True])
def test_every_phase_has_its_words_and_its_buttons(phase: RegionPhase, away: bool) -> None:
    region = Region("eu", 5.0, phase, away=away, plan_key="k", stages=2)
    view = portray(region, [Region("us", 0.0)], Mode.ENFORCE, ())
    assert view.id == view_id("eu")
    assert region_of(view.id) == "eu"
    assert headline(view) != f"eu: {phase.value}"
    quiet = phase is RegionPhase.NORMAL
    assert (severity(view) is Severity.INFO) is quiet
    assert "compared with us" in summary(view)
    assert offers(view) == offered(region)
    assert bool(offers(view)) is not phase.moving
    buttons = [b for b in blocks.message(view, NO_LINKS) if b["type"] == "actions"]
    shown = [element["action_id"] for b in buttons for element in b["elements"]]
    assert len(shown) == len(offers(view))


@pytest.mark.parametrize(
    "id_",
    ["", "eu", "c/shop/Deployment/web@7", "regions/dns/Region/eu@us", "regions/dns/Region/@"],
)
def test_no_other_id_names_a_region(id_: str) -> None:
    assert region_of(id_) is None


TOKEN = "s3cret"
CLUSTER = {
    "anns-own-token": Person("ann", "http", "ann", may_decide=lambda *_: True),
    "eves-own-token": Person("eve", "http", "eve", may_decide=lambda *_: False),
}


@pytest.fixture
def url(desk: Desk) -> Iterator[str]:
    doors = Doors(
        views=tuple,
        metrics=lambda: b"",
        unready=lambda: "",
        decide=desk.decisions.decide,
        release=desk.decisions.release,
        token=lambda: TOKEN,
        cluster=lambda token, _via: CLUSTER.get(token),
    )
    routes = region_routes(desk.life.keeper, doors, lambda: None)
    server = HttpServer(
        application(doors, routes, replace(BODIES, orders={"region": RegionOrder})), "127.0.0.1", 0
    )
    server.start()
    yield f"http://127.0.0.1:{server.port}/api/v1"
    server.close()


def order(url: str, token: str, wish: str, **body: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    wanted = {"region": "eu", "by": "ann", "wish": wish, **body}
    return requests.post(f"{url}/regions", json=wanted, headers=headers, timeout=10)


def test_whoever_may_decide_may_order_over_http_and_it_is_taken_once(
    bind: Bind, desk: Desk, url: str
) -> None:
    (eu, us) = requests.get(f"{url}/regions", timeout=10).json()
    assert (eu["id"], eu["name"], us["standing"]) == (view_id("eu"), "eu", "healthy")
    assert order(url, "wrong-token", "fail over").status_code == 403
    refused = order(url, "eves-own-token", "fail over")
    assert (refused.status_code, "does not let eve" in refused.json()["error"]) == (403, True)
    assert bind.ask(WWW, "A") == {EU, US}
    seen = eu["turn"]
    taken = order(url, "anns-own-token", "fail over", turn=seen)
    assert taken.status_code == 200, taken.text
    assert order(url, TOKEN, "fail over", turn=seen).status_code == 409
    desk.life.until(RegionPhase.FAILED_OVER)
    assert order(url, TOKEN, "fail over").status_code == 409  # it is away already
    assert order(url, TOKEN, "fail back").status_code == 200
    desk.life.until(RegionPhase.NORMAL)
    said = [e.data["by"] for e in desk.journal.entries(kinds=frozenset({"decision"}))]
    assert said == ["ann", "ann"]


def test_every_answer_is_as_described(desk: Desk, url: str) -> None:
    assert desk.eu.phase == "normal"
    assert conforms(f"{url}/openapi.json", TOKEN, examples=20) == 6
