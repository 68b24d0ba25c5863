"""E1: event counts out of an exposure, canary against baseline (errors, retries, restarts …)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.cadence import Cadence, RecentSums
from detectors.count_noise import LEAST_EXPOSURE, CountNoise, consistent, fit_count_noise
from detectors.drift import Drift, History
from detectors.findings import Findings, Limits, Weights
from detectors.interval import RatioInterval
from detectors.rates import RateBelow, RateExcess, excess_cap
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
from detectors.share import (
    ShareCounts,
    ShareEvidence,
    ShareNoise,
    share_cap,
    tempering,
)

__all__ = ["CountNoise", "CountRatio", "CountRatioState", "PairCounts", "fit_count_noise"]

FLOOR_EVIDENCE: Final = 10.0
"""Evidence that the canary exceeds the absolute floor: stray errors on an error-free baseline
are large ratios, yet not worth a rollback (design 2.3)."""

HARMLESS_EVIDENCE: Final = 20.0
"""Evidence that the canary stays below the harm rate: 1/0.05, as the 95 % interval."""

_FLOOR_PHI_MOST: Final = 4.0
"""Tempering of the floor test is bounded: it only has to keep out a handful of stray events."""

DETECTABLE_GRID: Final = np.array(
    [0.05, 0.1, 0.15, 0.22, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2, 1.6, 2.1, 2.7, 3.4]
)
"""Log ratios, +5 % to ×30, for which the time to detection is worked out."""


@dataclass(frozen=True, slots=True)
class PairCounts(Rows):
    """One tick of both sides; every array has shape (rows,).

    A row that is nan, infinite, negative, or has more events than exposure on either side, or
    no exposure or no pod on either side, says nothing in this tick.

    Attributes:
        canary_events: events on all eligible canary pods.
        baseline_events: events on all eligible baseline pods.
        canary_exposure: requests (pod-seconds, spans), from the same scrapes as the events.
        baseline_exposure: the same of the baseline.
        canary_pods: eligible canary pods.
        baseline_pods: eligible baseline pods.

    Raises:
        ValueError: lengths differ.
    """

    canary_events: Floats
    baseline_events: Floats
    canary_exposure: Floats
    baseline_exposure: Floats
    canary_pods: Floats
    baseline_pods: Floats

    def __post_init__(self) -> None:
        as_floats(self)

    def informative(self) -> Bools:
        """Return which rows say something in this tick."""
        return (
            consistent(self.canary_events, self.canary_exposure)
            & consistent(self.baseline_events, self.baseline_exposure)
            & (self.canary_exposure >= LEAST_EXPOSURE)
            & (self.baseline_exposure >= LEAST_EXPOSURE)
            & some_pods(self.canary_pods)
            & some_pods(self.baseline_pods)
        )


@dataclass(frozen=True, slots=True)
class CountMemory(Rows):
    """What changes from tick to tick.

    Attributes:
        age: ticks lived, informative or not, (rows,).
        ticks: informative ticks, (rows,).
        sums: (rows, 4) canary events, baseline events, canary and baseline exposure.
        pod_sd: Σ sqrt(1/k + 1/m) over the informative ticks, (rows,).
        recent: `sums` over the recent window.
        share: evidence of a higher rate.
        interval: what ratios remain possible.
        above_floor: evidence that the canary exceeds the absolute floor.
        below_harm: evidence that the canary stays below the harm rate.
        drift: evidence that the baseline is worse than its history.
    """

    age: Ints
    ticks: Floats
    sums: Floats
    pod_sd: Floats
    recent: RecentSums
    share: ShareEvidence
    interval: RatioInterval
    above_floor: RateExcess
    below_harm: RateBelow
    drift: Drift


@dataclass(frozen=True, slots=True)
class CountSetup(Rows):
    """What was fixed at the start.

    Attributes:
        limits: what counts as harm.
        noise: what the evidence discounts.
        history: the baseline's past rate.
        pod_quantile: τ times the 1 - α/2 quantile of Student t (ν), (rows,).
    """

    limits: Limits
    noise: ShareNoise
    history: History
    pod_quantile: Floats


@dataclass(frozen=True, slots=True)
class CountRatioState(Rows):
    """What E1 knows of each row, as a value; made by `CountRatio.start` and `update` only."""

    memory: CountMemory
    setup: CountSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRatio(Cadence):
    """E1, the count-ratio detector: many rows a call, each with its own age.

    The evidence is that of `ShareEvidence`; the practical gate asks for a ratio of at least
    `margin` (since the start or lately) and for evidence that the canary exceeds the absolute
    `floor`. A row is harmless when the confidence sequence of the ratio ends below `harm`, or
    when the canary is shown to stay below `harm_rate`.

    When it errs: see `ShareEvidence`; measured false rollbacks at α = 1 %: 0-1.6 % over 27
    noise situations (design 3.1), more when warming pods are not left out.
    """

    def start(
        self,
        noise: CountNoise,
        limits: Limits,
        canary_pods: object,
        baseline_pods: object,
        tail: object = False,
    ) -> CountRatioState:
        """Return the state of rows that have seen nothing.

        Args:
            noise: one row of noise per row.
            limits: one row of limits per row.
            canary_pods: checked only; the pods that count are those of every tick.
            baseline_pods: the same.
            tail: whether events are a tail of the exposure, scalar or (rows,).

        Raises:
            ValueError: lengths differ.
        """
        rows = len(limits)
        for pods in (canary_pods, baseline_pods, noise.kappa):
            column(pods, rows)
        return CountRatioState(
            CountMemory(
                age=np.zeros(rows, np.int64),
                ticks=np.zeros(rows),
                sums=np.zeros((rows, 4)),
                pod_sd=np.zeros(rows),
                recent=RecentSums.empty((rows, 4)),
                share=ShareEvidence.empty((rows,)),
                interval=RatioInterval.empty(rows),
                above_floor=RateExcess.empty((rows,)),
                below_harm=RateBelow.empty(rows),
                drift=Drift.empty((rows,)),
            ),
            CountSetup(
                limits=limits,
                noise=ShareNoise.of(
                    noise,
                    tail=column(tail, rows) > 0,
                    cap=share_cap(limits.threshold, limits.persistence, self),
                ),
                history=History(noise.history_rate, noise.kappa_time),
                pod_quantile=noise.pod_quantile(self.interval_alpha),
            ),
        )

    def update(
        self, state: CountRatioState, pair: PairCounts, live: Bools, *, consume: bool = False
    ) -> CountRatioState:
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
        return CountRatioState(memory, state.setup)

    def _step(self, memory: CountMemory, setup: CountSetup, pair: PairCounts) -> None:
        """Add one tick to a block of rows, in place."""
        known = pair.informative()
        counts = ShareCounts(
            *(
                np.where(known, value, 0.0)
                for value in (
                    pair.canary_events,
                    pair.baseline_events,
                    pair.canary_exposure,
                    pair.baseline_exposure,
                )
            )
        )
        spread, age = pod_spread(known, pair.canary_pods, pair.baseline_pods), memory.age
        memory.share.add(counts, spread, setup.noise, age, self)
        memory.interval.add(counts, spread, setup.noise.kappa, setup.noise.tail)
        self._add_rates(memory, setup, counts, np.where(known, pair.canary_pods, 1.0))
        memory.drift.add(
            counts.baseline_events, counts.baseline_exposure, setup.history, age, self
        )
        sums = np.stack(
            [
                counts.canary_events,
                counts.baseline_events,
                counts.canary_exposure,
                counts.baseline_exposure,
            ],
            axis=1,
        )
        memory.recent.add(sums, age, self)
        memory.sums[...] += sums
        memory.pod_sd[...] += np.where(known, np.sqrt(spread), 0.0)
        memory.ticks[...] += known
        memory.age[...] += 1

    def _add_rates(
        self, memory: CountMemory, setup: CountSetup, counts: ShareCounts, pods: Floats
    ) -> None:
        """Add one tick of the canary to the tests against absolute rates, in place."""
        limits, kappa = setup.limits, setup.noise.kappa
        unbounded = np.isnan(limits.floor)
        if not unbounded.all():
            expected = counts.canary_exposure * np.where(unbounded, 1.0, limits.floor)
            memory.above_floor.add(
                events=counts.canary_events,
                expected=expected,
                phi=np.minimum(1.0 + kappa * expected / pods, _FLOOR_PHI_MOST),
                cap=excess_cap(limits.threshold, limits.persistence, self),
                age=memory.age,
                cadence=self,
            )
        bound = np.where(np.isnan(limits.harm_rate), 1.0, limits.harm_rate)
        phi = 1.0 + kappa * counts.canary_exposure * bound / pods
        memory.below_harm.add(counts.canary_events, counts.canary_exposure, phi)

    def findings(self, state: CountRatioState) -> Findings:
        """Return what is known of every row by now."""
        return Findings.concat([self._find(state.take(rows)) for rows in all_blocks(len(state))])

    def weigh(self, state: CountRatioState) -> Weights:
        """Return what `findings` would tell of the rows' weights."""
        return Weights.concat([self._weigh(state.take(rows)) for rows in all_blocks(len(state))])

    def _weigh(self, state: CountRatioState) -> Weights:
        memory, limits, age = state.memory, state.setup.limits, state.memory.age
        tested = memory.ticks >= limits.persistence
        gate = np.fmax(log_ratio(memory.sums), log_ratio(memory.recent.total())) >= limits.margin
        above = np.isnan(limits.floor)
        if not above.all():
            above |= memory.above_floor.e_value(age, self) >= FLOOR_EVIDENCE
        return Weights(
            e_value=memory.share.e_value(state.setup.noise, age, self),
            tested=tested,
            harmful=tested & gate & above,
            drift_e=memory.drift.e_value(state.setup.history, age, self),
        )

    def _find(self, state: CountRatioState) -> Findings:
        memory, limits, ticks = state.memory, state.setup.limits, state.memory.ticks
        weights = self._weigh(state)
        effect, recent = log_ratio(memory.sums), log_ratio(memory.recent.total())
        pods = state.setup.pod_quantile * memory.pod_sd / np.maximum(ticks, 1.0)
        low, high = memory.interval.bounds(self.interval_alpha, pods)
        below = memory.below_harm.e_value(limits.harm_rate) >= HARMLESS_EVIDENCE
        return Findings(
            e_value=weights.e_value,
            tested=weights.tested,
            effect=effect,
            recent_effect=recent,
            low=low,
            high=high,
            harmful=weights.harmful,
            harmless=weights.tested & ((high < limits.harm) | below),
            canary_value=_rate(memory.sums[:, 0], memory.sums[:, 2]),
            baseline_value=_rate(memory.sums[:, 1], memory.sums[:, 3]),
            detectable=self._detectable(memory, state.setup),
            drift_e=weights.drift_e,
            ticks=ticks.copy(),
        )

    def _detectable(self, memory: CountMemory, setup: CountSetup) -> Floats:
        """Return the smallest harmful log ratio the remaining ticks would reveal, else nan.

        At the average traffic a ratio e^x brings I(x) = [c·x - E·log(1 + (e^x - 1)·p1)]/φ nats
        a tick (design 9). The pods' persistent differences limit what N ticks can give:
        1/(1/(N·I) + 2·τ²·(1/k+1/m)/x²) must reach log(threshold · 10/ω0), which is exact for
        a Gaussian likelihood.
        """
        ticks = np.maximum(memory.ticks, 1.0)
        _, events, canary, baseline = memory.sums.T
        rate = (events + 0.5) / np.maximum(baseline, 1.0)
        spread, shift = (memory.pod_sd / ticks) ** 2, DETECTABLE_GRID[:, None]
        hits = np.minimum(rate * np.exp(shift), 1.0) * canary / ticks
        misses = np.broadcast_to(rate * baseline / ticks, hits.shape)
        counts = ShareCounts(hits, misses, canary / ticks, baseline / ticks)
        phi = tempering(counts, spread, setup.noise.kappa, setup.noise.tail)
        mixed = np.log(1.0 + np.expm1(shift) * counts.canary_share)
        nats = np.maximum((hits * shift - counts.events * mixed) / phi, 0.0)
        nats = nats * np.maximum(self.horizon_ticks - memory.age, 0.0)
        reachable = nats / (1.0 + nats * 2 * setup.noise.tau**2 * spread / shift**2)
        needed = setup.noise.cap * setup.limits.persistence
        seen = (reachable >= needed) & (shift >= setup.limits.margin) & (memory.ticks > 0)
        return np.where(seen.any(axis=0), DETECTABLE_GRID[seen.argmax(axis=0)], np.nan)


def log_ratio(sums: Floats) -> Floats:
    """Return the log ratio of two rates, (rows,); nan without exposure on both sides.

    Half an event is added, split like the exposure: without events the ratio is 1, and an
    error-free baseline leaves it finite.

    Args:
        sums: (rows, 4) canary events, baseline events, canary and baseline exposure.
    """
    canary, baseline, n1, n0 = sums.T
    known = (n1 > 0) & (n0 > 0)
    share = np.where(known, n1, 1.0) / np.where(known, n1 + n0, 2.0)
    odds = (canary + 0.5 * share) / (baseline + 0.5 * (1 - share))
    return np.where(known, np.log(odds * (1 - share) / share), np.nan)


def _rate(events: Floats, exposure: Floats) -> Floats:
    return np.where(exposure > 0, events / np.where(exposure > 0, exposure, 1.0), np.nan)
