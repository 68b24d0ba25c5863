"""One side against a fixed rate: is it above, is it below?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.rows import Floats, Ints, Rows, Singles, sum_nodes

if TYPE_CHECKING:
    from detectors.cadence import Cadence

EXCESS_NODES: Final = np.array([0.18, 0.35, 0.6, 0.9, 1.3, 1.8, 2.4, 3.2, 4.2])
"""Log ratios above the bound, ×1.2 to ×67."""

_RESTART_S: Final = 60.0
"""An excess may begin at any time: start again every minute (one cheap sum, no snapshots)."""

_MOST: Final = 1e20
"""Evidence is held below this, so that one more tick cannot overflow float32 ..."""

_MOST_GAIN: Final = 40.0
"""... when it gains at most this: 1e20 · exp(40) < 3e38."""

_MOST_LOG: Final = 690.0
"""exp(±690) are near the ends of float64."""


@dataclass(frozen=True, slots=True)
class RateExcess(Rows):
    """Evidence that events come more often than a given rate allows.

    Per node a the Poisson likelihood ratio exp([e·a - μ·(exp(a) - 1)]/φ), μ = bound · exposure,
    multiplies the capital put on it; a share of the capital is put in at the start and the
    rest every minute up to the horizon (Shiryaev-Roberts form; Shin et al. 2023). For a rate
    at or below the bound each factor has mean <= 1 (also for binomial counts, as
    1 + p·(exp(a)-1) <= exp(p·(exp(a)-1))), so P(ever >= 1/α) <= α when φ = 1.

    When it errs: φ > 1 makes it a quasi-likelihood, valid by measurement only. Against a
    rate learned from history it takes slow shared drift for an excess (design 3.3).

    Attributes:
        capital: (rows, ..., 9).
    """

    capital: Singles

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> RateExcess:
        """Return evidence that has seen nothing."""
        return cls(np.zeros((*shape, len(EXCESS_NODES)), np.float32))

    def add(
        self,
        *,
        events: Floats,
        expected: Floats,
        phi: Floats,
        cap: Floats,
        age: Ints,
        cadence: Cadence,
    ) -> None:
        """Add one tick, in place.

        Args:
            events: events seen, (rows, ...).
            expected: events at the bound: rate times exposure.
            phi: tempering, >= 1.
            cap: most log evidence a node may gain in this tick.
            age: ticks lived before this one, (rows,).
            cadence: horizon and weight of the start.
        """
        nodes = EXCESS_NODES.reshape((-1,) + (1,) * events.ndim)
        gain = (events / phi) * nodes - (expected / phi) * np.expm1(nodes)
        factor = np.exp(np.minimum(gain, cap).astype(np.float32))
        stake = _stake(age, cadence).astype(np.float32)
        self.capital[...] += stake[(slice(None), *(None,) * events.ndim)]
        self.capital[...] *= np.moveaxis(factor, 0, -1)
        np.minimum(self.capital, _MOST, out=self.capital)

    def e_value(self, age: Ints, cadence: Cadence) -> Floats:
        """Return the evidence by now, (rows, ...); capital not yet put in counts as one."""
        nodes = np.ascontiguousarray(np.moveaxis(self.capital, -1, 0))
        mean = sum_nodes(nodes).astype(np.float64) / len(EXCESS_NODES)
        unspent = _unspent(age, cadence)[(slice(None), *(None,) * (mean.ndim - 1))]
        e_value: Floats = mean + unspent
        return e_value


def excess_cap(threshold: Floats, persistence: Floats, cadence: Cadence) -> Floats:
    """Return the most log evidence per tick such that `threshold` takes `persistence` ticks."""
    needed = np.log(threshold) + np.log(len(EXCESS_NODES) / cadence.first_weight)
    cap: Floats = np.minimum(needed / persistence, _MOST_GAIN)
    return cap


def _parts(cadence: Cadence) -> tuple[int, int]:
    """Return the ticks between two stakes and the number of stakes after the first."""
    every = max(1, round(_RESTART_S / cadence.tick_s))
    return every, (cadence.horizon_ticks - 1) // every


def _stake(age: Ints, cadence: Cadence) -> Floats:
    """Return the capital to put in before the tick at this age, (rows,)."""
    every, parts = _parts(cadence)
    if not parts:
        return np.where(age == 0, 1.0, 0.0)
    later = (age % every == 0) & (age // every <= parts)
    rest = np.where(later, (1 - cadence.first_weight) / parts, 0.0)
    return np.where(age == 0, cadence.first_weight, rest)


def _unspent(age: Ints, cadence: Cadence) -> Floats:
    """Return the capital not yet put in after `age` ticks, (rows,)."""
    every, parts = _parts(cadence)
    if not parts:
        return np.where(age == 0, 1.0, 0.0)
    spent = np.minimum(np.maximum(age - 1, 0) // every, parts)
    return np.where(age == 0, 1.0, (1 - cadence.first_weight) * (1 - spent / parts))


BELOW_PARTS: Final = np.array([0.001, 0.1, 0.2, 0.35, 0.5, 0.7])
"""Alternatives of `RateBelow`, as parts of the bound; the first stands for 'practically none'."""


@dataclass(frozen=True, slots=True)
class RateBelow(Rows):
    """Evidence that events come less often than a given rate: what makes a canary harmless.

    Binomial likelihood ratio of six lower rates against the bound, averaged, tempered by
    φ = 1 + κ·n·bound/k. It never starts again: health is a claim about the whole watch.

    When it errs: as `RateExcess`, and with persistent pod differences near the bound.

    Attributes:
        hits: (rows,) tempered sum of events.
        misses: (rows,) tempered sum of exposures without event.
    """

    hits: Floats
    misses: Floats

    @classmethod
    def empty(cls, rows: int) -> RateBelow:
        """Return evidence that has seen nothing."""
        return cls(np.zeros(rows), np.zeros(rows))

    def add(self, events: Floats, exposure: Floats, phi: Floats) -> None:
        """Add one tick, in place; all arrays (rows,)."""
        self.hits[...] += events / phi
        self.misses[...] += (exposure - events) / phi

    def e_value(self, bound: Floats) -> Floats:
        """Return the evidence that the rate is below `bound`, (rows,); 1.0 where bound is nan."""
        rate = np.where(np.isnan(bound), 0.5, bound)
        parts = BELOW_PARTS[:, None]
        log_e = self.hits * np.log(parts)
        log_e = log_e + self.misses * (np.log1p(-parts * rate) - np.log1p(-rate))
        e_value = sum_nodes(np.exp(np.clip(log_e, -_MOST_LOG, _MOST_LOG))) / len(BELOW_PARTS)
        return np.where(np.isnan(bound), 1.0, e_value)
