"""A local HTTP server whose answers a test decides: pages, refusals, and every kind of breakage."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Thread
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; ``breakage`` then does to the connection what a healthy server would not."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    breakage: Callable[["Connection"], None] | None = None


class StubServer:
    """Serves ``answer(request)`` for every request, and remembers the requests."""

    def __init__(self, answer: Callable[[Request], Answer], tls: SSLContext | None = None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.bytes_sent = 0
        self.connections = 0
        self.closing = Event()
        self._server = _Server(("127.0.0.1", 0), Connection)
        self._server.stub = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    stub: StubServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients hang up in many of these tests."""


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    wbufsize = 1 << 16
    """Head and body in one packet: in two, Nagle's algorithm holds up each answer for 40 ms."""

    server: _Server

    @property
    def stub(self) -> StubServer:
        return self.server.stub

    def setup(self) -> None:
        super().setup()
        self.stub.connections += 1

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return what ``Date`` says; the answer's own header replaces it."""
        return self._date or super().date_time_string(timestamp)

    def trickle(self) -> None:
        """Send a byte now and then, always before a socket times out, until the server closes."""
        while not self.stub.closing.wait(0.05):
            self.wfile.write(b"#")
            self.wfile.flush()

    def hang(self) -> None:
        """Send nothing more until the server closes."""
        self.stub.closing.wait()

    def flood(self, total_bytes: int = 50_000_000) -> None:
        """Send a long body, as fast as the client reads it."""
        block = b"# nothing but padding\n" * 3000
        while self.stub.bytes_sent < total_bytes and not self.stub.closing.is_set():
            self.wfile.write(block)
            self.stub.bytes_sent += len(block)

    def drop(self) -> None:
        """Close the connection here and now."""
        self.close_connection = True

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        request = Request(
            self.command, self.path, dict(self.headers.items()), self.rfile.read(length)
        )
        self.stub.requests.append(request)
        answer = self.stub.answer(request)
        self._date = answer.headers.get("Date")
        if answer.status:
            self.send_response(answer.status)
            if answer.breakage is None:
                self.send_header("Content-Length", str(len(answer.body)))
            else:
                self.close_connection = True
            for name, value in answer.headers.items():
                if name != "Date":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        if answer.breakage is not None:
            self.close_connection = True
            answer.breakage(self)

    _date: str | None = None


def until(claim: Callable[[], bool], within_s: float = 20.0) -> None:
    """Return once the claim holds."""
    deadline = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < deadline, "the claim did not come true in time"
        time.sleep(0.01)
