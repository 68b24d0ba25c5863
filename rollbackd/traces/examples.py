"""A few trace ids of each row: the worst of late, and an ordinary one."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rollbackd.traces.spans import NANOSECONDS, SpanColumns

Floats = NDArray[np.float64]

WORST = 3
ORDINARY = 2


@dataclass(frozen=True, slots=True)
class Example:
    """One span that shows what an operation does; ids are hexadecimal, ``span_id`` "" if unknown."""

    at: float
    trace_id: str
    seconds: float
    failed: bool
    span_id: str = ""


@dataclass(slots=True)
class _Shelf:
    worst: deque[Example] = field(default_factory=lambda: deque(maxlen=WORST))
    ordinary: deque[Example] = field(default_factory=lambda: deque(maxlen=ORDINARY))


class Examples:
    """Keeps the newest of the worst and of the ordinary spans of each row; bounded by the rows."""

    def __init__(self) -> None:
        self._shelves: dict[int, _Shelf] = {}

    def look(self, spans: SpanColumns, at: float) -> None:
        """Take one failed or slowest span and one of middling length of each row."""
        if not len(spans):
            return
        length = (spans.end - spans.start).astype(np.float64) / NANOSECONDS
        order = np.lexsort((length, spans.failed, spans.row))
        rows = spans.row[order]
        ends = np.append(np.flatnonzero(rows[1:] != rows[:-1]), len(rows) - 1)
        begins = np.concatenate([[0], ends[:-1] + 1])
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            shelf = self._shelves.setdefault(int(rows[begin]), _Shelf())
            shelf.worst.append(_example(spans, int(order[end]), length, at))
            middle = int(order[(begin + end) // 2])
            if not spans.failed[middle]:
                shelf.ordinary.append(_example(spans, middle, length, at))

    def worst(self, rows: Iterable[int], count: int) -> list[Example]:
        """Return the worst among the kept examples of some rows, of distinct traces."""
        kept = {e.trace_id: e for r in rows if r in self._shelves for e in self._shelves[r].worst}
        return sorted(kept.values(), key=lambda e: (not e.failed, -e.seconds))[:count]

    def ordinary(self, rows: Iterable[int], count: int) -> list[Example]:
        """Return the newest ordinary examples of some rows."""
        shelves = (self._shelves[r] for r in rows if r in self._shelves)
        kept = {e.trace_id: e for shelf in shelves for e in shelf.ordinary}
        return sorted(kept.values(), key=lambda e: -e.at)[:count]

    def add(self, row: int, example: Example) -> None:
        """Keep an example that somebody else chose."""
        shelf = self._shelves.setdefault(row, _Shelf())
        (shelf.worst if example.failed else shelf.ordinary).append(example)

    def forget(self, rows: Iterable[int]) -> None:
        """Drop what was kept of rows."""
        for row in rows:
            self._shelves.pop(row, None)


def _example(spans: SpanColumns, at: int, length: Floats, now: float) -> Example:
    trace_id = spans.trace[at].tobytes().hex()
    span_id = spans.span[at].tobytes().hex()
    return Example(now, trace_id, float(length[at]), bool(spans.failed[at]), span_id)
