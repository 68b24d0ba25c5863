"""What is learned from history, and what is assumed where it cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.calibration.simulator import (
    BOUNDS,
    Errors,
    Fleet,
    Latency,
    Wobble,
    simulate_counts,
    simulate_histograms,
)
from detectors import (
    CountNoise,
    LatencyNoise,
    MeanNoise,
    fit_count_noise,
    fit_latency_noise,
    fit_mean_noise,
)
from tests.detectors.kit import SHARES, assert_close, assert_same


def _fit(wobble: Wobble, rate: float = 0.02, seed: int = 1) -> CountNoise:
    data = simulate_counts(
        Fleet(history=720, ticks=1, baseline_pods=12), Errors(rate=rate), wobble, 12, seed
    )
    return CountNoise.concat(
        [fit_count_noise(*data.history(run), tail=False) for run in range(12)]
    )


def test_tick_noise_shows_in_kappa_and_pods_in_tau() -> None:
    quiet, noisy, unlike = _fit(Wobble()), _fit(Wobble(tick_variance=1.0)), _fit(Wobble(tau=0.3))
    assert np.median(quiet.kappa) < 0.3
    assert 0.8 < np.median(noisy.kappa) < 2.0
    assert np.median(quiet.tau2) < 0.1**2
    assert 0.2**2 < np.median(unlike.tau2) < 0.4**2


def test_slow_noise_counts_at_its_long_run_value() -> None:
    found = _fit(Wobble(pod_sd=0.3, pod_phi=0.9))
    long_run = 0.3**2 * (1 + 0.9) / (1 - 0.9)
    assert 0.4 * long_run < np.median(found.kappa) < 1.6 * long_run


def test_what_pods_share_is_no_pod_noise_but_is_temporal() -> None:
    found = _fit(Wobble(shared_sd=0.5))
    assert np.median(found.kappa) < 0.3
    assert np.median(found.kappa_time) > 0.2


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (100, 4), (100, 1)])
def test_empty_histories_give_the_prior(shape: tuple[int, int]) -> None:
    for fill in (0.0, np.nan):
        empty = np.full(shape, fill)
        assert_same(fit_count_noise(empty, empty, tail=False), CountNoise.prior(1))
        assert_same(fit_mean_noise(np.full(shape, np.nan)), MeanNoise.prior(1))
        latency = fit_latency_noise(np.full((*shape, 12), fill), BOUNDS)
        assert_same(latency, LatencyNoise.prior(BOUNDS))


def test_a_history_without_events_cannot_tell_how_noisy_they_are() -> None:
    found = fit_count_noise(np.zeros((360, 7)), np.full((360, 7), 100.0), tail=False)
    assert found.kappa[0] == 1.0
    assert found.tau2[0] == pytest.approx(0.01)
    assert found.nu[0] == pytest.approx(4.0)
    assert 0.0 < found.history_rate[0] < 2e-5  # what that much traffic without an event allows


def test_one_pod_is_compared_with_itself() -> None:
    rng = np.random.default_rng(2)
    requests = np.full((720, 1), 100.0)
    steady = fit_count_noise(rng.poisson(2.0, (720, 1)).astype(float), requests, tail=False)
    jumpy = rng.poisson(2.0 * rng.standard_gamma(1.0, (720, 1))).astype(float)
    assert steady.kappa[0] < 0.6
    assert fit_count_noise(np.minimum(jumpy, 100), requests, tail=False).kappa[0] > 0.6
    assert steady.nu[0] == 4.0
    gauge = fit_mean_noise(rng.normal(0, 0.1, (720, 1)))
    assert 0.005 < gauge.omega2[0] < 0.05


def test_inconsistent_entries_are_left_out() -> None:
    rng = np.random.default_rng(3)
    events, requests = rng.poisson(2.0, (200, 5)).astype(float), np.full((200, 5), 100.0)
    kept = fit_count_noise(events[:150], requests[:150], tail=False)
    events[150:] = [[101.0, -1.0, np.nan, np.inf, 2.0**60]]
    cut = fit_count_noise(events, requests, tail=False)
    assert cut.history_rate[0] == pytest.approx(kept.history_rate[0])


@settings(max_examples=30, deadline=None)
@given(values=hnp.arrays(np.float64, st.tuples(st.integers(0, 40), st.integers(0, 4), st.just(2))))
def test_any_history_gives_usable_noise(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    """The noise classes refuse anything that is not finite and in range."""
    for tail in (True, False):
        fit_count_noise(values[..., 0], values[..., 1], tail=tail)
    fit_mean_noise(values[..., 0])
    fit_mean_noise(values[..., 0], values[..., 1])
    fit_latency_noise(values, np.array([1.0, np.inf]))


def test_the_order_of_pods_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(100 * SHARES, (360, 6, 12)).astype(float)
    order = rng.permutation(6)
    assert_close(fit_latency_noise(counts, BOUNDS), fit_latency_noise(counts[:, order], BOUNDS))


def test_the_unit_of_a_gauge_does_not_matter() -> None:
    levels = np.random.default_rng(5).normal(0, 0.1, (360, 5))
    assert_close(fit_mean_noise(levels), fit_mean_noise(levels + np.log(1024)))


def test_tails_are_chosen_near_their_targets() -> None:
    data = simulate_histograms(Fleet(history=360, ticks=1), Latency(), Wobble(), 1, seed=6)
    noise = fit_latency_noise(data.history(0), BOUNDS)
    chosen = noise.tail_bounds[0]
    used = chosen[chosen >= 0]
    assert len(used) >= 4
    assert (np.diff(used) > 0).all()
    target = np.array([0.5, 0.1, 0.05, 0.01, 0.002])[chosen >= 0]
    shares = noise.tails.history_rate[0][chosen >= 0]
    assert (np.abs(np.log(shares / target)) < np.log(3.5)).all()


@pytest.mark.parametrize(
    "bounds",
    [[np.inf], [1.0, 2.0], [2.0, 1.0, np.inf], [0.0, np.inf], [np.nan, np.inf], [[1.0, np.inf]]],
)
def test_bounds_must_increase_up_to_infinity(bounds: list[float]) -> None:
    with pytest.raises(ValueError, match="bounds"):
        LatencyNoise.prior(np.array(bounds))


def test_histograms_of_different_width_share_a_batch() -> None:
    few, many = LatencyNoise.prior(np.array([0.1, 1.0, np.inf])), LatencyNoise.prior(BOUNDS)
    both = LatencyNoise.concat([few, many])
    assert both.bounds.shape == (2, 12)
    assert (both.bounds[0, 2:] == np.inf).all()


@pytest.mark.parametrize("field", ["kappa", "tau2", "nu", "kappa_time"])
def test_noise_refuses_nonsense(field: str) -> None:
    values = {"kappa": 1.0, "tau2": 0.01, "nu": 4.0, "history_rate": 0.1, "kappa_time": 1.0}
    with pytest.raises(ValueError, match=field):
        CountNoise(**{k: np.array([-1.0 if k == field else v]) for k, v in values.items()})
    with pytest.raises(ValueError, match="omega2"):
        MeanNoise(np.array([0.0]), np.array([0.0]), np.array([4.0]))
