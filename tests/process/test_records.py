"""What is journalled comes back as it was, through JSON that knows neither NaN nor infinity."""

import json
from dataclasses import fields
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.families.family import Armed
from analyzer.policy import Mode
from analyzer.rollout import Revision, Side, Workload
from analyzer.roster import Roster, Stay
from analyzer.watch import Hold, Phase, Watch
from detectors.counts import CountNoise
from detectors.latency import LatencyNoise
from detectors.level_noise import LevelNoise
from detectors.means import MeanNoise
from detectors.route_noise import RouteNoise
from detectors.rows import Rows
from detectors.trend_noise import TrendNoise
from rollbackd.records import (
    NOISES,
    armed_from_json,
    armed_to_json,
    roster_from_json,
    roster_to_json,
    watch_from_json,
    watch_to_json,
)

BOUNDS = np.array([0.05, 0.1, 0.5, 1.0, np.inf])
NOISE: dict[str, Rows] = {
    "counts": CountNoise.prior(1),
    "means": MeanNoise.prior(1),
    "latency": LatencyNoise.prior(BOUNDS),
    "levels": LevelNoise.prior(1),
    "trends": TrendNoise.prior(1),
    "routes": RouteNoise.prior(1),
}

words = st.text(max_size=12)
times = st.floats(0, 4e9)
revisions = st.builds(Revision, words, words)
watches = st.builds(
    Watch,
    id=words,
    workload=st.builds(Workload, words, words, words, words),
    canary=revisions,
    baseline=st.none() | revisions,
    policy=words,
    mode=st.sampled_from(Mode),
    started_at=times,
    since=times,
    phase=st.sampled_from(Phase),
    note=words,
    hold=st.none() | st.sampled_from(Hold),
    snoozed_until=times,
    plan_key=words,
    attempts=st.integers(0, 5),
    blind_since=st.none(),
    judgement=st.none(),
)
rosters = st.builds(
    Roster,
    st.lists(
        st.builds(
            Stay,
            st.tuples(words, words),
            st.sampled_from(Side),
            st.just(-inf) | times,
            st.just(inf) | times,
            st.none() | times,
        ),
        max_size=5,
    ).map(tuple),
)


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return read


def assert_same(one: Rows, other: Rows) -> None:
    assert type(one) is type(other)
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, Rows):
            assert_same(mine, theirs)
        else:
            assert mine.dtype == theirs.dtype, field.name
            assert mine.shape == theirs.shape, field.name
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


@given(watches)
def test_watches(watch: Watch) -> None:
    assert watch_from_json(through_json(watch_to_json(watch))) == watch


@given(rosters)
def test_rosters_with_open_ends(roster: Roster) -> None:
    assert roster_from_json(through_json(roster_to_json(roster))) == roster


@pytest.mark.parametrize("kind", NOISE)
def test_what_comparisons_began_with(kind: str) -> None:
    armed = {"errors": Armed(1.5, NOISE[kind]), "other": Armed(2.5, NOISE[kind], (0.05, inf))}
    again = armed_from_json(through_json(armed_to_json(armed)))
    assert list(again) == ["errors", "other"]
    for name, began in armed.items():
        assert (again[name].at, again[name].bounds) == (began.at, began.bounds)
        assert_same(again[name].noise, began.noise)


@given(st.lists(st.floats(width=64), min_size=1, max_size=4))
def test_every_number_there_is(values: list[float]) -> None:
    """The rate of a history may be NaN; whatever else an array holds must come back, too."""
    noise = CountNoise.prior(len(values))
    noise.history_rate[...] = values
    again = armed_from_json(through_json(armed_to_json({"errors": Armed(0.0, noise)})))
    assert_same(again["errors"].noise, noise)


def test_no_kind_of_noise_is_forgotten() -> None:
    assert set(NOISES) == {type(noise).__name__ for noise in NOISE.values()}


@pytest.mark.parametrize("missing", ["phase", "workload", "canary"])
def test_a_record_that_lacks_something_is_refused(missing: str) -> None:
    watch = Watch(
        "w", Workload("c", "n", "k", "x"), Revision("2", "2"), None, "p", Mode.OBSERVE, 0.0, 0.0
    )
    data = watch_to_json(watch)
    del data[missing]
    with pytest.raises(KeyError):
        watch_from_json(data)
