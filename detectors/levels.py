"""Has the level of a coarse series moved? For gauges and quantiles with few points and instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.cadence import Cadence
from detectors.findings import Findings, Limits
from detectors.level_evidence import (
    COUNT,
    SHIFT_NODES,
    SUM,
    LevelMemory,
    bayes_factor,
    noise_belief,
    statistics_since,
    step_parts,
)
from detectors.level_noise import LevelNoise, Spread
from detectors.rows import (
    Bools,
    Floats,
    Ints,
    Rows,
    advanced,
    all_blocks,
    column,
    some_pods,
)

KEPT_STARTS: Final = 7
"""Restarted instances kept beside the first one; the q-th holds the newest restart whose number
2^q divides, so that the kept ones reach back 2, 4, 8, … restarts."""

MAX_LEVEL: Final = 80.0
"""Log values beyond e^±80 are a broken source, not a signal."""


@dataclass(frozen=True, slots=True)
class PairLevels(Rows):
    """One interval of both sides; every array has shape (rows,), `spread` has as many rows.

    A row whose canary is nan or absurd, or that has no instance on the canary's side, says
    nothing in this interval.

    Attributes:
        canary: mean log value of the canary's instances; where both sides run at the same time,
            less the mean of the baseline's instances in this interval.
        reference: what `canary` is compared with: 0 where both run at the same time, else the
            mean log value of the baseline so far. nan while there is none.
        reference_points: how many values are behind the reference; inf where both sides run at
            the same time, and the baseline's noise is in `canary` already.
        canary_pods: the canary's instances in this interval.
        baseline_pods: the baseline's instances that it is compared with.
        spread: what the baseline has shown until now, this interval included.
    """

    canary: Floats
    reference: Floats
    reference_points: Floats
    canary_pods: Floats
    baseline_pods: Floats
    spread: Spread

    def __post_init__(self) -> None:
        as_floats_but_last = (
            "canary",
            "reference",
            "reference_points",
            "canary_pods",
            "baseline_pods",
        )
        for name in as_floats_but_last:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if len({len(getattr(self, name)) for name in (*as_floats_but_last, "spread")}) > 1:
            raise ValueError("rows of the interval differ")

    def informative(self) -> Bools:
        """Return which rows say something in this interval."""
        return (
            (np.abs(self.canary) <= MAX_LEVEL)
            & (np.abs(self.reference) <= MAX_LEVEL)
            & (self.reference_points >= 1)
            & some_pods(self.canary_pods)
            & some_pods(self.baseline_pods)
        )


@dataclass(frozen=True, slots=True)
class LevelSetup(Rows):
    """What was fixed at the start.

    Attributes:
        limits: what counts as harm. noise: what is believed of the noise.
        up, down: (rows,) share of the row's evidence given to a rise and to a fall.
    """

    limits: Limits
    noise: LevelNoise
    up: Floats
    down: Floats


@dataclass(frozen=True, slots=True)
class LevelShiftState(Rows):
    """What is known of each row, as a value; made by `LevelShift.start` and `update` only."""

    memory: LevelMemory
    setup: LevelSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShift(Cadence):
    """Predictive test of a moved level: many rows a call, each with its own age.

    For one start s, with n intervals of the canary since, the most accusing one is set aside and
    the mean of the others compared with the baseline: d. With τ the persistent differences
    between instances, ω the noise of one interval, λ its correlation's inflation, k and m
    instances and N the values behind the reference,

        V = τ²·(1/k + 1/m) + ω²·λ·(1/(k·(n-1)) + 1/N)
        e = Σ_(τ,ω) p·mean_δ N(d; δ, V) / Σ_(τ,ω) p·N(d; 0, V)

    where p is the posterior of (τ, ω) given what the baseline's instances have shown (not the
    canary's own wobble: one that begins to wobble would excuse itself). For a later start, the
    canary's intervals before it tell its own offset: d is then less what they predict, and V
    has what is left of τ². Integrating over the noise instead of estimating it gives the heavy tails
    that few points deserve: it is a t-test's Bayes factor for two variance components
    (Jeffreys 1961, ch. 5; Rouder et al. 2009; Wang & Ramdas 2023 for its anytime use).

    Starts: one at the beginning, one every `restart_s` after it; the j-th has weight
    1/((j+1)(j+2)), which sums to one without knowing how long the watch will last. Setting one
    interval aside means that a single odd interval never decides, however large.

    When it errs: with known noise each e is a martingale up to the set-aside interval, which only
    lowers it; with noise learned on the way that is approximate (measured: see
    docs/decisions/coarse-series.md). One baseline instance says nothing of τ: a canary that
    differs by what the prior calls unlikely is then accused. Noise that is slower than the
    series is long looks like a shift.
    """

    restart_s: float = 30.0
    long_s: float = 120.0
    """Intervals of at least this length average many scrapes: none is set aside."""

    def start(
        self,
        noise: LevelNoise,
        limits: Limits,
        canary_pods: object,
        baseline_pods: object,
        *,
        up: object = 1.0,
        down: object = 0.0,
    ) -> LevelShiftState:
        """Return the state of rows that have seen nothing.

        Args:
            noise: one row of belief per row.
            limits: one row of limits per row.
            canary_pods: checked only; the pods that count are those of every interval.
            baseline_pods: the same.
            up: share of the evidence given to a rise.
            down: share given to a fall; together at most one.

        Raises:
            ValueError: lengths differ.
        """
        rows = len(limits)
        for pods in (canary_pods, baseline_pods, noise.scale):
            column(pods, rows)
        memory = LevelMemory(
            age=np.zeros(rows, np.int64),
            sums=np.zeros((rows, 2)),
            starts=np.zeros((rows, KEPT_STARTS, 2)),
            highest=np.full((rows, KEPT_STARTS + 1), -np.inf),
            lowest=np.full((rows, KEPT_STARTS + 1), np.inf),
            pods=np.ones((rows, 2)),
            reference=np.zeros((rows, 2)),
            spread=Spread.nothing(rows),
        )
        return LevelShiftState(
            memory, LevelSetup(limits, noise, column(up, rows), column(down, rows))
        )

    def update(self, state: LevelShiftState, pair: PairLevels, live: Bools) -> LevelShiftState:
        """Return the state after one interval; rows not live stay exactly as they are.

        Raises:
            ValueError: lengths differ.
        """
        memory = advanced(state.memory, state.setup, pair, live, self._step)
        return LevelShiftState(memory, state.setup)

    def _step(self, memory: LevelMemory, setup: LevelSetup, pair: PairLevels) -> None:
        """Add one interval to a block of rows, in place."""
        del setup
        known = pair.informative()
        rows, slot = self._restarting(memory.age)
        memory.starts[rows, slot] = memory.sums[rows]
        memory.highest[rows, slot + 1] = -np.inf
        memory.lowest[rows, slot + 1] = np.inf
        value = np.where(known, pair.canary, 0.0)
        memory.sums[...] += np.stack([known, value], axis=1)
        seen = value[:, None]
        high, low = np.fmax(memory.highest, seen), np.fmin(memory.lowest, seen)
        memory.highest[known] = high[known]
        memory.lowest[known] = low[known]
        memory.pods[known] = np.stack([pair.canary_pods, pair.baseline_pods], axis=1)[known]
        reference = np.stack([pair.reference, pair.reference_points], axis=1)
        memory.reference[known] = reference[known]
        memory.spread.put(known, pair.spread.take(known))
        memory.age[...] += 1

    def _restarting(self, age: Ints) -> tuple[Ints, Ints]:
        """Return the rows that start a new instance at this age, and the slot it goes to."""
        number = age // self.restart_ticks
        rows = np.flatnonzero((age > 0) & (age % self.restart_ticks == 0))
        return rows, _slot(number[rows])

    def findings(self, state: LevelShiftState) -> Findings:
        """Return what is known of every row by now."""
        return Findings.concat([self._find(state.take(rows)) for rows in all_blocks(len(state))])

    def _find(self, state: LevelShiftState) -> Findings:
        memory, limits = state.memory, state.setup.limits
        belief, pod_part = noise_belief(state.memory, state.setup.noise)
        aside = 0.0 if self.tick_s >= self.long_s else 1.0
        rises, falls = statistics_since(memory, 1.0, aside), statistics_since(memory, -1.0, aside)
        weights = self._weights(memory.age)
        total = np.zeros(len(state))
        best = np.full(len(state), -np.inf)
        shown = np.full(len(state), np.nan)
        gated = np.zeros(len(state), np.bool_)
        for since, share in ((rises, state.setup.up), (falls, state.setup.down)):
            if not share.any():
                continue
            e = bayes_factor(since, belief, pod_part, memory)
            if aside:
                whole = statistics_since(memory, 1.0 if since is rises else -1.0, 0.0)
                e = np.where(since.kept >= 1, e, 1.0)
                e = np.minimum(bayes_factor(whole, belief, pod_part, memory), e * np.sqrt(limits.threshold)[:, None])
                since = whole
            ready = (since.kept >= 1) & (since.kept >= limits.persistence[:, None] - 1)
            ready &= (memory.sums[:, COUNT] >= limits.persistence)[:, None]
            harmful = ready & (since.shift >= limits.margin[:, None])
            e = np.where(ready, np.where(harmful, e, np.minimum(e, 1.0)), 1.0)
            weighted = share[:, None] * weights * e
            total += weighted.sum(axis=1) + share * (1.0 - weights.sum(axis=1))
            top = np.where(ready & (share > 0)[:, None], weighted, -np.inf)
            strongest = top.argmax(axis=1)
            rows = np.arange(len(state))
            better = top[rows, strongest] > best
            best = np.where(better, top[rows, strongest], best)
            shown = np.where(better, since.shift[rows, strongest], shown)
            gated |= harmful.any(axis=1) & (share > 0)
        total += 1.0 - state.setup.up - state.setup.down
        return self._report(state, total, shown, gated)

    def _report(
        self, state: LevelShiftState, e_value: Floats, shown: Floats, gated: Bools
    ) -> Findings:
        """Write the findings; the effect is signed so that positive is harmful."""
        memory, limits = state.memory, state.setup.limits
        rows = len(state)
        count = memory.sums[:, COUNT]
        tested = (count >= limits.persistence) & np.isfinite(shown)
        sign = np.where(state.setup.up >= state.setup.down, 1.0, -1.0)
        mean = memory.sums[:, SUM] / np.maximum(count, 1.0) - memory.reference[:, 0]
        effect = np.where(count > 0, sign * mean, np.nan)
        radius = _radius(state, self.interval_alpha)
        seen = count > 0
        low = np.where(seen, effect - radius, -np.inf)
        high = np.where(seen, effect + radius, np.inf)
        visible = radius + limits.margin
        two_sided = (state.setup.up > 0) & (state.setup.down > 0)
        farthest = np.where(two_sided, np.maximum(np.abs(low), np.abs(high)), high)
        return Findings(
            e_value=np.where(tested, e_value, 1.0),
            tested=tested,
            effect=effect,
            recent_effect=shown,
            low=low,
            high=high,
            harmful=tested & gated,
            harmless=tested & (farthest < limits.harm),
            canary_value=np.full(rows, np.nan),
            baseline_value=np.full(rows, np.nan),
            detectable=np.where(seen & (visible <= SHIFT_NODES[-1]), visible, np.nan),
            drift_e=np.ones(rows),
            ticks=count.copy(),
        )

    def _weights(self, age: Ints) -> Floats:
        """Return the weight of the first start and of each kept restart, (rows, 8)."""
        newest = np.maximum(age - 1, 0) // self.restart_ticks
        weights = np.zeros((len(age), KEPT_STARTS + 1))
        weights[:, 0] = 0.5
        for slot in range(KEPT_STARTS):
            number = _newest_in_slot(newest, slot)
            weights[:, slot + 1] = np.where(number > 0, 1.0 / ((number + 1) * (number + 2)), 0.0)
        return weights


def _slot(number: Ints) -> Ints:
    """Return how often 2 divides a restart's number: 1 → 0, 2 → 1, 3 → 0, 4 → 2."""
    lowest = number & -number
    slot: Ints = np.log2(np.maximum(lowest, 1)).astype(np.int64)
    return np.minimum(slot, KEPT_STARTS - 1)


def _newest_in_slot(newest: Ints, slot: int) -> Ints:
    """Return the number of the newest restart that a slot holds, 0 when none."""
    unit = 1 << slot
    number = newest - newest % unit
    odd = (number // unit) % 2 == 1
    found: Ints = number if slot == KEPT_STARTS - 1 else np.where(odd, number, number - unit)
    return np.maximum(found, 0)


def _radius(state: LevelShiftState, alpha: float) -> Floats:
    """Return the half width of the interval of the mean shift since the start, (rows,).

    Chebyshev-like for the mixture: the normal radius of the believed mean variance, widened by
    the law of the iterated logarithm's usual factor for looking at every interval.
    """
    belief, pod_part = noise_belief(state.memory, state.setup.noise)
    count = np.maximum(state.memory.sums[:, COUNT], 1.0)
    step, reference = step_parts(state.memory)
    variance = pod_part + reference + step / count[:, None]
    mass = np.exp(belief - belief.max(axis=1, keepdims=True))
    mean = (mass * variance).sum(axis=1) / mass.sum(axis=1)
    looks = np.log(1.0 / alpha) + np.log1p(np.log2(count))
    radius: Floats = np.sqrt(2.0 * mean * looks)
    return radius
