"""The customers: as many as asked for, counted by who answered, whatever the proxy does."""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client import REGISTRY

from rollbackd.demo.load import Answer, Crowd, Customer
from tests.servers.nginx import free_port


class Shop(BaseHTTPRequestHandler):
    """Answers as the path-independent script of a test says."""

    protocol_version = "HTTP/1.1"
    status = 200
    upstream: str | None = "127.0.0.1:1"
    length = "0"

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.upstream is not None:
            self.send_header("X-Upstream", self.upstream)
        self.send_header("Content-Length", self.length)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (inherited name)
        pass


@contextmanager
def shop(**changes: object) -> Iterator[int]:
    handler = type("Shop", (Shop,), changes)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int) -> Answer:
    async def once() -> Answer:
        customer = Customer("127.0.0.1", port)
        answer = await customer.ask()
        customer.close()
        return answer

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, Answer("200", "127.0.0.1:1", keeps_open=True)),
        ({"status": 502}, Answer("502", "127.0.0.1:1", keeps_open=True)),
        ({"upstream": "a:1, b:2"}, Answer("200", "b:2", keeps_open=True)),
        ({"upstream": None}, Answer("200", "none", keeps_open=True)),
        ({"length": "nonsense"}, Answer("000", "none", keeps_open=False)),
    ],
)
def test_an_answer_names_code_and_server(changes: dict[str, object], answer: Answer) -> None:
    with shop(**changes) as port:
        assert ask(port) == answer


def test_a_refused_connection_is_an_answer_too() -> None:
    assert ask(free_port()).code == "000"


def counted(upstream: str) -> float:
    labels = {"upstream": upstream, "code": "200"}
    return REGISTRY.get_sample_value("client_requests_total", labels) or 0.0


def test_the_crowd_comes_at_its_rate_and_is_counted() -> None:
    with shop(upstream="here:1") as port:

        async def come() -> None:
            crowd = Crowd("127.0.0.1", port, 100.0, random.Random(1))
            await crowd.come(1.0)
            await asyncio.gather(*crowd._shopping)
            for customer in crowd._idle:
                customer.close()

        before = counted("here:1")
        asyncio.run(come())
        came = counted("here:1") - before
    assert 60 < came < 140
    duration = {"upstream": "here:1"}
    assert REGISTRY.get_sample_value("client_request_duration_seconds_count", duration) == came
