"""Calls of an operation that are as regular as clockwork, which real ones are."""

import numpy as np
import pytest

from analyzer.evidence import Measured
from analyzer.policy import Policy
from analyzer.signal import LevelSignal, Selector
from analyzer.traces.fan_out import FanOutFamily
from analyzer.traces.operations import ASSEMBLED, REPEATS
from tests.analyzer.scenario import STEP, Floats, World, advance, rollout, roster_of

TICKS, BEGUN, LATER = 60, 20, 36
SIGNAL = LevelSignal("calls", Selector(REPEATS), margin=2.0, harm=2.0)
POLICY = Policy("p", (SIGNAL,), history_s=BEGUN * STEP)


def evidence(often: int) -> Measured:
    """Compare a canary that makes so many calls each time with a baseline that makes one."""
    spans = np.full(TICKS, 50.0).cumsum()
    assembled: dict[tuple[str, ...], Floats] = {(f"shop-b{i}",): spans for i in range(3)}
    calls = dict(assembled)
    canary = np.where(np.arange(TICKS) < BEGUN, np.nan, spans)
    assembled["shop-c0",], calls["shop-c0",] = canary, canary * often
    world = World({ASSEMBLED: assembled, REPEATS: calls})
    family = FanOutFamily(("instance",), STEP, 3600.0)
    family.join("shop", SIGNAL, POLICY)
    family.enrol("shop", roster_of(rollout(3, 1), 0.0))
    for tick in range(LATER):
        advance(family, world, tick * STEP)
    found = family.evidence()["shop"]
    assert isinstance(found, Measured)
    return found


@pytest.mark.parametrize("often", [4, 10])
def test_calls_that_never_vary_do_not_hide_more_of_them(often: int) -> None:
    finding = evidence(often).finding
    assert finding.harmful
    assert finding.e_value > 1e4


def test_the_same_calls_are_no_evidence() -> None:
    finding = evidence(1).finding
    assert not finding.harmful
    assert finding.e_value < 1
