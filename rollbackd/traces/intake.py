"""Everything that brings spans in, as one part of the daemon: the receiver, the pollers, the clock."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Protocol

import structlog

from rollbackd.http import HttpServer
from rollbackd.traces.book import TraceBook
from rollbackd.traces.receiver import Door, application

log = structlog.get_logger()

YOUNG_S = 900.0
"""How long it is told that spans from before the start were not counted."""
PAST_S = 900.0
"""How much of the past backends are asked for at the start: enough to know how a baseline varies."""


class Poller(Protocol):
    """Fetches from a backend what it knows of the time since the last poll."""

    def poll(self, now: float, *, past: bool = False) -> None:
        """Bring the book up to date. Never raises for trouble of the backend.

        ``past``: counts are wanted of a time long gone, and nothing to look at.
        """

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
        if self.port is not None:
            now = time.time()
            since = datetime.fromtimestamp(now, UTC).strftime("%H:%M UTC")
            self.book.caution(f"counted since {since}, when the daemon started", now + YOUNG_S)
        self._thread.start()

    def _run(self) -> None:
        if self._pollers:
            self._catch_up(time.time())
        while not self._stopping.wait(self.book.generation_s):
            self._count(time.time())

    def _catch_up(self, now: float) -> None:
        """Ask backends for the past, stretch by stretch, as they would have been asked then.

        Spans that were sent to the receiver while nobody listened cannot be had any more.
        """
        began = now - min(PAST_S, self.book.retention_s)
        steps = int((now - began) / self.book.generation_s)
        for step in range(steps):
            if self._stopping.is_set():
                return
            self._count(began + step * self.book.generation_s, past=True)

    def _count(self, now: float, *, past: bool = False) -> None:
        for poller in self._pollers:
            try:
                poller.poll(now, past=past)
            except Exception:
                log.exception("trace poller broke")
        try:
            self.book.turn(now)
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
