"""Tempo by recorded answers: what it tells is counted, what it cannot tell is said."""

import json
import time
from functools import partial
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from analyzer.rollout import Side
from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Selector
from analyzer.traces import operations as names
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.intake import Intake
from rollbackd.traces.measures import SPANS
from tests.servers.nginx import eventually
from tests.sources.stub_server import Answer, StubServer
from tests.traces.served import (
    LIMITS,
    NOW,
    POST,
    SELECT,
    SIDES,
    TENANT,
    Server,
    book_and,
    detail,
    tempo,
    tempo_metrics,
    tempo_search,
)
from tests.traces.tempo_server import SECOND, CountingTempo, Span


def test_tempo_tells_counts_errors_durations_and_examples() -> None:
    server = Server({"/api/metrics/query": tempo_metrics, "/api/search": tempo_search})
    with StubServer(server) as stub:
        book, poller = book_and(tempo, stub.url)
        poller.poll(NOW)
        asked = [request for request in stub.requests if "metrics" in request.path]
        poller.poll(NOW + 1)  # nothing new is complete
        assert len([r for r in stub.requests if "metrics" in r.path]) == len(asked) == 2
        poller.close()
    assert {request.headers["X-Scope-OrgID"] for request in stub.requests} == {"shop"}
    query = {k: v[0] for k, v in parse_qs(urlsplit(asked[0].path).query).items()}
    assert int(query["end"]) - int(query["start"]) == 15
    assert int(query["end"]) <= NOW - 45
    assert query["q"].startswith('{resource.service.name="checkout"} | count_over_time() by (')
    seen = TraceCounters(book).seen(SIDES)
    assert not isinstance(seen, Missing)
    assert {s.operation: (s.canary, s.baseline) for s in seen} == {
        POST: (40, 120),
        SELECT: (0, 120),
    }
    by = ("namespace", "pod", names.OPERATION)
    failed, slow = TraceCounters(book).fetch(
        [Query(Selector(names.FAILED), by), Query(Selector(names.DURATIONS), (*by, "le"))],
        Grid(NOW, 10.0, 1),
    )
    assert isinstance(failed, Series)
    assert isinstance(slow, Series)
    new = ("shop", "checkout-new-1", POST)
    assert dict(zip(failed.keys, failed.values[:, 0], strict=True))[new] == 4
    told = dict(zip(slow.keys, slow.values[:, 0], strict=True))
    assert (told[*new, "0.1"], told[*new, "0.2"], told[*new, "+Inf"]) == (0, 30, 40)
    examples = detail(book, POST).examples
    assert {e.trace_id for e in examples} >= {"0000f7e2b1d3c4a5968778695a4b3c2d"}
    assert {e.side for e in examples} == {Side.CANARY, Side.BASELINE}


SERIES = "Response exceeds maximum series limit of 1000, a partial response is returned."


def cut(query: dict[str, str], *, always: bool) -> Answer:
    """Answer like a Tempo whose answers have too many series, always or without a kind."""
    values = json.loads(tempo_metrics(query).body)
    kind = query["q"].partition("kind=")[2].partition("}")[0]
    if kind:
        values["series"] = [s for s in values["series"] if f'"{kind}"' in json.dumps(s)]
    if always or not kind:
        values |= {"status": "PARTIAL", "message": SERIES, "series": values["series"][:1]}
    return Answer(json.dumps(values).encode())


def test_tempo_is_asked_kind_by_kind_when_its_answers_are_cut() -> None:
    server = Server(
        {"/api/metrics/query": partial(cut, always=False), "/api/search": tempo_search}
    )
    with StubServer(server) as stub:
        book, poller = book_and(tempo, stub.url)
        poller.poll(NOW)
        first = len(stub.requests)
        poller.poll(NOW + 15)
        again = [r.path for r in stub.requests[first:] if "metrics" in r.path]
        poller.close()
    seen = TraceCounters(book).seen(SIDES)
    assert not isinstance(seen, Missing)
    assert {s.operation: (s.canary, s.baseline) for s in seen} == {
        POST: (80, 240),
        SELECT: (0, 240),
    }
    assert all("kind%3D" in path for path in again)
    assert detail(book, POST).caveats == ()


def test_a_cut_answer_of_tempo_is_not_counted_and_that_is_said() -> None:
    server = Server({"/api/metrics/query": partial(cut, always=True), "/api/search": tempo_search})
    with StubServer(server) as stub:
        book, poller = book_and(tempo, stub.url)
        poller.poll(NOW)
        poller.close()
    assert book.fates[Fate.COUNTED] == 0
    seen = TraceCounters(book).seen(SIDES)
    assert isinstance(seen, Missing)
    assert seen.reason is Absence.PARTIAL
    assert SERIES in seen.detail
    # what is counted later is told with it
    server.paths["/api/metrics/query"] = tempo_metrics
    with StubServer(server) as stub:
        poller = tempo(Backend(stub.url, TENANT, LIMITS), book)
        poller.poll(NOW + 15)
        poller.close()
    assert any(SERIES in caveat for caveat in detail(book, POST).caveats)


def test_a_daemon_that_starts_asks_for_the_past_and_looks_for_no_examples_there() -> None:
    server = Server({"/api/metrics/query": tempo_metrics, "/api/search": tempo_search})
    with StubServer(server) as stub:
        book = TraceBook(Catalogue(), generation_s=15.0)
        poller = tempo(Backend(stub.url, TENANT, LIMITS), book)
        intake = Intake(book, [poller])
        before = time.time()
        intake.start()
        try:
            assert eventually(lambda: len(stub.requests) >= 2 * 60, 60)
        finally:
            intake.close()
        assert not [r for r in stub.requests if "search" in r.path]
    row = book.catalogue.number_of(POST)
    assert row is not None
    rows = [i.by_operation[row] for i in book.instances() if row in i.by_operation]
    times = np.array([before - 600.0, before - 300.0])
    told = book.rows.at(rows, times, slice(SPANS, SPANS + 1))[:, 0].sum(axis=0)
    # 160 spans in each quarter of a minute
    assert told[1] - told[0] == 160 * 300 / 15


@pytest.mark.parametrize("aligns", [True, False])
def test_after_a_pause_each_span_of_tempo_is_counted_once(aligns: bool) -> None:
    began = int(NOW) - 600
    spans = [
        Span((began + second) * SECOND + part * 90_000_000, status="error" if second % 7 else "ok")
        for second in range(900)
        for part in range(3)
    ]
    server = Server({"/api/search": tempo_search})
    server.paths["/api/metrics/query"] = CountingTempo(spans, aligns)
    with StubServer(server) as stub:
        book, poller = book_and(tempo, stub.url)
        for pause in (0, 5, 15, 40, 130, 131, 290):
            poller.poll(NOW + pause)
        poller.close()
        asked = [parse_qs(urlsplit(r.path).query) for r in stub.requests if "metrics" in r.path]
    begun = sorted({int(query["start"][0]) for query in asked})
    assert all(int(query["end"][0]) - int(query["start"][0]) == 15 for query in asked)
    assert all(start % 15 == 0 for start in begun)
    assert book.fates[Fate.COUNTED] == 3 * 15 * len(begun)
    assert begun == list(range(begun[0], begun[-1] + 1, 15))
    found = detail(book, POST)
    assert found.baseline.spans == 3 * 15 * len(begun)
    assert found.caveats == ()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b"404 page not found", 404), "is this a Tempo, 2.6 or newer?"),
        (
            Answer(b"error finding generators in Querier.queryRangeRecent: empty ring", 500),
            "add local-blocks to the metrics generator",
        ),
        (
            Answer(b"rpc error: localblocks processor not found", 500),
            "without filter_server_spans",
        ),
        (Answer(b"no org id", 401), "name the tenant under headers"),
        (Answer(b""), "is empty"),
        (Answer(b"parse error at line 1, col 12: unknown function", 400), "unknown function"),
    ],
)
def test_people_are_told_why_a_tempo_says_nothing(answer: Answer, said: str) -> None:
    server = Server({"/api/metrics/query": lambda _: answer})
    with StubServer(server) as stub:
        book, poller = book_and(tempo, stub.url)
        poller.poll(NOW)
        poller.close()
    seen = TraceCounters(book).seen(SIDES)
    assert isinstance(seen, Missing)
    assert seen.reason is Absence.PARTIAL
    assert "Tempo (checkout) cannot be read" in seen.detail
    assert said in seen.detail
    # it is told no longer than it is so
    book.turn(NOW + 61)
    assert book.caveats == {}


def test_a_server_that_is_down_is_left_alone_and_what_it_missed_is_said() -> None:
    server = Server({"/api/metrics/query": tempo_metrics, "/api/search": tempo_search})
    with StubServer(server) as stub:
        book, poller = book_and(tempo, stub.url)
        poller.poll(NOW)
        before = book.fates[Fate.COUNTED]
        poller.poll(NOW + 900)
        poller.close()
    assert book.fates[Fate.COUNTED] == (1 + 300 // 15) * before
    (caveat,) = detail(book, POST).caveats
    assert caveat == "600 s of traces were lost while Tempo (checkout) was away"
