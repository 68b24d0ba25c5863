"""Has the level of a coarse series moved? For gauges and quantiles with few points and instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.cadence import Cadence
from detectors.findings import Findings, Limits
from detectors.level_evidence import (
    COUNT,
    MOST_LOG,
    SHIFT_NODES,
    SUM,
    LevelMemory,
    NoiseNodes,
    Since,
    log_factors,
    statistics_since,
)
from detectors.level_noise import LevelNoise, Spread
from detectors.rows import (
    Bools,
    Floats,
    Ints,
    Rows,
    advanced,
    column,
    some_pods,
)
from detectors.starts import forgotten, odd_bound, odd_intervals, weights

BLOCK: Final = 512
"""Rows worked on at once: 40 nodes of each then stay in the second-level cache."""

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

    For one start s, with n intervals of the canary since, their mean is compared with the
    baseline: d. With τ the persistent differences between instances, ω the noise of one interval,
    g(n) the part of ω² that a mean of n correlated values keeps (`carry_over.mean_share`), k and m
    instances and N values of each behind the reference,

        V = τ²·(1/k + 1/m) + ω²·(g(n)/k + g(N)/m)
        e = Σ_(τ,ω) p·mean_δ N(d; δ, V) / Σ_(τ,ω) p·N(d; 0, V)

    where p is the posterior of (τ, ω) given what the baseline's instances have shown (not the
    canary's own wobble: one that begins to wobble would excuse itself). For a later start, the
    canary's intervals before it tell its own offset: d is then less what they predict, and V
    has what is left of τ². Integrating over the noise instead of estimating it gives the heavy tails
    that few points deserve: it is a t-test's Bayes factor for two variance components
    (Jeffreys 1961, ch. 5; Rouder et al. 2009; Wang & Ramdas 2023 for its anytime use).

    Starts: one at the beginning, one every `restart_s` after it; the j-th has weight
    1/((j+1)(j+2)), which sums to one without knowing how long the watch will last. A start whose
    mean does not reach the margin counts as one. Odd intervals never decide, however large: what
    the most accusing ones add to the evidence of the others is bounded (`starts.odd_bound`).

    When it errs: with known noise each e is a martingale up to that bound, which only lowers it;
    with noise learned on the way that is approximate (measured: see
    docs/decisions/coarse-series.md). One baseline instance says nothing of τ: a canary that
    differs by what the prior calls unlikely is then accused. Noise that is slower than the
    series is long looks like a shift.
    """

    restart_s: float = 30.0

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
        setup = LevelSetup(limits, noise, column(up, rows), column(down, rows))
        return LevelShiftState(LevelMemory.empty(rows), setup)

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
        memory.restart(self.restart_ticks)
        memory.add(pair.canary, known)
        memory.pods[known] = np.stack([pair.canary_pods, pair.baseline_pods], axis=1)[known]
        reference = np.stack([pair.reference, pair.reference_points], axis=1)
        memory.reference[known] = reference[known]
        memory.spread.put(known, pair.spread.take(known))
        memory.age[...] += 1

    def findings(self, state: LevelShiftState) -> Findings:
        """Return what is known of every row by now."""
        firsts = range(0, max(len(state), 1), BLOCK)
        return Findings.concat([self._find(state.take(slice(at, at + BLOCK))) for at in firsts])

    def _find(self, state: LevelShiftState) -> Findings:
        memory, setup = state.memory, state.setup
        nodes = NoiseNodes.of(memory, setup.noise, self.tick_s)
        weight = weights(memory.age, self.restart_ticks).T
        lost = (setup.up + setup.down) * forgotten(memory.age, self.restart_ticks)
        total, best = 1.0 - lost, np.zeros(len(state))
        shown = np.where(memory.sums[:, COUNT] > 0, _mean_shift(state), np.nan)
        gated = np.zeros(len(state), np.bool_)
        for sign, share in ((1.0, setup.up), (-1.0, setup.down)):
            given = share[:, None] * weight
            if not given.any():
                continue
            since = statistics_since(memory, sign)
            e, rows, starts = self._evidence(since, nodes, given, setup.limits)
            extra = np.zeros(given.shape)
            # a start that is not ready, or whose shift does not matter, counts as one
            extra[rows, starts] = given[rows, starts] * (e - 1.0)
            for column_of in extra.T:
                total += column_of
            gated[rows] = True
            strongest = extra.argmax(axis=1)
            each = np.arange(len(state))
            better = extra[each, strongest] > best
            best = np.where(better, extra[each, strongest], best)
            shown = np.where(better, since.shift[each, strongest], shown)
        return self._report(state, nodes, total, shown, gated)

    def _evidence(
        self, since: Since, nodes: NoiseNodes, given: Floats, limits: Limits
    ) -> tuple[Floats, Ints, Ints]:
        """Return evidence, rows and starts, of the starts whose shift is beyond the margin."""
        odd = odd_intervals(limits.persistence, self.tick_s)
        bound = odd_bound(limits.threshold, odd)
        ready = (given > 0) & (since.count >= limits.persistence[:, None])
        harmful = ready & (since.shift >= limits.margin[:, None])
        rows, starts = np.nonzero(harmful)
        logs = log_factors(since, nodes, odd[rows], (rows, starts), bound[rows])
        return np.exp(np.clip(logs, -MOST_LOG, MOST_LOG)), rows, starts

    def _report(
        self,
        state: LevelShiftState,
        nodes: NoiseNodes,
        e_value: Floats,
        shown: Floats,
        gated: Bools,
    ) -> Findings:
        """Write the findings; the effect is signed so that positive is harmful."""
        memory, limits = state.memory, state.setup.limits
        rows = len(state)
        count = memory.sums[:, COUNT]
        tested = count >= limits.persistence
        effect = np.where(count > 0, _mean_shift(state), np.nan)
        radius = _radius(nodes, count, self.interval_alpha)
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


def _mean_shift(state: LevelShiftState) -> Floats:
    """Return the mean shift since the beginning, positive is harmful, (rows,)."""
    memory = state.memory
    sign = np.where(state.setup.up >= state.setup.down, 1.0, -1.0)
    mean = memory.sums[:, SUM] / np.maximum(memory.sums[:, COUNT], 1.0)
    shift: Floats = sign * (mean - memory.reference[:, 0])
    return shift


def _radius(nodes: NoiseNodes, count: Floats, alpha: float) -> Floats:
    """Return the half width of the interval of the mean shift since the start, (rows,).

    Chebyshev-like for the mixture: the normal radius of the believed mean variance, widened by
    the law of the iterated logarithm's usual factor for looking at every interval.
    """
    looks = np.log(1.0 / alpha) + np.log1p(np.log2(np.maximum(count, 1.0)))
    radius: Floats = np.sqrt(2.0 * nodes.mean_variance(count) * looks)
    return radius
