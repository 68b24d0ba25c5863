"""The script gives its cues once and in order, and knows a good ending from a bad one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.demo.script import (
    FAULT_AFTER_S,
    HELD_S,
    HISTORY_S,
    Cue,
    Script,
    outcome,
    too_late,
    with_cues,
)
from rollbackd.views import TimelineItem, WatchView
from tests.report.watches import BEGAN, watch

HEALTHY = watch(phase="healthy", verdict="healthy", plan=None)


def cues(fault: str, moments: list[float]) -> list[tuple[Cue, float]]:
    script, given_ = Script(fault), []
    for moment in moments:
        script, cue = script.next(moment)
        if cue is not None:
            given_.append((cue, moment))
    return given_


@given(st.lists(st.floats(0, 100)).map(sorted), st.sampled_from(["errors", "crash", "none"]))
def test_cues_come_once_in_order_and_not_early(moments: list[float], fault: str) -> None:
    seen = cues(fault, moments)
    assert [cue for cue, _ in seen] == list(Cue)[: len(seen)]
    assert len(seen) <= (1 if fault == "none" else 2)
    if seen:
        assert seen[0][1] >= HISTORY_S
    if len(seen) == 2:
        assert seen[1][1] - seen[0][1] >= FAULT_AFTER_S


def test_a_rollback_that_was_verified_is_a_good_ending() -> None:
    told = with_cues(watch(), (("fault: errors", BEGAN + 10),))
    ended = outcome("errors", told, canary_serves=False)
    assert ended is not None
    assert ended.expected
    assert "found 3 s after going bad" in ended.sentence


def test_a_healthy_canary_left_alone_is_a_good_ending() -> None:
    ended = outcome("none", HEALTHY, canary_serves=True)
    assert ended is not None
    assert ended.expected


HELD = watch(
    final=False,
    phase="held",
    verdict="shared incident",
    plan=None,
    timeline=(TimelineItem(BEGAN + 20, "phase", "held: the baseline itself is worse"),),
)


def test_a_shared_incident_that_is_held_and_left_alone_is_a_good_ending() -> None:
    soon = replace(HELD, updated_at=BEGAN + 20 + HELD_S - 1)
    assert outcome("dependency", soon, canary_serves=True) is None
    ended = outcome("dependency", replace(HELD, updated_at=BEGAN + 20 + HELD_S), True)
    assert ended is not None
    assert ended.expected
    assert outcome("dependency", watch(final=False, phase="observing", plan=None), True) is None


@pytest.mark.parametrize(
    ("fault", "view", "canary_serves"),
    [
        ("errors", watch(), True),
        ("errors", HEALTHY, True),
        ("errors", watch(phase="needs a human"), False),
        ("errors", watch(phase="inconclusive"), True),
        ("none", HEALTHY, False),
        ("none", replace(HEALTHY, plan="something"), True),
        ("none", watch(), False),
        ("none", watch(phase="inconclusive"), True),
        ("dependency", HELD, False),
        ("dependency", watch(), False),
        ("dependency", replace(HEALTHY), True),
    ],
)
def test_everything_else_is_a_bad_ending(fault: str, view: WatchView, canary_serves: bool) -> None:
    ended = outcome(fault, view, canary_serves)
    assert ended is not None
    assert not ended.expected


def test_a_watch_that_goes_on_has_no_ending() -> None:
    assert outcome("errors", watch(final=False, phase="acting"), canary_serves=False) is None
    assert outcome("errors", None, canary_serves=True) is None


def test_running_out_of_time_says_where_it_stood() -> None:
    assert "has not begun to watch" in too_late(None, 85).sentence
    stuck = too_late(watch(phase="verifying", timeline=()), 85)
    assert not stuck.expected
    assert "still verifying: nothing more is done" in stuck.sentence


def test_cues_stand_in_the_timeline_where_they_happened() -> None:
    told = with_cues(watch(), (("the sun rises", BEGAN + 12),))
    texts = [item.text for item in told.timeline]
    assert texts.index("the sun rises") == texts.index("degraded: errors 20 % vs 0.50 %") - 1
