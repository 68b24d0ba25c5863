"""Latency histograms: slower tails (E1) and a slower whole (E2), in one e-value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.cadence import Cadence, RecentSums
from detectors.drift import Drift, History
from detectors.findings import Limits, Weights
from detectors.histograms import LatencyFindings, PairHistograms
from detectors.latency_noise import (
    MIN_REQUESTS,
    TAILS,
    LatencyNoise,
    choose_tail_bounds,
    fit_latency_noise,
    score_variance,
    tail_events,
)
from detectors.quantiles import QuantileNoise, QuantileRatio, largest_ratio
from detectors.rows import (
    Bools,
    Floats,
    Ints,
    Rows,
    advanced,
    all_blocks,
    column,
    padded,
    pod_spread,
)
from detectors.share import ShareCounts, ShareEvidence, ShareNoise, share_cap
from detectors.shift import MeanEvidence, needed_evidence, t_inflation, visible_shift

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LatencyFindings",
    "LatencyNoise",
    "LatencyShift",
    "LatencyShiftState",
    "PairHistograms",
    "fit_latency_noise",
]

TAIL_WEIGHT: Final = 0.20 / 0.35
"""Part of the tails in the evidence, .20 against .15 of the score: only the tails see '2 % → 5 %
slow requests', the score sees a shift of everything 1.6 to 4 times sooner (design 4)."""

HARMLESS_EVIDENCE: Final = 20.0
"""Evidence that no watched tail has doubled: 1/0.05, as the 95 % interval."""

_HARMLESS_TAILS: Final = slice(0, 4)
"""Tails that must be cleared: all but the rarest (0.2 %), which would take hours."""


@dataclass(frozen=True, slots=True)
class LatencyMemory(Rows):
    """What changes from tick to tick, J buckets wide.

    Attributes:
        age: ticks lived, informative or not, (rows,).
        ticks: informative ticks, (rows,).
        pod_sd: Σ sqrt(1/k + 1/m) over the informative ticks, (rows,).
        counts: (rows, 2, J) requests per bucket since the start, canary and baseline.
        recent: `counts` over the recent window.
        tail_bounds: (rows, 5) index of the bound of each watched tail, -1 for unused.
        score_variance: (rows,) variance of one request's score; nan until known.
        tails: evidence of slower tails, (rows, 5).
        score: evidence of a slower mean score.
        drift: evidence that the baseline is slower than its history, (rows, 5).
    """

    age: Ints
    ticks: Floats
    pod_sd: Floats
    counts: Floats
    recent: RecentSums
    tail_bounds: Ints
    score_variance: Floats
    tails: ShareEvidence
    score: MeanEvidence
    drift: Drift


@dataclass(frozen=True, slots=True)
class LatencySetup(Rows):
    """What was fixed at the start.

    Attributes:
        limits: what counts as harm.
        bounds: (rows, J) upper bounds in seconds; scores: (rows, J) the buckets' scores.
        tail_noise: what the tails' evidence discounts, (rows, 5).
        history: the baseline's past tail shares, (rows, 5).
        quantile_noise: what the interval of a quantile discounts.
        omega2: long-run variance of a pod's mean score per tick.
        pod_variance: τ² of the score, inflated for the doubt about it.
        pod_quantile: τ of the score times the 1 - α/2 quantile of Student t (ν).
    """

    limits: Limits
    bounds: Floats
    scores: Floats
    tail_noise: ShareNoise
    history: History
    quantile_noise: QuantileNoise
    omega2: Floats
    pod_variance: Floats
    pod_quantile: Floats


@dataclass(frozen=True, slots=True)
class LatencyShiftState(Rows):
    """What is known of each row, as a value; made by `LatencyShift.start` and `update` only."""

    memory: LatencyMemory
    setup: LatencySetup

    @classmethod
    def concat(cls, parts: Sequence[LatencyShiftState]) -> LatencyShiftState:
        """Stack rows; narrower histograms are padded with buckets that stay empty."""
        width = max((part.setup.bounds.shape[1] for part in parts), default=0)
        return super(LatencyShiftState, cls).concat([part.widened(width) for part in parts])

    def widened(self, width: int) -> LatencyShiftState:
        """Return the same rows padded to `width` buckets."""
        memory, setup = self.memory, self.setup
        return LatencyShiftState(
            replace(
                memory,
                counts=padded(memory.counts, width),
                recent=RecentSums(padded(memory.recent.slots, width)),
            ),
            replace(
                setup,
                bounds=padded(setup.bounds, width, np.inf),
                scores=padded(setup.scores, width),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyShift(Cadence):
    """Detector of slower requests: many histograms a call, each row with its own age.

    Evidence: TAIL_WEIGHT · (mean E1 over up to five tails) + the rest · (E2 on the mean score).
    Gate: p50, p90 or p99 (since the start or lately), or the mean score, up by `margin`.
    Harmless: the score's confidence sequence ends below `harm` *and* no watched tail has
    doubled (e >= 20); the score alone would call "5 % instead of 2 % slow requests" harmless.

    Rows without history choose their tails, and learn the score's variance, from the requests
    of both sides pooled, once there are 500 of them; evidence starts with the next tick. The
    choice uses only the past and treats both sides alike, so it takes nothing from the null.

    When it errs: measured false rollbacks 0-0.8 % over 14 noise situations (design 4.1); a
    true +3 % is rolled back in about 2 %. Pauses of single pods look like a slow canary.
    """

    def start(
        self, noise: LatencyNoise, limits: Limits, canary_pods: object, baseline_pods: object
    ) -> LatencyShiftState:
        """Return the state of rows that have seen nothing.

        Args:
            noise: one row of noise per row.
            limits: one row of limits per row; `floor` and `harm_rate` mean nothing here.
            canary_pods: checked only; the pods that count are those of every tick.
            baseline_pods: the same.

        Raises:
            ValueError: lengths differ.
        """
        rows = len(limits)
        for pods in (canary_pods, baseline_pods, noise.score_variance):
            column(pods, rows)
        memory = LatencyMemory(
            age=np.zeros(rows, np.int64),
            ticks=np.zeros(rows),
            pod_sd=np.zeros(rows),
            counts=np.zeros((rows, 2, noise.bounds.shape[1])),
            recent=RecentSums.empty((rows, 2, noise.bounds.shape[1])),
            tail_bounds=noise.tail_bounds.copy(),
            score_variance=noise.score_variance.copy(),
            tails=ShareEvidence.empty((rows, TAILS)),
            score=MeanEvidence.empty(rows),
            drift=Drift.empty((rows, TAILS)),
        )
        return LatencyShiftState(memory, self._setup(noise, limits))

    def _setup(self, noise: LatencyNoise, limits: Limits) -> LatencySetup:
        tails, score = noise.tails, noise.score
        cap = share_cap(limits.threshold, limits.persistence, self)
        return LatencySetup(
            limits=limits,
            bounds=noise.bounds,
            scores=noise.scores,
            tail_noise=ShareNoise.of(
                tails,
                tail=np.ones(tails.kappa.shape, np.bool_),
                cap=np.broadcast_to(cap[:, None], tails.kappa.shape),
            ),
            history=History(tails.history_rate, tails.kappa_time),
            quantile_noise=QuantileNoise.of_tails(
                tails.kappa, tails.pod_quantile(self.interval_alpha)
            ),
            omega2=score.omega2,
            pod_variance=score.tau2 * t_inflation(score.nu),
            pod_quantile=score.pod_quantile(self.interval_alpha),
        )

    def update(
        self, state: LatencyShiftState, pair: PairHistograms, live: Bools, *, consume: bool = False
    ) -> LatencyShiftState:
        """Return the state after one tick; rows not live stay exactly as they are.

        Args:
            state: before the tick; not changed unless it may be consumed.
            pair: the tick.
            live: (rows,) rows that are being watched.
            consume: write over the state given, which nobody needs any more.

        Raises:
            ValueError: lengths differ, or the tick has more buckets than the state.
        """
        wide = pair.widened(state.setup.bounds.shape[1])
        memory = advanced(state.memory, state.setup, wide, live, self._step, consume=consume)
        return LatencyShiftState(memory, state.setup)

    def _step(self, memory: LatencyMemory, setup: LatencySetup, pair: PairHistograms) -> None:
        """Add one tick to a block of rows, in place."""
        known = pair.informative()
        both = np.stack([pair.canary_counts, pair.baseline_counts], axis=1)
        both = np.where(known[:, None, None], both, 0.0)
        spread = pod_spread(known, pair.canary_pods, pair.baseline_pods)
        self._add_tails(memory, setup, both, spread)
        self._add_score(memory, setup, both, known, spread)
        memory.recent.add(both, memory.age, self)
        memory.counts[...] += both
        memory.pod_sd[...] += np.where(known, np.sqrt(spread), 0.0)
        memory.ticks[...] += known
        memory.age[...] += 1
        _learn(memory, setup)

    def _add_tails(
        self, memory: LatencyMemory, setup: LatencySetup, both: Floats, spread: Floats
    ) -> None:
        bounds = memory.tail_bounds
        (c, n1), (b, n0) = (tail_events(both[:, side], bounds) for side in (0, 1))
        counts, age = ShareCounts(c, b, n1, n0), memory.age
        wide = np.broadcast_to(spread[:, None], bounds.shape)
        memory.tails.add(counts, wide, setup.tail_noise, age, self)
        memory.drift.add(b, n0, setup.history, age, self)

    def _add_score(
        self,
        memory: LatencyMemory,
        setup: LatencySetup,
        both: Floats,
        known: Bools,
        spread: Floats,
    ) -> None:
        known = known & np.isfinite(memory.score_variance)
        n1, n0 = np.where(known[:, None], both.sum(axis=2), 1.0).T
        canary, baseline = (both * setup.scores[:, None]).sum(axis=2).T
        value = np.where(known, canary / n1 - baseline / n0, 0.0)
        variance = np.where(known, memory.score_variance, 1.0) * (1 / n1 + 1 / n0)
        variance += setup.omega2 * spread
        memory.score.add(known, value, variance, spread, setup.pod_variance, memory.age, self)

    def findings(self, state: LatencyShiftState) -> LatencyFindings:
        """Return what is known of every row by now."""
        parts = [self._find(state.take(rows)) for rows in all_blocks(len(state))]
        return LatencyFindings.concat(parts)

    def weigh(self, state: LatencyShiftState, heed: Floats) -> Weights:
        """Return what `findings` would tell of the rows' weights.

        Args:
            state: what is known.
            heed: (rows,) evidence below which nobody asks whether a row is harmful; such rows are
                not, here. The quantiles that this takes are most of the work.
        """
        blocks = [self._weigh(state.take(b), heed[b]) for b in all_blocks(len(state))]
        return Weights.concat(blocks)

    def _weigh(self, state: LatencyShiftState, heed: Floats) -> Weights:
        memory, limits = state.memory, state.setup.limits
        e_value, _, _ = self._evidence(state)
        tested, harmful = memory.ticks >= limits.persistence, np.zeros(len(state), np.bool_)
        asked = np.flatnonzero(tested & (e_value >= heed))
        some = state.take(asked)
        most = _most(self._ratios(some, e_value[asked]), some.memory.score.mean())
        harmful[asked] = most >= limits.margin[asked]
        return Weights(e_value, tested, harmful, self._drifted(state))

    def _evidence(self, state: LatencyShiftState) -> tuple[Floats, Floats, Floats]:
        """Return the evidence of both parts together, of the tails and of the score."""
        memory, setup, used = state.memory, state.setup, state.memory.tail_bounds >= 0
        tail_e = _mean_of(used, memory.tails.e_value(setup.tail_noise, memory.age, self))
        persistence = setup.limits.persistence
        score_e = memory.score.e_value(setup.pod_variance, persistence, memory.age, self)
        share = np.where(used.any(axis=1), TAIL_WEIGHT, 0.0)
        return share * tail_e + (1 - share) * score_e, tail_e, score_e

    def _drifted(self, state: LatencyShiftState) -> Floats:
        memory = state.memory
        drifted = memory.drift.e_value(state.setup.history, memory.age, self)
        return _mean_of(memory.tail_bounds >= 0, drifted)

    def _ratios(self, state: LatencyShiftState, e_value: Floats) -> QuantileRatio:
        memory, setup = state.memory, state.setup
        return largest_ratio(
            memory.counts,
            memory.recent.total(),
            np.flatnonzero(e_value > 1),
            setup.bounds,
            setup.quantile_noise.after(memory.ticks, memory.pod_sd),
            self.interval_alpha,
        )

    def _find(self, state: LatencyShiftState) -> LatencyFindings:
        memory, setup, limits = state.memory, state.setup, state.setup.limits
        score, used = memory.score, memory.tail_bounds >= 0
        e_value, tail_e, score_e = self._evidence(state)
        tested = memory.ticks >= limits.persistence
        shift, shift_low, shift_high = score.interval(self.interval_alpha, setup.pod_quantile)
        best = self._ratios(state, e_value)
        known = np.isfinite(best.effect)
        visible = score.detectable(
            needed_evidence(limits.threshold, self.weights[0] * (1 - TAIL_WEIGHT)),
            setup.pod_variance,
            np.maximum(self.horizon_ticks - memory.age, 0.0),
        )
        cleared = ~used | (memory.tails.not_doubled() >= HARMLESS_EVIDENCE)
        return LatencyFindings(
            e_value=e_value,
            tested=tested,
            effect=np.where(known, best.effect, shift),
            recent_effect=best.recent,
            low=np.where(known, best.low, shift_low),
            high=np.where(known, best.high, shift_high),
            harmful=tested & (_most(best, shift) >= limits.margin),
            harmless=tested & (shift_high < limits.harm) & cleared[:, _HARMLESS_TAILS].all(axis=1),
            canary_value=best.canary,
            baseline_value=best.baseline,
            detectable=visible_shift(visible, limits.margin),
            drift_e=self._drifted(state),
            ticks=memory.ticks.copy(),
            quantile=np.where(known, best.level, np.nan),
            tail_e=tail_e,
            score_e=score_e,
        )


def _most(best: QuantileRatio, shift: Floats) -> Floats:
    """Return the largest log ratio of the quantiles and the mean score."""
    most: Floats = np.fmax(np.fmax(best.effect, best.recent), shift)
    return most


def _mean_of(used: Bools, values: Floats) -> Floats:
    """Return the mean of the used values of each row; 1.0 where none is."""
    total = np.where(used, values, 0.0).sum(axis=1)
    return np.where(used.any(axis=1), total / np.maximum(used.sum(axis=1), 1), 1.0)


def _learn(memory: LatencyMemory, setup: LatencySetup) -> None:
    """Choose tails and score variance of rows without history from the past of both sides."""
    unknown = np.flatnonzero(np.isnan(memory.score_variance))
    pooled = memory.counts[unknown].sum(axis=1)
    enough = pooled.sum(axis=1) >= MIN_REQUESTS
    due, pooled = unknown[enough], pooled[enough]
    memory.tail_bounds[due] = choose_tail_bounds(pooled, setup.bounds[due])
    memory.score_variance[due] = score_variance(pooled, setup.scores[due])
