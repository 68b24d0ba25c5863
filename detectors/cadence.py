"""When a sequential detector starts again, how much evidence that may cost, and what is recent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.rows import Floats, Ints, Rows, Singles, sum_nodes

KEPT_RESTARTS: Final = 3
"""Restarted instances kept beside the first one: older ones hardly differ from the first."""

RECENT_SLOTS: Final = 5
"""Slots of the recent window: 'last 5 min' moves in steps of one minute, at a sixth of the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """The common clockwork of the sequential detectors. All times are in seconds.

    An e-process that only looks back to the start of a watch is slow to see a fault that
    begins later, for the healthy time weighs against it. So a new instance is started every
    `restart_s` and the instances are averaged with weights fixed in advance, which sum to one
    (a mixture of e-processes is an e-process; Shin, Ramdas & Rinaldo, E-detectors, 2023).

    Attributes:
        tick_s: time between two updates, equal to the scrape interval.
        horizon_s: how long a watch is expected to last; restarts end there.
        restart_s: time between two restarts.
        recent_s: length of the window of the recent effect.
        first_weight: share of the evidence given to the instance that runs from the start.
        interval_alpha: one minus the coverage of the confidence sequences.

    Raises:
        ValueError: a time is not positive, the weight is outside (0, 1], or `interval_alpha`
            outside (0, 1).
    """

    tick_s: float = 10.0
    horizon_s: float = 3600.0
    restart_s: float = 300.0
    recent_s: float = 300.0
    first_weight: float = 0.5
    interval_alpha: float = 0.05

    def __post_init__(self) -> None:
        for name in ("tick_s", "horizon_s", "restart_s", "recent_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive number of seconds")
        if not 0 < self.first_weight <= 1:
            raise ValueError("first_weight must lie in (0, 1]")
        if not 0 < self.interval_alpha < 1:
            raise ValueError("interval_alpha must lie in (0, 1)")

    @property
    def horizon_ticks(self) -> int:
        """Ticks of the expected watch, at least one."""
        return max(1, round(self.horizon_s / self.tick_s))

    @property
    def restart_ticks(self) -> int:
        """Ticks between two restarts, at least one."""
        return max(1, round(self.restart_s / self.tick_s))

    @property
    def slot_ticks(self) -> int:
        """Ticks of one slot of the recent window, at least one."""
        return max(1, round(self.recent_s / self.tick_s / RECENT_SLOTS))

    @property
    def restarts(self) -> int:
        """Restarts within the horizon (the start itself is not one)."""
        return (self.horizon_ticks - 1) // self.restart_ticks

    @property
    def weights(self) -> tuple[float, float]:
        """Weight of the first instance and of each restarted one; all together sum to one."""
        if not self.restarts:
            return 1.0, 0.0
        return self.first_weight, (1 - self.first_weight) / self.restarts

    def restarting(self, age: Ints) -> tuple[Ints, Ints]:
        """Return the rows that start a new instance at this age, and the slot it goes to."""
        number = age // self.restart_ticks
        due = (age > 0) & (age % self.restart_ticks == 0) & (number <= self.restarts)
        rows = np.flatnonzero(due)
        return rows, (number[rows] - 1) % KEPT_RESTARTS

    def started(self, age: Ints) -> Ints:
        """Return how many restarts a row of this age has made."""
        started: Ints = np.minimum(np.maximum(age - 1, 0) // self.restart_ticks, self.restarts)
        return started

    def mixture(self, age: Ints, first: Floats, restarted: Floats) -> Floats:
        """Average the instances' e-values, weights fixed in advance.

        Weight not yet given out counts as one. The weight of an instance no longer kept is
        lost: that only lowers the evidence.

        Args:
            age: ticks lived, (rows,).
            first: e-value since the start, (rows, ...).
            restarted: e-values of the kept restarts, (rows, KEPT_RESTARTS, ...).
        """
        head, tail = self.weights
        started = self.started(age)
        lead = (slice(None), *(None,) * (first.ndim - 1))
        total: Floats = head * first + tail * (self.restarts - started)[lead]
        for slot in range(KEPT_RESTARTS):
            total += np.where((started > slot)[lead], tail * restarted[:, slot], 0.0)
        return total


@dataclass(frozen=True, slots=True)
class RecentSums(Rows):
    """Sums over about the last `recent_s` seconds, as a ring of slots.

    Attributes:
        slots: (rows, RECENT_SLOTS, ...), float32: exact for integers below 2^24 per minute.
    """

    slots: Singles

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> RecentSums:
        """Return a window that has seen nothing, for rows and trailing axes of this shape."""
        return cls(np.zeros((shape[0], RECENT_SLOTS, *shape[1:]), np.float32))

    def add(self, values: Floats, age: Ints, cadence: Cadence) -> None:
        """Add one tick, in place; a slot is emptied when its turn comes again.

        Args:
            values: (rows, ...).
            age: ticks lived before this one, (rows,).
            cadence: gives the length of a slot.
        """
        rows = np.arange(len(age))
        slot = (age // cadence.slot_ticks) % RECENT_SLOTS
        entering = age % cadence.slot_ticks == 0
        self.slots[rows[entering], slot[entering]] = 0
        self.slots[rows, slot] += values.astype(np.float32)

    def total(self) -> Floats:
        """Return the sums of the window, (rows, ...)."""
        return sum_nodes(np.moveaxis(self.slots, 1, 0)).astype(np.float64)
