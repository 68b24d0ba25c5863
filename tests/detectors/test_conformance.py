"""Properties that every detector must have, checked on every case of the kit."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.latency import LatencyFindings
from detectors.rows import BLOCK_ROWS, Rows
from tests.detectors.kit import CASES, Case, Pair, arrays, assert_same, blank

each_case = pytest.mark.parametrize("case", CASES, ids=str)
few = settings(max_examples=5, deadline=None)
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 24)


@each_case
@few
@given(seed=seeds, count=lengths)
def test_a_batch_is_its_rows_one_by_one(case: Case, seed: int, count: int) -> None:
    ticks = case.ticks(3, count, seed)
    batch = case.find(ticks)
    for row in range(3):
        one = np.array([row])
        assert_same(batch.take(one), case.find([pair.take(one) for pair in ticks]))


@each_case
@few
@given(seed=seeds, count=lengths)
def test_permuting_rows_permutes_findings(case: Case, seed: int, count: int) -> None:
    ticks = case.ticks(5, count, seed)
    order = np.random.default_rng(seed).permutation(5)
    assert_same(case.find(ticks).take(order), case.find([pair.take(order) for pair in ticks]))


@each_case
@few
@given(seed=seeds, count=lengths)
def test_no_finding_depends_on_later_ticks(case: Case, seed: int, count: int) -> None:
    ticks = case.ticks(2, count + 5, seed)
    state = case.run(ticks[:count])
    before = {name: array.copy() for name, array in arrays(state).items()}
    early = case.detector.findings(state)
    case.run(ticks[count:], state)  # must not reach back into the state it was given
    for name, array in arrays(state).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert_same(early, case.find(ticks[:count]))


@each_case
@few
@given(seed=seeds, count=lengths)
def test_rows_not_live_keep_every_byte(case: Case, seed: int, count: int) -> None:
    ticks = case.ticks(4, count + 1, seed)
    live = np.random.default_rng(seed).random(4) < 0.5
    state = case.run(ticks[:count])
    after = case.detector.update(state, ticks[count], live)
    assert_same(after.take(~live), state.take(~live))
    if live.any():
        alone = case.run([pair.take(live) for pair in ticks])
        assert_same(after.take(live), alone)


@each_case
@few
@given(seed=seeds, count=lengths, cut=st.integers(0, 4))
def test_taking_and_concatenating_changes_nothing(
    case: Case, seed: int, count: int, cut: int
) -> None:
    state = case.run(case.ticks(4, count, seed))
    first, second = np.arange(cut), np.arange(cut, 4)
    assert_same(type(state).concat([state.take(first), state.take(second)]), state)


@each_case
@few
@given(seed=seeds, early=lengths, late=lengths)
def test_watches_that_start_later_share_a_batch(
    case: Case, seed: int, early: int, late: int
) -> None:
    ticks = case.ticks(2, early + late, seed)
    old = case.run([pair.take(np.array([0])) for pair in ticks[:early]])
    mixed = type(old).concat([old, case.start(1)])
    mixed = case.run(ticks[early:], mixed)
    assert_same(mixed.take(np.array([0])), case.run([p.take(np.array([0])) for p in ticks]))
    assert_same(
        mixed.take(np.array([1])), case.run([p.take(np.array([1])) for p in ticks[early:]])
    )


@each_case
@few
@given(seed=seeds, count=lengths)
def test_a_stored_state_goes_on_as_if_nothing_happened(case: Case, seed: int, count: int) -> None:
    ticks = case.ticks(2, count + 10, seed)
    stored = pickle.loads(pickle.dumps(case.run(ticks[:count])))  # noqa: S301  # our own bytes
    assert_same(case.run(ticks[count:], stored), case.run(ticks))


@each_case
@few
@given(seed=seeds, count=lengths)
def test_an_empty_tick_adds_nothing_but_age(case: Case, seed: int, count: int) -> None:
    ticks = case.ticks(3, count + 1, seed, factor=2.0)
    everyone = np.ones(3, np.bool_)
    state = case.run(ticks[:count])
    after = case.detector.update(state, blank(ticks[count], everyone), everyone)
    before, now = case.detector.findings(state), case.detector.findings(after)
    assert (now.e_value <= before.e_value * (1 + 1e-6)).all()
    assert (now.ticks == before.ticks).all()
    # a histogram tells one quantile; which one may change as the recent window moves on
    told = np.ones(3, np.bool_)
    if isinstance(before, LatencyFindings) and isinstance(now, LatencyFindings):
        told = now.quantile == before.quantile
    for name in ("effect", "low", "high", "tested", "harmless"):
        kept = getattr(before, name)[told]
        np.testing.assert_allclose(getattr(now, name)[told], kept, rtol=1e-9)


@each_case
def test_blindness_is_not_evidence(case: Case) -> None:
    ticks = [blank(pair, np.ones(2, np.bool_)) for pair in case.ticks(2, 100, 1, factor=3.0)]
    found = case.find(ticks)
    assert (found.e_value <= 1.0 + 1e-6).all()
    assert not found.tested.any()
    assert not found.harmful.any()
    assert not found.harmless.any()
    assert (found.ticks == 0).all()
    assert np.isnan(found.effect).all()
    assert np.isnan(found.detectable).all()
    assert (found.drift_e <= 1.0).all()


@each_case
def test_nothing_seen_yet_is_said_so(case: Case) -> None:
    found = case.detector.findings(case.start(3))
    np.testing.assert_allclose(found.e_value, 1.0)
    np.testing.assert_allclose(found.drift_e, 1.0)
    assert not (found.tested | found.harmful | found.harmless).any()
    assert (found.low == -np.inf).all()
    assert (found.high == np.inf).all()


@each_case
def test_no_rows_are_allowed(case: Case) -> None:
    state = case.run(case.ticks(0, 3, 1))
    assert len(case.detector.findings(state)) == 0


ODD = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -1.0,
    5e-324,
    1e-300,
    1e-6,
    0.5,
    1e9,
    2.0**53,
    1e16,
    1e300,
    1.7e308,
    -1e300,
]
odd_numbers = st.one_of(st.sampled_from(ODD), st.floats(allow_nan=True, allow_infinity=True))


def _odd_tick(data: st.DataObject, pair: Pair) -> Pair:
    changes: dict[str, Any] = {}
    for field in fields(pair):
        if isinstance(getattr(pair, field.name), Rows) or field.name == "reference":
            continue  # made by our own sums, not by a source
        array = getattr(pair, field.name).copy()
        flat = array.reshape(-1)
        for at in data.draw(st.lists(st.integers(0, flat.size - 1), max_size=flat.size)):
            flat[at] = data.draw(odd_numbers)
        changes[field.name] = array
    return replace(pair, **changes)


@each_case
@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=seeds, count=st.integers(0, 8))
def test_nonsense_never_raises_and_never_accuses(
    case: Case, data: st.DataObject, seed: int, count: int
) -> None:
    """Fewer odd ticks than `persistence` after innocent ones: warnings are errors here, too."""
    ticks = case.ticks(2, count + 2, seed)
    ticks[-2:] = [_odd_tick(data, pair) for pair in ticks[-2:]]
    found = case.find(ticks)
    assert (found.e_value >= 0).all()
    assert (found.e_value < 100.0).all()
    for name in ("low", "high", "e_value", "drift_e"):
        assert not np.isnan(getattr(found, name)).any(), name


@each_case
@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=seeds)
def test_lasting_nonsense_is_no_evidence(case: Case, data: st.DataObject, seed: int) -> None:
    """One column is invalid in every tick: the row never says anything."""
    bad = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 1e300, -0.5]))
    ticks = []
    for pair in case.ticks(2, 8, seed, factor=3.0):
        names = [f.name for f in fields(pair) if not isinstance(getattr(pair, f.name), Rows)]
        if bad == -1.0 or bad == -0.5:  # noqa: PLR1714  # log values may well be negative
            names = [n for n in names if n not in {"difference", "gained", "canary", "reference"}]
        if bad > 1:  # an exact reference has infinitely many points
            names = [name for name in names if name != "reference_points"]
        name = data.draw(st.sampled_from(names))
        value = np.full_like(getattr(pair, name), bad)
        ticks.append(replace(pair, **{name: value}))
    found = case.find(ticks)
    assert (found.ticks == 0).all()
    assert (found.e_value <= 1.0 + 1e-6).all()
    assert not found.harmful.any()


@each_case
def test_one_dreadful_tick_is_not_enough(case: Case) -> None:
    innocent, dreadful = case.ticks(4, 20, 3), case.ticks(4, 1, 4, factor=50.0)
    found = case.find([*innocent, *dreadful])
    assert (found.e_value < 100.0).all()


@pytest.mark.parametrize("case", [c for c in CASES if "without" not in c.name], ids=str)
def test_lasting_harm_is_found_and_innocence_is_not_accused(case: Case) -> None:
    harm = case.find(case.ticks(8, 60, 5, factor=1.6 if case.tail else 3.0))
    fine = case.find(case.ticks(8, 60, 6))
    assert (harm.harmful & (harm.e_value >= 100)).all()
    assert not (fine.harmful & (fine.e_value >= 100)).any()
    assert (harm.low <= harm.effect).all()
    assert (harm.effect <= harm.high).all()


@each_case
def test_more_rows_than_a_block(case: Case) -> None:
    rows = BLOCK_ROWS + 3
    ticks = case.ticks(rows, 4, 8)
    some = np.array([0, BLOCK_ROWS - 1, BLOCK_ROWS, rows - 1])
    live = np.ones(rows, np.bool_)
    live[1] = False
    state = case.start(rows)
    for pair in ticks:
        state = case.detector.update(state, pair, live)
    found = case.detector.findings(state)
    assert_same(found.take(some), case.find([pair.take(some) for pair in ticks]))
    assert found.ticks[1] == 0


@each_case
def test_lengths_must_fit(case: Case) -> None:
    state, (pair,) = case.start(2), case.ticks(3, 1, 1)
    with pytest.raises(ValueError, match="rows"):
        case.detector.update(state, pair, np.ones(2, np.bool_))
    with pytest.raises(ValueError, match="shape"):
        case.detector.start(case.noise, state.setup.limits, 3, 7)
