import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import pytest

from rollbackd.kubernetes.cache import CacheState
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.kubernetes.errors import Denied, NotFound
from rollbackd.kubernetes.reflector import Pace, Reflector
from tests.fakes.kube_api import FakeKubeApi, Fault, FaultAction
from tests.fakes.kube_api.manifests import custom_kind
from tests.kubernetes.shop import cluster

PATH = "/api/v1/configmaps"

QUICK = Pace(watch_s=5.0, stale_s=6.0, first_wait_s=0.02, longest_wait_s=0.1, short_watch_s=0.05)


def name(raw: dict[str, Any]) -> str | None:
    found = str(raw["metadata"]["name"])
    return None if found == "hidden" else found + raw.get("data", {}).get("suffix", "")


def create(api: FakeKubeApi, name: str) -> None:
    metadata = {"name": name, "namespace": "default"}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


@contextmanager
def following(
    connection: Connection, slim: Callable[[dict[str, Any]], str | None] = name, pace: Pace = QUICK
) -> Iterator[Reflector[str]]:
    reflector = Reflector(connection, PATH, slim, pace=pace)
    reflector.start()
    yield reflector
    reflector.stop()
    assert not reflector.is_running


def holds(api: FakeKubeApi, reflector: Reflector[str], *names: str) -> None:
    """Wait until the cache holds exactly these."""

    def does_hold(_: FakeKubeApi) -> bool:
        snapshot = reflector.snapshot()
        return snapshot.state is CacheState.SYNCED and sorted(snapshot.items) == sorted(names)

    api.wait_until(does_hold, what=f"the cache holds {names}")


def calls(api: FakeKubeApi, verb: str) -> int:
    return sum(request.verb == verb and request.path == PATH for request in api.requests())


@pytest.fixture
def server() -> Iterator[tuple[FakeKubeApi, Connection]]:
    with cluster() as (api, connection):
        create(api, "one")
        yield api, connection


def test_it_lists_and_follows(server: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = server
    with following(connection) as reflector:
        holds(api, reflector, "one")
        create(api, "two")
        create(api, "hidden")
        holds(api, reflector, "one", "two")
        api.patch("v1", "ConfigMap", "one", {"data": {"suffix": "!"}})
        holds(api, reflector, "one!", "two")
        api.delete("v1", "ConfigMap", "two")
        holds(api, reflector, "one!")
    assert calls(api, "list") == 1


def test_empty_is_not_unknown(server: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = server
    api.delete("v1", "ConfigMap", "one")
    reflector = Reflector(connection, PATH, name, pace=QUICK)
    unknown = reflector.snapshot()
    assert (unknown.items, unknown.state) == ((), CacheState.UNSYNCED)
    reflector.start()
    assert reflector.wait_synced(5.0)
    empty = reflector.snapshot()
    assert (empty.items, empty.state) == ((), CacheState.SYNCED)
    reflector.stop()


def test_a_kind_that_is_not_installed_is_empty_and_asked_for_once_a_watch() -> None:
    with cluster() as (api, connection):
        path = "/apis/example.com/v1/widgets"
        pace = replace(QUICK, watch_s=0.5)
        reflector = Reflector(connection, path, name, optional=True, pace=pace)
        reflector.start()
        holds(api, reflector)
        api.wait_until(lambda api: len(api.requests()) >= 3)
        asked = [r.time for r in api.requests()]
        assert all(later - earlier >= 0.4 for earlier, later in pairwise(asked))
        assert reflector.snapshot().trouble is None
        api.create(custom_kind("example.com", "v1", "widgets", "Widget"))
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}
        api.create(widget)
        holds(api, reflector, "one")
        definition = "widgets.example.com"
        api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", definition, "")
        holds(api, reflector)
        reflector.stop()


def test_a_kind_that_must_be_there_is_trouble_when_it_is_not() -> None:
    with cluster() as (api, connection):
        reflector = Reflector(connection, "/apis/example.com/v1/widgets", name, pace=QUICK)
        reflector.start()
        api.wait_until(lambda _: isinstance(reflector.snapshot().trouble, NotFound))
        assert reflector.snapshot().state is CacheState.UNSYNCED
        reflector.stop()


@pytest.mark.parametrize("how", ["drop", "gone"])
def test_a_watch_that_ends_badly_is_taken_up_again(
    server: tuple[FakeKubeApi, Connection], how: Literal["drop", "gone"]
) -> None:
    api, connection = server
    with following(connection) as reflector:
        for number in range(3):
            api.wait_until(lambda a, n=number: calls(a, "watch") > n)  # type: ignore[misc]
            api.end_watches(how)
            create(api, f"more{number}")
        holds(api, reflector, "one", "more0", "more1", "more2")
    assert (calls(api, "list") == 1) == (how == "drop")


@pytest.mark.parametrize("answers_http", [True, False])
def test_what_was_missed_is_listed_anew(
    server: tuple[FakeKubeApi, Connection], answers_http: bool
) -> None:
    api, connection = server
    with following(connection) as reflector:
        holds(api, reflector, "one")
        outage = api.add_fault(Fault(FaultAction.ERROR, path=PATH))
        api.end_watches("drop")
        create(api, "two")
        api.delete("v1", "ConfigMap", "one")
        api.compact_history(answers_http=answers_http)
        api.remove_fault(outage)
        holds(api, reflector, "two")
        assert reflector.snapshot().trouble is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultAction.ERROR, count=3),
        Fault(FaultAction.THROTTLE, count=3, seconds=0),
        Fault(FaultAction.DROP_BEFORE, count=3),
        Fault(FaultAction.TRUNCATE, count=3),
        Fault(FaultAction.GONE, count=3),
        Fault(FaultAction.FORBIDDEN, count=3),
        Fault(FaultAction.LATENCY, count=3, seconds=0.1),
    ],
    ids=lambda fault: fault.action.value,
)
@pytest.mark.parametrize("verb", ["list", "watch"])
def test_it_outlives_trouble(
    server: tuple[FakeKubeApi, Connection], fault: Fault, verb: str
) -> None:
    api, connection = server
    api.add_fault(Fault(fault.action, verb=verb, path=PATH, count=3, seconds=fault.seconds))
    with following(connection) as reflector:
        holds(api, reflector, "one")
        create(api, "two")
        holds(api, reflector, "one", "two")


def test_a_failing_server_is_not_hammered(server: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = server
    api.add_fault(Fault(FaultAction.FORBIDDEN, path=PATH))
    with following(connection) as reflector:
        api.wait_until(lambda a: calls(a, "list") >= 6)
        snapshot = reflector.snapshot()
    assert snapshot.state is CacheState.UNSYNCED
    assert isinstance(snapshot.trouble, Denied)
    times = [request.time for request in api.requests() if request.path == PATH]
    waited = [later - earlier for earlier, later in pairwise(times)]
    least = [QUICK.wait_s(failures, 0.0) for failures in range(1, 6)]
    assert all(w >= bound for w, bound in zip(waited, least, strict=False))


def test_an_outage_makes_the_cache_stale_and_then_synced_again(
    server: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = server
    clock = Hands()
    reflector = Reflector(connection, PATH, name, pace=QUICK, clock=clock)
    reflector.start()
    holds(api, reflector, "one")
    outage = api.add_fault(Fault(FaultAction.DROP_BEFORE, path=PATH))
    api.end_watches("drop")
    api.wait_until(lambda _: reflector.snapshot().trouble)
    clock.ahead_s += QUICK.stale_s + 1.0
    stale = reflector.snapshot()
    assert (stale.items, stale.state) == (("one",), CacheState.STALE)
    assert stale.age_s > QUICK.stale_s
    api.remove_fault(outage)
    # Nothing happens in the cluster: the short watch after the trouble tells.
    holds(api, reflector, "one")
    reflector.stop()


class Hands:
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def test_a_server_that_was_killed_and_lost_everything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    connection = Connection(ClusterAccess(server=f"http://127.0.0.1:{port}"))
    with FakeKubeApi(port=port) as api:
        for number in range(20):
            create(api, f"old{number}")
        reflector = Reflector(connection, PATH, name, pace=QUICK)
        reflector.start()
        api.wait_until(lambda _: len(reflector.snapshot().items) == 20)
    with FakeKubeApi(port=port) as api:
        create(api, "new")
        holds(api, reflector, "new")
    reflector.stop()
    connection.close()


def test_a_quiet_watch_is_left_at_once(server: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = server
    reflector = Reflector(connection, PATH, name, pace=Pace())
    reflector.start()
    holds(api, reflector, "one")
    api.wait_until(lambda a: calls(a, "watch"))
    reflector.stop()
    reflector.stop()
    assert not reflector.is_running


def test_a_bug_shows_as_trouble_and_not_as_a_lost_thread(
    server: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = server
    clumsy = True

    def slim(raw: dict[str, Any]) -> str | None:
        return str(raw["nonsense"]) if clumsy else name(raw)

    with following(connection, slim) as reflector:
        api.wait_until(lambda _: reflector.snapshot().trouble)
        assert reflector.snapshot().state is CacheState.UNSYNCED
        clumsy = False
        holds(api, reflector, "one")


class Scripted:
    """A server whose watches end at once, or begin with a version of the past."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        self.lists = 0
        self.watches = 0
        self.enough = threading.Event()

    def pages(self, _: str, __: Mapping[str, str]) -> Iterator[tuple[list[dict[str, Any]], str]]:
        self.lists += 1
        yield [], "100"

    @contextmanager
    def watch(self, *_: object) -> Iterator["Scripted"]:
        self.watches += 1
        if self.watches >= 4:
            self.enough.set()
        yield self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.events)

    def interrupt(self) -> None:
        """Have nothing to interrupt."""


def test_a_watch_that_ends_at_once_counts_as_a_failure() -> None:
    server = Scripted([])
    reflector = Reflector(server, PATH, name, pace=QUICK)
    reflector.start()
    assert server.enough.wait(5.0)
    assert "ended at once" in str(reflector.snapshot().trouble)
    reflector.stop()


def test_a_server_that_went_back_in_time_is_listed_anew() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}
    server = Scripted([bookmark])
    reflector = Reflector(server, PATH, name, pace=QUICK)
    reflector.start()
    assert server.enough.wait(5.0)
    reflector.stop()
    assert server.lists >= 4


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_waits_grow_up_to_a_bound(drawn: float) -> None:
    pace = Pace()
    waits = [pace.wait_s(failures, drawn) for failures in range(1, 2000)]
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(0.5 * (0.5 + drawn / 2))
    assert waits[-1] == pytest.approx(30.0 * (0.5 + drawn / 2))


@pytest.mark.parametrize(
    "times",
    [{"watch_s": 100.0}, {"first_wait_s": 0.0}, {"longest_wait_s": 0.1}, {"short_watch_s": 60.0}],
)
def test_paces_that_contradict_themselves_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Pace(**times)
