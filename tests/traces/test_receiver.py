"""The receiver over real HTTP: the real SDK and a real collector, and senders that misbehave."""

import gzip
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import rotel
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from analyzer.sample import Missing
from analyzer.traces.operations import Instances
from rollbackd.http import HttpServer
from rollbackd.traces import receiver
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.intake import Intake
from rollbackd.traces.receiver import Door
from tests.servers.nginx import eventually, free_port
from tests.traces.building import NOW, Made, one_call, request

PROTOBUF = {"content-type": "application/x-protobuf"}
LIMIT = 20_000
TRACES = 40


@contextmanager
def listening(book: TraceBook) -> Iterator[str]:
    """Serve a receiver whose clock stands still, and which counts only when told to."""
    server = HttpServer(receiver.application(Door(book, LIMIT, lambda: NOW)), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/v1/traces"
    finally:
        server.close()


@pytest.fixture
def book() -> TraceBook:
    return TraceBook(Catalogue(), max_spans=50)


@pytest.fixture
def url(book: TraceBook) -> Iterator[str]:
    with listening(book) as address:
        yield address


def answer(reply: requests.Response) -> ExportTraceServiceResponse:
    told = ExportTraceServiceResponse()
    told.ParseFromString(reply.content)
    return told


def post(url: str, body: bytes, **headers: str) -> requests.Response:
    sent = PROTOBUF | {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(url, data=body, headers=sent, timeout=30)


def test_plain_and_packed_are_taken(book: TraceBook, url: str) -> None:
    body = request(one_call()).SerializeToString()
    for reply in (
        post(url, body),
        post(url, gzip.compress(body, mtime=0), content_encoding="gzip"),
    ):
        assert reply.status_code == 200
        assert not answer(reply).HasField("partial_success")
    book.turn(NOW)
    book.turn(NOW)
    assert book.fates[Fate.COUNTED] == 2
    assert book.fates[Fate.DUPLICATE] == 2


def test_what_cannot_be_used_is_told_with_its_reason(book: TraceBook, url: str) -> None:
    late = Made(start=-1000, end=-999)
    reply = post(url, request([Made(), Made(trace=b"1"), late]).SerializeToString())
    partial = answer(reply).partial_success
    assert (reply.status_code, partial.rejected_spans) == (200, 2)
    assert "16 bytes" in partial.error_message
    assert "minutes from now" in partial.error_message
    text = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]}
    told = requests.post(url, json=text, timeout=30)
    assert told.headers["content-type"] == "application/json"
    assert told.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert (book.fates[Fate.INVALID], book.fates[Fate.LATE]) == (1, 1)
    assert book.fates[Fate.UNATTRIBUTED] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", {}, 400),
        (request(one_call()).SerializeToString()[:-3], {}, 400),
        (b"no gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"cut off", mtime=0)[:-4], {"content_encoding": "gzip"}, 400),
        (b"{", {"content_type": "application/json"}, 400),
        (b"x" * (LIMIT + 1), {}, 413),
        (gzip.compress(bytes(50 * LIMIT)), {"content_encoding": "gzip"}, 413),
        (request([Made() for _ in range(51)]).SerializeToString(), {}, 413),
        (b"", {"content_encoding": "br"}, 415),
        (b"", {"content_type": "text/plain"}, 415),
    ],
)
def test_bad_requests_are_refused_and_nothing_is_counted(
    book: TraceBook, url: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    reply = post(url, body, **headers)
    assert reply.status_code == status
    assert reply.content
    book.turn(NOW)
    book.turn(NOW)
    assert book.fates[Fate.COUNTED] == 0
    assert post(url, request(one_call()).SerializeToString()).status_code == 200


def test_senders_are_slowed_down_while_more_comes_than_can_wait(book: TraceBook, url: str) -> None:
    body = request([Made() for _ in range(30)]).SerializeToString()
    assert post(url, body).status_code == 200
    refused = post(url, body)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    book.turn(NOW)
    assert post(url, body).status_code == 200
    assert book.fates[Fate.REFUSED] == 30


def test_a_sender_that_goes_away_and_other_paths_do_no_harm(url: str) -> None:
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n")
        connection.sendall(b"Content-Type: application/x-protobuf\r\n\r\nshort")
    assert requests.get(url, timeout=30).status_code == 405
    assert requests.post(url.replace("traces", "logs"), timeout=30).status_code == 404
    assert post(url, request(one_call()).SerializeToString()).status_code == 200


# Real senders


@pytest.fixture
def intake() -> Iterator[Intake]:
    running = Intake(TraceBook(Catalogue(), generation_s=0.2))
    running.listen("127.0.0.1", 0, 1 << 20)
    running.start()
    yield running
    running.close()


def sell(endpoint: str, compression: Compression) -> None:
    """Send real spans of a small shop: each request asks the database twice, one in four fails."""
    resource = Resource.create(
        {"service.name": "shop", "k8s.pod.name": "pod-1", "k8s.namespace.name": "shop"}
    )
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for i in range(TRACES):
        try:
            with tracer.start_as_current_span(f"GET /items/{i}", kind=SpanKind.SERVER):
                for _ in range(2):
                    with tracer.start_as_current_span("SELECT items", kind=SpanKind.CLIENT):
                        pass
                if i % 4 == 0:
                    sold: dict[int, str] = {}
                    sold[i].upper()
        except KeyError:
            continue
    provider.shutdown()


def check(intake: Intake) -> None:
    book = intake.book
    assert eventually(lambda: book.fates[Fate.COUNTED] >= 3 * TRACES, 30)
    assert book.fates[Fate.COUNTED] == 3 * TRACES
    root = "shop|server|GET /items/{}"
    detail = TraceCounters(book).detail(Instances(("pod",), [("pod-1",)], []), root)
    assert not isinstance(detail, Missing)
    assert detail.canary.spans == detail.canary.assembled == TRACES
    assert detail.canary.calls["shop|client|SELECT items"].often == pytest.approx(2)
    assert detail.canary.errors == {"KeyError": 0.25}
    (caveat,) = detail.caveats
    assert caveat.endswith("when the daemon started")


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.NoCompression])
def test_spans_of_the_real_sdk_are_counted(intake: Intake, compression: Compression) -> None:
    sell(f"http://127.0.0.1:{intake.port}", compression)
    check(intake)


@pytest.mark.servers
@pytest.mark.parametrize("protocol", ["http"])
def test_spans_through_a_real_collector_are_counted(
    intake: Intake, protocol: str, tmp_path: Path
) -> None:
    agent = Path(rotel.__file__).with_name("rotel-agent")
    http, grpc = free_port(), free_port()
    command = [str(agent), "start", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
    command += ["--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--batch-timeout", "100ms"]
    command += ["--otlp-exporter-endpoint", f"http://127.0.0.1:{intake.port}"]
    command += ["--otlp-exporter-protocol", protocol]
    with (tmp_path / "rotel.log").open("wb") as log:
        collector = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    try:
        assert eventually(lambda: _listens(http), 30), (tmp_path / "rotel.log").read_text()
        sell(f"http://127.0.0.1:{http}", Compression.Gzip)
        check(intake)
    finally:
        collector.terminate()
        collector.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_json_of_the_specification_is_counted(book: TraceBook, url: str) -> None:
    # the example of the OTLP specification, with a pod and our time
    nanoseconds = round(NOW * 1e9)
    span = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173",
        "name": "I'm a server span",
        "startTimeUnixNano": str(nanoseconds),
        "endTimeUnixNano": str(nanoseconds + 1_000_000_000),
        "kind": 2,
        "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}],
    }
    pod = {"key": "k8s.pod.name", "value": {"stringValue": "pod-1"}}
    body = {
        "resourceSpans": [
            {"resource": {"attributes": [pod]}, "scopeSpans": [{"scope": {}, "spans": [span]}]}
        ]
    }
    reply = requests.post(
        url, data=json.dumps(body), headers={"content-type": "application/json"}, timeout=30
    )
    assert (reply.status_code, reply.json()) == (200, {})
    book.turn(NOW)
    book.turn(NOW)
    assert (book.fates[Fate.COUNTED], book.orphans) == (1, 1)
