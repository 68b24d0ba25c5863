"""Is the baseline worse than its own history? Then the trouble is shared, not the canary's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.rates import RateExcess, excess_cap
from detectors.rows import Floats, Ints, Rows

if TYPE_CHECKING:
    from detectors.cadence import Cadence

DRIFT_MARGIN: Final = 2.0
"""Only a baseline at more than twice its historical rate is worth holding a rollout for."""

DRIFT_THRESHOLD: Final = 100.0
"""Evidence the per-tick cap is made for: a shared incident is declared at e >= 100 (design 8)."""

_PERSISTENCE: Final = 3.0
"""Ticks that evidence must take at least, as for the canary."""

_LEAST_RATE: Final = 1e-6
"""A history without events still allows one in a million: the first error is no incident."""

_LIMIT_LEVEL: Final = 0.975
"""Level of the upper limit of the history's rate."""

_BLOCKS: Final = (1, 6, 30, 60)
"""Block lengths in ticks over which the rate's movements are measured."""

_LONGEST: Final = 12
"""Blocks beyond two minutes count as if they had this many ticks: slower movements than that
are drift the incident test is meant to see."""


@dataclass(frozen=True, slots=True)
class Drift(Rows):
    """Evidence that the baseline's rate exceeds twice its history's (design 8.1).

    A `RateExcess` with bound 2 × history rate and φ = 1 + κ_t·μ, which discounts how the
    pooled rate moved over time in the history. The history's rate is taken at its upper limit: a
    minute with one error where three were to be expected must not make the next minutes an
    incident.

    When it errs: shared AR(1) noise of sd 1 on the log scale raises it in 3.6 % of hours; a
    daily peak the history did not contain looks like an incident.

    Attributes:
        excess: the running test, (rows, ...).
    """

    excess: RateExcess

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Drift:
        """Return evidence that has seen nothing."""
        return cls(RateExcess.empty(shape))

    def add(
        self, events: Floats, exposure: Floats, history: History, age: Ints, cadence: Cadence
    ) -> None:
        """Add one tick of the baseline, in place; arrays (rows, ...), age (rows,)."""
        known = np.isfinite(history.rate)
        if not known.any():
            return
        bound = DRIFT_MARGIN * np.maximum(np.where(known, history.rate, 1.0), _LEAST_RATE)
        expected = np.where(known, exposure * bound, 0.0)
        cap = excess_cap(np.array(DRIFT_THRESHOLD), np.array(_PERSISTENCE), cadence)
        self.excess.add(
            events=np.where(known, events, 0.0),
            expected=expected,
            phi=1.0 + history.kappa_time * expected,
            cap=cap,
            age=age,
            cadence=cadence,
        )

    def e_value(self, history: History, age: Ints, cadence: Cadence) -> Floats:
        """Return the evidence by now, (rows, ...); 1.0 where there is no history."""
        known = np.isfinite(history.rate)
        if not known.any():
            return np.ones(known.shape)
        return np.where(known, self.excess.e_value(age, cadence), 1.0)


@dataclass(frozen=True, slots=True)
class History(Rows):
    """What the baseline's past says of its event rate; arrays (rows, ...).

    Attributes:
        rate: upper 97.5 % limit of the pooled event rate; nan without history.
        kappa_time: relative variance over time of that rate, long run, per tick.
    """

    rate: Floats
    kappa_time: Floats


def temporal_dispersion(events: Floats, exposure: Floats) -> tuple[float, float]:
    """Return the upper limit of the rate, and its relative variance over time, of the baseline.

    For blocks of b ticks, κ_t = max_b min(b, 12) · Σ[(E - μ)² - μ] / Σμ², μ = N·rate. The limit is
    the 97.5 % quantile of a gamma posterior for E/φ events, φ = 1 + κ_t·E/H: that many independent
    events tell as much of the rate as E that move together over H ticks.

    Args:
        events: (H,) events of all baseline pods.
        exposure: (H,) their exposure.

    Returns:
        (limit, κ_t); (nan, 1.0) without exposure.
    """
    total = exposure.sum()
    if not total > 0:
        return float("nan"), 1.0
    rate = float(events.sum() / total)
    worst = 0.0
    for block in _BLOCKS:
        count = len(events) // block
        shape = (count, block)
        seen = events[: count * block].reshape(shape).sum(axis=1)
        expected = exposure[: count * block].reshape(shape).sum(axis=1) * rate
        power = float((expected**2).sum())
        if power > 0:
            excess = float(((seen - expected) ** 2 - expected).sum()) / power
            worst = max(worst, min(block, _LONGEST) * excess)
    return _upper_limit(
        float(events.sum()), float(total), worst / np.count_nonzero(exposure)
    ), worst


def _upper_limit(events: float, exposure: float, relative_variance: float) -> float:
    """Return the upper limit of a rate that was seen as `events` in `exposure`.

    Args:
        events: what was counted.
        exposure: out of how many.
        relative_variance: of the whole history's rate, beyond counting noise.
    """
    from scipy.special import gammaincinv  # noqa: PLC0415  # half a second, once for each watch

    phi = 1.0 + relative_variance * events
    return float(gammaincinv(events / phi + 1.0, _LIMIT_LEVEL)) * phi / exposure
