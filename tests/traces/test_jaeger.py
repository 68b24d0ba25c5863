"""Jaeger and VictoriaTraces by recorded answers, in all the ways that their versions give them."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from rollbackd.traces.backends.jaeger import JaegerPoller
from rollbackd.traces.backends.server import Backend
from rollbackd.traces.book import TraceBook
from rollbackd.traces.fates import Fate
from tests.sources.stub_server import Answer, StubServer
from tests.traces.served import (
    LIMITS,
    NOW,
    POST,
    SELECT,
    TENANT,
    Server,
    book_and,
    detail,
    file,
    jaeger,
    recorded,
)


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


def test_version_3_of_victoriatraces_says_the_same_span_by_span() -> None:
    """It tells each span with its resource, every value as text, and what is not there as empty."""
    told = []
    for resource in json.loads(recorded("jaeger-v3.json"))["result"]["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                plain = {"traceState": "", "parentSpanId": "", "flags": 0, "links": []}
                status = {"message": "", "code": 0} | span["status"]
                full = plain | {"events": []} | span | {"status": status, "droppedEventsCount": 0}
                full["attributes"] = [
                    {
                        "key": a["key"],
                        "value": {"stringValue": str(next(iter(a["value"].values())))},
                    }
                    for a in span["attributes"]
                ]
                scoped = {"name": "", "version": "", "attributes": [], "droppedAttributesCount": 0}
                told.append(
                    {
                        "resource": resource["resource"],
                        "scopeSpans": [{"scope": scoped, "spans": [full], "schemaUrl": ""}],
                        "schemaUrl": "",
                    }
                )
    answer = Answer(json.dumps({"result": {"resourceSpans": told}}).encode())
    path = "/select/jaeger/api/v3/traces"
    with StubServer(Server({path: lambda _: answer})) as stub:
        book, poller = book_and(jaeger, stub.url + "/select/jaeger")
        poller.poll(NOW)
        poller.close()
    assert [urlsplit(r.path).path for r in stub.requests] == [path]
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
