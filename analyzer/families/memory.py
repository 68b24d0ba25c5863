"""What a signal family remembers between ticks, as parallel arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzer.families.increments import Floats

RECENT_TICKS = 6
"""Ticks behind the values that people see as "now"; one alone is too noisy to look at."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Which instance counts for which side of which member, and when; parallel arrays."""

    instance: NDArray[np.intp]
    cell: NDArray[np.intp]
    since: Floats
    until: Floats

    def layers(self) -> list[NDArray[np.intp]]:
        """Return the edges in layers, in each of which a cell is met once at most.

        Summing layer by layer adds the instances of a cell in the order of the edges, which is
        that of their discovery, and takes one operation on arrays for each.
        """
        order = np.argsort(self.cell, kind="stable")
        cells = self.cell[order]
        begins = np.flatnonzero(np.diff(cells, prepend=-1))
        sizes = np.diff(begins, append=len(cells))
        rank = np.arange(len(cells)) - np.repeat(begins, sizes)
        return [np.sort(order[rank == k]) for k in range(int(sizes.max(initial=0)))]


@dataclass(frozen=True, slots=True)
class Seats:
    """Where the detector's rows find their members, and when each began; in the rows' order.

    ``row``: of each member, -1 where it has none. ``heed``: of each row, see ``Member``.
    """

    member: NDArray[np.intp]
    begun: Floats
    row: NDArray[np.intp]
    heed: Floats


@dataclass(frozen=True, slots=True)
class Matches:
    """Which rows of a reply are which of our instances; holds for exactly these objects."""

    ids: Sequence[tuple[str, ...]]
    edges: Edges
    ours: NDArray[np.intp]
    theirs: NDArray[np.intp]


@dataclass(slots=True)
class Memory:
    """What is remembered of each member between ticks; first axis: members.

    ``recent``: (members, RECENT_TICKS, 2 sides, counters) sums of the last ticks, as a ring whose
    newest entry is at ``at``: see ``last``.
    ``seen``: (members, 2) newest time at which each side had a sample.
    ``canary``, ``before``: (members, counters) sums of each side up to ``mark``, the time of an
    action (inf: none yet); ``after``: those of the baseline since; ``after_ticks``: ticks since.
    ``unserved``: (members,) requests of the baseline since the canary's last.

    """

    recent: Floats
    seen: Floats
    pods: Floats
    canary: Floats
    before: Floats
    after: Floats
    mark: Floats
    after_ticks: Floats
    unserved: Floats
    at: int = field(default=RECENT_TICKS - 1, init=False)

    @classmethod
    def empty(cls, members: int, counters: int) -> "Memory":
        """Return the memory of members that have seen nothing."""
        return cls(
            np.zeros((members, RECENT_TICKS, 2, counters)),
            np.full((members, 2), -np.inf),
            np.zeros((members, 2)),
            np.zeros((members, counters)),
            np.zeros((members, counters)),
            np.zeros((members, counters)),
            np.full(members, np.inf),
            np.zeros(members),
            np.zeros(members),
        )

    def arrays(self) -> list[Floats]:
        """Return the arrays in the order of the constructor."""
        return [
            self.recent,
            self.seen,
            self.pods,
            self.canary,
            self.before,
            self.after,
            self.mark,
            self.after_ticks,
            self.unserved,
        ]

    def add(self, sums: Floats, pods: Floats, exposure: Floats, at: float) -> None:
        """Remember one grid point.

        Args:
            sums: (members, 2 sides, counters).
            pods: (members, 2) instances of each side that had a sample.
            exposure: (members, 2) requests among the sums.
            at: the grid time.
        """
        self.at = (self.at + 1) % RECENT_TICKS
        self.recent[:, self.at] = sums
        self.pods = pods
        self.seen[pods > 0] = at
        after = at > self.mark
        if not after.any():
            self.canary += sums[:, 0]
            self.before += sums[:, 1]
        else:
            self.canary[~after] += sums[~after, 0]
            self.before[~after] += sums[~after, 1]
            self.after[after] += sums[after, 1]
            self.after_ticks[after] += pods[after, 1] > 0
        served = exposure[:, 0] > 0
        self.unserved = np.where(served, 0.0, self.unserved + exposure[:, 1])

    def last(self, ticks: int = RECENT_TICKS) -> Floats:
        """Return the sums of the last ticks in their order, (members, ticks, 2 sides, counters)."""
        places = np.arange(self.at - ticks + 1, self.at + 1) % RECENT_TICKS
        last: Floats = self.recent[:, places]
        return last

    def chosen(self, members: Sequence[int]) -> "Memory":
        """Return what is remembered of some members."""
        kept = Memory(*(array[members] for array in self.arrays()))
        kept.at = self.at
        return kept

    def joined(self, other: "Memory") -> "Memory":
        """Return what is remembered of these members and of others after them, who are new."""
        pairs = zip(self.arrays(), other.arrays(), strict=True)
        both = Memory(*(np.concatenate([mine, theirs]) for mine, theirs in pairs))
        both.at = self.at
        return both

    def widen(self, column: list[int], width: int) -> None:
        """Make room for more counters: each one known so far moves to its new column."""

        def spread(sums: Floats) -> Floats:
            wide = np.zeros((*sums.shape[:-1], width))
            wide[..., column] = sums
            return wide

        self.recent = spread(self.recent)
        self.canary, self.before = spread(self.canary), spread(self.before)
        self.after = spread(self.after)
