"""Have bad events become more frequent, when they are told by intervals of seconds to minutes?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors.cadence import Cadence
from detectors.count_noise import CountNoise, consistent
from detectors.counts import FLOOR_EVIDENCE, CountRatio, CountRatioState, PairCounts
from detectors.event_sums import (
    EXPOSURE,
    HITS,
    MOST_LOG,
    TICKS,
    EventMemory,
    EventNoise,
    EventWindow,
    log_factor,
    log_ratio_since,
)
from detectors.findings import Findings, Limits
from detectors.rows import Bools, Floats, Rows, advanced, some_pods
from detectors.share import RATIO_NODES, pod_mass
from detectors.starts import ODD, STARTS, forgotten, odd_bound, odd_intervals, weights

SURGE: Final = 3.0
"""Traffic that grows by more than this from the usual is told, but not believed."""

BLOCK: Final = 256
"""Rows worked on at once: 100 nodes of each then stay in the second-level cache."""


@dataclass(frozen=True, slots=True)
class EventSetup(Rows):
    """What was fixed at the start."""

    limits: Limits
    noise: EventNoise


@dataclass(frozen=True, slots=True)
class EventShiftState(Rows):
    """What is known of each row, as a value; made by `EventShift.start` and `update` only.

    Attributes:
        counts: what `CountRatio` knows: interval, harmlessness, what would be seen.
        memory: sums by start. setup: fixed at the start.
    """

    counts: CountRatioState
    memory: EventMemory
    setup: EventSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class EventShift(Cadence):
    """Pooled test of bad events since every possible start: many rows a call.

    `CountRatio` is made for long watches at a scrape's pace: it starts again every five minutes.
    A watch of some minutes, or of some intervals, would let the healthy time before a fault speak
    for the canary. Here the sums since each start are kept (spaced like powers of two, see
    `starts.py`) and compared in one go, see `log_factor`: beside the baseline interval by
    interval, or, where the baseline is another stretch of time, with all of it and with the
    canary's own past; so traffic need not fall into the same intervals. Intervals, harmlessness
    and what the traffic would reveal are those of `CountRatio`.

    Odd intervals never decide: what the most accusing ones add to the evidence of the others is
    bounded (`starts.odd_bound`). A start whose rate does not reach the margin, or is not shown to
    exceed the floor, counts as one.

    When it errs: a burst that lasts several intervals looks like a fault, as does a service whose
    innocent instances differ by more than τ. With κ = τ = 0 each start is a Bayes factor and a
    martingale under "no change"; tempered and with the common rate integrated out it is
    approximate (measured: docs/decisions/coarse-series.md).

    Attributes:
        paired: both sides ran at the same time.
    """

    restart_s: float = 30.0
    paired: bool = True

    @property
    def counts(self) -> CountRatio:
        """The detector behind interval and harmlessness."""
        return CountRatio(
            tick_s=self.tick_s, horizon_s=self.horizon_s, interval_alpha=self.interval_alpha
        )

    def start(
        self,
        noise: CountNoise,
        limits: Limits,
        canary_pods: object,
        baseline_pods: object,
        tail: object = False,
    ) -> EventShiftState:
        """Return the state of rows that have seen nothing; arguments as for `CountRatio`."""
        counts = self.counts.start(noise, limits, canary_pods, baseline_pods, tail)
        mass = pod_mass(noise.nu).astype(np.float64)
        setup = EventSetup(limits, EventNoise(noise.kappa, np.sqrt(noise.tau2), mass))
        return EventShiftState(counts, EventMemory.empty(len(limits)), setup)

    def update(self, state: EventShiftState, pair: PairCounts, live: Bools) -> EventShiftState:
        """Return the state after one interval; rows not live stay exactly as they are.

        Args:
            state: before; not changed.
            pair: the interval. Where both sides did not run at the same time, a side without
                exposure does not silence the other one.
            live: (rows,) rows that are being watched.

        Raises:
            ValueError: lengths differ.
        """
        memory = advanced(state.memory, state.setup, pair, live, self._step)
        return replace(state, counts=self.counts.update(state.counts, pair, live), memory=memory)

    def _step(self, memory: EventMemory, setup: EventSetup, pair: PairCounts) -> None:
        """Add one interval to a block of rows, in place."""
        del setup
        memory.restart(self.restart_ticks)
        known = pair.informative() if self.paired else _consistent(pair)
        c, n1 = _where(known, pair.canary_events), _where(known, pair.canary_exposure)
        b, n0 = _where(known, pair.baseline_events), _where(known, pair.baseline_exposure)
        due = np.zeros_like(c)
        if self.paired:
            due = (c + b) * n1 / np.where(known, n1 + n0, 1.0)
        events = c + b if self.paired else np.zeros_like(c)
        interval = np.stack([(n1 > 0).astype(np.float64), c, events, due, n1], axis=1)
        reference = np.stack([(n0 > 0).astype(np.float64), b, n0], axis=1)
        reference[:, 1:] *= _tamed(n0, memory.baseline)[:, None]
        pods = np.stack([pair.canary_pods, pair.baseline_pods], axis=1)
        memory.add(interval, reference, pods, known & (n1 > 0))
        memory.age[...] += 1

    def findings(self, state: EventShiftState) -> Findings:
        """Return what is known of every row by now."""
        told = self.counts.findings(state.counts)
        parts = [
            self._find(state.take(slice(at, at + BLOCK)), told.take(slice(at, at + BLOCK)))
            for at in range(0, max(len(state), 1), BLOCK)
        ]
        return Findings.concat(parts)

    def _find(self, state: EventShiftState, told: Findings) -> Findings:
        memory, limits = state.memory, state.setup.limits
        weight = weights(memory.age, self.restart_ticks)
        total, best = 1.0 - forgotten(memory.age, self.restart_ticks), np.zeros(len(state))
        shown, harmful = told.recent_effect, np.zeros(len(state), np.bool_)
        for start in range(STARTS):
            if not weight[start].any():
                continue
            window = _window(memory, start)
            effect = log_ratio_since(window, paired=self.paired)
            ready = (window.since[TICKS] >= limits.persistence) & (window.baseline[0] > 0)
            ready &= weight[start] > 0
            gated = ready & (effect >= limits.margin)
            gated &= _above_floor(window.since, limits.floor)
            weighted = np.zeros(len(state))
            rows = np.flatnonzero(gated)
            if len(rows):
                e = self._evidence(window.take(rows), start, state.take(rows))
                weighted[rows] = weight[start, rows] * (e - 1.0)
            total = total + weighted
            better = gated & (weighted > best)
            best, shown = np.where(better, weighted, best), np.where(better, effect, shown)
            harmful |= gated
        tested = (memory.sums[:, TICKS] >= limits.persistence) & (memory.baseline[:, 0] > 0)
        found = replace(
            told,
            e_value=np.where(tested, total, 1.0),
            tested=tested,
            recent_effect=shown,
            harmful=tested & harmful,
            harmless=tested & told.harmless,
        )
        return found if self.paired else self._pooled(memory, found)

    def _pooled(self, memory: EventMemory, found: Findings) -> Findings:
        """Tell rates of all that was seen, not only of intervals in which both had traffic."""
        window = _window(memory, 0)
        hits, exposure, events, requests = (
            window.since[HITS],
            window.since[EXPOSURE],
            *window.baseline[1:],
        )
        seen = (exposure > 0) & (requests > 0)
        effect = np.where(seen, log_ratio_since(window, paired=False), np.nan)
        return replace(
            found,
            effect=effect,
            low=np.fmin(found.low, effect),
            high=np.fmax(found.high, effect),
            canary_value=_rate(hits, exposure),
            baseline_value=_rate(events, requests),
        )

    def _evidence(self, window: EventWindow, start: int, state: EventShiftState) -> Floats:
        """Return the evidence since one start, bounded by what it is without odd intervals."""
        noise, pods, limits = state.setup.noise, state.memory.pods.T, state.setup.limits
        found = log_factor(window, noise, pods, paired=self.paired)
        odd = odd_intervals(limits.persistence, self.tick_s)
        for most in range(1, ODD + 1):
            if not (odd == most).any():
                continue
            aside = state.memory.worst[:, start, :most].sum(axis=1).T
            rest = replace(window, since=np.maximum(window.since - aside, 0.0))
            others = log_factor(rest, noise, pods, paired=self.paired)
            bounded = np.minimum(found, others + odd_bound(limits.threshold, odd))
            found = np.where(odd == most, bounded, found)
        evidence: Floats = np.exp(np.clip(found, -MOST_LOG, MOST_LOG))
        return evidence


def _consistent(pair: PairCounts) -> Bools:
    """Return which rows make sense on both sides; one of them may have no traffic."""
    return (
        consistent(pair.canary_events, pair.canary_exposure)
        & consistent(pair.baseline_events, pair.baseline_exposure)
        & some_pods(pair.canary_pods)
        & some_pods(pair.baseline_pods)
    )


def _tamed(exposure: Floats, baseline: Floats) -> Floats:
    """Return the part of an interval that counts: one broken value must not outweigh the rest.

    An interval with more than `SURGE` times the baseline's usual exposure counts as that many.
    """
    ticks, _, whole = baseline.T
    usual = SURGE * whole / np.maximum(ticks, 1.0)
    part: Floats = np.where(
        (usual > 0) & (exposure > usual), usual / np.maximum(exposure, 1.0), 1.0
    )
    return np.minimum(part, 1.0)


def _rate(events: Floats, exposure: Floats) -> Floats:
    return np.where(exposure > 0, events / np.where(exposure > 0, exposure, 1.0), np.nan)


def _where(known: Bools, values: Floats) -> Floats:
    return np.where(known, values, 0.0)


def _window(memory: EventMemory, start: int) -> EventWindow:
    """Return the sums since and before a start; 0 is the first."""
    before = np.zeros_like(memory.sums) if start == 0 else memory.starts[:, start - 1]
    return EventWindow((memory.sums - before).T, before.T, memory.baseline.T)


def _above_floor(since: Floats, floor: Floats) -> Bools:
    """Return where the canary is shown to exceed the absolute floor, or there is none.

    Mean over rises a of the Poisson likelihood ratio of rate floor·e^a against the floor itself.
    """
    expected = since[EXPOSURE] * np.where(np.isnan(floor), 1.0, floor)
    rises = np.asarray(RATIO_NODES)[:, None]
    ratio = np.clip(since[HITS] * rises - expected * np.expm1(rises), -MOST_LOG, MOST_LOG)
    above: Bools = np.isnan(floor) | (np.exp(ratio).mean(axis=0) >= FLOOR_EVIDENCE)
    return above
