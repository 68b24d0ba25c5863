"""What a signal family remembers between ticks, as parallel arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzer.increments import Floats

RECENT_TICKS = 6
"""Ticks behind the values that people see as "now"; one alone is too noisy to look at."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Which instance counts for which side of which member, and when; parallel arrays."""

    instance: NDArray[np.intp]
    cell: NDArray[np.intp]
    since: Floats
    until: Floats


@dataclass(slots=True)
class Memory:
    """What is remembered of each member between ticks; first axis: members.

    ``recent``: (members, RECENT_TICKS, 2 sides, counters) sums of the last ticks.
    ``seen``: (members, 2) newest time at which each side had a sample.
    ``canary``, ``before``: (members, counters) sums of each side up to ``mark``, the time of an
    action (inf: none yet); ``after``: those of the baseline since; ``after_ticks``: ticks since.
    """

    recent: Floats
    seen: Floats
    pods: Floats
    canary: Floats
    before: Floats
    after: Floats
    mark: Floats
    after_ticks: Floats

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
        ]

    def widen(self, column: list[int], width: int) -> None:
        """Make room for more counters: each one known so far moves to its new column."""

        def spread(sums: Floats) -> Floats:
            wide = np.zeros((*sums.shape[:-1], width))
            wide[..., column] = sums
            return wide

        self.recent = spread(self.recent)
        self.canary, self.before = spread(self.canary), spread(self.before)
        self.after = spread(self.after)
