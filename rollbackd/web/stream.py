"""Server-sent events: "something changed", so that a page fetches itself again. No content."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from rollbackd.views import WatchView

LOOK_S = 1.0
QUIET_S = 15.0
"""After so long without news a comment is sent: proxies close connections that say nothing."""
MAX_STREAMS = 200
"""Pages that are kept fresh at once; later ones are told to come back and work without."""


@dataclass(slots=True)
class Stream:
    """Tells browsers when to look again.

    Attributes:
        views: the newest snapshots.
    """

    views: Callable[[], tuple[WatchView, ...]]
    _open: int = field(default=0, init=False)

    async def answer(self, request: Request) -> Response:
        """Answer one browser for as long as it listens."""
        if self._open >= MAX_STREAMS:
            headers = {"retry-after": "60"}
            return PlainTextResponse("too many pages are open\n", 503, headers=headers)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._news(request), media_type="text/event-stream", headers=headers
        )

    async def _news(self, request: Request) -> AsyncIterator[str]:
        self._open += 1
        try:
            known, quiet = self._mark(), 0.0
            yield "retry: 3000\n\n"
            while not await request.is_disconnected():
                await asyncio.sleep(LOOK_S)
                mark, quiet = self._mark(), quiet + LOOK_S
                if mark != known:
                    known, quiet = mark, 0.0
                    yield "event: change\ndata: watches\n\n"
                elif quiet >= QUIET_S:
                    quiet = 0.0
                    yield ": nothing new\n\n"
        finally:
            self._open -= 1

    def _mark(self) -> int:
        return hash(tuple((v.id, v.updated_at, v.phase, v.stops) for v in self.views()))
