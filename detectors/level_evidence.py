"""What the canary's intervals say of a moved level, since each start of the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.carry_over import inflation_of, mean_share
from detectors.level_noise import (
    LevelNoise,
    Spread,
    pod_variance,
    spread_likelihood,
    step_variance,
)
from detectors.rows import Bools, Floats, Ints, Rows, sum_nodes
from detectors.starts import KEPT_STARTS, ODD, STARTS, restarting

SHIFT_NODES: Final = np.array([0.2, 0.35, 0.55, 0.85, 1.25, 1.8, 2.6, 3.7])
"""Alternatives: shifts on the log scale, ×1.2 to ×40."""

COUNT, SUM = range(2)
"""Columns of the sums."""

MOST_LOG: Final = 690.0
"""exp(690) is near the largest float64."""


@dataclass(frozen=True, slots=True)
class LevelMemory(Rows):
    """What changes from interval to interval.

    Attributes:
        age: intervals lived, informative or not, (rows,).
        sums: (rows, 2) count and Σx of the canary's informative intervals.
        starts: (rows, 7, 2) `sums` at the kept restarts.
        highest, lowest: (rows, 8, 2) most extreme values since the start and each kept restart,
            the most extreme first.
        pods: (rows, 2) instances of canary and baseline in the newest informative interval.
        reference: (rows, 2) newest reference and the points behind it.
        spread: newest spread of the baseline.
    """

    age: Ints
    sums: Floats
    starts: Floats
    highest: Floats
    lowest: Floats
    pods: Floats
    reference: Floats
    spread: Spread

    @classmethod
    def empty(cls, rows: int) -> LevelMemory:
        """Return the memory of rows that have seen nothing."""
        return cls(
            age=np.zeros(rows, np.int64),
            sums=np.zeros((rows, 2)),
            starts=np.zeros((rows, KEPT_STARTS, 2)),
            highest=np.full((rows, STARTS, ODD), -np.inf),
            lowest=np.full((rows, STARTS, ODD), np.inf),
            pods=np.ones((rows, 2)),
            reference=np.zeros((rows, 2)),
            spread=Spread.nothing(rows),
        )

    def restart(self, every: int) -> None:
        """Begin the instances that are due, in place."""
        rows, slot = restarting(self.age, every)
        self.starts[rows, slot] = self.sums[rows]
        self.highest[rows, slot + 1] = -np.inf
        self.lowest[rows, slot + 1] = np.inf

    def add(self, value: Floats, known: Bools) -> None:
        """Add one interval's value where it is known, in place."""
        self.sums[...] += np.stack([known, np.where(known, value, 0.0)], axis=1)
        seen = value[known, None]
        for extremes, more, less in (
            (self.highest, np.maximum, np.minimum),
            (self.lowest, np.minimum, np.maximum),
        ):
            first, second = extremes[known, :, 0], extremes[known, :, 1]
            extremes[known, :, 0] = more(first, seen)
            extremes[known, :, 1] = more(second, less(first, seen))


@dataclass(frozen=True, slots=True)
class Since:
    """The canary since each start and before it; (rows, 8) each, a shift is harmful when positive.

    Attributes:
        count: intervals. shift: their mean less the reference.
        extreme: (rows, 8, 2) the most accusing intervals less the reference; 0 for none.
        before: intervals before the start. earlier: their mean less the reference.
    """

    count: Floats
    shift: Floats
    extreme: Floats
    before: Floats
    earlier: Floats


def statistics_since(memory: LevelMemory, sign: float) -> Since:
    """Return the statistics since each start, for a rise (+1) or a fall (-1)."""
    before = np.concatenate([np.zeros_like(memory.starts[:, :1]), memory.starts], axis=1)
    count, total = np.moveaxis(memory.sums[:, None] - before, 2, 0)
    reference = memory.reference[:, :1]
    past = before[:, :, COUNT]
    extreme = sign * (memory.highest if sign > 0 else memory.lowest)
    extreme = extreme - sign * reference[:, :, None]
    return Since(
        count,
        np.where(count > 0, sign * (total / np.maximum(count, 1.0) - reference), 0.0),
        np.where(np.isfinite(extreme), extreme, 0.0),
        past,
        np.where(past > 0, sign * (before[:, :, SUM] / np.maximum(past, 1.0) - reference), 0.0),
    )


@dataclass(frozen=True, slots=True)
class NoiseNodes:
    """What is believed of the noise at every node, (40, rows) each but the last.

    Attributes:
        belief: log mass. offset: variance of an innocent canary's persistent difference, the
            reference's own included. step: variance of one interval's difference.
        inflation: (rows,) by how much correlation inflates the variance of a long mean.
    """

    belief: Floats
    offset: Floats
    step: Floats
    inflation: Floats

    @classmethod
    def of(cls, memory: LevelMemory, noise: LevelNoise, tick_s: float) -> NoiseNodes:
        """Return the belief after what the baseline has shown.

        Where both sides run at the same time, the baseline's noise is in every interval and the
        reference has none.
        """
        inflation = inflation_of(memory.spread, tick_s)
        belief = noise.belief + spread_likelihood(memory.spread, noise.scale, inflation)
        canary, baseline = memory.pods.T
        behind = np.maximum(memory.reference[:, 1], 1.0)
        paired = np.isinf(behind)
        beside = np.where(paired, 1.0 / baseline, 0.0)
        each = np.where(paired, 1.0, behind / baseline)
        reference = np.where(paired, 0.0, mean_share(each, inflation) / baseline)
        ripple = step_variance()
        apart = pod_variance(noise.scale).T * (1.0 / canary + 1.0 / baseline)
        return cls(
            belief.T,
            apart + np.outer(ripple, reference),
            np.outer(ripple, 1.0 / canary + beside),
            inflation,
        )

    def mean_variance(self, count: Floats) -> Floats:
        """Return the believed variance of the mean of so many intervals, (rows,)."""
        mass = np.exp(self.belief - self.belief.max(axis=0))
        variance = self.offset + self.step * mean_share(count, self.inflation)
        mean: Floats = sum_nodes(mass * variance) / sum_nodes(mass)
        return mean


def log_factors(
    since: Since, nodes: NoiseNodes, odd: Floats, chosen: tuple[Ints, Ints], bound: Floats
) -> Floats:
    """Return the log evidence of a harmful shift for chosen rows and starts, (chosen,).

    Args:
        since: the canary since each start, and before it.
        nodes: what is believed of the noise.
        odd: (chosen,) how many of the most accusing intervals must not decide by themselves.
        chosen: rows and starts.
        bound: (chosen,) log evidence that these may add to what the others say.
    """
    rows, starts = chosen
    belief, offset, step = (x[:, rows] for x in (nodes.belief, nodes.offset, nodes.step))
    inflation = nodes.inflation[rows]
    count, shift = since.count[rows, starts], since.shift[rows, starts]
    before, earlier = since.before[rows, starts], since.earlier[rows, starts]
    # the canary's own offset, as far as its past before the start tells
    known = before > 0
    past = offset + step * mean_share(before, inflation)
    told = np.where(known, offset / past, 0.0)
    belief = belief - 0.5 * np.where(known, np.log(past) + earlier**2 / past, 0.0)
    offset, expected = offset * (1.0 - told), told * earlier
    variance = offset + step * mean_share(count, inflation)
    found = _log_factor(belief, variance, shift, expected)
    for most in range(1, ODD + 1):
        if not (odd == most).any():
            continue
        aside = since.extreme[rows, starts, :most].sum(axis=1)
        kept = np.maximum(count - most, 1.0)
        variance = offset + step * mean_share(kept, inflation)
        rest = _log_factor(belief, variance, (count * shift - aside) / kept, expected)
        found = np.where(odd == most, np.minimum(found, rest + bound), found)
    return found


def _log_factor(belief: Floats, variance: Floats, shift: Floats, expected: Floats) -> Floats:
    """Return log Σ p·mean_δ N(d; δ, V) / Σ p·N(d; 0, V) over nodes (40, chosen).

    N(d; δ, V) = N(d; 0, V)·exp((d·δ - δ²/2)/V): the first factor is shared by all δ.
    """
    apart = np.minimum(shift, SHIFT_NODES[-1]) - expected
    precision = 1.0 / variance
    null = belief + 0.5 * (np.log(precision) - apart**2 * precision)
    gains = [(apart * node - 0.5 * node**2) * precision for node in SHIFT_NODES]
    top = gains[0]
    for gain in gains[1:]:
        top = np.maximum(top, gain)
    raised = np.zeros_like(null)
    for gain in gains:
        raised += np.exp(gain - top)
    other = null + top + np.log(raised / len(SHIFT_NODES))
    factor: Floats = _log_sum(other) - _log_sum(null)
    return factor


def _log_sum(values: Floats) -> Floats:
    """Return log Σ exp over the first axis, without overflow."""
    most = values.max(axis=0)
    total: Floats = np.log(sum_nodes(np.exp(values - most))) + most
    return total
