"""What was asked of the server and what was answered, for tests to read."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .objects.metadata import JsonObject

MOST_ENTRIES = 10_000  # older ones are forgotten


@dataclass(slots=True)
class LoggedRequest:
    """One request; `status` stays `None` while it runs and when its answer was broken off.

    Attributes:
        id: counts up from 1.
        time: when it arrived, by the cluster's clock.
        method: HTTP method.
        path: without the query.
        query: parameters; the last one wins when one is repeated.
        verb: API verb; empty for discovery and health checks.
        body: the decoded JSON body, or `None`.
        status: HTTP status.
        fault: the action of the fault which hit it, or empty.
    """

    id: int
    time: float
    method: str
    path: str
    query: dict[str, str]
    verb: str = ""
    body: JsonObject | list[JsonObject] | None = None
    status: int | None = None
    fault: str = ""


class RequestLog:
    """The newest requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=MOST_ENTRIES)
        self._numbers = itertools.count(1)

    def begin(self, time: float, method: str, path: str, query: dict[str, str]) -> LoggedRequest:
        """Note a request that just arrived."""
        entry = LoggedRequest(next(self._numbers), time, method, path, query)
        self._entries.append(entry)
        return entry

    def after(self, number: int = 0) -> list[LoggedRequest]:
        """Return the requests which came after the one with this id."""
        return [entry for entry in self._entries if entry.id > number]

    def clear(self) -> None:
        """Forget all requests; the ids go on counting."""
        self._entries.clear()
