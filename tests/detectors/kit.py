"""The conformance kit: what every detector must survive. A new detector adds its case here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np

from benchmarks.calibration.simulator import BOUNDS
from detectors import (
    CountNoise,
    CountRatio,
    EventShift,
    Findings,
    LatencyNoise,
    LatencyShift,
    LeakTrend,
    LevelNoise,
    LevelShift,
    Limits,
    MeanNoise,
    MeanShift,
    PairCounts,
    PairHistograms,
    PairLevels,
    PairMeans,
    PairRoutes,
    PairTrends,
    RouteMix,
    RouteNoise,
    TrendNoise,
    fit_count_noise,
    fit_latency_noise,
    fit_mean_noise,
    fit_route_noise,
    fit_trend_noise,
)
from detectors.level_noise import Spread, spread_of
from detectors.rows import Bools, Rows

Pair: TypeAlias = PairCounts | PairHistograms | PairLevels | PairMeans | PairRoutes | PairTrends

SHARES = np.array([0.001, 0.004, 0.07, 0.3, 0.42, 0.17, 0.02, 0.008, 0.003, 0.002, 0.001, 0.001])


ROUTE_SHARES = np.array([0.35, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02, 0.01, 0.005, 0.005, 0.03])
ROUTE_RATES = np.array([0.004, 0.001, 0.01, 0.05, 0.001, 0.02, 0.0, 0.1, 0.5, 0.001, 0.01])
"""Requests and errors of ten routes and the rest."""


@dataclass(frozen=True)
class Case:
    """One detector with one kind of rows, and how to make innocent ticks for it."""

    name: str
    detector: Any
    noise: Any
    limits: Any = None
    tail: bool = False

    def __str__(self) -> str:
        return self.name

    def start(self, rows: int) -> Any:  # noqa: ANN401  # each detector has its own state
        noise = self.noise.take(np.zeros(rows, np.int64))
        limits = (self.limits or Limits.of(1)).take(np.zeros(rows, np.int64))
        extra = {"tail": True} if self.tail else {}
        return self.detector.start(noise, limits, 3, 7, **extra)

    def ticks(self, rows: int, count: int, seed: int, *, factor: float = 1.0) -> list[Pair]:
        """Draw ticks of three canary and seven baseline pods; factor 1 is innocent."""
        rng = np.random.default_rng(seed)
        return [self._tick(rng, rows, factor) for _ in range(count)]

    def _tick(self, rng: np.random.Generator, rows: int, factor: float) -> Pair:
        k, m = np.full(rows, 3.0), np.full(rows, 7.0)
        n1, n0 = rng.poisson(300, rows), rng.poisson(700, rows)
        match self.detector:
            case CountRatio() | EventShift():
                rate = 0.2 if self.tail else 0.01
                canary = rng.binomial(n1, min(1.0, rate * factor))
                baseline = rng.binomial(n0, rate)
                c, b, one, zero = (x.astype(float) for x in (canary, baseline, n1, n0))
                return PairCounts(c, b, one, zero, k, m)
            case MeanShift():
                difference = rng.normal(np.log(factor), 0.05, rows)
                return PairMeans(difference, np.zeros(rows), k, m)
            case LeakTrend():
                gained = rng.normal(0.01 * np.log(factor), 0.002, rows)
                return PairTrends(gained, k, m)
            case LevelShift():
                spread = Spread.concat([SPREAD] * rows) if rows else SPREAD.take(slice(0, 0))
                level = rng.normal(np.log(factor), 0.05, rows)
                return PairLevels(level, spread.level, spread.points, k, m, spread)
            case LatencyShift():
                slow = SHARES * np.where(np.arange(len(SHARES)) > 4, factor, 1.0)
                canary = rng.poisson(300 * slow / slow.sum(), (rows, len(SHARES)))
                baseline = rng.poisson(700 * SHARES, (rows, len(SHARES)))
                return PairHistograms(canary.astype(float), baseline.astype(float), k, m)
            case RouteMix():
                one = rng.multinomial(300, ROUTE_SHARES, rows)
                zero = rng.multinomial(700, ROUTE_SHARES, rows)
                canary = rng.binomial(one, np.minimum(ROUTE_RATES * factor, 1.0))
                baseline = rng.binomial(zero, ROUTE_RATES)
                by_route = [x.astype(float) for x in (canary, baseline, one, zero)]
                return PairRoutes(by_route[0], by_route[1], by_route[2], by_route[3], k, m)
        raise AssertionError(self.detector)

    def run(self, ticks: Sequence[Pair], state: Any = None) -> Any:  # noqa: ANN401  # as above
        """Feed ticks to a state, a fresh one by default."""
        rows = len(ticks[0])
        state = self.start(rows) if state is None else state
        for pair in ticks:
            state = self.detector.update(state, pair, np.ones(rows, np.bool_))
        return state

    def find(self, ticks: Sequence[Pair]) -> Findings:
        """Return the findings after the ticks."""
        found: Findings = self.detector.findings(self.run(ticks))
        return found


def _counts_noise() -> CountNoise:
    rng = np.random.default_rng(7)
    requests = rng.poisson(100, (360, 7)).astype(float)
    return fit_count_noise(rng.binomial(100, 0.01, (360, 7)).astype(float), requests, tail=False)


def _tails_noise() -> CountNoise:
    rng = np.random.default_rng(7)
    requests = np.full((360, 7), 100.0)
    return fit_count_noise(rng.binomial(100, 0.2, (360, 7)).astype(float), requests, tail=True)


def _latency_noise() -> LatencyNoise:
    counts = np.random.default_rng(7).poisson(100 * SHARES, (360, 7, 12)).astype(float)
    return fit_latency_noise(counts, BOUNDS)


def _means_noise() -> MeanNoise:
    return fit_mean_noise(np.random.default_rng(7).normal(0, 0.1, (360, 7)))


def _routes_noise() -> RouteNoise:
    rng = np.random.default_rng(7)
    requests = rng.multinomial(100, ROUTE_SHARES, (360, 7))
    events = rng.binomial(requests, ROUTE_RATES).astype(float)
    return fit_route_noise(events, requests.astype(float))


def _trends_noise() -> TrendNoise:
    moves = np.random.default_rng(7).normal(0, 0.004, (720, 7))
    return fit_trend_noise(np.exp(np.cumsum(moves, axis=0) + 5.0), 10.0)


SPREAD = spread_of(np.random.default_rng(7).normal(0, 0.05, (60, 7)))
"""A baseline of seven pods that was seen for an hour."""

_QUICK: dict[str, Any] = {"restart_s": 30.0, "horizon_s": 200.0, "recent_s": 50.0}
"""Restarts every three ticks: short runs then see every kind of instance come and go."""

_LATENCY = Limits.of(1, margin=np.log(1.1), harm=np.log(1.25), floor=np.nan, harm_rate=np.nan)

_GROWTH = Limits.of(1, margin=np.log(1.002), harm=np.log(1.005), floor=np.nan, harm_rate=np.nan)
"""Of a leak: growth per minute."""

CASES = [
    Case("counts", CountRatio(**_QUICK), _counts_noise()),
    Case("counts without history", CountRatio(**_QUICK), CountNoise.prior(1)),
    Case("tails", CountRatio(**_QUICK), _tails_noise(), tail=True),
    Case("means", MeanShift(**_QUICK), _means_noise(), _LATENCY),
    Case("means without history", MeanShift(**_QUICK), MeanNoise.prior(1), _LATENCY),
    Case("leaks", LeakTrend(**_QUICK), _trends_noise(), _GROWTH),
    Case("leaks without history", LeakTrend(**_QUICK), TrendNoise.prior(1), _GROWTH),
    Case("events", EventShift(**_QUICK), _counts_noise()),
    Case("events without history", EventShift(**_QUICK), CountNoise.prior(1)),
    Case("events of another time", EventShift(**_QUICK, paired=False), _counts_noise()),
    Case("levels", LevelShift(**_QUICK), LevelNoise.prior(1).after(SPREAD, 10.0), _LATENCY),
    Case("levels without history", LevelShift(**_QUICK), LevelNoise.prior(1), _LATENCY),
    Case("routes", RouteMix(**_QUICK), _routes_noise()),
    Case("routes without history", RouteMix(**_QUICK), RouteNoise.prior(1)),
    Case("latency", LatencyShift(**_QUICK), _latency_noise(), _LATENCY),
    Case("latency without history", LatencyShift(**_QUICK), LatencyNoise.prior(BOUNDS), _LATENCY),
]


def blank(pair: Pair, rows: Bools) -> Pair:
    """Return the tick with some rows made uninformative: their first column is nan."""
    name = fields(pair)[0].name
    values = getattr(pair, name).copy()
    values[rows] = np.nan
    return replace(pair, **{name: values})


def arrays(value: Rows, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """Return all arrays of a nested value by their dotted names."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for field in fields(value):
        inner = getattr(value, field.name)
        if isinstance(inner, Rows):
            found |= arrays(inner, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = inner
    return found


def assert_same(left: Rows, right: Rows) -> None:
    """Assert that two values hold the same bytes."""
    ours, theirs = arrays(left), arrays(right)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def assert_close(
    left: Rows, right: Rows, rtol: float = 1e-4, ignore: tuple[str, ...] = ()
) -> None:
    """Assert that two values hold the same numbers up to rounding."""
    theirs = arrays(right)
    for name, array in arrays(left).items():
        if name not in ignore:
            np.testing.assert_allclose(array, theirs[name], rtol=rtol, atol=1e-6, err_msg=name)
