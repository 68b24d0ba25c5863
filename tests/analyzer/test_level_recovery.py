"""After an action, the level of the restored baseline is compared with its own before."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.comparison import Comparison
from analyzer.level_recovery import LevelChange, check_level_recovery
from analyzer.policy import Policy
from analyzer.recovery import Recovery
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Grid, Missing, Series
from analyzer.signal import Direction, LevelSignal, Selector

STEP = 60.0
LEVEL = LevelSignal("latency", Selector("latency"), unit="s")
ACTED_AFTER = 12


def recovered(after: float, *, intervals: int = 8, leaves: str = "") -> tuple[bool | None, str]:
    """Return what is said so many intervals after an action; ``leaves``: a watch that goes."""
    rng = np.random.default_rng(3)
    comparison = Comparison(STEP)
    canary = Stay(("c",), Side.CANARY, -math.inf, ACTED_AFTER * STEP)
    baseline = (Stay((n,), Side.BASELINE, -math.inf) for n in ("b0", "b1"))
    roster = Roster((canary, *baseline))
    for watch in filter(None, (leaves, "w")):
        comparison.join(watch, Policy("p", (LEVEL,)), ("instance",))
        comparison.enrol(watch, roster)
    (family,) = comparison.families
    nothing = [Missing(Absence.NO_SERIES)]
    family.advance(nothing, Grid(-STEP, STEP, 1))
    family.arm(list(family.members), nothing, Grid(-STEP, STEP, 1))
    for at in range(ACTED_AFTER + intervals):
        if at == ACTED_AFTER:
            comparison.mark("w", (at - 0.5) * STEP)
            if leaves:
                comparison.leave(leaves)
        level = after if at >= ACTED_AFTER else 1.0
        values = np.exp(rng.normal(0.0, 0.05, (3, 1))) * np.array([[4.0], [level], [level]])
        keys = (("c",), ("b0",), ("b1",))
        family.advance(
            [Series(("instance",), keys, values, Grid(at * STEP, STEP, 1))]
            if at < ACTED_AFTER
            else [Series(("instance",), keys[1:], values[1:], Grid(at * STEP, STEP, 1))],
            Grid(at * STEP, STEP, 1),
        )
    return comparison.recovery("w", last_call=True)


@pytest.mark.parametrize("leaves", ["", "another"])
def test_a_level_that_is_as_it_was_has_recovered(leaves: str) -> None:
    answer, text = recovered(1.0, leaves=leaves)
    assert answer is True
    assert text.startswith("latency 1")


def test_a_level_that_stays_high_has_not() -> None:
    answer, text = recovered(2.0)
    assert answer is False
    assert "worse by at least ×1." in text


def test_two_intervals_say_nothing() -> None:
    assert recovered(1.0, intervals=2)[0] is None


def change(after: float, *, canary: float = 0.0, noise: float = 0.05) -> LevelChange:
    return LevelChange(canary, 0.0, after, 2.0 * noise**2 * 20.0, 20.0, 8)


def answer(found: LevelChange, direction: Direction = Direction.HIGHER) -> Recovery:
    signal = LevelSignal("x", Selector("x"), direction=direction)
    return check_level_recovery(signal, found, 1.0, 1.0).recovery


def test_directions() -> None:
    assert answer(change(1.0)) is Recovery.NOT_RECOVERED
    assert answer(change(-1.0)) is Recovery.RECOVERED
    assert answer(change(-1.0), Direction.LOWER) is Recovery.NOT_RECOVERED
    assert answer(change(-1.0), Direction.BOTH) is Recovery.NOT_RECOVERED


def test_where_noise_hides_the_rest_the_canarys_harm_may_still_be_shown_to_be_gone() -> None:
    assert answer(change(0.1, noise=0.5)) is Recovery.OPEN
    assert answer(change(0.1, noise=0.5, canary=2.5)) is Recovery.ABATED


@given(noise=st.floats(0.0, 10.0), shift=st.floats(-50.0, 50.0))
def test_more_noise_never_turns_doubt_into_an_answer(noise: float, shift: float) -> None:
    louder = answer(change(shift, noise=2.0 * noise + 0.1))
    if answer(change(shift, noise=noise)) is Recovery.OPEN:
        assert louder is Recovery.OPEN


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_unknown_stays_open(value: float) -> None:
    assert answer(change(value)) is Recovery.OPEN
