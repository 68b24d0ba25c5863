"""How much innocent pods differ in what they are asked for, learned from the baseline's own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.count_noise import PRIOR_KAPPA, PRIOR_NU, PRIOR_TAU, CountNoise, fit_count_noise
from detectors.rows import Floats, Rows

ROUTES: Final = 10
"""Routes that are told apart, the busiest; all others together are one more."""

STRATA: Final = ROUTES + 1
"""The routes, and the rest as the last."""

REST: Final = ROUTES
"""Where the rest stands."""

SMOOTHING: Final = 100.0
"""Requests at the rate of before that steady a route's error rate while few have been seen."""


@dataclass(frozen=True, slots=True)
class RouteNoise(Rows):
    """What innocent pods differ by, learned from the baseline's history.

    Attributes:
        shares: noise of each route's part of the requests, arrays (rows, 11).
        errors: noise of the error rate over all routes.
        rate: (rows, 11) past error rate by route, nan without history.

    Raises:
        ValueError: shapes do not fit.
    """

    shares: CountNoise
    errors: CountNoise
    rate: Floats

    def __post_init__(self) -> None:
        rows = len(self.rate)
        if self.rate.shape != (rows, STRATA) or self.shares.kappa.shape != (rows, STRATA):
            raise ValueError(f"shares and rate must have shape (rows, {STRATA})")
        if len(self.errors) != rows:
            raise ValueError("shares, errors and rate differ in rows")

    @classmethod
    def prior(cls, rows: int) -> RouteNoise:
        """Return what is assumed without any history."""
        shape = (rows, STRATA)
        shares = CountNoise(
            np.full(shape, PRIOR_KAPPA),
            np.full(shape, PRIOR_TAU**2),
            np.full(shape, PRIOR_NU),
            np.full(shape, np.nan),
            np.ones(shape),
        )
        return cls(shares, CountNoise.prior(rows), np.full(shape, np.nan))


def fit_route_noise(events: Floats, exposure: Floats) -> RouteNoise:
    """Estimate the noise of one row from the baseline pods' history.

    Args:
        events: (H, m, 11) bad events per tick, pod and route; nan where a scrape is missing.
        exposure: (H, m, 11) requests, the same way.

    Raises:
        ValueError: the arrays are not of one such shape.
    """
    if events.ndim != 3 or events.shape != exposure.shape or events.shape[2] != STRATA:  # noqa: PLR2004  # (ticks, pods, routes)
        raise ValueError(f"expected (ticks, pods, {STRATA}), got {events.shape}, {exposure.shape}")
    whole = exposure.sum(axis=2)
    parts = [fit_count_noise(exposure[..., i], whole, tail=True) for i in range(STRATA)]
    shares = CountNoise(
        *(
            np.stack([getattr(part, name) for part in parts], axis=1)
            for name in ("kappa", "tau2", "nu", "history_rate", "kappa_time")
        )
    )
    errors = fit_count_noise(events.sum(axis=2), whole, tail=False)
    bad, all_ = (np.nansum(x, axis=(0, 1)) for x in (events, exposure))
    pooled = bad.sum() / all_.sum() if all_.sum() > 0 else np.nan
    rate = np.minimum((bad + SMOOTHING * pooled) / (all_ + SMOOTHING), 1.0)
    return RouteNoise(shares, errors, rate[None])
