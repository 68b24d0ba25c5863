"""How much an interval resembles the one before it, and what that makes of means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from detectors.level_noise import Spread
    from detectors.rows import Floats

CARRY_OVER: Final = 0.2
CARRY_OVER_POINTS: Final = 8.0
MOST_CARRY_OVER: Final = 0.85
"""Correlation of neighbouring intervals assumed at least, also before anything was seen, when it is
worth so many points; a short series cannot show more than the last, which would leave it without
any information."""

USUAL_S: Final = 10.0
SLOW_S: Final = 90.0
"""Noise forgets in seconds, not in intervals: neighbours a second apart are nearly the same. Times
in which it falls to 1/e, before anything was seen and at most; they matter below 15 s."""

ROUNDS: Final = 3
"""Rounds of correcting the variance for the window it was seen in."""

LEAST_PART: Final = 0.05
"""Part of the variance that a window shows at least."""


def carry_bounds(tick_s: float) -> tuple[float, float]:
    """Return the correlation of neighbours assumed before anything was seen, and at most."""
    usual = max(CARRY_OVER, float(np.exp(-tick_s / USUAL_S)))
    return usual, max(MOST_CARRY_OVER, float(np.exp(-tick_s / SLOW_S)))


def mean_share(count: Floats, inflation: Floats) -> Floats:
    """Return the variance of a mean of correlated values, in units of one value's variance.

    λ/(n + λ - 1) is 1 for one value, λ/n for many, and within 12 % of the exact sum
    for an AR(1) in between: the mean of a few nearly equal values is no better than one.

    Args:
        count: values, at least 1.
        inflation: λ = (1+ρ)/(1-ρ).
    """
    share: Floats = inflation / (np.maximum(count, 1.0) + inflation - 1.0)
    return share


def window_part(spread: Spread, inflation: Floats) -> Floats:
    """Return the part of an interval's variance that is seen around a window's own mean.

    A window that is short beside the noise's memory moves with it, and shows too little of it.
    """
    count = np.maximum(spread.points / np.maximum(spread.instances, 1.0), 1.0 + LEAST_PART)
    part = (1.0 - mean_share(count, inflation)) * count / (count - 1.0)
    return np.clip(part, LEAST_PART, 1.0)


def inflation_of(spread: Spread, tick_s: float) -> Floats:
    """Return by how much correlation inflates the variance of a long mean, (rows,), at least 1.5.

    λ = (1+ρ)/(1-ρ) with ρ from the ratio of von Neumann, E(Δ²)/2 = ω²·(1-ρ), drawn towards what is
    usual at such a distance and never below 0.2: a handful of intervals cannot prove that they are
    independent. ω² is what the window shows, corrected for what it cannot show at that ρ.
    """
    usual, most = carry_bounds(tick_s)
    seen = (spread.pairs > 0) & (spread.within > 0) & (spread.freedom > 0)
    whole = np.where(seen, spread.within / np.where(seen, spread.freedom, 1.0), 1.0)
    step = np.where(seen, spread.steps / np.where(seen, spread.pairs, 1.0), 1.0)
    weight = np.where(seen, spread.pairs, 0.0)
    inflation = np.full(len(spread), (1.0 + usual) / (1.0 - usual))
    for _ in range(ROUNDS):
        part = window_part(spread, inflation)
        found = np.where(seen, 1.0 - step * part / (2.0 * whole), usual)
        drawn = (weight * found + CARRY_OVER_POINTS * usual) / (weight + CARRY_OVER_POINTS)
        rho = np.clip(drawn, CARRY_OVER, most)
        inflation = (1.0 + rho) / (1.0 - rho)
    return inflation
