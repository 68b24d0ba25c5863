"""What a region's daemon says, asked over a real socket."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
import requests

from actions.ports import Permanent, Transient
from analyzer.sample import Absence, Missing
from analyzer.trains.events import Sight
from analyzer.trains.life import Stop
from analyzer.watch import Phase
from rollbackd.http import HttpServer, application
from rollbackd.sources.http_access import PromptAdapter
from rollbackd.trains.doors import withdrawal_routes
from rollbackd.trains.station import RemoteStation, seen_of
from rollbackd.withdrawals import State, Withdrawn
from tests.cli import sample_views
from tests.dns.stub_clouds import TROUBLES
from tests.process.test_http import TOKEN, Reception
from tests.sources.stub_server import Answer, Connection, StubServer

WEB = replace(sample_views.healthy(), id="c/shop/Deployment/web@1", workload="shop/web")
OTHER = replace(sample_views.healthy(), id="c/shop/Deployment/other@1", workload="shop/other")


@dataclass
class Daemon:
    """A region's daemon behind its HTTP server."""

    url: str = ""
    reception: Reception = field(default_factory=Reception)
    answer: Withdrawn | Exception = field(default_factory=lambda: Withdrawn(State.DONE, "back"))
    asked: list[tuple[str, str]] = field(default_factory=list)

    def withdraw(self, watch_id: str, by: str) -> Withdrawn:
        self.asked.append((watch_id, by))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    made.reception.house.seen = (WEB, OTHER)
    doors = made.reception.doors()
    routes = withdrawal_routes(made.withdraw, doors)
    server = HttpServer(application(doors, routes), "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.port}"
    server.start()
    yield made
    server.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.mount("http://", PromptAdapter())
        made.headers["Authorization"] = f"Bearer {TOKEN}"
        yield made


def test_only_the_workload_that_is_meant_is_told(
    daemon: Daemon, session: requests.Session
) -> None:
    station = RemoteStation(daemon.url, "shop/web", session)
    assert station.watches() == [WEB]
    assert len(session.get(f"{daemon.url}/api/v1/watches", timeout=5).json()) == 2
    asked = session.get(f"{daemon.url}/api/v1/watches?workload=shop/web", timeout=5)
    assert [view["id"] for view in asked.json()] == [WEB.id]


def test_a_withdrawal_is_asked_for_and_told(daemon: Daemon, session: requests.Session) -> None:
    station = RemoteStation(daemon.url, "shop/web", session)
    for state in State:
        daemon.answer = Withdrawn(state, "as the test says")
        assert station.take_back(WEB.id, "train shop") == daemon.answer
    assert daemon.asked == [(WEB.id, "train shop")] * len(State)
    daemon.answer = Transient("the journal is away")
    with pytest.raises(Transient, match="the journal is away"):
        station.take_back(WEB.id, "train shop")


def test_without_the_token_nothing_is_taken_back(
    daemon: Daemon, session: requests.Session
) -> None:
    session.headers["Authorization"] = "Bearer stolen"
    with pytest.raises(Permanent, match="403: not authorised") as caught:
        RemoteStation(daemon.url, "shop/web", session).take_back(WEB.id, "train shop")
    assert "stolen" not in str(caught.value)
    assert daemon.asked == []
    broken = session.post(f"{daemon.url}/api/v1/withdrawals", data=b"{", timeout=5)
    assert broken.status_code == 403


def test_what_is_no_withdrawal_is_refused(daemon: Daemon, session: requests.Session) -> None:
    for body in (b"{", b"[]", b'{"watch": "w"}', b'{"watch": 1, "by": "a"}'):
        answer = session.post(f"{daemon.url}/api/v1/withdrawals", data=body, timeout=5)
        assert answer.status_code == 422, body
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (TROUBLES["429"], Absence.INVALID),
        (TROUBLES["500"], Absence.INVALID),
        (TROUBLES["gone"], Absence.SOURCE_DOWN),
        (TROUBLES["slow"], Absence.TIMEOUT),
        (TROUBLES["no JSON"], Absence.INVALID),
        (Answer(b'[{"id": 7}]'), Absence.INVALID),
        (Answer(b"[", breakage=Connection.trickle), Absence.TIMEOUT),
        (Answer(b"[", breakage=Connection.flood), Absence.TOO_LARGE),
    ],
    ids=["429", "500", "gone", "slow", "no JSON", "no view", "trickle", "flood"],
)
def test_a_daemon_that_does_not_answer_well_is_unseen_and_no_failure(
    session: requests.Session, answer: Answer, reason: Absence
) -> None:
    with StubServer(lambda _: answer) as server:
        station = RemoteStation(
            server.url, "shop/web", session, timeout_s=1.0, max_bytes=1_000_000
        )
        found = station.watches()
        assert isinstance(found, Missing)
        assert found.reason is reason
        assert seen_of(Stop("eu", WEB.id), "abc", found).sight is Sight.UNSEEN
        session.close()


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_means_something(phase: Phase) -> None:
    view = replace(WEB, phase=phase.value, annotations={"rollbackd.io/commit": "abc"})
    sight = seen_of(Stop("eu"), "abc", [view]).sight
    harmless = {Phase.WARMING, Phase.OBSERVING, Phase.HELD}
    expected = {
        Phase.HEALTHY: Sight.HEALTHY,
        Phase.INCONCLUSIVE: Sight.UNDECIDED,
        Phase.SUPERSEDED: Sight.OVERTAKEN,
        **dict.fromkeys(harmless, Sight.JUDGING),
    }
    assert sight is expected.get(phase, Sight.FAILED)


def test_a_phase_of_a_newer_daemon_is_no_verdict() -> None:
    view = replace(WEB, phase="transcended", annotations={"rollbackd.io/commit": "abc"})
    assert seen_of(Stop("eu"), "abc", [view]).sight is Sight.UNSEEN


def test_a_watch_that_is_forgotten_is_unseen_and_another_is_something_newer() -> None:
    view = replace(WEB, phase="healthy", annotations={"rollbackd.io/commit": "abc"})
    bound = Stop("eu", view.id)
    assert seen_of(bound, "abc", []).sight is Sight.UNSEEN
    newer = replace(view, id=f"{view.id}.2", started_at=view.started_at + 1)
    assert seen_of(bound, "abc", [newer, view]).sight is Sight.OVERTAKEN
    failed = replace(view, phase="rolled back")
    assert seen_of(bound, "abc", [newer, failed]).sight is Sight.FAILED
    assert seen_of(Stop("eu", before=(view.id,)), "abc", [view]).sight is Sight.NOT_YET
    assert seen_of(Stop("eu"), "def", [view]).sight is Sight.NOT_YET
