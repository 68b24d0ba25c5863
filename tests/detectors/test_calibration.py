"""Short A/A and power checks on realistic noise; the full tables are in benchmarks/."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration.gauges import CPU_LIKE, Level, simulate_gauges
from benchmarks.calibration.simulator import (
    REALISTIC_ERRORS,
    REALISTIC_LATENCY,
    Errors,
    Fleet,
    Latency,
    Wobble,
    simulate_counts,
    simulate_histograms,
)
from tests.detectors.replay import replay_counts, replay_gauges, replay_histograms

REAL = Fleet(missing=0.05, reset=0.0005, ticks=180)
LONE = replace(REAL, canary_pods=1, baseline_pods=20)
AA_LIMIT = 0.025
"""False rollbacks at α = 1 %: what the design allows a short table (12.1)."""


@pytest.mark.parametrize(
    ("fleet", "errors", "wobble"),
    [
        (REAL, Errors(rate=0.01), REALISTIC_ERRORS),
        (LONE, Errors(rate=0.001), REALISTIC_ERRORS),
        (REAL, Errors(rate=0.01), Wobble(tau=0.2)),
        (LONE, Errors(rate=0.01), Wobble(pod_sd=0.5)),
        (REAL, Errors(rate=0.01, batch=5.0), Wobble()),
        (replace(REAL, rps=0.2), Errors(rate=0.05), REALISTIC_ERRORS),
        (REAL, Errors(rate=0.002), replace(REALISTIC_ERRORS, incident=30.0)),
    ],
    ids=["realistic", "lone canary", "unlike pods", "slow noise", "batches", "quiet", "incident"],
)
def test_innocent_errors_are_not_rolled_back(fleet: Fleet, errors: Errors, wobble: Wobble) -> None:
    outcome = replay_counts(simulate_counts(fleet, errors, wobble, 160, seed=11))
    assert outcome.rate() <= AA_LIMIT
    if wobble.incident > 1:
        assert np.isfinite(outcome.drifted).mean() > 0.95


@pytest.mark.parametrize(
    ("fleet", "errors", "target_s"),
    [
        (REAL, Errors(rate=0.001, factor=10.0), 70.0),
        (LONE, Errors(rate=0.001, factor=10.0), 120.0),
        (REAL, Errors(rate=0.001, extra=0.5), 30.0),
        (replace(REAL, canary_pods=1, baseline_pods=4, rps=0.2), Errors(extra=0.5), 90.0),
    ],
    ids=["3v7 .1 % to 1 %", "1v20 .1 % to 1 %", "half fail", "half of few fail"],
)
def test_harmful_errors_are_found_in_time(fleet: Fleet, errors: Errors, target_s: float) -> None:
    outcome = replay_counts(simulate_counts(fleet, errors, REALISTIC_ERRORS, 80, seed=12))
    assert outcome.rate() == 1.0
    assert outcome.median_s() <= 1.3 * target_s


def test_errors_are_called_harmless_soon_but_not_when_they_double() -> None:
    fine = replay_counts(simulate_counts(REAL, Errors(rate=0.001), REALISTIC_ERRORS, 80, seed=13))
    assert np.isfinite(fine.harmless).mean() == 1.0
    assert np.median(fine.harmless) * 10 <= 1.3 * 80
    harm = Errors(rate=0.01, factor=2.0)
    doubled = replay_counts(simulate_counts(REAL, harm, REALISTIC_ERRORS, 80, seed=13))
    assert np.isfinite(doubled.harmless).mean() <= 0.06


@pytest.mark.parametrize("history", [True, False], ids=["with history", "without"])
def test_innocent_latency_is_not_rolled_back(*, history: bool) -> None:
    fleet = Fleet(missing=0.05, history=240, ticks=120)
    data = simulate_histograms(fleet, Latency(), REALISTIC_LATENCY, 40, seed=14)
    assert replay_histograms(data, history=history).rate() <= AA_LIMIT


@pytest.mark.parametrize(
    ("latency", "target_s"),
    [(Latency(factor=1.5), 30.0), (Latency(factor=1.2), 170.0), (Latency(slow_factor=2.5), 160.0)],
    ids=["all +50 %", "all +20 %", "slow share ×2.5"],
)
def test_slower_requests_are_found_in_time(latency: Latency, target_s: float) -> None:
    fleet = Fleet(history=360, ticks=120)
    outcome = replay_histograms(
        simulate_histograms(fleet, latency, REALISTIC_LATENCY, 30, seed=15)
    )
    assert outcome.rate() >= 0.9
    assert outcome.median_s() <= 1.3 * target_s + 10
    if latency.factor != 1.2:  # +20 % is below the harm margin
        assert np.isfinite(outcome.harmless).mean() <= 0.1


def test_gauges_keep_quiet_and_find_half_as_much_again() -> None:
    fleet = Fleet(ticks=180)
    assert (
        replay_gauges(simulate_gauges(fleet, Level(), CPU_LIKE, 150, seed=16)).rate() <= AA_LIMIT
    )
    higher = replay_gauges(simulate_gauges(fleet, Level(factor=1.5), CPU_LIKE, 100, seed=17))
    assert higher.rate() >= 0.95
    assert higher.median_s() <= 1.3 * 150


def test_leaving_warming_pods_out_is_what_keeps_them_innocent() -> None:
    warm = replace(REALISTIC_ERRORS, warm_up=5.0, warm_ticks=6)
    data = simulate_counts(replace(REAL, ticks=120), Errors(rate=0.002), warm, 120, seed=18)
    assert replay_counts(data, skip=6).rate() <= AA_LIMIT
