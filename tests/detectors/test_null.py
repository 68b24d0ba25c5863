"""What theory promises when its assumptions hold: seeded Monte Carlo with generous bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from detectors import (
    CountNoise,
    CountRatio,
    LeakTrend,
    Limits,
    MeanNoise,
    MeanShift,
    PairCounts,
    PairMeans,
    PairTrends,
    TrendNoise,
)
from detectors.cadence import Cadence
from detectors.rates import RateBelow, RateExcess
from detectors.rows import Floats
from detectors.trend_noise import WINDOWS_S

RUNS = 3000
TICKS = 60
UNCAPPED = Limits.of(RUNS, threshold=1e250)
"""A threshold so high that the cap per tick never bites: the harder case for the null."""


def assert_martingale(paths: Floats, level: float = 10.0) -> None:
    """Assert mean e <= 1 at every look, and P(sup e >= level) <= 1/level, within 4 and 3 sd."""
    error = paths.std(axis=1) / np.sqrt(paths.shape[1])
    assert (paths.mean(axis=1) <= 1 + 4 * error + 1e-6).all()
    crossed = int((paths.max(axis=0) >= level).sum())
    assert crossed <= binom.isf(1e-3, paths.shape[1], 1 / level)


def exact_counts(detector: CountRatio, k: float, m: float, rate: float, seed: int) -> Floats:
    """E-values of E1 when both sides share one rate and nothing else varies."""
    rng = np.random.default_rng(seed)
    noise = CountNoise(
        np.zeros(RUNS), np.zeros(RUNS), np.full(RUNS, 1e6), np.full(RUNS, np.nan), np.ones(RUNS)
    )
    pods = np.full(RUNS, k), np.full(RUNS, m)
    state, paths = detector.start(noise, UNCAPPED, *pods), np.empty((TICKS, RUNS))
    for tick in range(TICKS):
        traffic = [rng.poisson(100 * side).astype(float) for side in pods]
        events = [rng.binomial(n.astype(int), rate).astype(float) for n in traffic]
        pair = PairCounts(events[0], events[1], traffic[0], traffic[1], *pods)
        state = detector.update(state, pair, np.ones(RUNS, np.bool_))
        paths[tick] = detector.findings(state).e_value
    return paths


@pytest.mark.parametrize(
    ("k", "m", "rate"), [(1.0, 20.0, 0.001), (3.0, 7.0, 0.01), (1.0, 1.0, 0.005)]
)
def test_e1_is_a_martingale_without_pod_noise(k: float, m: float, rate: float) -> None:
    detector = CountRatio(horizon_s=600.0, restart_s=100.0)
    assert_martingale(exact_counts(detector, k, m, rate, seed=int(k + m)))


def test_e2_is_a_martingale_for_gaussian_differences() -> None:
    rng = np.random.default_rng(3)
    detector = MeanShift(horizon_s=600.0, restart_s=100.0)
    noise = MeanNoise(np.full(RUNS, 0.01), np.zeros(RUNS), np.full(RUNS, 1e6))
    limits = Limits.of(RUNS, persistence=1.0)
    state, paths = detector.start(noise, limits, 3, 7), np.empty((TICKS, RUNS))
    sd = np.sqrt(0.01 * (1 / 3 + 1 / 7))
    for tick in range(TICKS):
        pair = PairMeans(
            rng.normal(0, sd, RUNS), np.zeros(RUNS), np.full(RUNS, 3.0), np.full(RUNS, 7.0)
        )
        state = detector.update(state, pair, np.ones(RUNS, np.bool_))
        paths[tick] = detector.findings(state).e_value
    assert_martingale(paths)


@pytest.mark.parametrize("rate", [0.001, 0.2])
def test_the_excess_over_a_rate_is_a_martingale_at_the_rate(rate: float) -> None:
    rng, cadence = np.random.default_rng(5), Cadence(horizon_s=600.0)
    state, paths, one = RateExcess.empty((RUNS,)), np.empty((TICKS, RUNS)), np.ones(RUNS)
    for tick in range(TICKS):
        state.add(
            events=rng.binomial(300, rate, RUNS).astype(float),
            expected=300 * rate * one,
            phi=one,
            cap=30 * one,
            age=np.full(RUNS, tick),
            cadence=cadence,
        )
        paths[tick] = state.e_value(np.full(RUNS, tick + 1), cadence)
    assert_martingale(paths)


def test_being_below_a_rate_is_a_martingale_at_the_rate() -> None:
    rng = np.random.default_rng(6)
    state, paths, one = RateBelow.empty(RUNS), np.empty((TICKS, RUNS)), np.ones(RUNS)
    for tick in range(TICKS):
        state.add(rng.binomial(300, 0.005, RUNS).astype(float), 300 * one, one)
        paths[tick] = state.e_value(0.005 * one)
    assert_martingale(paths)


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_the_interval_of_the_ratio_covers_at_every_look(ratio: float) -> None:
    rng, detector = np.random.default_rng(8), CountRatio(horizon_s=600.0)
    noise = CountNoise(
        np.zeros(RUNS), np.zeros(RUNS), np.full(RUNS, 1e6), np.full(RUNS, np.nan), np.ones(RUNS)
    )
    state, covered = detector.start(noise, Limits.of(RUNS), 3, 7), np.ones(RUNS, np.bool_)
    found = detector.findings(state)
    pods = np.full(RUNS, 3.0), np.full(RUNS, 7.0)
    for _ in range(TICKS):
        c = rng.binomial(300, 0.005 * ratio, RUNS).astype(float)
        b = rng.binomial(700, 0.005, RUNS).astype(float)
        pair = PairCounts(c, b, np.full(RUNS, 300.0), np.full(RUNS, 700.0), *pods)
        state = detector.update(state, pair, np.ones(RUNS, np.bool_))
        found = detector.findings(state)
        covered &= (found.low <= np.log(ratio)) & (np.log(ratio) <= found.high)
    assert covered.mean() >= 0.95
    width = found.high - found.low
    assert np.median(width) < np.log(3.0)


def test_the_weights_of_all_instances_sum_to_one() -> None:
    cadence = Cadence(horizon_s=3600.0)
    head, rest = cadence.weights
    assert head + rest * cadence.restarts == pytest.approx(1.0)
    for age in (0, 1, 30, 31, 91):  # nothing has been dropped yet
        ages = np.array([age])
        assert cadence.mixture(ages, np.ones(1), np.ones((1, 3))) == pytest.approx(1.0)
    assert cadence.mixture(np.array([361]), np.ones(1), np.ones((1, 3)))[0] < 1.0


def test_e3_is_a_martingale_for_white_noise() -> None:
    """With the true variance of a least-squares slope, 12σ²/(n³·Δt²), at every length."""
    rows, ticks, sd = 600, 180, 0.02
    variance = 12 * sd**2 / ((WINDOWS_S / 10.0) ** 3 * (10.0 / 60.0) ** 2)
    noise = replace(
        TrendNoise.prior(rows), variance=np.tile(variance, (rows, 1)), nu=np.full(rows, 1e6)
    )
    detector = LeakTrend(horizon_s=ticks * 10.0)
    pods = np.full(rows, 2.0)  # two on each side have the variance of one
    state, paths = detector.start(noise, Limits.of(rows), pods, pods), np.empty((ticks, rows))
    levels = sd * np.random.default_rng(9).standard_normal((ticks, rows))
    for tick, moved in enumerate(np.diff(levels, axis=0, prepend=np.zeros((1, rows)))):
        pair = PairTrends(moved, pods, pods)
        state = detector.update(state, pair, np.ones(rows, np.bool_))
        paths[tick] = detector.findings(state).e_value
    assert_martingale(paths)
    assert paths.max() > 5.0  # it does move
