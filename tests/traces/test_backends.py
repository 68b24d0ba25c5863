"""Tempo and Jaeger by recorded answers: what they tell is counted, what they cannot tell is said."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from analyzer.rollout import Side
from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Selector
from analyzer.traces import operations as names
from analyzer.traces.operations import Detail, Instances
from rollbackd.sources.http_access import HttpAccess
from rollbackd.sources.prometheus_session import QueryLimits
from rollbackd.traces.backends.jaeger import JaegerPoller
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.backends.tempo import TempoPoller
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.intake import Intake, Poller
from rollbackd.traces.measures import SPANS
from tests.servers.nginx import eventually
from tests.sources.stub_server import Answer, Request, StubServer
from tests.traces.tempo_server import SECOND, CountingTempo, Span

NOW = 1_800_000_000.0
RECORDED = Path(__file__).parent / "recorded"
LIMITS = QueryLimits(timeout_s=5.0, retries=0, max_answer_bytes=200_000)
TENANT = HttpAccess(headers=(("X-Scope-OrgID", "shop"),))
BY = ("k8s.namespace.name", "k8s.pod.name")
SIDES = Instances(("namespace", "pod"), [("shop", "checkout-new-1")], [("shop", "checkout-old-1")])
POST, SELECT = "checkout|server|POST /checkout", "checkout|client|SELECT items"


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


@dataclass
class Server:
    """A backend that answers by path; ``paths`` may be changed while it runs."""

    paths: dict[str, Callable[[dict[str, str]], Answer]] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        answer = self.paths.get(parts.path)
        return Answer(b"404 page not found", 404) if answer is None else answer(query)


def file(name: str) -> Callable[[dict[str, str]], Answer]:
    return lambda _: Answer(recorded(name))


def tempo_metrics(query: dict[str, str]) -> Answer:
    kind = "histogram" if "histogram_over_time" in query["q"] else "count"
    return Answer(recorded(f"tempo-{kind}.json"))


def tempo_search(_query: dict[str, str]) -> Answer:
    return Answer(recorded("tempo-search.json"))


def book_and(make: Callable[[Backend, TraceBook], Poller], url: str) -> tuple[TraceBook, Poller]:
    book = TraceBook(Catalogue())
    return book, make(Backend(url, TENANT, LIMITS), book)


def tempo(backend: Backend, book: TraceBook) -> TempoPoller:
    return TempoPoller(backend, book, ["checkout"], BY)


def jaeger(backend: Backend, book: TraceBook) -> JaegerPoller:
    return JaegerPoller(backend, book, ["checkout"], 3)


def detail(book: TraceBook, operation: str) -> Detail:
    found = TraceCounters(book).detail(SIDES, operation)
    assert not isinstance(found, Missing)
    return found


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


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"invalid TraceQL query: parse error", 400),
        Answer(b"no org id", 401),
        Answer(b"too many requests", 429, {"Retry-After": "1"}),
        Answer(b"", 503),
        Answer(b"{not json"),
        Answer(b"[1]"),
        Answer(b'{"series": 3}'),
        Answer(b'{"series": [{"labels": 1, "value": "NaN"}]}'),
        Answer(b'{"series": [{"value": -1}]}'),
        Answer(b'{"series": [7]}'),
        Answer(b"x" * 300_000),
        Answer(b"", 404),
    ],
)
@pytest.mark.parametrize("make", [tempo, jaeger])
def test_trouble_is_no_evidence_and_the_stretch_is_asked_for_again(
    make: Callable[[Backend, TraceBook], Poller], answer: Answer
) -> None:
    bad = dict.fromkeys(("/api/metrics/query", "/api/v3/traces", "/api/traces"), lambda _: answer)
    server = Server(dict(bad))
    with StubServer(server) as stub:
        book, poller = book_and(make, stub.url)
        poller.poll(NOW)
        assert book.fates[Fate.COUNTED] == 0
        first = stub.requests[0].path
        server.paths.update(
            {
                "/api/metrics/query": tempo_metrics,
                "/api/search": tempo_search,
                "/api/v3/traces": file("jaeger-v3.json"),
            }
        )
        poller.poll(NOW)
        again = [r.path for r in stub.requests[1:] if r.path == first]
        # a server that asked to be left alone is, and is asked later
        assert again or answer.status == 429
        poller.close()


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


def test_jaegers_traces_are_counted_once_with_self_times_and_calls() -> None:
    with StubServer(Server({"/api/v3/traces": file("jaeger-v3.json")})) as stub:
        book, poller = book_and(jaeger, stub.url)
        poller.poll(NOW)
        poller.poll(NOW + 10)  # the same traces again
        path = stub.requests[0].path
        poller.close()
    query = {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}
    assert query["query.serviceName"] == "checkout"
    assert query["query.startTimeMin"].endswith("Z")
    assert query["query.searchDepth"] == "3"
    assert_two_traces(book)
    assert detail(book, POST).caveats == ()


@pytest.mark.parametrize("name", ["jaeger-v1.json", "victoriatraces-v1.json"])
def test_without_v3_version_1_is_asked_and_says_the_same(name: str) -> None:
    with StubServer(Server({"/api/traces": file(name)})) as stub:
        book, poller = book_and(jaeger, stub.url)
        poller.poll(NOW)
        poller.poll(NOW + 10)
        poller.close()
    asked = [urlsplit(request.path).path for request in stub.requests]
    assert asked == ["/api/v3/traces", "/api/traces", "/api/traces"]
    query = {k: v[0] for k, v in parse_qs(urlsplit(stub.requests[1].path).query).items()}
    assert int(query["end"]) - int(query["start"]) == 10_000_000
    assert_two_traces(book)


def unknown_path(path: str) -> Answer:
    """Answer like a VictoriaTraces that has no version 3."""
    said = f'remoteAddr: "127.0.0.1:1"; requestURI: {path}; unsupported path requested: "{path}"'
    return Answer(said.encode(), 400)


def user_interface(_: dict[str, str]) -> Answer:
    return Answer(b"\n<!doctype html><html><head><title>Jaeger UI</title></head></html>")


@pytest.mark.parametrize("prefix", ["", "/select/jaeger"])
@pytest.mark.parametrize("how", ["400", "page"])
def test_servers_that_do_not_say_404_are_asked_by_version_1_too(prefix: str, how: str) -> None:
    v3 = f"{prefix}/api/v3/traces"
    refusing = user_interface if how == "page" else (lambda _: unknown_path(v3))
    paths = {v3: refusing, f"{prefix}/api/traces": file("victoriatraces-v1.json")}
    with StubServer(Server(paths)) as stub:
        book, poller = book_and(jaeger, stub.url + prefix)
        poller.poll(NOW)
        poller.close()
    assert_two_traces(book)


def test_a_server_that_returns_fewer_traces_is_asked_for_fewer() -> None:
    def bounded(query: dict[str, str]) -> Answer:
        if int(query["query.searchDepth"]) > 2:
            said = "incorrect trace query params: query.searchDepth 3 out of range [0, 2]"
            error = {"error": {"httpCode": 400, "message": said}}
            return Answer(json.dumps(error).encode(), 400)
        return Answer(recorded("jaeger-v3.json"))

    with StubServer(Server({"/api/v3/traces": bounded})) as stub:
        book, poller = book_and(jaeger, stub.url)
        poller.poll(NOW)
        poller.close()
    assert_two_traces(book)
    assert detail(book, POST).caveats == ("sampled: the newest 2 traces of each 10 s",)


def test_a_victoriatraces_that_returns_fewer_traces_is_understood_however_long_its_error() -> None:
    def bounded(query: dict[str, str]) -> Answer:
        if int(query["limit"]) > 2:
            # as its HTTP server words errors: who asked what through which proxies comes first
            asked = "&".join(f"{key}={value}" for key, value in query.items())
            said = (
                f'remoteAddr: "10.0.0.7:41022, X-Forwarded-For: {"10.1.2.3, " * 30}10.1.2.4"; '
                f"requestURI: /select/jaeger/api/traces?{asked}; "
                "incorrect trace query params: limit 3 out of range [0, 2]"
            )
            return Answer(said.encode(), 400)
        return Answer(recorded("victoriatraces-v1.json"))

    def unsupported(_: dict[str, str]) -> Answer:
        return unknown_path("/select/jaeger/api/v3/traces")

    paths = {
        "/select/jaeger/api/v3/traces": unsupported,
        "/select/jaeger/api/traces": bounded,
    }
    with StubServer(Server(paths)) as stub:
        book, poller = book_and(jaeger, stub.url + "/select/jaeger")
        poller.poll(NOW)
        poller.close()
    assert_two_traces(book)
    assert detail(book, POST).caveats == ("sampled: the newest 2 traces of each 10 s",)


@pytest.mark.parametrize("names", ["snake_case", "camelCase"])
def test_every_jaeger_understands_the_names_of_the_parameters(names: str) -> None:
    known = {
        "snake_case": ("service_name", "start_time_min", "start_time_max", "num_traces"),
        "camelCase": ("serviceName", "startTimeMin", "startTimeMax", "searchDepth"),
    }[names]

    def strict(query: dict[str, str]) -> Answer:
        service, begin, end, depth = (query.get(f"query.{name}", "") for name in known)
        if not begin or not end:
            said = f"query.{known[1]} and query.{known[2]} are required"
            error = {"error": {"httpCode": 400, "message": said}}
            return Answer(json.dumps(error).encode(), 400)
        if (service, depth) != ("checkout", "3") or not begin < end:
            return Answer(b"?", 500)
        return Answer(recorded("jaeger-v3.json"))

    with StubServer(Server({"/api/v3/traces": strict})) as stub:
        book, poller = book_and(jaeger, stub.url)
        poller.poll(NOW)
        poller.close()
    assert_two_traces(book)


def test_an_old_jaeger_answers_without_the_envelope_of_a_stream() -> None:
    bare = json.dumps(json.loads(recorded("jaeger-v3.json"))["result"]).encode()
    answers = {"/api/v3/traces": lambda _: Answer(bare)}
    with StubServer(Server(answers)) as stub:
        book, poller = book_and(jaeger, stub.url)
        poller.poll(NOW)
        answers["/api/v3/traces"] = lambda _: Answer(b"{}")
        poller.poll(NOW + 10)
        answers["/api/v3/traces"] = lambda _: Answer(b"")  # a stream of nothing
        poller.poll(NOW + 20)
        poller.close()
    assert_two_traces(book)
    assert detail(book, POST).caveats == ()


def assert_two_traces(book: TraceBook) -> None:
    book.turn(NOW + 10)
    book.turn(NOW + 10)
    assert book.fates[Fate.COUNTED] == 6
    found = detail(book, POST)
    assert (found.canary.spans, found.baseline.spans) == (1, 1)
    assert found.canary.errors == {"shop.NoStock": 1.0}
    assert found.canary.calls[SELECT].often == 3
    assert found.baseline.calls[SELECT].often == 1
    assert found.canary.self_s == pytest.approx(0.020, abs=1e-6)


def test_nothing_found_is_an_answer() -> None:
    nothing = Answer(b'{"error": {"httpCode": 404, "message": "No traces found"}}', 404)
    with StubServer(Server({"/api/v3/traces": lambda _: nothing})) as stub:
        book, poller = book_and(jaeger, stub.url)
        poller.poll(NOW)
        poller.poll(NOW + 10)
        poller.close()
    assert [urlsplit(r.path).path for r in stub.requests] == ["/api/v3/traces"] * 2
    assert book.fates[Fate.COUNTED] == 0


def test_base64_ids_of_v3_and_a_bound_that_was_reached() -> None:
    def base64_ids(_: dict[str, str]) -> Answer:
        values = json.loads(recorded("jaeger-v3.json"))
        for resource in values["result"]["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in span:
                            raw = bytes.fromhex(span[key])
                            span[key] = base64.b64encode(raw).decode()
        return Answer(json.dumps(values).encode())

    with StubServer(Server({"/api/v3/traces": base64_ids})) as stub:
        book, _ = book_and(jaeger, stub.url)
        poller = JaegerPoller(Backend(stub.url, TENANT, LIMITS), book, ["checkout"], 2)
        poller.poll(NOW)
        poller.close()
    assert_two_traces(book)
    assert detail(book, POST).caveats == ("sampled: the newest 2 traces of each 10 s",)
