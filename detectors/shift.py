"""E2: has the mean of a noisy difference moved up?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.cadence import KEPT_RESTARTS
from detectors.rows import TINY, Bools, Floats, Ints, Rows, chosen, sum_nodes

if TYPE_CHECKING:
    from detectors.cadence import Cadence

SHIFT_NODES: Final = np.array([0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6, 1.0])
"""Alternatives: shifts on the log scale, +3 % to ×2.7."""

CLIP_SD: Final = 2.5
"""A tick counts for at most this many standard deviations: one odd tick proves nothing."""

CLIP_POD_SD: Final = 5.0
"""Or for this many standard deviations between pods, if that is more. Where ticks hardly vary
(memory, threads, a quiet service with much traffic), 2.5 of their deviations are less than innocent
pods differ by, and no shift, however large, could ever be told from one. The log evidence of d pod
deviations grows up to d²/2; 12.5 is enough for a signal with 1 % of α."""

MAX_DETECTABLE: Final = float(np.log(10.0))
"""A shift that must exceed ×10 to be seen counts as one that would not be seen."""

_TAIL: Final = 0.01
"""Tail probability at which Student t and normal are matched when ν is small."""

_TIGHTEST: Final = 0.04
"""Variance of the running mean at which the confidence sequence is tightest (sd 20 %)."""

_MOST_LOG: Final = 690.0
"""exp(±690) are near the ends of float64."""

_WEIGHT, _CLIPPED, _TICKS, _SPREAD, _RAW = range(5)
"""Columns of `MeanEvidence.sums`."""


@dataclass(frozen=True, slots=True)
class MeanEvidence(Rows):
    """E-process for a positive mean, with a pod random effect.

    Each tick brings y, a difference canary - baseline on the log scale, with variance
    σ² = v + ω²·(1/k+1/m). With w = 1/σ², y' = clip(y, ± the larger of 2.5σ and 5τ·sqrt(1/k+1/m)),
    W = Σw, d = Σw·y'/W and V = 1/W + τ²·s², s = Σw·sqrt(1/k+1/m)/W,

        e = mean_i exp((δ_i·d - δ_i²/2)/V).

    s bounds the pod effect's standard deviation while pods come and go. For τ = 0 each term is
    the exponential martingale of a Brownian motion seen at times W (Robbins 1970).

    When it errs: exact for Gaussian y of known variance. ω² comes from history (design 5);
    movements slower than the history is long are not in it.

    Attributes:
        sums: (rows, 5) Σw, Σw·y', ticks, Σw·sqrt(1/k+1/m), Σw·y.
        snapshots: (rows, 3, 4) the first four at the kept restarts.
    """

    sums: Floats
    snapshots: Floats

    @classmethod
    def empty(cls, rows: int) -> MeanEvidence:
        """Return evidence that has seen nothing."""
        return cls(np.zeros((rows, _RAW + 1)), np.zeros((rows, KEPT_RESTARTS, _RAW)))

    @property
    def ticks(self) -> Floats:
        """Informative ticks, (rows,)."""
        return self.sums[:, _TICKS]

    @property
    def pod_sd(self) -> Floats:
        """Weighted mean of sqrt(1/k + 1/m), (rows,); 0 before the first tick."""
        weight = self.sums[:, _WEIGHT]
        return self.sums[:, _SPREAD] / np.where(weight > 0, weight, 1.0)

    def add(
        self,
        known: Bools,
        value: Floats,
        variance: Floats,
        spread: Floats,
        tau2: Floats,
        age: Ints,
        cadence: Cadence,
    ) -> Floats:
        """Add one tick, in place.

        Args:
            known: rows that say something in this tick.
            value: the difference y; anything finite where not known.
            variance: σ² > 0, sampling and temporal noise together.
            spread: 1/k + 1/m.
            tau2: pod variance, already inflated by `t_inflation`.
            age: ticks lived before this one.
            cadence: says which rows start a new instance.

        Returns:
            (rows, 2) the tick's weight and weighted value, for the recent window.
        """
        rows, slot = cadence.restarting(age)
        self.snapshots[rows, slot] = self.sums[rows, :_RAW]
        most = np.sqrt(np.maximum(CLIP_SD**2 * variance, CLIP_POD_SD**2 * tau2 * spread))
        weight = np.where(known, 1.0 / variance, 0.0)
        for at, part in (
            (_WEIGHT, weight),
            (_CLIPPED, weight * np.clip(value, -most, most)),
            (_TICKS, known),
            (_SPREAD, weight * np.sqrt(spread)),
            (_RAW, weight * value),
        ):
            self.sums[:, at] += part
        return np.stack([weight, weight * value], axis=1)

    def e_value(self, tau2: Floats, persistence: Floats, age: Ints, cadence: Cadence) -> Floats:
        """Return the evidence by now, (rows,).

        Args:
            tau2: pod variance, already inflated by `t_inflation`.
            persistence: ticks an instance needs before it counts.
            age: ticks lived.
            cadence: restarts and weights.
        """
        now = self.sums[:, :_RAW]
        first = _instance(now, tau2, persistence)
        restarted = np.ones((len(age), KEPT_RESTARTS))
        started = cadence.started(age)
        for slot in range(KEPT_RESTARTS):
            rows = chosen(started > slot)
            since = now[rows] - self.snapshots[rows, slot]
            restarted[rows, slot] = _instance(since, tau2[rows], persistence[rows])
        return cadence.mixture(age, first, restarted)

    def mean(self) -> Floats:
        """Return the running mean, (rows,); nan before the first tick."""
        weight = self.sums[:, _WEIGHT]
        seen = weight > 0
        return np.where(seen, self.sums[:, _RAW] / np.where(seen, weight, 1.0), np.nan)

    def interval(self, alpha: float, pod_quantile: Floats) -> tuple[Floats, Floats, Floats]:
        """Return running mean and its time-uniform confidence sequence, each (rows,).

        Args:
            alpha: one minus the coverage.
            pod_quantile: τ times the 1 - α/2 quantile of Student t (ν).
        """
        weight = self.sums[:, _WEIGHT]
        seen = weight > 0
        safe = np.where(seen, weight, 1.0)
        mean = self.mean()
        radius = np.hypot(mixture_radius(1.0 / safe, _TIGHTEST, alpha), pod_quantile * self.pod_sd)
        return mean, np.where(seen, mean - radius, -np.inf), np.where(seen, mean + radius, np.inf)

    def detectable(self, needed: Floats, tau2: Floats, left: Floats) -> Floats:
        """Return the shift which `left` further ticks like those seen would reveal, (rows,).

        Solves x²/2V = needed for V after those ticks; inf when nothing was seen or no tick
        is left.
        """
        seen = (self.ticks > 0) & (left > 0)
        per_tick = np.where(seen, self.sums[:, _WEIGHT], 1.0) / np.where(seen, self.ticks, 1.0)
        variance = 1.0 / (per_tick * np.where(seen, left, 1.0)) + tau2 * self.pod_sd**2
        return np.where(seen, np.sqrt(2 * variance * needed), np.inf)


def needed_evidence(threshold: Floats, weight: float) -> Floats:
    """Return the log evidence one node of the first instance needs to carry the whole."""
    needed: Floats = np.log(threshold) + np.log(len(SHIFT_NODES) / weight)
    return needed


def visible_shift(shift: Floats, margin: Floats) -> Floats:
    """Return the smallest harmful shift that would be seen; nan when it must exceed ×10."""
    return np.where(shift <= MAX_DETECTABLE, np.maximum(shift, margin), np.nan)


def mixture_radius(variance: Floats, tightest: float, alpha: float) -> Floats:
    """Return the radius of the normal-mixture confidence sequence of a mean.

    R(V) = sqrt(2·V·(V+V0)/V0 · log(sqrt((V+V0)/V)/α)) (Robbins; Howard et al. 2021, eq. 14).

    Args:
        variance: V, variance of the running mean.
        tightest: V0, where the sequence is about tightest.
        alpha: one minus the coverage.
    """
    whole = variance + tightest
    logarithm = 0.5 * np.log(whole / np.maximum(variance, TINY)) - np.log(alpha)
    radius: Floats = np.sqrt(2 * variance * whole / tightest * logarithm)
    return radius


def t_inflation(nu: Floats) -> Floats:
    """Return the factor on τ² that gives a normal the 1 % tail of Student t (ν)."""
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415  # slow import, once per watch

    factor: Floats = (stdtrit(nu, _TAIL) / ndtri(_TAIL)) ** 2
    return factor


def _instance(sums: Floats, tau2: Floats, persistence: Floats) -> Floats:
    """Return the e-value of one instance, 1 until it has enough ticks."""
    weight, clipped, ticks, spread = sums.T
    ready = (ticks >= persistence) & (weight > 0)
    weight = np.where(ready, weight, 1.0)
    variance = 1.0 / weight + tau2 * (spread / weight) ** 2
    nodes = SHIFT_NODES[:, None]
    log_e = (nodes * (clipped / weight) - 0.5 * nodes**2) / variance
    e_value = sum_nodes(np.exp(np.clip(log_e, -_MOST_LOG, _MOST_LOG))) / len(SHIFT_NODES)
    return np.where(ready, e_value, 1.0)
