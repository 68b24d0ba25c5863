"""Jaeger's Service Performance Monitoring: it says what the traces are a sample of, and is no evidence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Selector
from analyzer.traces import operations as names
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.prometheus_session import QueryLimits
from rollbackd.traces.backends.jaeger import JaegerPoller
from rollbackd.traces.backends.sampling import Read, stated
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.backends.spm import Monitoring, Served
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.measures import BUCKETS
from tests.sources.stub_server import Answer, Request, StubServer
from tests.traces.served import SIDES

NOW = 1_800_000_000.0
RECORDED = Path(__file__).parent / "recorded"
LIMITS = QueryLimits(timeout_s=5.0, retries=0)
POST = "checkout|server|POST /checkout"
SPM = ("/api/metrics/calls", "/api/metrics/errors", "/api/metrics/latencies")


def family(*values: float | str, service: str = "checkout") -> Answer:
    """Return what Jaeger answers: a family of gauges, protobuf's JSON."""
    points = [
        {"gaugeValue": {"doubleValue": value}, "timestamp": f"2027-01-15T08:{i:02}:00Z"}
        for i, value in enumerate(values)
    ]
    metric = {"labels": [{"name": "service_name", "value": service}], "metricPoints": points}
    body = {"name": "service_call_rate", "type": "GAUGE", "help": "", "metrics": [metric]}
    return Answer(json.dumps(body).encode())


@dataclass
class Shop:
    """A Jaeger whose every stretch of ten seconds has so many traces, half of them the canary's.

    ``metrics``: what it answers to questions about metrics, by path.
    """

    traces: int = 10
    failed: int = 1
    seconds: float = 0.05
    metrics: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, query))
        if parts.path == "/api/v3/traces":
            begin = datetime.fromisoformat(query["query.startTimeMin"][:19]).replace(tzinfo=UTC)
            return self._found(int(begin.timestamp()))
        return self.metrics.get(parts.path, Answer(b"404 page not found", 404))

    def _found(self, begin: int) -> Answer:
        found = []
        for i in range(self.traces):
            start = (begin + 1) * 1_000_000_000 + i
            span = {
                "traceId": f"{begin:016x}{i:016x}",
                "spanId": f"{i + 1:016x}",
                "name": "POST /checkout",
                "kind": 2,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + int(self.seconds * 1e9)),
                "status": {"code": 2} if i < self.failed else {},
            }
            pod = "checkout-new-1" if i % 2 else "checkout-old-1"
            of = {"service.name": "checkout", "k8s.namespace.name": "shop", "k8s.pod.name": pod}
            attributes = [{"key": k, "value": {"stringValue": v}} for k, v in of.items()]
            resource = {"attributes": attributes}
            found.append({"resource": resource, "scopeSpans": [{"spans": [span]}]})
        return Answer(json.dumps({"result": {"resourceSpans": found}}).encode())

    def questions(self) -> list[str]:
        return [path for path, _ in self.asked if path.startswith("/api/metrics/")]


@contextmanager
def followed(shop: Shop, *, spm: bool = True) -> Iterator[tuple[TraceBook, JaegerPoller]]:
    """Follow a shop; the poller has not asked anything yet."""
    with StubServer(shop) as stub:
        book = TraceBook(Catalogue())
        monitoring = Monitoring(Backend(stub.url, HttpAccess(), LIMITS)) if spm else None
        backend = Backend(stub.url, HttpAccess(), LIMITS)
        poller = JaegerPoller(backend, book, ["checkout"], 500, monitoring)
        try:
            yield book, poller
        finally:
            poller.close()


def follow(poller: JaegerPoller, book: TraceBook, begin: float, end: float) -> None:
    """Let the daemon's clock run in steps of ten seconds."""
    for now in np.arange(begin, end, 10.0).tolist():
        poller.poll(now)
        book.turn(now)


def caveats(book: TraceBook) -> tuple[str, ...]:
    found = TraceCounters(book).detail(SIDES, POST)
    assert not isinstance(found, Missing)
    return found.caveats


def rates(calls: float, failed: float = 0.1, slow: float = 50.0) -> dict[str, Answer]:
    return dict(zip(SPM, (family(calls), family(failed), family(slow)), strict=True))


def test_it_is_told_of_how_many_calls_the_traces_are_a_sample() -> None:
    shop = Shop(metrics=rates(41.3))
    with followed(shop) as (book, poller):
        follow(poller, book, NOW, NOW + 290)
        assert shop.questions() == []  # what was read does not cover five minutes yet
        follow(poller, book, NOW + 290, NOW + 350)
        said = (
            "sampled: 300 of about 12,000 calls of checkout in 5 min were read (by Jaeger's SPM)"
        )
        assert caveats(book) == (said,)
        # once a minute, and what is newer takes the place of what was said
        follow(poller, book, NOW + 350, NOW + 420)
        shop.metrics = rates(8.0)
        follow(poller, book, NOW + 420, NOW + 480)
        (said,) = caveats(book)
        assert "300 of about 2,400 calls" in said
    assert len(shop.questions()) == 4 * len(SPM)  # from 290 s on
    asked = {path: query for path, query in shop.asked if path in SPM}
    for path, query in asked.items():
        assert query["service"] == "checkout"
        # milliseconds, and a window that Jaeger passes on as it is: it cuts "1m30s" to "1m"
        assert query["ratePer"] == "300000"
        assert int(query["endTs"]) / 1000 <= NOW + 480 - 35
        assert ("quantile" in query) == path.endswith("latencies")


def test_nothing_is_told_where_all_was_read_or_there_is_hardly_anything() -> None:
    for calls in (1.02, 0.1):
        shop = Shop(metrics=rates(calls))
        with followed(shop) as (book, poller):
            follow(poller, book, NOW, NOW + 350)
            assert caveats(book) == ()
        assert len(shop.questions()) == len(SPM)


def test_what_was_read_incompletely_is_not_compared() -> None:
    shop = Shop(metrics=rates(41.3))
    with followed(shop) as (book, poller):
        follow(poller, book, NOW, NOW + 250)
        follow(poller, book, NOW + 400, NOW + 600)  # the daemon slept: 150 s, of which 80 are lost
        assert shop.questions() == []


ABSENT = {
    "disabled": Answer(
        b'{"data":null,"total":0,"limit":0,"offset":0,'
        b'"errors":[{"code":501,"msg":"metrics querying is currently disabled"}]}',
        501,
    ),
    "disabled, long ago": Answer(b'{"errors":[{"code":405,"msg":"currently disabled"}]}', 405),
    "no such path": Answer(b"404 page not found", 404),
    "the page of the user interface": Answer(b"<!doctype html><html></html>"),
    "VictoriaTraces": Answer(b'unsupported path requested: "/api/metrics/calls"', 400),
}


@pytest.mark.parametrize("answer", list(ABSENT.values()), ids=list(ABSENT))
def test_a_jaeger_without_it_is_asked_seldom_and_its_traces_are_read(answer: Answer) -> None:
    shop = Shop(metrics=dict.fromkeys(SPM, answer))
    with followed(shop) as (book, poller):
        follow(poller, book, NOW, NOW + 900)
        assert caveats(book) == ()
        assert book.fates[Fate.COUNTED] > 800
    assert len(shop.questions()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'{"errors":[{"code":500,"msg":"failed executing metrics query"}]}', 500),
        Answer(b'{"errors":[{"code":400,"msg":"unable to parse param"}]}', 400),
        Answer(b"", 503),
        Answer(b""),
        Answer(b"{not json"),
        Answer(b"[1]"),
        Answer(b'{"data": []}'),
        Answer(b'{"metrics": 3}'),
        Answer(b'{"metrics": [{"labels": 1, "metricPoints": [2, {"gaugeValue": 4}]}]}'),
        family(),
        family("NaN"),
        family(-1.0),
        family("1e999"),
        family(41.0, service="cart"),
    ],
)
def test_trouble_with_it_costs_a_sentence_and_nothing_else(answer: Answer) -> None:
    shop = Shop(metrics=dict.fromkeys(SPM, answer))
    with followed(shop) as (book, poller):
        follow(poller, book, NOW, NOW + 420)
        assert caveats(book) == ()
        assert book.fates[Fate.COUNTED] > 350


def test_it_changes_nothing_of_what_is_judged() -> None:
    told = []
    for spm in (True, False):
        shop = Shop(failed=4, metrics=rates(4100.0, 0.9, 9000.0))
        with followed(shop, spm=spm) as (book, poller):
            follow(poller, book, NOW, NOW + 400)
            by = ("namespace", "pod", names.OPERATION)
            asked = [Query(Selector(n), by) for n in (names.SPANS, names.FAILED)]
            replies = TraceCounters(book).fetch(asked, Grid(NOW + 390, 10.0, 20))
            told.append([r for r in replies if isinstance(r, Series)])
            assert bool(caveats(book)) is spm
        assert bool(shop.questions()) is spm
    for with_it, without in zip(*told, strict=True):
        assert with_it.keys == without.keys
        np.testing.assert_array_equal(with_it.values, without.values)
    assert len(told[0]) == 2


def test_calls_of_which_no_trace_is_kept_are_told_as_the_reason() -> None:
    shop = Shop(traces=0, metrics=rates(41.3))
    with followed(shop) as (book, poller):
        follow(poller, book, NOW, NOW + 350)
        seen = TraceCounters(book).seen(SIDES)
    assert isinstance(seen, Missing)
    assert seen.reason is Absence.PARTIAL
    assert "nothing read of about 12,000 calls of checkout in 5 min" in seen.detail


def read(calls: int, failed: int, slow_place: int = 8) -> Read:
    durations = np.zeros(BUCKETS)
    durations[slow_place] = calls
    return Read(calls, failed, durations)


def test_sampling_by_outcome_is_called_so_and_scatter_is_not() -> None:
    def of(failed: int, share: float) -> bool:
        said = stated("checkout", read(1000, failed), Served(20_000.0, share))
        return any("failures are kept more often" in text for text in said)

    assert of(300, 0.01)
    assert of(30, 0.0)
    assert not of(10, 0.01)
    assert not of(20, 0.01)  # twice as many may be chance, or another hour
    assert not of(9, 0.0)
    assert not of(300, 0.3)
    said = list(stated("checkout", read(1000, 300), Served(20_000.0, 0.01)))
    assert said[1] == ("failures are kept more often: 0.3 of the calls read failed, 0.01 of all")


@pytest.mark.parametrize("unit", [1000.0, 1.0])
def test_slow_calls_kept_more_often_are_called_so_in_either_unit(unit: float) -> None:
    def of(slow_s: float, place: int) -> str:
        said = stated("checkout", read(1000, 0, place), Served(20_000.0, None, slow_s * unit))
        return "; ".join(said)

    assert "slow ones are kept more often" in of(0.05, 17)  # 0.75 to 1 s
    assert "or more, of all 0.05 s" in of(0.05, 17)
    assert "slow ones" not in of(0.05, 10)  # 0.05 to 0.075 s
    assert "slow ones" not in of(0.05, 3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metrics", "labels", "name", "value", "metricPoints", "gaugeValue", "doubleValue"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


class Fixed(Backend):
    """A backend that answers everything with the same document."""

    def __init__(self, document: object) -> None:
        self._document = document

    def document(self, *_: object) -> object:
        return self._document


@given(json_values)
def test_whatever_is_answered_is_a_number_or_trouble(document: object) -> None:
    for answer in (document, {"metrics": document}, {"metrics": [document]}):
        try:
            served = Monitoring(Fixed(answer)).served("checkout", NOW)
        except Trouble:
            continue
        assert served is None or served.calls >= 0
        for text in stated("checkout", read(1000, 30), served):
            assert text


@given(
    st.integers(0, 10**6),
    st.floats(0, 1e12),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1e9),
    st.integers(0, BUCKETS - 1),
)
def test_what_is_said_never_fails(
    calls: int, all_calls: float, share: float | None, slow: float | None, place: int
) -> None:
    said = list(stated("x", read(calls, calls // 3, place), Served(all_calls, share, slow)))
    assert len(said) <= 3


def test_a_recorded_answer_is_understood() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(urlsplit(request.path).path)
        return Answer((RECORDED / f"jaeger-spm-{asked[-1].rpartition('/')[2]}.json").read_bytes())

    with StubServer(answer) as stub:
        monitoring = Monitoring(Backend(stub.url, HttpAccess(), LIMITS))
        served = monitoring.served("driver", NOW)
        monitoring.close()
    assert asked == list(SPM)
    assert served is not None
    assert served.calls == pytest.approx(0.006960443672323934 * 300)
    assert served.failed == 0
    assert served.slow == pytest.approx(214.5)
