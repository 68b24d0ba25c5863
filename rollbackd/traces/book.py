"""The book of all that spans told: it takes them in, lets them ripen, and keeps the sums.

Spans wait in generations. A generation is counted when the next one is complete, so that children
that come a little before or after their parent are found; then only its ids are kept for two
generations more, and then nothing but the sums.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from rollbackd.traces.assembly import Counts, assemble
from rollbackd.traces.catalogue import Catalogue, Instance
from rollbackd.traces.examples import Examples
from rollbackd.traces.fates import Fate
from rollbackd.traces.ledger import Floats, Ints, Ledger
from rollbackd.traces.measures import COUNTERS, KEY_COUNTERS, KEY_EVENTS, KEY_SPANS
from rollbackd.traces.semantics import OTHER
from rollbackd.traces.spans import NANOSECONDS, SpanColumns

LATE_S = 120.0
"""Spans whose end is further from now, in either direction, are not counted: they would speak of
another time. More is allowed than any exporter waits."""
SILENT_S = 120.0
"""A process that told nothing for so long is not being measured."""
OLDER = 2
"""Generations kept after they were counted, for the children of those that follow."""


class Busy(Exception):
    """No more spans can be taken before the next generation; the sender should come again."""


class KeyKind(StrEnum):
    """What is counted beside a row's own counters."""

    ERROR = "error"
    CALL = "call"


@dataclass(slots=True)
class _Keys:
    """Error types and calls of rows, as rows of a ledger of their own."""

    number: dict[tuple[int, KeyKind, str], int] = field(default_factory=dict)
    of_row: dict[int, list[tuple[KeyKind, str, int]]] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)


class TraceBook:
    """Takes spans in and keeps their sums. Thread-safe.

    Args:
        catalogue: numbers instances and operations.
        generation_s: how long spans are gathered before they are counted.
        retention_s: how far back sums can be told.
        max_spans: of one generation; what comes beyond is refused.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        generation_s: float = 5.0,
        retention_s: float = 1800.0,
        max_spans: int = 1_000_000,
    ) -> None:
        self.catalogue = catalogue
        self.generation_s = generation_s
        self.fates: Counter[Fate] = Counter()
        self.orphans = 0
        self.skewed = 0
        self.caveats: dict[str, float] = {}
        """What limits the sums, for people, and until when it is to be told."""
        self.keys_crowded = False
        """Whether there was no room for an error type or a call."""
        self.keys_version = 0
        """Grows whenever there is a new error type or call, or one is forgotten."""
        self.lock = threading.RLock()
        self.rows = Ledger(COUNTERS, retention_s)
        self.keys = Ledger(KEY_COUNTERS, retention_s)
        self.examples = Examples()
        self.retention_s = retention_s
        self.max_spans = max_spans
        self._gathering: list[SpanColumns] = []
        self._gathered = 0
        self._waiting = SpanColumns.empty()
        self._older: deque[SpanColumns] = deque(maxlen=OLDER)
        self._keys = _Keys()
        self._turned_at = -np.inf

    # Taking spans in

    def admit(self, spans: int) -> None:
        """Tell whether so many spans could be taken. Raises Busy."""
        if self._gathered + spans > self.max_spans:
            self.fates[Fate.REFUSED] += spans
            raise Busy(f"{self._gathered} spans wait to be counted")

    def take(self, columns: SpanColumns, now: float) -> int:
        """Gather spans; return how many were not counted because they are of another time."""
        end = columns.end.astype(np.float64) / NANOSECONDS
        timely = np.abs(end - now) <= LATE_S
        kept = columns.chosen(timely)
        late = len(columns) - len(kept)
        with self.lock:
            self.fates[Fate.LATE] += late
            self._gathering.append(kept)
            self._gathered += len(kept)
        return late

    def turn(self, now: float) -> None:
        """Close the generation that is gathered, and count the one before it."""
        with self.lock:
            newest = SpanColumns.joined(self._gathering)
            self._gathering, self._gathered = [], 0
            ripe, self._waiting = self._waiting, newest
            older = SpanColumns.joined(list(self._older))
            counts = assemble(
                older,
                ripe,
                newest,
                longest_s=OLDER * self.generation_s,
                process=self.catalogue.row_process,
            )
            self._older.append(ripe)
            self._write(counts, ripe, now)
            self._tidy(now)
            self._turned_at = now

    def _write(self, counts: Counts, ripe: SpanColumns, now: float) -> None:
        fresh = ripe.chosen(counts.fresh)
        self.fates[Fate.COUNTED] += len(fresh)
        self.fates[Fate.DUPLICATE] += counts.duplicates
        self.orphans += counts.orphans
        self.skewed += counts.skewed
        self._add(now, counts.place, counts.amount)
        failures = Counter((int(fresh.row[i]), kind) for i, kind in fresh.errors)
        errors = [(row, KeyKind.ERROR, text, n, n) for (row, text), n in failures.items()]
        operations = self.catalogue.operations
        child = self.catalogue.row_operation
        calls = [
            (row, KeyKind.CALL, operations[child[other]].label, callers, called)
            for (row, other), callers, called in zip(
                counts.calls.tolist(),
                counts.callers.tolist(),
                counts.called.tolist(),
                strict=True,
            )
        ]
        self._write_keys([*errors, *calls], now)
        self.examples.look(fresh, now)

    def add(self, row: int, amounts: Floats, now: float) -> None:
        """Add what a backend counted to one row; amounts of shape (COUNTERS,)."""
        place = np.flatnonzero(amounts).astype(np.int64)
        with self.lock:
            self.fates[Fate.COUNTED] += int(amounts[0])
            self._add(now, row * COUNTERS + place, amounts[place])

    def _add(self, now: float, place: Ints, amount: Floats) -> None:
        """Write into the ledger; a new row was at 0 for as long as its process was counted."""
        for row in np.unique(place // COUNTERS).tolist():
            owner = self.catalogue.row_owner[row]
            if owner is not None:
                owner.first = min(owner.first, now)
                self.rows.begin(row, owner.first)
        self.rows.add(now, place, amount)

    def _write_keys(
        self, found: Sequence[tuple[int, KeyKind, str, float, float]], now: float
    ) -> None:
        sums: dict[int, tuple[float, float]] = {}
        for row, kind, text, spans, events in found:
            key = self._key(row, kind, text)
            if key is not None:
                before = sums.get(key, (0.0, 0.0))
                sums[key] = (before[0] + spans, before[1] + events)
        flat = {
            key * KEY_COUNTERS + i: n
            for key, both in sums.items()
            for i, n in ((KEY_SPANS, both[0]), (KEY_EVENTS, both[1]))
        }
        place = np.array(sorted(flat), dtype=np.int64)
        for key in sums:
            self.keys.begin(key, now)
        self.keys.add(now, place, np.array([flat[p] for p in place.tolist()]))

    def _key(self, row: int, kind: KeyKind, text: str) -> int | None:
        known = self._keys.number.get((row, kind, text))
        if known is not None:
            return known
        mine = self._keys.of_row.setdefault(row, [])
        bounds = self.catalogue.bounds
        if text != OTHER and sum(k is kind for k, _, _ in mine) >= bounds.keys_of_operation:
            return self._key(row, kind, OTHER)
        if self._keys.free:
            number = self._keys.free.pop()
        elif len(self._keys.number) < bounds.keys:
            number = len(self._keys.number)
        else:
            self.keys_crowded = True
            self.keys_version += 1
            return None
        self.keys_version += 1
        self._keys.number[row, kind, text] = number
        mine.append((kind, text, number))
        return number

    def _tidy(self, now: float) -> None:
        """Forget processes of which nothing can be told any more."""
        rows = self.catalogue.forget(now - self.retention_s - SILENT_S)
        self.rows.clear(rows)
        self.examples.forget(rows)
        for row in rows:
            for kind, text, number in self._keys.of_row.pop(row, []):
                del self._keys.number[row, kind, text]
                self.keys_version += 1
                self.keys.clear([number])
                self._keys.free.append(number)
        self.caveats = {text: until for text, until in self.caveats.items() if until > now}

    # What others read; the caller holds the lock

    def keys_of(self, row: int, kind: KeyKind) -> list[tuple[str, int]]:
        """Return the texts of a row's keys and their places in ``keys``."""
        return [(text, n) for k, text, n in self._keys.of_row.get(row, ()) if k is kind]

    def instances(self) -> Iterable[Instance]:
        """Return every process that is known."""
        return self.catalogue.instances

    def caution(self, text: str, until: float, *, instead_of: str = "") -> None:
        """Note what limits the sums, to be told until a time, in the place of what was told before."""
        with self.lock:
            self.caveats.pop(instead_of, None)
            if text:
                self.caveats[text] = until
