"""E3: does a gauge of the canary grow, while that of the baseline does not?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.cadence import Cadence
from detectors.findings import Findings, Limits
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
    sum_nodes,
)
from detectors.shift import mixture_radius, t_inflation
from detectors.trend_noise import (
    MINUTE_S,
    PRIOR_NU,
    WINDOWS_S,
    TrendNoise,
    fit_trend_noise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LeakTrend", "LeakTrendState", "PairTrends", "TrendNoise", "fit_trend_noise"]

SLOPE_NODES: Final = np.array([0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06])
"""Alternatives: growth per minute as a part of the baseline's mean, .05 % to 6 %."""

MAX_MOVE: Final = 10.0
"""A mean that moves by ten times the baseline's level within a tick is a broken source."""

LEAST_S: Final = 180.0
"""A slope over less time says nothing."""

SMOOTHED: Final = 5
"""The median of so many levels enters: two odd ticks in a row change nothing."""

KEPT_CUTS: Final = 11
"""Points in time at which the sums are kept and an instance starts: those of an hour."""

LASTING: Final = 0.5
"""The latest half must grow at least so much as the whole: start-up growth dies out, leaks do
not."""

PAIR_OF_PODS: Final = 2.0
"""1/k + 1/m of one pod on each side: what is assumed before any was seen."""

TIGHTEST_SD: Final = 0.005
"""Standard deviation of the slope at which the confidence sequence is tightest."""

MAX_DETECTABLE: Final = 0.2
"""Growth that must exceed 20 % a minute to be seen counts as one that would not be seen."""

_MOST_LOG: Final = 690.0
_LEAST_SLOPE: Final = -0.99
_N, _T, _TT, _Y, _TY, _SPREAD = range(6)
"""Columns of the running sums: ticks, Σt, Σt², Σy, Σty, Σ(1/k + 1/m); t in minutes."""


@dataclass(frozen=True, slots=True)
class PairTrends(Rows):
    """One tick of both sides; every array has shape (rows,).

    A row with a nan or absurd entry, or with no pod on either side, says nothing in this tick; what
    it gained without pods is kept for the next one that does.

    Attributes:
        gained: by how much the canary pods' mean moved since the last tick, less the baseline
            pods', as a part of the baseline's level; positive is harmful. Pods that come or go
            bring no movement of their own.
        canary_pods: eligible canary pods.
        baseline_pods: eligible baseline pods.

    Raises:
        ValueError: lengths differ.
    """

    gained: Floats
    canary_pods: Floats
    baseline_pods: Floats

    def __post_init__(self) -> None:
        as_floats(self)

    def informative(self) -> Bools:
        """Return which rows say something in this tick."""
        pods = some_pods(self.canary_pods) & some_pods(self.baseline_pods)
        return self.moved() & pods

    def moved(self) -> Bools:
        """Return which rows tell how far they moved."""
        return np.asarray(np.abs(self.gained) <= MAX_MOVE, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class LeakMemory(Rows):
    """What changes from tick to tick.

    Attributes:
        age: ticks lived, informative or not, (rows,).
        newest: age at the newest informative tick, (rows,); -1 before the first.
        level: the difference of levels since the start, (rows,).
        levels: (rows, 5) the newest levels, newest last; nan before there are so many.
        sums: (rows, 6) running sums of the smoothed levels.
        cuts: (rows, 11, 6) the sums at the kept points in time.
    """

    age: Ints
    newest: Ints
    level: Floats
    levels: Floats
    sums: Floats
    cuts: Floats


@dataclass(frozen=True, slots=True)
class LeakSetup(Rows):
    """What was fixed at the start.

    Attributes:
        limits: what counts as harm.
        pod_variance: (rows, 6) log variance of a pod's slope, inflated for the doubt about it.
        start_variance: (rows, 6) log variance of the start-up that was taken off; -690 without.
        settle: (rows,) ticks that pass before evidence is counted.
    """

    limits: Limits
    pod_variance: Floats
    start_variance: Floats
    settle: Floats


@dataclass(frozen=True, slots=True)
class LeakTrendState(Rows):
    """What E3 knows of each row, as a value; made by `LeakTrend.start` and `update` only."""

    memory: LeakMemory
    setup: LeakSetup


@dataclass(frozen=True, slots=True)
class _Slopes(Rows):
    """Slopes of one instance each, (rows,): per minute, with their variance; e is 1 if not ready."""

    slope: Floats
    variance: Floats
    e_value: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakTrend(Cadence):
    """E3, the detector of a growing gauge: many rows a call, each with its own age.

    b is the least-squares slope of the difference canary - baseline since the start of an
    instance, V(T) the variance of such slopes (see `fit_trend_noise`), and

        e = mean_i exp((β_i·b - β_i²/2)/V).

    Least squares is asymptotically efficient for a trend under stationary noise, so that (b, 1/V)
    has the joint distribution of a Brownian motion with drift seen at times 1/V, and e is
    approximately a martingale. Instances start every `restart_s`; all of an hour are kept.

    Findings tell growth per minute: `effect` is log(1 + slope). Gate: the slope over the latest
    half is at least `margin` and half of the slope found. `canary_value` and `baseline_value`
    stay nan (the caller knows the levels), `drift_e` stays 1.

    When it errs: growth after a start looks like a leak until it ends. `settle` leaves the first
    minutes out where the caller does not know what starts look like; slower fills are called a
    leak. Measured false rollbacks without start-up growth: 0-0.3 % (design 6).

    Attributes:
        first_weight: share of the evidence given to the instance that runs from the start.
    """

    first_weight: float = 0.3

    def start(
        self,
        noise: TrendNoise,
        limits: Limits,
        canary_pods: object,
        baseline_pods: object,
        settle: object = 0.0,
    ) -> LeakTrendState:
        """Return the state of rows that have seen nothing.

        Args:
            noise: one row of noise per row.
            limits: one row of limits per row; `margin` and `harm` are logs of growth per minute,
                `floor` and `harm_rate` mean nothing here.
            canary_pods: checked only; the pods that count are those of every tick.
            baseline_pods: the same.
            settle: ticks that are left out first, scalar or (rows,).

        Raises:
            ValueError: lengths differ.
        """
        rows = len(limits)
        for pods in (canary_pods, baseline_pods, noise.level):
            column(pods, rows)
        known = noise.startup_pods > 0
        inflated = noise.variance * t_inflation(noise.nu)[:, None]
        # what all pods shared then was seen once: as little is known of it as of a prior
        shared = noise.common * t_inflation(np.full(1, PRIOR_NU))
        start_up = inflated / np.where(known, noise.startup_pods, 1.0)[:, None] + shared
        return LeakTrendState(
            LeakMemory(
                age=np.zeros(rows, np.int64),
                newest=np.full(rows, -1, np.int64),
                level=np.zeros(rows),
                levels=np.full((rows, SMOOTHED), np.nan),
                sums=np.zeros((rows, _SPREAD + 1)),
                cuts=np.zeros((rows, KEPT_CUTS, _SPREAD + 1)),
            ),
            LeakSetup(
                limits=limits,
                pod_variance=np.log(inflated),
                start_variance=np.where(known[:, None], np.log(start_up), -_MOST_LOG),
                settle=column(settle, rows),
            ),
        )

    def update(self, state: LeakTrendState, pair: PairTrends, live: Bools) -> LeakTrendState:
        """Return the state after one tick; rows not live stay exactly as they are.

        Args:
            state: before the tick; not changed.
            pair: the tick.
            live: (rows,) rows that are being watched.

        Raises:
            ValueError: lengths differ.
        """
        memory = advanced(state.memory, state.setup, pair, live, self._step)
        return replace(state, memory=memory)

    def _step(self, memory: LeakMemory, setup: LeakSetup, pair: PairTrends) -> None:
        """Add one tick to a block of rows, in place."""
        age = memory.age
        due = np.flatnonzero((age > 0) & (age % self.restart_ticks == 0))
        memory.cuts[due, (age[due] // self.restart_ticks - 1) % KEPT_CUTS] = memory.sums[due]
        known = pair.informative() & (age >= setup.settle)
        memory.level[...] += np.where(pair.moved(), pair.gained, 0.0)
        memory.levels[known] = np.roll(memory.levels[known], -1, axis=1)
        memory.levels[known, -1] = memory.level[known]
        memory.newest[known] = age[known]
        value = np.where(known, _median(memory.levels), 0.0)
        minutes = np.where(known, age * (self.tick_s / MINUTE_S), 0.0)
        spread = np.where(known, pod_spread(known, pair.canary_pods, pair.baseline_pods), 0.0)
        parts = (known, minutes, minutes**2, value, minutes * value, spread)
        for at, part in enumerate(parts):  # in the order of the columns
            memory.sums[:, at] += part
        memory.age[...] += 1

    def findings(self, state: LeakTrendState) -> Findings:
        """Return what is known of every row by now."""
        return Findings.concat([self._find(state.take(rows)) for rows in all_blocks(len(state))])

    def _find(self, state: LeakTrendState) -> Findings:
        memory, setup, limits = state.memory, state.setup, state.setup.limits
        rows = len(state)
        first = self._slopes(memory.sums, setup)
        instances = [first, *self._restarted(memory, setup)]
        head, tail = self._shares
        rest: Floats = np.full(rows, tail * (self.restarts - len(instances) + 1))
        e_value = sum_nodes(
            np.stack([rest, head * first.e_value, *(tail * s.e_value for s in instances[1:])])
        )
        ready = np.isfinite(first.slope)
        fitted = _steepest(instances)
        lately = self._latest_half(memory, setup)
        radius = mixture_radius(first.variance, TIGHTEST_SD**2, self.interval_alpha)
        low, high = first.slope - radius, first.slope + radius
        lasting = np.log1p(np.maximum(lately, _LEAST_SLOPE)) >= limits.margin
        lasting &= lately >= LASTING * np.where(np.isnan(fitted), 0.0, fitted)
        tested = ready & (memory.sums[:, _N] >= limits.persistence)
        return Findings(
            e_value=e_value,
            tested=tested,
            effect=_logged(np.where(np.isnan(fitted), first.slope, fitted)),
            recent_effect=_logged(lately),
            low=np.where(ready, _logged(np.where(ready, low, 0.0)), -np.inf),
            high=np.where(ready, _logged(np.where(ready, high, 0.0)), np.inf),
            harmful=tested & lasting,
            harmless=tested & (_logged(np.where(ready, high, np.inf)) < limits.harm),
            canary_value=np.full(rows, np.nan),
            baseline_value=np.full(rows, np.nan),
            detectable=self._detectable(memory, setup),
            drift_e=np.ones(rows),
            ticks=memory.sums[:, _N].copy(),
        )

    @property
    def _shares(self) -> tuple[float, float]:
        """Weight of the first instance and of each later one; all together sum to one."""
        if not self.restarts:
            return 1.0, 0.0
        return self.first_weight, (1 - self.first_weight) / self.restarts

    def _restarted(self, memory: LeakMemory, setup: LeakSetup) -> Sequence[_Slopes]:
        """Return the instances that were started later and are kept; e is 1 where none was yet."""
        found = []
        begun = np.maximum(memory.age - 1, 0) // self.restart_ticks
        for slot in range(min(KEPT_CUTS, self.restarts)):
            if not (begun > slot).any():
                found.append(_Slopes(*(np.full(len(begun), x) for x in (np.nan, 1.0, 1.0))))
                continue
            since = memory.sums - memory.cuts[:, slot]
            found.append(self._slopes(np.where((begun > slot)[:, None], since, 0.0), setup))
        return found

    def _slopes(self, sums: Floats, setup: LeakSetup) -> _Slopes:
        """Return slope, variance and evidence of sums over a stretch, (rows, 6)."""
        number = sums[:, _N]
        least = np.maximum(math.ceil(LEAST_S / self.tick_s), setup.limits.persistence)
        safe = np.maximum(number, 1.0)
        power = sums[:, _TT] - sums[:, _T] ** 2 / safe
        ready = (number >= least) & (power > 0)
        moved = sums[:, _TY] - sums[:, _T] * sums[:, _Y] / safe
        slope = np.where(ready, moved / np.where(ready, power, 1.0), np.nan)
        variance = self._variance(number, sums[:, _SPREAD] / safe, setup)
        nodes = SLOPE_NODES[:, None]
        log_e = (nodes * np.where(ready, slope, 0.0) - 0.5 * nodes**2) / variance
        e_value = sum_nodes(np.exp(np.clip(log_e, -_MOST_LOG, _MOST_LOG))) / len(SLOPE_NODES)
        return _Slopes(slope, variance, np.where(ready, e_value, 1.0))

    def _variance(self, ticks: Floats, spread: Floats, setup: LeakSetup) -> Floats:
        """Return V of stretches of so many ticks: between the fitted lengths by log and log."""
        lengths = np.log(WINDOWS_S)
        length = np.clip(np.log(np.maximum(ticks, 1.0) * self.tick_s), lengths[0], lengths[-1])
        left = np.clip(np.searchsorted(lengths, length, side="right") - 1, 0, len(lengths) - 2)
        part, row = (length - lengths[left]) / np.diff(lengths)[left], np.arange(len(ticks))

        def at_length(logs: Floats) -> Floats:
            between: Floats = np.exp((1 - part) * logs[row, left] + part * logs[row, left + 1])
            return between

        pods = np.where(spread > 0, spread, PAIR_OF_PODS)
        variance = at_length(setup.pod_variance) * pods
        if (setup.start_variance > -_MOST_LOG).any():
            variance += at_length(setup.start_variance)
        return variance

    def _latest_half(self, memory: LeakMemory, setup: LeakSetup) -> Floats:
        """Return the slope over about the latest half of what was seen, from the nearest cut."""
        half = np.maximum(memory.sums[:, _N] // 2, math.ceil(LEAST_S / self.tick_s))
        number = np.maximum(memory.newest + 1 - half, 0).astype(np.int64) // self.restart_ticks
        kept = number > np.maximum(memory.age - 1, 0) // self.restart_ticks - KEPT_CUTS
        cut = memory.cuts[np.arange(len(number)), (number - 1) % KEPT_CUTS]
        usable = ((number > 0) & kept)[:, None]
        return self._slopes(memory.sums - np.where(usable, cut, 0.0), setup).slope

    def _detectable(self, memory: LeakMemory, setup: LeakSetup) -> Floats:
        """Return the log growth per minute that the rest of the horizon would reveal, else nan."""
        ticks = memory.sums[:, _N]
        left = np.maximum(self.horizon_ticks - memory.age, 0)
        seen = (ticks > 0) & (left > 0)
        spread = memory.sums[:, _SPREAD] / np.maximum(ticks, 1.0)
        variance = self._variance(ticks + left, spread, setup)
        needed = np.log(setup.limits.threshold * len(SLOPE_NODES) / self._shares[0])
        slope = np.sqrt(2 * variance * needed)
        visible = np.maximum(np.log1p(slope), setup.limits.margin)
        return np.where(seen & (slope <= MAX_DETECTABLE), visible, np.nan)


def _median(levels: Floats) -> Floats:
    """Return the median of the levels seen, (rows,); nan where there is none."""
    ordered = np.sort(levels, axis=1)  # nan last
    count = np.isfinite(levels).sum(axis=1)
    row = np.arange(len(levels))
    last = np.maximum(count - 1, 0)
    low, high = last // 2, np.minimum(count // 2, last)
    return np.asarray((ordered[row, low] + ordered[row, high]) / 2, dtype=np.float64)


def _steepest(instances: Sequence[_Slopes]) -> Floats:
    """Return the steepest slope among the instances with evidence, (rows,); nan without any."""
    slopes = np.stack([np.where(s.e_value > 1, s.slope, -np.inf) for s in instances])
    steepest = slopes.max(axis=0)
    return np.where(np.isfinite(steepest), steepest, np.nan)


def _logged(slope: Floats) -> Floats:
    return np.asarray(np.log1p(np.maximum(slope, _LEAST_SLOPE)), dtype=np.float64)
