"""What a detector says in short is what it says at length, and costs no state twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import CountRatio, CountRatioState, LatencyShift, MeanShift, PairCounts
from detectors.findings import Findings, Weights
from tests.detectors.kit import CASES, Case, arrays, assert_same

IN_SHORT = (CountRatio, LatencyShift, MeanShift)
each_case = pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.detector, IN_SHORT)], ids=str
)
few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 24)
factors = st.sampled_from([1.0, 1.2, 3.0])


def in_short(found: Findings) -> Weights:
    return Weights(found.e_value, found.tested, found.harmful, found.drift_e)


@each_case
@few
@given(seed=seeds, count=lengths, factor=factors)
def test_weights_are_those_of_the_findings(
    case: Case, seed: int, count: int, factor: float
) -> None:
    state = case.run(case.ticks(6, count, seed, factor=factor))
    found = case.detector.findings(state)
    if not isinstance(case.detector, LatencyShift):
        assert_same(case.detector.weigh(state), in_short(found))
        return
    heed = np.resize([0.0, 1.0, np.inf], 6)
    heeded = replace(found, harmful=found.harmful & (found.e_value >= heed))
    assert_same(case.detector.weigh(state, heed), in_short(heeded))


@each_case
@few
@given(seed=seeds, count=lengths)
def test_a_state_that_may_be_written_over_leads_to_the_same(
    case: Case, seed: int, count: int
) -> None:
    ticks = case.ticks(4, count, seed)
    live = np.random.default_rng(seed).random(4) < 0.7
    kept, consumed = case.start(4), case.start(4)
    for pair in ticks:
        kept = case.detector.update(kept, pair, live)
        consumed = case.detector.update(consumed, pair, live, consume=True)
    assert arrays(kept).keys() == arrays(consumed).keys()
    for name, array in arrays(kept).items():
        np.testing.assert_array_equal(array, arrays(consumed)[name], err_msg=name)


@few
@given(seed=seeds, count=st.integers(1, 60), quiet=st.lists(st.booleans(), min_size=5, max_size=5))
def test_rows_without_events_weigh_what_they_would_among_others(
    seed: int, count: int, quiet: list[bool]
) -> None:
    case = CASES[0]
    silenced = np.array(quiet)
    ticks = []
    for pair in case.ticks(5, count, seed):
        assert isinstance(pair, PairCounts)
        events = (np.where(silenced, 0.0, e) for e in (pair.canary_events, pair.baseline_events))
        canary, baseline = events
        ticks.append(replace(pair, canary_events=canary, baseline_events=baseline))
    state: CountRatioState = case.run(ticks)
    memory, noise = state.memory, state.setup.noise
    whole = memory.share._e_value(noise.pod_mass, memory.age, case.detector)
    np.testing.assert_array_equal(memory.share.e_value(noise, memory.age, case.detector), whole)
