"""E3 and what it learns of slopes, in cases that people can check by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration.gauges import MEMORY_LIKE, Level, simulate_gauges
from benchmarks.calibration.simulator import Fleet
from detectors import LeakTrend, PairTrends, TrendNoise, fit_trend_noise
from detectors.findings import Findings
from detectors.trend_noise import with_startup
from tests.detectors.replay import leak_limits, replay_leaks

TICK_S = 10.0
K, M = np.array([3.0]), np.array([7.0])
LIVE = np.ones(1, np.bool_)


def after(moves: list[float], *, settle: float = 0.0, noise: TrendNoise | None = None) -> Findings:
    """Findings after these movements of the difference, as parts of the baseline's level."""
    judge = LeakTrend()
    quiet = TrendNoise.prior(1)
    quiet = replace(quiet, variance=quiet.variance / 100)
    state = judge.start(noise or quiet, leak_limits(1), K, M, settle)
    for move in moves:
        state = judge.update(state, PairTrends(np.array([move]), K, M), LIVE)
    return judge.findings(state)


PER_TICK = 0.03 / 6
"""Growth of 3 % a minute."""


def test_the_effect_is_the_growth_per_minute() -> None:
    found = after([PER_TICK] * 60)
    assert np.expm1(found.effect[0]) == pytest.approx(0.03, rel=0.01)
    assert np.expm1(found.recent_effect[0]) == pytest.approx(0.03, rel=0.01)
    assert found.low[0] < found.effect[0] < found.high[0]
    assert found.harmful[0]
    assert found.e_value[0] > 100


def test_nothing_is_said_before_three_minutes() -> None:
    assert after([PER_TICK] * 17).e_value[0] == pytest.approx(1.0)
    assert not after([PER_TICK] * 17).tested[0]
    assert after([PER_TICK] * 18).tested[0]


def test_falling_and_flat_gauges_are_harmless_in_time() -> None:
    for move in (0.0, -PER_TICK):
        found = after([move] * 180)
        assert found.harmless[0]
        assert found.e_value[0] < 1.0
        assert not found.harmful[0]


def test_growth_that_ended_is_no_leak() -> None:
    found = after([PER_TICK] * 30 + [0.0] * 120)
    assert found.e_value[0] > 1.0
    assert not found.harmful[0]


def test_a_spike_of_two_ticks_changes_nothing() -> None:
    flat = after([0.0] * 40)
    spiked = after([0.0] * 37 + [5.0, 0.0, -5.0])
    assert spiked.e_value[0] == pytest.approx(flat.e_value[0])


def test_what_settles_is_left_out() -> None:
    hasty = after([PER_TICK] * 30 + [0.0] * 30)
    patient = after([PER_TICK] * 30 + [0.0] * 30, settle=30)
    assert hasty.effect[0] > 0.005
    assert abs(patient.effect[0]) < 1e-3


def test_movement_without_pods_is_kept_for_later() -> None:
    judge = LeakTrend()
    noise = TrendNoise.prior(1)
    whole = cut = judge.start(noise, leak_limits(1), K, M)
    nobody = np.zeros(1)
    for tick in range(60):
        seen = tick % 4 != 1
        pods = (K, M) if seen else (nobody, M)
        moved = np.array([PER_TICK])
        whole = judge.update(whole, PairTrends(moved, K, M), LIVE)
        cut = judge.update(cut, PairTrends(moved, *pods), LIVE)
    one, other = judge.findings(whole), judge.findings(cut)
    assert other.ticks[0] == 45
    assert other.effect[0] == pytest.approx(one.effect[0], rel=0.05)


def test_noise_is_scale_free_and_order_free() -> None:
    rng = np.random.default_rng(1)
    values = 100 * np.exp(0.1 * rng.standard_normal((720, 6)).cumsum(axis=0) / 10)
    plain = fit_trend_noise(values, TICK_S)
    for other in (values[:, ::-1], 1e6 * values):
        found = fit_trend_noise(other, TICK_S)
        np.testing.assert_allclose(found.variance, plain.variance, rtol=1e-6)
    assert (np.diff(plain.variance[0]) <= 0).all()
    assert plain.nu[0] == 9.0


def test_few_whole_numbers_may_move_by_one() -> None:
    """Twelve goroutines that become thirteen are no leak, however still they have been."""
    still = fit_trend_noise(np.full((720, 5), 12.0), TICK_S)
    moves = [0.0] * 20 + [1 / 12] + [0.0] * 20
    assert after(moves, noise=still).e_value[0] < 20
    bytes_ = fit_trend_noise(np.full((720, 5), 12e6), TICK_S)
    assert (bytes_.variance < still.variance).all()


@pytest.mark.parametrize(
    "values",
    [
        np.empty((0, 0)),
        np.full((720, 3), np.nan),
        np.zeros((720, 3)),
        np.full((720, 3), -1.0),
        np.full((5, 3), 7.0),
    ],
)
def test_a_useless_history_gives_the_prior(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    found = fit_trend_noise(values, TICK_S)
    np.testing.assert_array_equal(found.variance, TrendNoise.prior(1).variance)


def test_a_known_start_is_told_by_age() -> None:
    ticks = np.arange(400)
    age = np.stack([ticks - 20, ticks - 50]).astype(float)
    values = 100 + 30 * (1 - np.exp(-np.maximum(age, 0) / 60))
    values[age < 0] = np.nan
    noise = with_startup(fit_trend_noise(values.T, TICK_S), values, age, TICK_S)
    assert noise.startup_pods[0] == 2
    assert noise.startup.sum() * noise.level[0] == pytest.approx(30, rel=0.02)
    old = with_startup(fit_trend_noise(values.T, TICK_S), values, age + 100, TICK_S)
    assert old.startup_pods[0] == 0  # its first minutes were not seen


FLEET = Fleet(history=720, ticks=240)


def test_short_table_of_leaks() -> None:
    innocent = simulate_gauges(FLEET, Level(), MEMORY_LIKE, 60, seed=21)
    assert replay_leaks(innocent).rate() <= 0.025
    toothed = simulate_gauges(FLEET, Level(saw=0.15), MEMORY_LIKE, 60, seed=22)
    assert replay_leaks(toothed).rate() <= 0.025
    leaking = replay_leaks(simulate_gauges(FLEET, Level(leak=0.03), MEMORY_LIKE, 40, seed=23))
    assert leaking.rate() == 1.0
    assert leaking.median_s() <= 1.3 * 280
