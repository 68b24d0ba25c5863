"""Connections that take too long to say what they want are closed, and so are too many at once.

A request that comes in drop by drop would hold its connection for ever, and there are only so many.
Whoever reads news (server-sent events) has asked in time and may stay.
"""

import asyncio
from collections.abc import Callable

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger()

WHOLE_IN_S = 20.0
"""A request, head and body, must be there in so many seconds."""
MAX_CONNECTIONS = 1000
"""Open at once; the least that systems allow a process is about as many files."""

_WHOLE = frozenset({h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.SWITCHED_PROTOCOL})
Refused = Callable[[str], None]
"""Counts what was refused, by reason."""


def impatient(
    refused: Refused, *, whole_in_s: float = WHOLE_IN_S, most: int = MAX_CONNECTIONS
) -> type[H11Protocol]:
    """Return the protocol of a server that waits so long for a request, and takes so many."""

    class Impatient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                self._give_up("too many")
            else:
                self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state in _WHOLE:
                self._rest()
            elif self._deadline is None:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._deadline = self.loop.call_later(whole_in_s, self._give_up, "slow")

        def _rest(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self, reason: str) -> None:
            refused(reason)
            client = self.client[0] if self.client else ""
            log.warning("connection closed", reason=reason, client=client)
            self.transport.abort()

    return Impatient
