"""How much the slope of innocent pods varies, learned from the baseline's own history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors.rows import Floats, Rows

WINDOWS_S: Final = np.array([180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0])
"""Lengths of the stretches whose slopes are looked at, seconds."""

MINUTE_S: Final = 60.0

PRIOR_NU: Final = 4.0
"""Weight of doubt, as degrees of freedom, as for the other detectors' pods."""

LEAST_MOVE: Final = 0.015
"""An innocent pod may move by 1.5 % of the mean in any stretch, however still it has been."""

PRIOR_MOVE: Final = 0.10
"""Without history it may move by 10 %."""

STEP_SLOPE: Final = 1.5
"""A step in the middle of a stretch of length T makes a least-squares slope of 1.5 steps per T."""

LEAST_FREEDOM: Final = 4
"""A variance from fewer independent slopes is not used."""

LEAST_FILLED: Final = 0.5
"""A stretch of which less was seen says nothing of its slope."""

LEAST_START_S: Final = 1800.0
"""A start that was seen for less time does not tell when its growth ended."""

MOST_START_S: Final = 3600.0
"""What a pod gains later is no start-up."""

PAIR: Final = 2


@dataclass(frozen=True, slots=True)
class TrendNoise(Rows):
    """Noise of a trend, in units of the baseline's mean.

    Attributes:
        level: (rows,) the baseline's mean, in the gauge's own unit, > 0.
        variance: (rows, 6) variance of one pod's slope per minute over `WINDOWS_S`, > 0, not
            increasing.
        common: (rows, 6) variance of the slope that all pods share; it matters only where the
            canary's start is compared with another time's.
        nu: (rows,) degrees of freedom behind `variance`.
        startup: (rows, S) growth of a pod from each tick of its age to the next, since it counted
            as warm, from the baseline's own start; S = 0 where nothing is known.
        startup_pods: (rows,) how many pods that was seen on; 0: not known.

    Raises:
        ValueError: shapes differ or a value is outside its range.
    """

    level: Floats
    variance: Floats
    common: Floats
    nu: Floats
    startup: Floats
    startup_pods: Floats

    def __post_init__(self) -> None:
        shape = (len(self.level), len(WINDOWS_S))
        if self.variance.shape != shape or self.common.shape != shape:
            raise ValueError(f"variance and common must have the shape {shape}")
        for name, ok in (
            ("level must be finite and > 0", np.isfinite(self.level) & (self.level > 0)),
            ("variance must be finite and > 0", np.isfinite(self.variance) & (self.variance > 0)),
            ("common must be finite and >= 0", np.isfinite(self.common) & (self.common >= 0)),
            ("nu must be finite and >= 1", np.isfinite(self.nu) & (self.nu >= 1)),
            ("startup must be finite", np.isfinite(self.startup)),
            ("startup_pods must be >= 0", self.startup_pods >= 0),
        ):
            if not ok.all():
                raise ValueError(name)

    @classmethod
    def prior(cls, rows: int, *, level: float = 1.0) -> TrendNoise:
        """Return what is assumed without any history."""
        variance = np.broadcast_to(_least_variance(PRIOR_MOVE), (rows, len(WINDOWS_S)))
        return cls(
            np.full(rows, level),
            variance.copy(),
            variance.copy(),
            np.full(rows, PRIOR_NU),
            np.zeros((rows, 0)),
            np.zeros(rows),
        )


def fit_trend_noise(values: Floats, tick_s: float) -> TrendNoise:
    """Estimate the noise of a trend from the baseline pods' history.

    V(T) is the variance, over pods and stretches of length T, of least-squares slopes less their
    mean over the pods. Saw teeth of garbage collectors, random walks and autocorrelation are in
    it whatever their shape. A single pod's slopes are taken from one stretch to the next. V is
    made not to increase with T; lengths with too few stretches take that of the next shorter.

    Source: design 6.

    When it errs: what moves more slowly than the history is long is not in it.

    Args:
        values: (H, m) the gauge, not its logarithm; nan where missing.
        tick_s: seconds per tick.

    Returns:
        The noise of one row, without a start-up. Nothing usable gives the prior.

    Raises:
        ValueError: `values` is not two-dimensional.
    """
    if values.ndim != PAIR:
        raise ValueError(f"expected (ticks, pods), got {values.shape}")
    usable = np.isfinite(values) & (values >= 0)
    level = float(values[usable].mean()) if usable.any() else 0.0
    if not (np.isfinite(level) and level > 0):
        return TrendNoise.prior(1)
    counted = bool((values[usable] == np.round(values[usable])).all())
    least = max(LEAST_MOVE, 1.0 / level if counted else 0.0)
    seen = usable.any(axis=0)
    scaled = np.where(usable, values, np.nan)[:, seen] / level
    slopes = [_slopes(scaled, round(window / tick_s), tick_s) for window in WINDOWS_S]
    own = np.array([_own_variance(slope) for slope in slopes])
    common = np.array([_common_variance(slope) for slope in slopes])
    if np.isnan(own).all():
        return TrendNoise.prior(1, level=level)
    pods = int(seen.sum())
    return TrendNoise(
        np.array([level]),
        np.maximum(_falling(own), _least_variance(least))[None],
        _falling(np.where(np.isnan(common), own, common))[None],
        np.array([PRIOR_NU + pods - 1]),
        np.zeros((1, 0)),
        np.zeros(1),
    )


def with_startup(noise: TrendNoise, values: Floats, ages: Floats, tick_s: float) -> TrendNoise:
    """Add what the baseline's pods gained after their own start, where the history holds it.

    Args:
        noise: of one row, fitted on the same history.
        values: (m, H) the gauge, nan where missing.
        ages: (m, H) ticks since each pod counted as warm, negative before; nan where not known.
        tick_s: seconds per tick.
    """
    least, most = round(LEAST_START_S / tick_s), round(MOST_START_S / tick_s)
    starts = []
    for value, age in zip(values, ages, strict=True):
        usable = np.isfinite(value) & np.isfinite(age) & (age >= 0)
        if usable.any() and age[usable].min() <= 1 and age[usable].max() >= least:
            whole = np.arange(min(int(age[usable].max()), most) + 1)
            starts.append(np.interp(whole, age[usable], value[usable]))
    if not starts:
        return noise
    known = min(map(len, starts))
    mean = np.mean([start[:known] for start in starts], axis=0)
    startup: Floats = np.diff(mean) / noise.level[0]
    return replace(noise, startup=startup[None], startup_pods=np.array([float(len(starts))]))


def _least_variance(move: float) -> Floats:
    variance: Floats = (STEP_SLOPE * move / (WINDOWS_S / MINUTE_S)) ** 2
    return variance


def _slopes(values: Floats, length: int, tick_s: float) -> Floats:
    """Return least-squares slopes per minute, (stretches, pods); nan where too little was seen."""
    count = len(values) // length if length > 1 else 0
    if not count:
        return np.full((0, values.shape[1]), np.nan)
    cut = values[len(values) - count * length :].reshape(count, length, values.shape[1])
    seen = np.isfinite(cut)
    minutes = (np.arange(length) * tick_s / MINUTE_S)[None, :, None]
    number = np.maximum(seen.sum(axis=1), 1)
    time = np.where(seen, minutes - ((seen * minutes).sum(axis=1) / number)[:, None], 0.0)
    power = (time**2).sum(axis=1)
    enough = (number >= LEAST_FILLED * length) & (power > 0)
    slope = (time * np.where(seen, cut, 0.0)).sum(axis=1) / np.where(enough, power, 1.0)
    return np.where(enough, slope, np.nan)


def _own_variance(slopes: Floats) -> float:
    """Return the variance of slopes less their mean over the pods; nan with too few."""
    if slopes.shape[1] == 1:
        return _common_variance(slopes)
    seen = np.isfinite(slopes)
    pods = seen.sum(axis=1, keepdims=True)
    mean = np.where(seen, slopes, 0.0).sum(axis=1, keepdims=True) / np.maximum(pods, 1)
    excess = np.where(seen, slopes - mean, 0.0) ** 2
    freedom = int(np.maximum(pods - 1, 0).sum())
    return float(excess.sum()) / freedom if freedom >= LEAST_FREEDOM else np.nan


def _common_variance(slopes: Floats) -> float:
    """Return the variance of the pods' mean slope from stretch to stretch; nan with too few."""
    seen = np.isfinite(slopes)
    rows = seen.any(axis=1)
    mean = np.where(seen, slopes, 0.0)[rows].sum(axis=1) / seen[rows].sum(axis=1)
    change = np.diff(mean)
    return float((change**2).mean()) / PAIR if len(change) >= LEAST_FREEDOM else np.nan


def _falling(variance: Floats) -> Floats:
    """Fill unknown lengths from the next shorter, and let no longer one vary more."""
    known = np.flatnonzero(np.isfinite(variance))
    place = np.searchsorted(known, np.arange(len(variance)), side="right") - 1
    filled = variance[known[np.maximum(place, 0)]]
    return np.maximum.accumulate(filled[::-1])[::-1]
