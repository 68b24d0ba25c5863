"""What each detector says in cases that people can check by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import detectors
from benchmarks.calibration.simulator import BOUNDS
from detectors import (
    CountNoise,
    CountRatio,
    LatencyNoise,
    LatencyShift,
    Limits,
    MeanNoise,
    MeanShift,
    PairCounts,
    PairHistograms,
    PairMeans,
)
from detectors.rows import Rows
from tests.detectors.kit import CASES, SHARES, Case, assert_close

K, M = np.array([3.0]), np.array([7.0])
LIVE = np.ones(1, np.bool_)


def counts_after(
    ticks: int, canary: float, baseline: float, **limits: float
) -> detectors.Findings:
    """Findings of 300 against 700 requests a tick with fixed events."""
    judge = CountRatio()
    state = judge.start(CountNoise.prior(1), Limits.of(1, **limits), K, M)
    pair = PairCounts(
        np.array([canary]), np.array([baseline]), np.array([300.0]), np.array([700.0]), K, M
    )
    for _ in range(ticks):
        state = judge.update(state, pair, LIVE)
    return judge.findings(state)


def test_the_effect_is_the_ratio_of_the_rates() -> None:
    found = counts_after(30, 9.0, 7.0)
    assert np.exp(found.effect[0]) == pytest.approx(3.0, rel=0.01)
    assert found.canary_value[0] == pytest.approx(0.03)
    assert found.baseline_value[0] == pytest.approx(0.01)
    assert found.low[0] < np.log(3.0) < found.high[0]


def test_an_error_free_baseline_needs_the_absolute_floor_too() -> None:
    stray = counts_after(6, 0.0, 0.0)
    assert stray.effect[0] == pytest.approx(0.0)
    few = counts_after(3, 1.0, 0.0, floor=0.01)
    assert few.effect[0] > np.log(5.0)
    assert not few.harmful[0]
    assert counts_after(30, 6.0, 0.0, floor=0.001).harmful[0]


def test_no_floor_means_no_floor_test() -> None:
    assert counts_after(5, 1.0, 0.0, floor=np.nan).harmful[0]


def test_silence_on_both_sides_is_harmless_by_the_absolute_rate() -> None:
    assert counts_after(60, 0.0, 0.0).harmless[0]
    assert not counts_after(60, 0.0, 0.0, harm_rate=np.nan).harmless[0]


def test_more_traffic_makes_smaller_harm_detectable() -> None:
    quiet, busy = counts_after(30, 0.03, 0.07), counts_after(30, 3.0, 7.0)
    assert busy.detectable[0] < 1.2
    assert np.isnan(quiet.detectable[0]) or quiet.detectable[0] > busy.detectable[0]
    assert np.isnan(counts_after(360, 3.0, 7.0).detectable[0])  # no time is left


def test_the_recent_effect_forgets() -> None:
    judge = CountRatio()
    state = judge.start(CountNoise.prior(1), Limits.of(1), K, M)
    for errors in [30.0] * 30 + [3.0] * 60:
        pair = PairCounts(
            np.array([errors]), np.array([7.0]), np.array([300.0]), np.array([700.0]), K, M
        )
        state = judge.update(state, pair, LIVE)
    found = judge.findings(state)
    assert found.effect[0] > np.log(3.0)
    assert abs(found.recent_effect[0]) < np.log(1.1)


def test_the_unit_of_exposure_does_not_matter() -> None:
    case = CASES[0]
    ticks = case.ticks(3, 20, 1)
    minutes = [
        replace(
            p, canary_exposure=60 * p.canary_exposure, baseline_exposure=60 * p.baseline_exposure
        )
        for p in ticks
        if isinstance(p, PairCounts)
    ]
    ours, theirs = case.find(ticks), case.find(minutes)
    changed = ("canary_value", "baseline_value", "harmful", "harmless", "drift_e", "detectable")
    assert_close(ours, theirs, ignore=changed)


def test_the_unit_of_latency_does_not_matter() -> None:
    case = next(case for case in CASES if case.name == "latency")
    ticks = case.ticks(2, 20, 1, factor=1.3)
    millis = replace(
        case.noise, bounds=1000 * case.noise.bounds, scores=case.noise.scores + np.log(1000)
    )
    ours, theirs = case.find(ticks), Case("ms", case.detector, millis, case.limits).find(ticks)
    assert_close(ours, theirs, ignore=("canary_value", "baseline_value"))
    np.testing.assert_allclose(theirs.canary_value, 1000 * ours.canary_value)


def test_latency_names_the_quantile_that_moved() -> None:
    case = next(case for case in CASES if case.name == "latency")
    slow = np.where(np.arange(12) > 6, 8.0, 1.0) * SHARES
    state = case.start(1)
    pair = PairHistograms(300 * slow[None], 700 * SHARES[None], K, M)
    for _ in range(30):
        state = case.detector.update(state, pair, LIVE)
    found = case.detector.findings(state)
    assert found.quantile[0] == 0.99
    assert found.harmful[0]
    assert not found.harmless[0]
    assert found.low[0] < found.effect[0] < found.high[0]
    assert found.canary_value[0] > found.baseline_value[0]


def steady_gauge(*shifts: float) -> detectors.Findings:
    """Findings of a gauge whose ticks hardly vary and whose pods differ by 5 %."""
    judge = MeanShift()
    noise = MeanNoise(np.array([1e-6]), np.array([0.05**2]), np.array([10.0]))
    state = judge.start(noise, Limits.of(1, threshold=1000.0), K, M)
    for shift in shifts:
        pair = PairMeans(np.array([shift]), np.zeros(1), K, M)
        state = judge.update(state, pair, LIVE)
    return judge.findings(state)


def test_a_gauge_that_never_wobbles_is_still_seen_to_double() -> None:
    assert steady_gauge(*[np.log(2.0)] * 5).e_value[0] > 1000.0
    assert steady_gauge(*[0.04] * 60).e_value[0] < 20.0


def test_two_odd_ticks_of_a_steady_gauge_prove_nothing() -> None:
    assert steady_gauge(*[0.0] * 4, *[5.0] * 2, *[0.0] * 4).e_value[0] < 20.0


def test_states_of_different_width_share_a_batch() -> None:
    judge, limits = LatencyShift(), Limits.of(1, margin=0.1, harm=0.2)
    narrow = judge.start(LatencyNoise.prior(np.array([0.1, 0.5, 1.0, np.inf])), limits, K, M)
    wide = judge.start(LatencyNoise.prior(BOUNDS), limits, K, M)
    small = PairHistograms(np.full((1, 4), 30.0), np.full((1, 4), 70.0), K, M)
    large = PairHistograms(300 * SHARES[None], 700 * SHARES[None], K, M)
    both = PairHistograms.concat([small.widened(12), large])
    mixed = type(wide).concat([narrow, wide])
    for _ in range(8):
        narrow, wide = judge.update(narrow, small, LIVE), judge.update(wide, large, LIVE)
        mixed = judge.update(mixed, both, np.ones(2, np.bool_))
    for row, alone in enumerate((narrow, wide)):
        assert_close(judge.findings(mixed).take(np.array([row])), judge.findings(alone))
    only_narrow = mixed.take(np.array([0]))
    assert len(judge.update(only_narrow, small, LIVE)) == 1
    with pytest.raises(ValueError, match="buckets"):
        judge.update(narrow, large, LIVE)


def test_without_history_tails_are_chosen_from_the_past_of_both_sides() -> None:
    judge = LatencyShift()
    state = judge.start(LatencyNoise.prior(BOUNDS), Limits.of(1), K, M)
    pair = PairHistograms(100 * SHARES[None], 200 * SHARES[None], K, M)
    state = judge.update(state, pair, LIVE)
    assert (state.memory.tail_bounds == -1).all()
    state = judge.update(state, pair, LIVE)
    assert (state.memory.tail_bounds >= 0).sum() >= 4
    assert state.memory.score.ticks[0] == 0
    assert judge.update(state, pair, LIVE).memory.score.ticks[0] == 1


def test_pods_that_come_and_go_widen_what_is_innocent() -> None:
    judge = MeanShift()
    few, many = (
        judge.start(
            MeanNoise(np.array([0.01]), np.array([0.05**2]), np.array([10.0])), Limits.of(1), 1, 1
        )
        for _ in range(2)
    )
    shift, zero = np.array([0.1]), np.zeros(1)
    for _ in range(20):
        few = judge.update(few, PairMeans(shift, zero, np.ones(1), np.ones(1)), LIVE)
        many = judge.update(many, PairMeans(shift, zero, 10 * np.ones(1), 10 * np.ones(1)), LIVE)
    assert judge.findings(few).e_value[0] < judge.findings(many).e_value[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 1.0),
        ("threshold", np.inf),
        ("margin", -0.1),
        ("harm", 0.0),
        ("floor", 0.0),
        ("harm_rate", 1.0),
        ("persistence", 0.0),
        ("margin", np.nan),
    ],
)
def test_limits_refuse_nonsense(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Limits.of(2, **{name: value})


def test_limits_take_scalars_and_columns() -> None:
    limits = Limits.of(2, threshold=[100.0, 400.0])
    assert limits.threshold.tolist() == [100.0, 400.0]
    assert limits.take(np.array([1])).threshold.tolist() == [400.0]
    with pytest.raises(ValueError, match="shape"):
        Limits.of(3, threshold=[100.0, 400.0])


def test_nothing_cannot_be_concatenated() -> None:
    with pytest.raises(ValueError, match="zero parts"):
        Limits.concat([])
    assert issubclass(Limits, Rows)


@pytest.mark.parametrize(
    "wrong",
    [{"tick_s": 0.0}, {"horizon_s": np.nan}, {"first_weight": 0.0}, {"interval_alpha": 1.0}],
)
@pytest.mark.parametrize("kind", sorted(detectors.DETECTORS))
def test_detectors_refuse_nonsense(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        detectors.DETECTORS[kind](**wrong)


def test_the_registry_makes_detectors() -> None:
    assert detectors.detector("gauge", tick_s=5.0, horizon_s=600.0).horizon_ticks == 120
    with pytest.raises(KeyError):
        detectors.detector("tarot", tick_s=5.0, horizon_s=600.0)


def test_importing_the_package_does_not_import_scipy() -> None:
    code = "import sys, detectors; sys.exit(any(m.split('.')[0] == 'scipy' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
