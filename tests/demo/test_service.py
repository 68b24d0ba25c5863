"""The shop's processes: noise as described, faults when armed, metrics and spans that are real."""

import asyncio
import http.client
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from rollbackd.demo.service import (
    DRIFT,
    ERROR_SHARE,
    FAULTY_ERROR_SHARE,
    FAULTY_SLOWDOWN,
    QUERIES_OF_N_PLUS_ONE,
    TYPICAL_LATENCY_S,
    Behaviour,
)
from rollbackd.demo.stock import Stock, StockClient
from tests.servers.nginx import eventually, free_port

DRAWS = 4000


def share_of_errors(behaviour: Behaviour) -> float:
    return sum(behaviour.fails() for _ in range(DRAWS)) / DRAWS


def typical_latency(behaviour: Behaviour) -> float:
    return statistics.median(behaviour.latency_s(0.0) for _ in range(DRAWS))


def test_a_healthy_service_has_noise() -> None:
    behaviour = Behaviour("none", random.Random(1))
    assert 0 < share_of_errors(behaviour) < 3 * ERROR_SHARE
    assert typical_latency(behaviour) == pytest.approx(TYPICAL_LATENCY_S, rel=0.05)
    drifting = [Behaviour("none", random.Random(1)).latency_s(t) for t in range(0, 12, 3)]
    assert max(drifting) / min(drifting) == pytest.approx((1 + DRIFT) / (1 - DRIFT), rel=0.01)


def test_a_fault_shows_only_when_armed() -> None:
    errors = Behaviour("errors", random.Random(2))
    assert share_of_errors(errors) < 3 * ERROR_SHARE
    errors.arm()
    assert share_of_errors(errors) == pytest.approx(FAULTY_ERROR_SHARE, rel=0.15)
    slow = Behaviour("latency", random.Random(3))
    slow.arm()
    assert typical_latency(slow) == pytest.approx(FAULTY_SLOWDOWN * TYPICAL_LATENCY_S, rel=0.05)


@contextmanager
def service(*more: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    command = [sys.executable, "-m", "rollbackd.demo.service", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--version", "v2", "--seed", "1", *more], env={**os.environ, **environment}
    )
    try:
        assert eventually(lambda: get(port, "/metrics")[0] == 200, 30.0)
        yield process, port
    finally:
        process.terminate()
        process.wait(10)


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_counts_what_it_answers() -> None:
    with service() as (_, port):
        answered = [get(port, "/")[0] for _ in range(5)]
        page = get(port, "/metrics")[1]
    assert set(answered) <= {200, 500}
    assert f'http_requests_total{{code="200"}} {answered.count(200)}.0' in page
    assert "http_request_duration_seconds_count 5.0" in page


def test_sigusr1_arms_a_crash() -> None:
    with service("--fault", "crash") as (process, _):
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == 1


def test_without_a_fault_sigusr1_does_no_harm() -> None:
    with service() as (process, port):
        process.send_signal(signal.SIGUSR1)
        assert get(port, "/")[0] in {200, 500}
        assert process.poll() is None


def test_spans_go_to_the_configured_collector() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (inherited)
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with service(**settings) as (_, port):
            get(port, "/")
            assert eventually(lambda: bool(received))
        collector.shutdown()
        thread.join()
    (resource,) = ExportTraceServiceRequest.FromString(received[0]).resource_spans
    told = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert (told["service.name"], told["service.version"]) == ("shop", "v2")
    assert resource.scope_spans[0].spans[0].name == "GET /"


def test_only_n_plus_one_asks_the_stock_again_and_again() -> None:
    behaviour = Behaviour("n-plus-one", random.Random(4))
    assert behaviour.queries() == 1
    behaviour.arm()
    assert behaviour.queries() == QUERIES_OF_N_PLUS_ONE
    assert Behaviour("errors", random.Random(4), armed=True).queries() == 1


def test_the_stock_answers_each_query_and_can_become_slow() -> None:
    async def ask(port: int, stock: Stock) -> tuple[int, bool]:
        server = await asyncio.start_server(stock.serve, "127.0.0.1", port)
        client = StockClient(port)
        async with server:
            await asyncio.gather(*(client.query() for _ in range(5)))
            await client.query()
            kept = client.idle
            stock.slow_down()
            await client.close()
            await asyncio.sleep(0.1)  # the stock's side of them ends, too
            return kept, stock.slow

    assert asyncio.run(ask(free_port(), Stock(random.Random(5)))) == (5, True)
