"""A journal in memory that keeps the promises of the port, and can be made to fail."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import Lock

from actions.ports import Entry, Permanent


class MemoryJournal:
    """Implements ``actions.ports.Journal``; thread-safe.

    ``failures``: exceptions that the next appends raise, in order, instead of writing; ``None``
    lets one append pass. Use ``failures.append(Transient("disk full"))`` for an outage.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: list[Entry] = []
        self._lock = Lock()
        self.failures: list[Exception | None] = []
        self.append(*entries)

    def append(self, *entries: Entry) -> int:
        with self._lock:
            failure = self.failures.pop(0) if self.failures else None
            if failure is not None:
                raise failure
            first = len(self._entries) + 1
            try:
                # Through JSON and back: what is kept shares nothing with what was given.
                written = [
                    replace(e, seq=first + i, data=json.loads(json.dumps(e.data, allow_nan=False)))
                    for i, e in enumerate(entries)
                ]
            except (TypeError, ValueError) as error:
                raise Permanent(
                    f"not plain JSON values ({error}). Nothing was written."
                ) from error
            self._entries.extend(written)
            return len(self._entries)

    def entries(
        self, *, watch_id: str | None = None, kinds: frozenset[str] | None = None, after: int = 0
    ) -> Iterator[Entry]:
        with self._lock:
            written = tuple(self._entries)
        for entry in written:
            if entry.seq <= after:
                continue
            if watch_id is not None and entry.watch_id != watch_id:
                continue
            if kinds is not None and entry.kind not in kinds:
                continue
            yield entry

    def latest(self, kind: str) -> dict[str, Entry]:
        return {entry.watch_id: entry for entry in self.entries(kinds=frozenset({kind}))}
