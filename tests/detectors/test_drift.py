"""A shared incident is told from the baseline's own history, and from how little that may be."""

import numpy as np
import pytest

from detectors.counts import CountNoise, CountRatio, PairCounts, fit_count_noise
from detectors.findings import Limits

RUNS, REQUESTS, RATE = 200, 75, 0.005


def drift_after(history_ticks: int, ticks: int, factor: float) -> np.ndarray:
    """Return the drift's evidence of many baselines whose rate changes by a factor."""
    rng = np.random.default_rng(20)
    exposure = np.full((history_ticks, 1), float(REQUESTS))
    past = rng.binomial(REQUESTS, RATE, (RUNS, history_ticks, 1)).astype(float)
    noise = CountNoise.concat([fit_count_noise(run, exposure, tail=False) for run in past])
    detector = CountRatio(tick_s=1.0, horizon_s=600.0)
    state = detector.start(noise, Limits.of(RUNS), 1.0, 3.0)
    full = np.full(RUNS, float(REQUESTS))
    for _ in range(ticks):
        now = rng.binomial(REQUESTS, RATE * factor, RUNS).astype(float)
        pair = PairCounts(now / 3, now, full / 3, full, np.full(RUNS, 1.0), np.full(RUNS, 3.0))
        state = detector.update(state, pair, np.ones(RUNS, bool))
    return detector.findings(state).drift_e


@pytest.mark.parametrize("history_ticks", [10, 15, 60, 600])
def test_a_history_however_short_makes_no_incident_of_what_it_did_not_see(
    history_ticks: int,
) -> None:
    assert (drift_after(history_ticks, 60, factor=1.0) >= 100).mean() <= 0.01


def test_a_real_incident_is_seen() -> None:
    assert (drift_after(600, 60, factor=10.0) >= 100).mean() >= 0.99
