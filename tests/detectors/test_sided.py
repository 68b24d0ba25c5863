"""Falls and two-sided changes are found by the detectors of rises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors import Findings, Limits, MeanNoise, MeanShift, MeanShiftState, PairMeans
from detectors.rows import Rows
from detectors.sided import Sided

ONE, MANY = np.ones(1, np.bool_), 40
LIMITS = Limits.of(1, margin=np.log(1.1), harm=np.log(1.3), floor=np.nan, harm_rate=np.nan)


def found(shift: float, *, rise: bool, fall: bool) -> Findings:
    detector = MeanShift()
    sided: Sided[MeanShiftState, PairMeans] = Sided(detector, rise=rise, fall=fall)
    new = detector.start(MeanNoise.prior(1), LIMITS, 3, 7)
    state: Rows = sided.start(new, new.copy())
    k, m = np.full(1, 3.0), np.full(1, 7.0)
    up = PairMeans(np.full(1, shift), np.zeros(1), k, m)
    for _ in range(MANY):
        state = sided.update(state, up, replace(up, difference=-up.difference), ONE)
    return sided.findings(state)


@pytest.mark.parametrize(
    ("shift", "rise", "fall", "harmful"),
    [
        (0.5, True, False, True),
        (0.5, False, True, False),
        (0.5, True, True, True),
        (-0.5, True, False, False),
        (-0.5, False, True, True),
        (-0.5, True, True, True),
    ],
)
def test_only_the_harmful_direction_is_harmful(
    shift: float, rise: bool, fall: bool, harmful: bool
) -> None:
    said = found(shift, rise=rise, fall=fall)
    assert bool(said.harmful[0]) is harmful
    assert (said.e_value[0] > 100) == harmful
    # positive is harmful, whichever way that is
    assert said.effect[0] == pytest.approx(0.5 if harmful else -0.5)


def test_both_directions_cost_a_factor_of_two() -> None:
    one, both = found(0.5, rise=True, fall=False), found(0.5, rise=True, fall=True)
    assert both.e_value[0] == pytest.approx(one.e_value[0] / 2, rel=0.01)


def test_no_change_is_harmless_both_ways() -> None:
    assert found(0.0, rise=True, fall=True).harmless[0]
    assert found(0.0, rise=True, fall=True).e_value[0] < 1


def test_something_must_be_harmful() -> None:
    with pytest.raises(ValueError, match="must be harmful"):
        Sided(MeanShift(), rise=False, fall=False)
