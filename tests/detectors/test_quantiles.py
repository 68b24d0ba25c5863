"""Quantiles from buckets: against the truth, against SciPy, and where buckets cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

from benchmarks.calibration.simulator import BOUNDS, Array
from detectors.quantiles import log_quantiles

LEVELS = np.array([0.5, 0.9, 0.99])


def lognormal(median: float, sigma: float, total: float = 1e6) -> Array:
    """Expected bucket counts."""
    below = ndtr((np.log(BOUNDS) - np.log(median)) / sigma)
    counts: Array = np.diff(below, prepend=0.0)[None] * total
    return counts


@pytest.mark.parametrize("median", [0.03, 0.07, 0.4])
def test_a_lognormal_is_found_exactly(median: float) -> None:
    found, slopes = log_quantiles(lognormal(median, 0.6), BOUNDS[None], LEVELS)
    np.testing.assert_allclose(found[0], np.log(median) + 0.6 * ndtri(LEVELS), atol=0.02)
    tail = 1 - LEVELS
    density = np.exp(-(ndtri(LEVELS) ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(slopes[0], 0.6 * tail / density, rtol=0.1)


def test_it_is_scipys_pchip() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(200.0, (20, 12)).astype(float) + 1
    found, _ = log_quantiles(counts, np.tile(BOUNDS, (20, 1)), LEVELS)
    for row in range(20):
        survival = 1 - np.cumsum(counts[row])[:-1] / counts[row].sum()
        curve = PchipInterpolator(-ndtri(survival), np.log(BOUNDS[:-1]))
        inside = (survival.min() <= 1 - LEVELS) & (survival.max() >= 1 - LEVELS)
        np.testing.assert_allclose(found[row][inside], curve(ndtri(LEVELS))[inside], rtol=1e-9)


def test_a_common_factor_on_all_latencies_is_recovered() -> None:
    before, _ = log_quantiles(lognormal(0.06, 0.7), BOUNDS[None], LEVELS)
    after, _ = log_quantiles(lognormal(0.06 * 1.4, 0.7), BOUNDS[None], LEVELS)
    np.testing.assert_allclose(np.exp(after - before), 1.4, rtol=0.02)


def test_the_unit_of_the_bounds_only_shifts_the_answer() -> None:
    counts = lognormal(0.06, 0.7, 1000)
    seconds, slopes = log_quantiles(counts, BOUNDS[None], LEVELS)
    millis, same = log_quantiles(counts, 1000 * BOUNDS[None], LEVELS)
    np.testing.assert_allclose(millis, seconds + np.log(1000))
    np.testing.assert_allclose(slopes, same)


def test_padding_changes_nothing() -> None:
    counts = lognormal(0.06, 0.7, 1000)
    wide = np.pad(counts, ((0, 0), (0, 4)))
    bounds = np.pad(BOUNDS[None], ((0, 0), (0, 4)), constant_values=np.inf)
    for ours, theirs in zip(
        log_quantiles(counts, BOUNDS[None], LEVELS),
        log_quantiles(wide, bounds, LEVELS),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "counts", [[0.0] * 12, [1e5] + [0.0] * 11, [0.0] * 11 + [7.0]], ids=["none", "fast", "slow"]
)
def test_too_few_useful_bounds_are_nan(counts: list[float]) -> None:
    found, slopes = log_quantiles(np.array([counts]), BOUNDS[None], LEVELS)
    assert np.isnan(found).all()
    assert np.isnan(slopes).all()


@pytest.mark.parametrize("width", [2, 3, 4])
def test_few_buckets_are_enough_or_nan(width: int) -> None:
    bounds = np.append(BOUNDS[3 : 2 + width], np.inf)[None]
    found, _ = log_quantiles(np.full((1, width), 10.0), bounds, LEVELS)
    assert np.isfinite(found).all() == (width > 2)
    if width > 2:
        assert (np.diff(found[0]) >= 0).all()


@pytest.mark.parametrize("total", [1.0, 2.0, 1e15])
def test_extreme_counts_stay_between_three_times_the_bounds(total: float) -> None:
    counts = np.zeros((12, 12))
    np.fill_diagonal(counts, total)
    counts[:, 5] += 1.0
    found, _ = log_quantiles(counts, np.tile(BOUNDS, (12, 1)), LEVELS)
    seen = np.exp(found[np.isfinite(found)])
    assert (seen >= BOUNDS[0] / 3.01).all()
    assert (seen <= 3.01 * BOUNDS[-2]).all()
