"""What is kept of bad events told interval by interval, and how likely a ratio makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.rows import TINY, Bools, Floats, Ints, Rows, sum_nodes
from detectors.share import MIN_POD_SD, PHI_FLOOR_TAIL, POD_NODES, RATIO_NODES
from detectors.starts import KEPT_STARTS, ODD, STARTS, restarting

TICKS, HITS, EVENTS, DUE, EXPOSURE = range(5)
"""Columns of the canary's sums: intervals, its bad events c, those of both sides in the same
intervals E, how many of E were due on it Σ E·n1/(n1+n0), and its exposure n1."""

HALF: Final = 0.5
"""Prior events of the baseline (Jeffreys): no errors in a few requests do not prove perfection."""

MOST_LOG: Final = 690.0
"""exp(690) is near the largest float64."""

_NEWTON_STEPS: Final = 8
_MOST_STEP: Final = 4.0
"""Bounds of the search for the common log odds."""


@dataclass(frozen=True, slots=True)
class EventMemory(Rows):
    """Sums that change from interval to interval.

    Attributes:
        age: intervals lived, informative or not, (rows,).
        sums: (rows, 5) the canary since the beginning. starts: (rows, 7, 5) at the kept restarts.
        worst: (rows, 8, 2, 5) the most accusing intervals since the beginning and each restart,
            the most accusing first.
        baseline: (rows, 3) intervals, bad events and exposure of the baseline.
        pods: (rows, 2) instances of canary and baseline in the newest informative interval.
    """

    age: Ints
    sums: Floats
    starts: Floats
    worst: Floats
    baseline: Floats
    pods: Floats

    @classmethod
    def empty(cls, rows: int) -> EventMemory:
        """Return sums over nothing."""
        return cls(
            age=np.zeros(rows, np.int64),
            sums=np.zeros((rows, 5)),
            starts=np.zeros((rows, KEPT_STARTS, 5)),
            worst=np.zeros((rows, STARTS, ODD, 5)),
            baseline=np.zeros((rows, 3)),
            pods=np.ones((rows, 2)),
        )

    def restart(self, every: int) -> None:
        """Begin the instances that are due, in place."""
        rows, slot = restarting(self.age, every)
        self.starts[rows, slot] = self.sums[rows]
        self.worst[rows, slot + 1] = 0.0

    def add(self, interval: Floats, baseline: Floats, pods: Floats, known: Bools) -> None:
        """Add one interval, in place.

        Args:
            interval: (rows, 5) of the canary, 0 where it says nothing.
            baseline: (rows, 3) of the baseline.
            pods: (rows, 2) instances.
            known: (rows,) where `pods` are to be kept.
        """
        self.sums[...] += interval
        self.baseline[...] += baseline
        self.pods[known] = pods[known]
        fresh = np.broadcast_to(interval[:, None, None], (len(interval), STARTS, 1, 5))
        ranked = np.concatenate([self.worst, fresh], axis=2)
        order = np.argsort(ranked[..., DUE] - ranked[..., HITS], axis=2, kind="stable")
        self.worst[...] = np.take_along_axis(ranked, order[:, :, :ODD, None], axis=2)


@dataclass(frozen=True, slots=True)
class EventNoise(Rows):
    """What the evidence must discount, (rows,) each; `pod_mass` (rows, 10)."""

    kappa: Floats
    tau: Floats
    pod_mass: Floats


@dataclass(frozen=True, slots=True)
class EventWindow:
    """One start's sums: (5, rows) since it and before it, and the baseline's, (3, rows)."""

    since: Floats
    before: Floats
    baseline: Floats

    def take(self, rows: Ints) -> EventWindow:
        """Return the chosen rows."""
        return EventWindow(self.since[:, rows], self.before[:, rows], self.baseline[:, rows])


def log_ratio_since(window: EventWindow, *, paired: bool) -> Floats:
    """Return the log ratio of rates since a start, half an event added, (rows,)."""
    share, hits, others = _split(window, paired=paired)
    inside = (share > 0.0) & (share < 1.0)
    share = np.where(inside, share, 0.5)
    odds = (hits + HALF * share) / (others + HALF * (1.0 - share))
    found: Floats = np.where(inside, np.log(odds * (1.0 - share) / share), 0.0)
    return found


def log_factor(window: EventWindow, noise: EventNoise, pods: Floats, *, paired: bool) -> Floats:
    """Return the log evidence that the canary's rate rose beyond an instance's own, (rows,).

    With δ = τ·sqrt(1/k + 1/m)·z the offset of innocent instances, Student t, ρ = δ + a the
    log ratio since the start, and c', c the canary's events before and since it:

    * paired: the canary's part of all events of each interval is binomial, pooled by the events
      due on it (Mantel & Haenszel 1959), so that shocks that hit both sides cancel:
      log L = c·ρ - E·log(1 + (e^ρ - 1)·p);  the same with δ before the start,
    * not paired: binomial, requests that fail with log odds θ, θ + δ and θ + ρ on the baseline,
      on the canary before and since the start; θ has prior Beta(1/2, 1/2) and is integrated out
      by Laplace's method,

    and the evidence is the mean over a of L divided by L at a = 0, both averaged over δ. Log
    likelihoods are divided by φ = h + κ·(1/(k·t) + 1/(m·t0))·E·p·(1 - p): rates wobble, and
    paired h = 1 - E/(n1 + n0), as no more requests can fail than there are (else 1).

    Args:
        window: the sums.
        noise: what to discount.
        pods: (2, rows) instances.
        paired: both sides ran at the same time.
    """
    spread = 1.0 / pods[0] + 1.0 / pods[1]
    unit = np.maximum(noise.tau * np.sqrt(spread), MIN_POD_SD)
    offset = POD_NODES[:, None] * unit
    likelihood = _paired if paired else _unpaired
    mass = np.log(noise.pod_mass.T)
    null, other = likelihood(window, offset, _tempering(window, noise, pods, paired=paired))
    top = _log_sum(mass + other - np.log(len(RATIO_NODES)))
    found: Floats = top - _log_sum(mass + null)
    return found


def _paired(window: EventWindow, offset: Floats, phi: Floats) -> tuple[Floats, Floats]:
    """Return log likelihoods at every offset, (10, rows): innocent, and mixed over the rises."""
    earlier = _binomial(window.before, offset)
    null = earlier + _binomial(window.since, offset)
    rises = np.stack([earlier + _binomial(window.since, offset + a) for a in RATIO_NODES])
    return null / phi, _log_sum(rises / phi)


def _binomial(sums: Floats, shift: Floats) -> Floats:
    share = np.minimum(sums[DUE] / np.maximum(sums[EVENTS], TINY), 1.0)
    found: Floats = sums[HITS] * shift - sums[EVENTS] * np.log1p(np.expm1(shift) * share)
    return found


def _unpaired(window: EventWindow, offset: Floats, phi: Floats) -> tuple[Floats, Floats]:
    """Return the same where the baseline is another stretch of time."""
    rises = np.concatenate([[0.0], RATIO_NODES])[:, None, None]
    shifts = (np.zeros_like(offset + rises), offset + 0.0 * rises, offset + rises)
    groups = [
        (window.baseline[1], window.baseline[2]),
        (window.before[HITS], window.before[EXPOSURE]),
        (window.since[HITS], window.since[EXPOSURE]),
    ]
    found = _mixed_over_rate(groups, shifts) / phi
    return found[0], _log_sum(found[1:])


def _mixed_over_rate(groups: Sequence[tuple[Floats, Floats]], shifts: Sequence[Floats]) -> Floats:
    """Return the log likelihood of binomial groups, their common log odds θ integrated out.

    Newton's steps for log Σ n·p = log(X + 1/2) come from the left, where the function is concave:
    they never overshoot.

    Args:
        groups: events and exposures, (rows,) each.
        shifts: log odds less θ, (..., rows) each.
    """
    events = HALF + np.asarray(sum(x for x, _ in groups))
    sizes = [np.ones_like(events), *(n for _, n in groups)]
    places = [shifts[0], *shifts]
    ground = np.asarray(sum(n * np.exp(s) for n, s in zip(sizes, places, strict=True)))
    odds = np.log(events / ground)
    expected = curve = np.ones_like(odds)
    for _ in range(_NEWTON_STEPS):
        shares = [1.0 / (1.0 + np.exp(-(odds + s))) for s in places]
        expected = np.asarray(sum(n * p for n, p in zip(sizes, shares, strict=True)))
        curve = np.asarray(sum(n * p * (1.0 - p) for n, p in zip(sizes, shares, strict=True)))
        step = np.log(events / np.maximum(expected, TINY)) * expected / np.maximum(curve, TINY)
        odds = odds + np.clip(step, -_MOST_STEP, _MOST_STEP)
    total = HALF * odds - 0.5 * np.log(np.maximum(curve, TINY)) - np.logaddexp(0.0, odds)
    for (x, n), s in zip(groups, shifts, strict=True):
        total = total + x * (odds + s) - n * np.logaddexp(0.0, odds + s)
    found: Floats = total
    return found


def _tempering(window: EventWindow, noise: EventNoise, pods: Floats, *, paired: bool) -> Floats:
    """Return φ; wobble adds at most 3·E/t: a noisy κ cannot silence where events are few."""
    share, hits, others = _split(window, paired=paired)
    ticks = np.maximum(window.since[TICKS], 1.0)
    behind = ticks if paired else np.maximum(window.baseline[TICKS], 1.0)
    wobble = noise.kappa * (1.0 / (pods[0] * ticks) + 1.0 / (pods[1] * behind))
    events = hits + others
    whole = window.since[EXPOSURE] / np.where(share > 0, share, 1.0)
    rare = 1.0 - events / np.maximum(whole, 1.0)
    base = np.maximum(rare, PHI_FLOOR_TAIL) if paired else np.ones_like(rare)
    phi: Floats = base + np.minimum(wobble * events * share * (1.0 - share), 3.0 * events / ticks)
    return phi


def _split(window: EventWindow, *, paired: bool) -> tuple[Floats, Floats, Floats]:
    """Return the canary's share of the exposure, its events and the baseline's, (rows,)."""
    since = window.since
    if paired:
        share = np.minimum(since[DUE] / np.maximum(since[EVENTS], TINY), 1.0)
        return share, since[HITS], np.maximum(since[EVENTS] - since[HITS], 0.0)
    _, events, exposure = window.baseline
    whole = np.maximum(since[EXPOSURE] + exposure, TINY)
    return since[EXPOSURE] / whole, since[HITS], events


def _log_sum(values: Floats) -> Floats:
    """Return log Σ exp over the first axis, without overflow."""
    most = values.max(axis=0)
    total: Floats = np.log(sum_nodes(np.exp(values - most))) + most
    return total
