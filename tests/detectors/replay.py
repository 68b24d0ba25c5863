"""Runs detectors over simulated rollouts, tick by tick, as the daemon does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.gauges import Gauges
from benchmarks.calibration.simulator import Array, Counts, Histograms
from detectors import (
    CountNoise,
    CountRatio,
    Findings,
    LatencyNoise,
    LatencyShift,
    LeakTrend,
    Limits,
    MeanNoise,
    MeanShift,
    PairCounts,
    PairHistograms,
    PairMeans,
    PairTrends,
    TrendNoise,
    fit_count_noise,
    fit_latency_noise,
    fit_mean_noise,
    fit_trend_noise,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """First tick (counted from 1) at which each run was degraded or harmless; nan for never.

    Attributes:
        degraded: (runs,) e-value over the threshold and practical gate passed.
        harmless: (runs,).
        drifted: (runs,) baseline over its own history with e >= 100.
        last: findings after the last tick.
    """

    degraded: Array
    harmless: Array
    drifted: Array
    last: Findings

    def rate(self) -> float:
        """Share of runs that were degraded."""
        return float(np.isfinite(self.degraded).mean())

    def median_s(self, tick_s: float = 10.0) -> float:
        """Median time to degraded, in seconds, of the runs that were."""
        return float(np.nanmedian(self.degraded)) * tick_s


class _Clock:
    def __init__(self, runs: int, limits: Limits) -> None:
        self.limits = limits
        self.first = np.full((3, runs), np.nan)
        self.last: Findings | None = None

    def see(self, tick: int, found: Findings) -> None:
        hits = (
            found.harmful & (found.e_value >= self.limits.threshold),
            found.harmless,
            found.drift_e >= 100.0,
        )
        for row, hit in zip(self.first, hits, strict=True):
            row[np.isnan(row) & hit] = tick + 1
        self.last = found

    def outcome(self) -> Outcome:
        assert self.last is not None
        return Outcome(self.first[0], self.first[1], self.first[2], self.last)


def replay_counts(data: Counts, limits: Limits | None = None, *, skip: int = 0) -> Outcome:
    """Run E1; the canary's first `skip` ticks are left out, as warming pods are."""
    runs, fleet = len(data.requests), data.fleet
    limits = Limits.of(runs) if limits is None else limits
    noise = CountNoise.concat(
        [fit_count_noise(*data.history(run), tail=False) for run in range(runs)]
    )
    judge = CountRatio(tick_s=fleet.tick_s, horizon_s=fleet.ticks * fleet.tick_s)
    k, m = np.full(runs, float(fleet.canary_pods)), np.full(runs, float(fleet.baseline_pods))
    state, clock = judge.start(noise, limits, k, m), _Clock(runs, limits)
    for tick in range(fleet.ticks):
        c, b, n1, n0 = data.sides(tick)
        n1 = n1 if tick >= skip else np.zeros(runs)
        state = judge.update(state, PairCounts(c, b, n1, n0, k, m), np.ones(runs, np.bool_))
        clock.see(tick, judge.findings(state))
    return clock.outcome()


def latency_limits(runs: int) -> Limits:
    """Limits of latency signals: gate +10 %, harm +25 %."""
    return Limits.of(runs, margin=np.log(1.10), harm=np.log(1.25), floor=np.nan, harm_rate=np.nan)


def replay_histograms(
    data: Histograms, limits: Limits | None = None, *, history: bool = True
) -> Outcome:
    """Run the latency detector, with or without learning from the history."""
    runs, fleet = len(data.counts), data.fleet
    limits = latency_limits(runs) if limits is None else limits
    noise = LatencyNoise.concat(
        [
            fit_latency_noise(data.history(run)[: None if history else 0], data.bounds)
            for run in range(runs)
        ]
    )
    judge = LatencyShift(tick_s=fleet.tick_s, horizon_s=fleet.ticks * fleet.tick_s)
    k, m = np.full(runs, float(fleet.canary_pods)), np.full(runs, float(fleet.baseline_pods))
    state, clock = judge.start(noise, limits, k, m), _Clock(runs, limits)
    for tick in range(fleet.ticks):
        pair = PairHistograms(*data.sides(tick), k, m)
        state = judge.update(state, pair, np.ones(runs, np.bool_))
        clock.see(tick, judge.findings(state))
    return clock.outcome()


def replay_gauges(data: Gauges, limits: Limits | None = None) -> Outcome:
    """Run E2."""
    runs, fleet = len(data.levels), data.fleet
    limits = latency_limits(runs) if limits is None else limits
    noise = MeanNoise.concat([fit_mean_noise(data.history(run)) for run in range(runs)])
    judge = MeanShift(tick_s=fleet.tick_s, horizon_s=fleet.ticks * fleet.tick_s)
    k, m = np.full(runs, float(fleet.canary_pods)), np.full(runs, float(fleet.baseline_pods))
    state, clock = judge.start(noise, limits, k, m), _Clock(runs, limits)
    for tick in range(fleet.ticks):
        pair = PairMeans(data.difference(tick), np.zeros(runs), k, m)
        state = judge.update(state, pair, np.ones(runs, np.bool_))
        clock.see(tick, judge.findings(state))
    return clock.outcome()


def replay_leaks(data: Gauges, limits: Limits | None = None, *, settle: int = 0) -> Outcome:
    """Run E3."""
    runs, fleet = len(data.levels), data.fleet
    limits = leak_limits(runs) if limits is None else limits
    values = np.exp(data.levels)
    noise = TrendNoise.concat(
        [fit_trend_noise(np.exp(data.history(run)), fleet.tick_s) for run in range(runs)]
    )
    judge = LeakTrend(tick_s=fleet.tick_s, horizon_s=fleet.ticks * fleet.tick_s)
    k, m = np.full(runs, float(fleet.canary_pods)), np.full(runs, float(fleet.baseline_pods))
    state, clock = judge.start(noise, limits, k, m, settle), _Clock(runs, limits)
    now = values[:, fleet.history :]
    apart = np.nanmean(now[:, :, : fleet.canary_pods], axis=2)
    apart -= np.nanmean(now[:, :, fleet.canary_pods :], axis=2)
    moved = np.diff(apart, axis=1, prepend=apart[:, :1]) / noise.level[:, None]
    for tick in range(fleet.ticks):
        pair = PairTrends(moved[:, tick], k, m)
        state = judge.update(state, pair, np.ones(runs, np.bool_))
        clock.see(tick, judge.findings(state))
    return clock.outcome()


def leak_limits(runs: int) -> Limits:
    """Limits of leaks: gate .2 % a minute, harm .5 %."""
    return Limits.of(
        runs, margin=np.log(1.002), harm=np.log(1.005), floor=np.nan, harm_rate=np.nan
    )
