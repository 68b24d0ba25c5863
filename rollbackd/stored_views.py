"""What a replica that follows can show: the views that the leader wrote to the journal."""

import time
from collections.abc import Callable
from threading import Lock

import structlog

from actions.ports import ActionError, Journal
from rollbackd.views import WatchView
from rollbackd.views_json import NotAView, view_from_json

log = structlog.get_logger()

KEEP_S = 5.0
"""How long an answer is good enough: a page that asks every second must not load the database."""


class StoredViews:
    """The newest view of each watch, as of its last transition. May be called from any thread.

    Args:
        journal: where the leader writes.
        limit: how many ended watches are shown, the newest first.
        clock: seconds that only grow.
    """

    def __init__(
        self, journal: Journal, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal = journal
        self._limit = limit
        self._clock = clock
        self._lock = Lock()
        self._read_at: float | None = None
        self._views: tuple[WatchView, ...] = ()

    def __call__(self) -> tuple[WatchView, ...]:
        """Return the views; those read before while the journal cannot be reached."""
        with self._lock:
            now = self._clock()
            if self._read_at is None or now - self._read_at >= KEEP_S:
                self._read_at = now
                try:
                    self._views = self._read()
                except ActionError as error:
                    log.warning("views not read, showing those before", error=str(error))
            return self._views

    def _read(self) -> tuple[WatchView, ...]:
        found = []
        newest = sorted(self._journal.latest("view").values(), key=lambda entry: -entry.seq)
        for entry in newest:
            try:
                found.append(view_from_json(entry.data))
            except NotAView as error:
                log.warning("view not readable", watch=entry.watch_id, error=str(error))
        ended = [view for view in found if view.final]
        return (*(view for view in found if not view.final), *ended[: self._limit])
