"""What the canary's intervals say of a moved level, since each start of the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.level_noise import (
    LevelNoise,
    Spread,
    pod_variance,
    spread_likelihood,
    step_variance,
)
from detectors.rows import Floats, Ints, Rows

SHIFT_NODES: Final = np.array([0.2, 0.35, 0.55, 0.85, 1.25, 1.8, 2.6, 3.7])
"""Alternatives: shifts on the log scale, ×1.2 to ×40."""

COUNT, SUM = range(2)
"""Columns of the sums."""


@dataclass(frozen=True, slots=True)
class LevelMemory(Rows):
    """What changes from interval to interval.

    Attributes:
        age: intervals lived, informative or not, (rows,).
        sums: (rows, 2) count and Σx of the canary's informative intervals.
        starts: (rows, 7, 2) `sums` at the kept restarts.
        highest, lowest: (rows, 8) extreme values since the start and each kept restart.
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


@dataclass(frozen=True, slots=True)
class Since(Rows):
    """Statistics of the canary since each start, the most accusing interval set aside.

    Attributes:
        count: (rows, 8) intervals, all of them. kept: without the one set aside.
        shift: mean of the kept ones less the reference; positive is harmful.
        before: intervals before the start. earlier: their mean less the reference.
    """

    count: Floats
    kept: Floats
    shift: Floats
    before: Floats
    earlier: Floats


def statistics_since(memory: LevelMemory, sign: float, aside: float) -> Since:
    """Return the statistics since each start, for a rise (+1) or a fall (-1)."""
    before = np.concatenate([np.zeros_like(memory.starts[:, :1]), memory.starts], axis=1)
    count, total = np.moveaxis(memory.sums[:, None] - before, 2, 0)
    worst = memory.highest if sign > 0 else memory.lowest
    worst = np.where(np.isfinite(worst), worst, 0.0) * aside
    kept = np.maximum(count - aside, 0.0)
    mean = (total - worst) / np.maximum(kept, 1.0)
    reference = memory.reference[:, :1]
    past = before[:, :, COUNT]
    earlier = before[:, :, SUM] / np.maximum(past, 1.0) - reference
    return Since(
        count,
        kept,
        np.where(kept > 0, sign * (mean - reference), 0.0),
        past,
        np.where(past > 0, sign * earlier, 0.0),
    )


def noise_belief(memory: LevelMemory, noise: LevelNoise) -> tuple[Floats, Floats]:
    """Return belief in the noise and τ²·(1/k+1/m) at every node, each (rows, 40)."""
    belief = noise.belief + spread_likelihood(memory.spread, noise.scale)
    pods = 1.0 / memory.pods[:, 0] + 1.0 / memory.pods[:, 1]
    return belief, pod_variance(noise.scale) * pods[:, None]


def bayes_factor(since: Since, belief: Floats, pod_part: Floats, memory: LevelMemory) -> Floats:
    """Return the evidence of a harmful shift since each start, (rows, 8).

    Args:
        since: the canary since each start, and before it.
        belief: (rows, 40) log mass of the noise.
        pod_part: τ²·(1/k+1/m), (rows, 40).
        memory: gives instances, the reference and the correlation of intervals.
    """
    step, reference = step_parts(memory)
    step, offset = step[:, None], (pod_part + reference)[:, None]
    # the canary's own offset, as far as its past before the start tells
    past = step / np.maximum(since.before, 1.0)[..., None]
    told = np.where(since.before[..., None] > 0, offset / (offset + past), 0.0)
    earlier = since.earlier[..., None]
    weight = belief[:, None] + np.where(
        since.before[..., None] > 0,
        -0.5 * (np.log(offset + past) + earlier**2 / (offset + past)),
        0.0,
    )
    variance = offset * (1.0 - told) + step / np.maximum(since.kept, 1.0)[..., None]
    weight = weight - 0.5 * np.log(variance)
    apart = np.clip(since.shift, None, SHIFT_NODES[-1])[..., None] - told * earlier
    null = _log_sum(weight - 0.5 * apart**2 / variance)
    nodes = [weight - 0.5 * (apart - node) ** 2 / variance for node in SHIFT_NODES]
    other = _log_sum(np.concatenate(nodes, axis=-1)) - np.log(len(SHIFT_NODES))
    factor: Floats = np.exp(np.clip(other - null, -690.0, 690.0))
    return factor


def step_parts(memory: LevelMemory) -> tuple[Floats, Floats]:
    """Return the variance of one interval's difference and that of the reference, (rows, 40).

    Where both sides run at the same time, the baseline's noise is in every interval and the
    reference has none.
    """
    noise = np.outer(memory.spread.carry_over(), step_variance())
    canary, baseline = memory.pods[:, 0], memory.pods[:, 1]
    behind = np.maximum(memory.reference[:, 1], 1.0)
    together = np.isinf(behind)
    per_interval = 1.0 / canary + np.where(together, 1.0 / baseline, 0.0)
    return noise * per_interval[:, None], noise / behind[:, None]


def _log_sum(values: Floats) -> Floats:
    """Return log Σ exp over the last axis, without overflow."""
    most = values.max(axis=-1, keepdims=True)
    total: Floats = np.log(np.exp(values - most).sum(axis=-1)) + most[..., 0]
    return total
