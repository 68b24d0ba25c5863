"""E1: is the canary's share of a tick's events larger than its share of the exposure?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.cadence import KEPT_RESTARTS
from detectors.rows import TINY, Bools, Floats, Ints, Rows, Singles, chosen, sum_nodes

if TYPE_CHECKING:
    from detectors.cadence import Cadence
    from detectors.count_noise import CountNoise

POD_NODES: Final = np.array([-3.0, -2.0, -1.2, -0.6, 0.0, 0.6, 1.2, 2.0, 3.0, 4.0])
"""Nodes of the null: pod effects in units of their standard deviation; one more above, for the
detector is one-sided and must not run out of innocent explanations on that side."""

RATIO_NODES: Final = np.array([0.15, 0.3, 0.5, 0.75, 1.05, 1.4, 1.9, 2.6, 3.4, 4.4])
"""Nodes of the alternative: log ratios ×1.16 to ×81 beyond one pod standard deviation, about
evenly spaced in the delay they cost when the truth lies between two of them."""

DOUBLED: Final = len(POD_NODES) + 3
"""Node of the alternative at ×2.1: what a harmless canary must be shown not to reach."""

NODES: Final = len(POD_NODES) + len(RATIO_NODES)

MIN_POD_SD: Final = 1e-3
"""Smallest pod standard deviation (log scale): keeps the nodes of the null apart."""

PHI_FLOOR_RATE: Final = 1.0
"""Rare events: never claim less than Poisson noise."""

PHI_FLOOR_TAIL: Final = 0.3
"""Tail counts: the hypergeometric factor may lower the noise, but not without limit."""

_LEAST_MASS: Final = float(np.finfo(np.float32).tiny)
"""Below it float32 knows no mass; evidence beyond its inverse, 1e38, says nothing more."""

_MOST_LOG: Final = 690.0
"""exp(690) is near the largest float64."""


@dataclass(frozen=True, slots=True)
class ShareCounts(Rows):
    """One tick of both sides, known to be consistent; arrays of one shape (rows, ...)."""

    canary_events: Floats
    baseline_events: Floats
    canary_exposure: Floats
    baseline_exposure: Floats

    @property
    def events(self) -> Floats:
        """Events of both sides."""
        return self.canary_events + self.baseline_events

    @property
    def exposure(self) -> Floats:
        """Exposure of both sides."""
        return self.canary_exposure + self.baseline_exposure

    @property
    def canary_share(self) -> Floats:
        """Canary's part of the exposure; 0 where there is none."""
        share: Floats = self.canary_exposure / np.maximum(self.exposure, TINY)
        return share


@dataclass(frozen=True, slots=True)
class ShareNoise(Rows):
    """What the evidence must discount; arrays (rows, ...) of one shape.

    Attributes:
        kappa: variance of a pod's relative rate over time, long run, per tick.
        tau: standard deviation of the persistent log rate between pods.
        tail: the events are a tail of the exposure, not rare (hypergeometric factor).
        cap: most log evidence that one tick may add.
        pod_mass: (rows, ..., 10) prior mass of `POD_NODES`, Student t with ν degrees.
    """

    kappa: Floats
    tau: Floats
    tail: Bools
    cap: Floats
    pod_mass: Singles

    @classmethod
    def of(cls, noise: CountNoise, tail: Bools, cap: Floats) -> ShareNoise:
        """Return what evidence of events with this noise must discount."""
        return cls(noise.kappa, np.sqrt(noise.tau2), tail, cap, pod_mass(noise.nu))


@dataclass(frozen=True, slots=True)
class ShareEvidence(Rows):
    """Conditional-likelihood e-process with a pod random effect.

    Given that a tick saw E = c + b events, the canary's part c is Binomial(E, p(r)) with
    p(r) = r·n1/(r·n1 + n0) when the canary's rate is r times the baseline's. Whatever moves
    both sides alike (incidents, traffic, a rolling update's changing n1:n0) cancels. Per node
    with log ratio a the tempered log likelihood ratio against r = 1,

        [c·a - E·log(1 + (e^a - 1)·p1)] / φ,    p1 = n1/(n1 + n0),

    is summed up (φ: see `tempering`). The evidence of one instance is the mean over the
    alternative nodes divided by the mean over the null's, "the canary's pods are just other
    pods": nodes z·τ·sqrt(1/k + 1/m), weighted by Student t.

    Source: Lindon & Malek, NeurIPS 2022 (conditional multinomial); mixtures: Robbins 1970.

    When it errs: with κ = τ = 0 and no cap it is a nonnegative martingale, so P(sup e >= 1/α)
    <= α. With τ > 0 that holds on average over pods drawn like the baseline's. With κ > 0 it
    is a quasi-likelihood, valid by measurement only (design 3.1). Bursts of single pods that
    the history never showed look like a bad canary; only `persistence` helps.

    Attributes:
        support: (rows, ..., 20) cumulated log likelihood ratios.
        snapshots: (rows, 3, ..., 20) `support` at the kept restarts.
    """

    support: Singles
    snapshots: Singles

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> ShareEvidence:
        """Return evidence that has seen nothing, for rows (and trailing axes) of this shape."""
        snapshots = (shape[0], KEPT_RESTARTS, *shape[1:], NODES)
        return cls(np.zeros((*shape, NODES), np.float32), np.zeros(snapshots, np.float32))

    def add(
        self, counts: ShareCounts, spread: Floats, noise: ShareNoise, age: Ints, cadence: Cadence
    ) -> None:
        """Add one tick, in place. Rows without events stay as they are.

        Args:
            counts: events and exposures of the tick, all zero where it says nothing.
            spread: 1/k + 1/m, pods of both sides, same shape as the counts.
            noise: what to discount.
            age: ticks lived before this one, (rows,).
            cadence: says which rows start a new instance.
        """
        self._restart(age, cadence)
        busy = counts.events > 0
        if busy.all():
            self.support[...] += _increments(counts, spread, noise)
        elif busy.any():
            self.support[busy] += _increments(counts.take(busy), spread[busy], noise.take(busy))

    def add_strata(
        self, strata: ShareCounts, spread: Floats, noise: ShareNoise, age: Ints, cadence: Cadence
    ) -> None:
        """Add one tick that is told by stratum, in place: like is compared with like only.

        Given a stratum's events its canary's part is Binomial as above, whatever the stratum's own
        rate and its part of the traffic; the log likelihoods of all strata add up. A stratum that
        one side has no exposure in adds nothing.

        Args:
            strata: events and exposures of the tick, (rows, strata).
            spread: 1/k + 1/m, pods of both sides, (rows,).
            noise: what to discount, (rows,).
            age: ticks lived before this one, (rows,).
            cadence: says which rows start a new instance.
        """
        self._restart(age, cadence)
        self.support[...] += _stratified(strata, spread, noise)

    def _restart(self, age: Ints, cadence: Cadence) -> None:
        rows, slot = cadence.restarting(age)
        self.snapshots[rows, slot] = self.support[rows]

    def e_value(self, noise: ShareNoise, age: Ints, cadence: Cadence) -> Floats:
        """Return the evidence by now, (rows, ...)."""
        busy: Bools = np.any(self.support != 0, axis=-1)
        if busy.all():
            return self._e_value(noise.pod_mass, age, cadence)
        # without any event all instances are alike, and most rows are without: rare kinds of errors
        each = np.broadcast_to(age.reshape((-1,) + (1,) * (busy.ndim - 1)), busy.shape)
        alike = 1.0 / sum_nodes(np.moveaxis(noise.pod_mass[~busy], -1, 0)).astype(np.float64)
        restarted = np.broadcast_to(alike[:, None], (len(alike), KEPT_RESTARTS))
        value = np.empty(busy.shape)
        value[~busy] = cadence.mixture(each[~busy], alike, restarted)
        if busy.any():
            some = ShareEvidence(self.support[busy], self._snapshots_of(busy))
            value[busy] = some._e_value(noise.pod_mass[busy], each[busy], cadence)
        return value

    def _snapshots_of(self, cells: Bools) -> Singles:
        """Return the snapshots of some cells, (cells, 3, 20)."""
        chosen_: Singles = np.moveaxis(self.snapshots, 1, -2)[cells]
        return chosen_

    def _e_value(self, mass: Singles, age: Ints, cadence: Cadence) -> Floats:
        first = _instance(self.support, mass)
        restarted = np.ones((len(age), KEPT_RESTARTS, *first.shape[1:]))
        started = cadence.started(age)
        for slot in range(KEPT_RESTARTS):
            rows = chosen(started > slot)
            since = self.support[rows] - self.snapshots[rows, slot]
            restarted[rows, slot] = _instance(since, mass[rows])
        return cadence.mixture(age, first, restarted)

    def not_doubled(self) -> Floats:
        """Return the evidence since the start that the rate has *not* doubled, (rows, ...).

        The likelihood ratio of r = 1 against r = 2.1 (beyond one pod standard deviation), read
        off the node that is there anyway. An e-value against every r >= 2.1, for the
        likelihood ratio falls as r grows.
        """
        against = self.support[..., DOUBLED].astype(np.float64)
        evidence: Floats = np.exp(np.clip(-against, -_MOST_LOG, _MOST_LOG))
        return evidence


def tempering(counts: ShareCounts, spread: Floats, kappa: Floats, tail: Bools) -> Floats:
    """Return φ, by how much the counts vary more than independent events would.

    φ = min(h + κ·E·p1·(1-p1)·(1/k+1/m), 1 + 3E): the upper bound keeps a noisy κ from
    silencing the detector where there are few events; h = 1 - E/N for tails, else 1.
    """
    share, events = counts.canary_share, counts.events
    base = np.where(tail, 1.0 - events / np.maximum(counts.exposure, 1.0), 1.0)
    phi = np.minimum(base + kappa * events * share * (1.0 - share) * spread, 1.0 + 3.0 * events)
    return np.maximum(phi, np.where(tail, PHI_FLOOR_TAIL, PHI_FLOOR_RATE))


def stratified_tempering(strata: ShareCounts, spread: Floats, kappa: Floats) -> Floats:
    """Return φ of a tick told by stratum, (rows,): `tempering` of rare events, and equal for one.

    What wobbles is a pod, in all its strata alike, so their variances E·p1·(1-p1) are added first.
    """
    share, events = strata.canary_share, strata.events
    variance = sum_nodes(np.moveaxis(events * share * (1.0 - share), -1, 0))
    total = sum_nodes(np.moveaxis(events, -1, 0))
    phi = np.minimum(1.0 + kappa * variance * spread, 1.0 + 3.0 * total)
    return np.maximum(phi, PHI_FLOOR_RATE)


def share_cap(threshold: Floats, persistence: Floats, cadence: Cadence) -> Floats:
    """Return the most log evidence per tick such that the threshold takes `persistence` ticks.

    The first instance needs e = threshold/ω0 and the best of ten alternative nodes must carry
    the mean of ten: log(threshold · 10 / ω0) / persistence.
    """
    needed: Floats = np.log(threshold) + np.log(len(RATIO_NODES) / cadence.weights[0])
    return needed / persistence


def pod_mass(nu: Floats) -> Singles:
    """Return the mass of Student t (ν degrees) in the cell around each null node, (..., 10)."""
    from scipy.special import stdtr  # noqa: PLC0415  # half a second, only when a watch starts

    middles = (POD_NODES[1:] + POD_NODES[:-1]) / 2
    inner = stdtr(nu[..., None], middles)
    edges = np.concatenate([np.zeros((*nu.shape, 1)), inner, np.ones((*nu.shape, 1))], axis=-1)
    return np.maximum(np.diff(edges, axis=-1), _LEAST_MASS).astype(np.float32)


def _increments(counts: ShareCounts, spread: Floats, noise: ShareNoise) -> Singles:
    """Return the tempered, capped log likelihood ratios of one tick, (rows, ..., 20).

    Nodes are on the first axis while computing: NumPy is several times faster that way.
    """
    log_ratio, ratio = _nodes(spread, noise)
    phi = tempering(counts, spread, noise.kappa, noise.tail)
    gain = np.log(1.0 + (ratio - 1.0) * counts.canary_share)
    gain *= -counts.events / phi
    gain += log_ratio * (counts.canary_events / phi)
    return _capped(gain, noise.cap)


def _stratified(strata: ShareCounts, spread: Floats, noise: ShareNoise) -> Singles:
    """Return the tempered, capped log likelihood ratios of one tick told by stratum, (rows, 20)."""
    log_ratio, ratio = _nodes(spread, noise)
    phi = stratified_tempering(strata, spread, noise.kappa)
    gain = np.zeros_like(log_ratio)
    for stratum in range(strata.canary_events.shape[-1]):
        one = ShareCounts(*(getattr(strata, f.name)[..., stratum] for f in fields(ShareCounts)))
        gain -= np.log(1.0 + (ratio - 1.0) * one.canary_share) * (one.events / phi)
        gain += log_ratio * (one.canary_events / phi)
    return _capped(gain, noise.cap)


def _nodes(spread: Floats, noise: ShareNoise) -> tuple[Floats, Floats]:
    """Return the log ratios of all nodes, (20, rows, ...), and the ratios."""
    pod_sd = np.maximum(noise.tau * np.sqrt(spread), MIN_POD_SD)
    shape = (-1,) + (1,) * pod_sd.ndim
    pods, ratios = POD_NODES.reshape(shape), RATIO_NODES.reshape(shape)
    log_ratio = np.concatenate([pod_sd * pods, pod_sd + ratios])
    ratio = np.concatenate([np.exp(pod_sd * pods), np.exp(pod_sd) * np.exp(ratios)])
    return log_ratio, ratio


def _capped(gain: Floats, cap: Floats) -> Singles:
    """Return what a tick adds, (rows, ..., 20), held to the most that one tick may add."""
    # The whole tick is scaled: clipping each node alone would lift the null's nodes to the
    # alternatives' and hide a canary that fails half of its requests (design 12.2).
    scale = cap / np.maximum(gain.max(axis=0), cap)
    gain = np.where(gain > 0, gain * scale, gain)
    return np.moveaxis(gain, 0, -1).astype(np.float32)


def _instance(support: Singles, mass: Singles) -> Floats:
    """Return mean over alternatives / mean over the null of exp(support), without overflow."""
    nodes = np.ascontiguousarray(np.moveaxis(support, -1, 0))
    likelihood = np.exp(nodes - nodes.max(axis=0))
    null = sum_nodes(likelihood[: len(POD_NODES)] * np.moveaxis(mass, -1, 0))
    other = sum_nodes(likelihood[len(POD_NODES) :]) / len(RATIO_NODES)
    e_value: Floats = other.astype(np.float64) / np.maximum(null, _LEAST_MASS)
    return e_value
