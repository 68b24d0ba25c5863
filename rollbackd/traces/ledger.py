"""Cumulative counters of rows, by time: dense now, as sparse differences before."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FIRST_ROWS = 256


@dataclass(frozen=True, slots=True)
class Step:
    """What was added at one time: flat places and amounts."""

    at: float
    place: Ints
    amount: NDArray[np.float32]


class Ledger:
    """Counters of any number of rows. Not thread-safe: its owner holds the lock.

    A value at a time is today's less all that was added since. Only what changed is kept, so a
    quiet operation costs nothing; what is older than the retention is only part of the sum.

    Args:
        counters: how many a row has. retention_s: how far back values can be told.
    """

    def __init__(self, counters: int, retention_s: float) -> None:
        self._counters = counters
        self._retention_s = retention_s
        self._head: Floats = np.zeros((_FIRST_ROWS, counters))
        self._since: Floats = np.full(_FIRST_ROWS, np.inf)
        self._steps: deque[Step] = deque()

    @property
    def oldest(self) -> float:
        """The earliest time at which values are known; inf while there are none."""
        return self._steps[0].at if self._steps else np.inf

    def begin(self, row: int, since: float) -> None:
        """Let a row count as 0 from a time on; only the first call for a row means anything."""
        self._reserve(row + 1)
        if self._since[row] == np.inf:
            self._since[row] = since

    def add(self, at: float, place: Ints, amount: Floats) -> None:
        """Add amounts at flat places (row * counters + counter), unique, of rows that have begun.

        A time before that of the last addition is moved there.
        """
        at = max(at, self._steps[-1].at) if self._steps else at
        if len(place):
            self._head.reshape(-1)[place] += amount
        self._steps.append(Step(at, place.astype(np.int64), amount.astype(np.float32)))
        while self._steps and self._steps[0].at < at - self._retention_s:
            self._steps.popleft()

    def _reserve(self, rows: int) -> None:
        have = len(self._head)
        if rows <= have:
            return
        more = max(rows, 2 * have) - have
        self._head = np.concatenate([self._head, np.zeros((more, self._counters))])
        self._since = np.concatenate([self._since, np.full(more, np.inf)])

    def clear(self, rows: Iterable[int]) -> None:
        """Begin rows anew that were given to somebody else; nothing of the past may be theirs.

        They must not have changed within the retention.
        """
        for row in rows:
            if row < len(self._head):
                self._head[row] = 0.0
                self._since[row] = np.inf

    def now(self, rows: Sequence[int] | Ints, counters: slice = slice(None)) -> Floats:
        """Return some counters of some rows, (rows, counters); 0 for rows never heard of."""
        rows = np.asarray(rows, dtype=np.int64)
        known = rows < len(self._head)
        if known.all():
            return self._head[rows, counters]
        values = np.zeros((len(rows), len(range(*counters.indices(self._counters)))))
        values[known] = self._head[rows[known], counters]
        return values

    def at(self, rows: Sequence[int] | Ints, times: Floats, counters: slice) -> Floats:
        """Return some counters of some rows at increasing times, (rows, counters, times).

        NaN before a row was first heard of, and where the retention does not reach.
        """
        rows = np.asarray(rows, dtype=np.int64)
        values = self.now(rows, counters)
        moments = [step.at for step in self._steps]
        past = _Past(rows, range(*counters.indices(self._counters)), self._counters)
        steps = list(self._steps)
        out = np.full((*values.shape, len(times)), np.nan)
        last = len(steps)
        for column in range(len(times) - 1, -1, -1):
            upto = bisect_right(moments, times[column])
            for step in steps[upto:last]:
                past.take_off(values, step)
            last = upto
            if upto:
                out[:, :, column] = values
        since = np.full(len(rows), np.inf)
        known = rows < len(self._since)
        since[known] = self._since[rows[known]]
        unheard = since[:, None] > times
        if unheard.any():
            out[np.broadcast_to(unheard[:, None, :], out.shape)] = np.nan
        # float32 differences leave dust, and a counter never falls
        np.round(np.maximum(out, 0.0, out=out), 6, out=out)
        return out if len(times) == 1 else np.fmax.accumulate(out, axis=2)


class _Past:
    """Takes what was added later off the values of some rows.

    Args:
        rows, counters: which values there are. width: counters of a row in the ledger.
    """

    def __init__(self, rows: Ints, counters: range, width: int) -> None:
        self._rows = rows
        self._counters = counters
        self._width = width
        self._slot: Ints | None = None

    def take_off(self, values: Floats, step: Step) -> None:
        """Take off one step, in place; values of shape (rows, counters)."""
        row, counter = np.divmod(step.place, self._width)
        if self._slot is None:
            # most questions are about now and need no such table
            self._slot = np.full(int(self._rows.max(initial=0)) + 1, -1)
            self._slot[self._rows] = np.arange(len(self._rows))
        near = row < len(self._slot)
        owner = np.where(near, self._slot[np.where(near, row, 0)], -1)
        ours = (owner >= 0) & (self._counters.start <= counter) & (counter < self._counters.stop)
        at = owner[ours], counter[ours] - self._counters.start
        values[at] -= step.amount[ours]
