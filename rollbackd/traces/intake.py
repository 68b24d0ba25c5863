"""Everything that brings spans in, as one part of the daemon: the receiver, the pollers, the clock."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

import structlog

from rollbackd.http import HttpServer
from rollbackd.traces.book import TraceBook
from rollbackd.traces.receiver import Door, application

log = structlog.get_logger()


class Poller(Protocol):
    """Fetches from a backend what it knows of the time since the last poll."""

    def poll(self, now: float) -> None:
        """Bring the book up to date. Never raises for trouble of the backend."""

    def close(self) -> None:
        """Release connections; idempotent."""


class Intake:
    """Brings spans into a book until it is closed.

    Args:
        book: where spans go. pollers: asked once a generation.
    """

    def __init__(self, book: TraceBook, pollers: Sequence[Poller] = ()) -> None:
        self.book = book
        self.port: int | None = None
        self._pollers = tuple(pollers)
        self._stopping = threading.Event()
        self._stack = ExitStack()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def listen(self, host: str, port: int, max_body: int) -> None:
        """Open the receiver. Raises OSError."""
        server = HttpServer(application(Door(self.book, max_body)), host, port)
        self._stack.callback(server.close)
        server.start()
        self.port = server.port
        log.info("receiving traces", host=host, port=server.port)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self.book.generation_s):
            for poller in self._pollers:
                try:
                    poller.poll(time.time())
                except Exception:
                    log.exception("trace poller broke")
            try:
                self.book.turn(time.time())
            except Exception:
                log.exception("spans not counted")

    def close(self) -> None:
        """Stop taking spans in, and counting."""
        self._stopping.set()
        self._stack.close()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        for poller in self._pollers:
            poller.close()
