"""How much the level of an innocent coarse series varies, when there is little to learn it from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.carry_over import inflation_of, mean_share, window_part
from detectors.rows import TINY, Bools, Floats, Ints, Rows, as_floats

POD_SD: Final = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
POD_MASS: Final = np.array([0.15, 0.25, 0.38, 0.19, 0.03])
"""Standard deviation of persistent log differences between innocent instances, in units of its
scale, and how likely each is before anything was seen: most services are near the scale, one in
thirty is four times as uneven."""

SCALE_PAIRED: Final = 0.04
"""Scale of those differences between instances that run at the same time: log, ±4 %."""

SCALE_UNPAIRED: Final = 0.06
"""The same between stretches of time of one service: load and data have moved on meanwhile.
Measured on innocent recorded stretches of three systems: median 3 %, nine in ten below 15 %."""

STEP_SD: Final = np.array([0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
STEP_MASS: Final = np.array([0.08, 0.13, 0.16, 0.18, 0.18, 0.14, 0.09, 0.04])
"""Standard deviation of one interval's log value around its instance's level: all orders of
magnitude occur, about 5-20 % is usual. A series that never moved gets the first."""

NODES: Final = len(POD_SD) * len(STEP_SD)


@dataclass(frozen=True, slots=True)
class Spread(Rows):
    """What the baseline's instances have shown so far, as sums; arrays (rows,).

    With x_ij the log value of instance i in interval j (less the interval's mean over the
    instances where both sides run at the same time), n_i values and mean x̄_i:

    Attributes:
        instances: instances with any value, m.
        points: Σ n_i.
        level: mean of all values x̄.
        within: Σ_i Σ_j (x_ij - x̄_i)².
        between: Σ_i (x̄_i - mean of x̄_i)².
        inverse: mean of 1/n_i.
        steps: Σ of squared differences between neighbouring intervals of an instance.
        pairs: how many such neighbours.
    """

    instances: Floats
    points: Floats
    level: Floats
    within: Floats
    between: Floats
    inverse: Floats
    steps: Floats
    pairs: Floats

    def __post_init__(self) -> None:
        as_floats(self)

    @classmethod
    def nothing(cls, rows: int) -> Spread:
        """Return the spread of a baseline that was not seen yet."""
        return cls(*(np.zeros(rows) for _ in range(8)))

    @property
    def freedom(self) -> Floats:
        """Degrees of freedom of `within`, (rows,)."""
        return np.maximum(self.points - self.instances, 0.0)


@dataclass(frozen=True, slots=True)
class LevelNoise(Rows):
    """What is believed of the noise before a comparison begins.

    Attributes:
        belief: (rows, 40) log mass of each pair of `POD_SD`·scale (slow axis) and `STEP_SD`.
        scale: (rows,) unit of `POD_SD`, log.

    Raises:
        ValueError: the shape is wrong or a value is not finite.
    """

    belief: Floats
    scale: Floats

    def __post_init__(self) -> None:
        if self.belief.shape != (len(self.scale), NODES):
            raise ValueError(f"belief has shape {self.belief.shape}, not (rows, {NODES})")
        if not (np.isfinite(self.belief).all() and (self.scale > 0).all()):
            raise ValueError("belief must be finite and scale > 0")

    @classmethod
    def prior(cls, rows: int, *, scale: float = SCALE_PAIRED) -> LevelNoise:
        """Return what is believed without any history."""
        mass = np.log(np.outer(POD_MASS / POD_MASS.sum(), STEP_MASS / STEP_MASS.sum())).ravel()
        return cls(np.tile(mass, (rows, 1)), np.full(rows, scale))

    def after(self, spread: Spread, tick_s: float) -> LevelNoise:
        """Return what is believed after the baseline showed this spread, every `tick_s`."""
        inflation = inflation_of(spread, tick_s)
        belief = self.belief + spread_likelihood(spread, self.scale, inflation)
        belief -= belief.max(axis=1, keepdims=True)
        return LevelNoise(np.maximum(belief, _LEAST_BELIEF), self.scale)


_LEAST_BELIEF: Final = -700.0
"""exp(-700) is the least that float64 holds; less than that is as impossible as that."""


def pod_variance(scale: Floats) -> Floats:
    """Return τ² at every node, (rows, 40)."""
    tau = np.outer(scale, np.repeat(POD_SD, len(STEP_SD)))
    squared: Floats = tau**2
    return squared


def step_variance() -> Floats:
    """Return ω² at every node, (40,)."""
    squared: Floats = np.tile(STEP_SD, len(POD_SD)) ** 2
    return squared


def within_likelihood(within: Floats, freedom: Floats) -> Floats:
    """Return the log likelihood of a sum of squares around a mean, (..., 40).

    within/ω² is χ² with `freedom` degrees; constants that all nodes share are left out.
    """
    omega2 = step_variance()
    likelihood: Floats = -0.5 * (within[..., None] / omega2 + freedom[..., None] * np.log(omega2))
    return likelihood


def spread_likelihood(spread: Spread, scale: Floats, inflation: Floats) -> Floats:
    """Return the log likelihood of the baseline's spread at every node, (rows, 40).

    One-way random effects: within/ω² is χ² (n - m), shortened by the correlation of neighbours and
    corrected for what a short window cannot show; between/(τ² + ω²·g) is χ² (m - 1), with g the
    share of the variance that a mean keeps.

    Args:
        spread: what was seen.
        scale: (rows,) unit of `POD_SD`.
        inflation: (rows,) λ.
    """
    freedom = spread.freedom / inflation
    within = spread.within / window_part(spread, inflation) / inflation
    likelihood = within_likelihood(within, freedom)
    several = np.maximum(spread.instances - 1.0, 0.0)
    count = 1.0 / np.maximum(spread.inverse, TINY)
    variance = pod_variance(scale) + np.outer(mean_share(count, inflation), step_variance())
    between = spread.between[:, None] / variance + several[:, None] * np.log(variance)
    together: Floats = likelihood - 0.5 * between
    return together


def spread_of(values: Floats) -> Spread:
    """Return the spread of one baseline, one row.

    Args:
        values: (intervals, instances) log values; nan or infinite where missing.

    Raises:
        ValueError: the array is not two-dimensional.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:  # noqa: PLR2004  # (intervals, instances)
        raise ValueError(f"expected (intervals, instances), got {values.shape}")
    track = Track.empty(values.shape[1])
    for interval in values:
        track = track.add(interval, np.isfinite(interval))
    return track.spread(np.zeros(values.shape[1], np.int64), 1)


@dataclass(frozen=True, slots=True)
class Track(Rows):
    """Running sums of single instances, from which a `Spread` is made; arrays (instances,).

    Attributes:
        points: values seen. mean: their mean. squares: Σ (x - mean)² (Welford 1962).
        last: newest value, nan before the first. steps, pairs: as in `Spread`.
    """

    points: Floats
    mean: Floats
    squares: Floats
    last: Floats
    steps: Floats
    pairs: Floats

    @classmethod
    def empty(cls, instances: int) -> Track:
        """Return sums over nothing."""
        zeros = [np.zeros(instances) for _ in range(6)]
        zeros[3][:] = np.nan
        return cls(*zeros)

    def add(self, values: Floats, known: Bools) -> Track:
        """Return the sums after one interval; values not known change nothing."""
        value = np.where(known, values, 0.0)
        points = self.points + known
        apart = np.where(known, value - self.mean, 0.0)
        mean = self.mean + apart / np.maximum(points, 1.0)
        again = known & np.isfinite(self.last)
        step = np.where(again, value - np.where(again, self.last, 0.0), 0.0)
        return Track(
            points,
            mean,
            self.squares + apart * np.where(known, value - mean, 0.0),
            np.where(known, value, self.last),
            self.steps + step**2,
            self.pairs + again,
        )

    def spread(self, row: Ints, rows: int) -> Spread:
        """Return the spread of several baselines; ``row`` says whose each instance is."""
        seen = self.points > 0

        def total(values: Floats) -> Floats:
            return np.bincount(row, np.where(seen, values, 0.0), rows).astype(np.float64)

        instances = total(np.ones(len(seen)))
        some = np.maximum(instances, 1.0)
        centre = total(self.mean) / some
        inverse = 1.0 / np.maximum(self.points, 1.0)
        return Spread(
            instances=instances,
            points=total(self.points),
            level=total(self.points * self.mean) / np.maximum(total(self.points), 1.0),
            within=total(self.squares),
            between=total((self.mean - centre[row]) ** 2),
            inverse=total(inverse) / some,
            steps=total(self.steps),
            pairs=total(self.pairs),
        )
