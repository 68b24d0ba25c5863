"""Clients that take their time, on real sockets: they are closed, counted, and disturb nobody."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from rollbackd.http import HttpServer
from rollbackd.slow_clients import impatient
from tests.web.house import TOKEN, WAITING, House, open_house

SOON_S = 0.5


@dataclass
class Site:
    port: int = 0
    refused: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def connect(self, first: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(first)
        return connection

    def get(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.port}/", timeout=30).text


@contextmanager
def serving(most: int = 100) -> Iterator[Site]:
    site = Site()

    async def body(request: Request) -> Response:
        site.bodies.append(await request.body())
        return PlainTextResponse("taken")

    async def slowly() -> AsyncIterator[bytes]:
        for word in (b"first ", b"last"):
            yield word
            await asyncio.sleep(3 * SOON_S)

    def news(_: Request) -> Response:
        return StreamingResponse(slowly())

    routes = [
        Route("/", lambda _: PlainTextResponse("hello")),
        Route("/body", body, methods=["POST"]),
        Route("/news", news),
    ]
    protocol = impatient(site.refused.append, whole_in_s=SOON_S, most=most)
    server = HttpServer(Starlette(routes=routes), "127.0.0.1", 0, protocol)
    server.start()
    site.port = server.port
    try:
        yield site
    finally:
        server.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rest(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes; its way to close does not matter."""
    received = b""
    try:
        while part := connection.recv(4096):
            received += part
    except ConnectionResetError:
        pass
    connection.close()
    return received


def greet(connection: socket.socket) -> None:
    """Wait for the answer to a request; the connection stays open."""
    received = b""
    while b"hello" not in received:
        part = connection.recv(4096)
        assert part
        received += part


POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost", POST, POST + b"x" * 99])
def test_who_does_not_come_to_the_point_is_closed_and_counted(sent: bytes) -> None:
    with serving() as site:
        slow = site.connect(sent)
        assert site.get() == "hello"  # meanwhile others are answered
        assert b"taken" not in rest(slow)
        until(lambda: site.refused == ["slow"])
        assert site.bodies == []


def test_drops_do_not_buy_time() -> None:
    with serving() as site:
        slow = site.connect()
        sent = 0
        try:
            for byte in POST * 1000:
                slow.sendall(bytes([byte]))
                sent += 1
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass
        slow.close()
        assert sent < len(POST) * 1000
        assert site.refused == ["slow"]


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first() -> None:
    with serving() as site:
        connection = site.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        greet(connection)
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert b"hello" not in rest(connection)
        assert site.refused == ["slow"]


def test_whoever_listens_to_news_may_stay() -> None:
    with serving() as site:
        answer = requests.get(f"http://127.0.0.1:{site.port}/news", timeout=60)
        assert answer.text == "first last"
        assert site.refused == []


def test_a_whole_request_is_answered_however_long_its_connection_lasts() -> None:
    with serving() as site, requests.Session() as session:
        for _ in range(3):
            url = f"http://127.0.0.1:{site.port}/body"
            assert session.post(url, data=b"x" * 50_000, timeout=30).text == "taken"
        assert [len(body) for body in site.bodies] == [50_000] * 3
        assert site.refused == []


def test_too_many_connections_are_closed_at_once_and_the_others_go_on() -> None:
    with serving(most=2) as site:
        kept = [site.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(2)]
        for each in kept:
            greet(each)
        assert rest(site.connect()) == b""
        assert site.refused == ["too many"]
        for each in kept:
            each.close()
        until(lambda: _answers(site))


def _answers(site: Site) -> bool:
    try:
        return site.get() == "hello"
    except requests.ConnectionError:
        return False


def test_half_a_decision_decides_nothing() -> None:
    house = House()
    with open_house(house) as url:
        port = int(url.rpartition(":")[2])
        head = (
            "POST /api/v1/decisions HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: 500\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(f'{head}{{"watch": "{WAITING.id}", "decision": '.encode())
        assert requests.get(f"{url}/healthz", timeout=30).ok
        assert house.events == []
