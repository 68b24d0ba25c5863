"""E2 for gauges and means: CPU, memory level, queue depth, fan-out; canary against baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.cadence import Cadence, RecentSums
from detectors.findings import Findings, Limits, Weights
from detectors.mean_noise import MeanNoise, fit_mean_noise
from detectors.rows import (
    Bools,
    Floats,
    Ints,
    Rows,
    advanced,
    all_blocks,
    as_floats,
    column,
    pod_spread,
    some_pods,
)
from detectors.shift import MeanEvidence, needed_evidence, t_inflation, visible_shift

__all__ = ["MeanNoise", "MeanShift", "MeanShiftState", "PairMeans", "fit_mean_noise"]

MAX_DIFFERENCE: Final = 50.0
"""Log differences beyond ×10²¹ are a broken source, not a signal."""

MAX_VARIANCE: Final = 1e6
"""Sampling variances beyond this say nothing, and their weight would be lost in rounding."""


@dataclass(frozen=True, slots=True)
class PairMeans(Rows):
    """One tick of both sides; every array has shape (rows,).

    A row with a nan or absurd entry, or with no pod on either side, says nothing in this tick.

    Attributes:
        difference: mean log value of the canary pods minus that of the baseline pods; the
            sign is such that positive is harmful.
        sampling_variance: known variance of `difference`, 0 when there is none.
        canary_pods: eligible canary pods.
        baseline_pods: eligible baseline pods.

    Raises:
        ValueError: lengths differ.
    """

    difference: Floats
    sampling_variance: Floats
    canary_pods: Floats
    baseline_pods: Floats

    def __post_init__(self) -> None:
        as_floats(self)

    def informative(self) -> Bools:
        """Return which rows say something in this tick."""
        return (
            (np.abs(self.difference) <= MAX_DIFFERENCE)
            & (self.sampling_variance >= 0)
            & (self.sampling_variance <= MAX_VARIANCE)
            & some_pods(self.canary_pods)
            & some_pods(self.baseline_pods)
        )


@dataclass(frozen=True, slots=True)
class MeanMemory(Rows):
    """What changes from tick to tick.

    Attributes:
        age: ticks lived, informative or not, (rows,).
        evidence: the e-process; its ticks are the informative ones.
        recent: (rows, 2) weight and weighted difference over the recent window.
    """

    age: Ints
    evidence: MeanEvidence
    recent: RecentSums


@dataclass(frozen=True, slots=True)
class MeanSetup(Rows):
    """What was fixed at the start; arrays (rows,).

    Attributes:
        limits: what counts as harm.
        omega2: long-run variance per pod and tick.
        pod_variance: τ² inflated for the doubt about it.
        pod_quantile: τ times the 1 - α/2 quantile of Student t (ν).
    """

    limits: Limits
    omega2: Floats
    pod_variance: Floats
    pod_quantile: Floats


@dataclass(frozen=True, slots=True)
class MeanShiftState(Rows):
    """What E2 knows of each row, as a value; made by `MeanShift.start` and `update` only."""

    memory: MeanMemory
    setup: MeanSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanShift(Cadence):
    """E2, the detector of a shifted mean: many rows a call, each with its own age.

    The evidence is that of `MeanEvidence`; the gate asks for an unclipped weighted mean (since
    the start or lately) of at least `margin`. A row is harmless when the confidence sequence
    ends below `harm`. `floor` and `harm_rate` mean nothing here, `canary_value` and
    `baseline_value` stay nan (the caller knows the levels), `drift_e` stays 1.

    When it errs: see `MeanEvidence`; measured false rollbacks 0-0.4 % (design 5). Slow noise
    costs much power: +20 % of a CPU-like gauge is found in 72 % of hours at 3 against 7 pods.
    """

    def start(
        self, noise: MeanNoise, limits: Limits, canary_pods: object, baseline_pods: object
    ) -> MeanShiftState:
        """Return the state of rows that have seen nothing.

        Args:
            noise: one row of noise per row.
            limits: one row of limits per row.
            canary_pods: checked only; the pods that count are those of every tick.
            baseline_pods: the same.

        Raises:
            ValueError: lengths differ.
        """
        rows = len(limits)
        for pods in (canary_pods, baseline_pods, noise.omega2):
            column(pods, rows)
        return MeanShiftState(
            MeanMemory(
                age=np.zeros(rows, np.int64),
                evidence=MeanEvidence.empty(rows),
                recent=RecentSums.empty((rows, 2)),
            ),
            MeanSetup(
                limits=limits,
                omega2=noise.omega2,
                pod_variance=noise.tau2 * t_inflation(noise.nu),
                pod_quantile=noise.pod_quantile(self.interval_alpha),
            ),
        )

    def update(
        self, state: MeanShiftState, pair: PairMeans, live: Bools, *, consume: bool = False
    ) -> MeanShiftState:
        """Return the state after one tick; rows not live stay exactly as they are.

        Args:
            state: before the tick; not changed unless it may be consumed.
            pair: the tick.
            live: (rows,) rows that are being watched.
            consume: write over the state given, which nobody needs any more.

        Raises:
            ValueError: lengths differ.
        """
        memory = advanced(state.memory, state.setup, pair, live, self._step, consume=consume)
        return MeanShiftState(memory, state.setup)

    def _step(self, memory: MeanMemory, setup: MeanSetup, pair: PairMeans) -> None:
        """Add one tick to a block of rows, in place."""
        known = pair.informative()
        spread = pod_spread(known, pair.canary_pods, pair.baseline_pods)
        variance = np.where(known, pair.sampling_variance, 0.0) + setup.omega2 * spread
        value = np.where(known, pair.difference, 0.0)
        tick = memory.evidence.add(
            known, value, variance, spread, setup.pod_variance, memory.age, self
        )
        memory.recent.add(tick, memory.age, self)
        memory.age[...] += 1

    def findings(self, state: MeanShiftState) -> Findings:
        """Return what is known of every row by now."""
        return Findings.concat([self._find(state.take(rows)) for rows in all_blocks(len(state))])

    def weigh(self, state: MeanShiftState) -> Weights:
        """Return what `findings` would tell of the rows' weights."""
        return Weights.concat([self._weigh(state.take(rows)) for rows in all_blocks(len(state))])

    def _weigh(self, state: MeanShiftState) -> Weights:
        memory, setup, evidence = state.memory, state.setup, state.memory.evidence
        tested = evidence.ticks >= setup.limits.persistence
        most = np.fmax(evidence.mean(), weighted_mean(memory.recent.total()))
        return Weights(
            e_value=evidence.e_value(
                setup.pod_variance, setup.limits.persistence, memory.age, self
            ),
            tested=tested,
            harmful=tested & (most >= setup.limits.margin),
            drift_e=np.ones(len(state)),
        )

    def _find(self, state: MeanShiftState) -> Findings:
        memory, setup, limits = state.memory, state.setup, state.setup.limits
        rows, evidence = len(state), state.memory.evidence
        weights = self._weigh(state)
        effect, low, high = evidence.interval(self.interval_alpha, setup.pod_quantile)
        recent = weighted_mean(memory.recent.total())
        shift = evidence.detectable(
            needed_evidence(limits.threshold, self.weights[0]),
            setup.pod_variance,
            np.maximum(self.horizon_ticks - memory.age, 0.0),
        )
        return Findings(
            e_value=weights.e_value,
            tested=weights.tested,
            effect=effect,
            recent_effect=recent,
            low=low,
            high=high,
            harmful=weights.harmful,
            harmless=weights.tested & (high < limits.harm),
            canary_value=np.full(rows, np.nan),
            baseline_value=np.full(rows, np.nan),
            detectable=visible_shift(shift, limits.margin),
            drift_e=weights.drift_e,
            ticks=evidence.ticks.copy(),
        )


def weighted_mean(sums: Floats) -> Floats:
    """Return Σwy/Σw from columns (Σw, Σwy); nan where there is no weight."""
    seen = sums[:, 0] > 0
    return np.where(seen, sums[:, 1] / np.where(seen, sums[:, 0], 1.0), np.nan)
