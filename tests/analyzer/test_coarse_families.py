"""Series told interval by interval: through families and the judge, as the daemon does it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.comparison import Comparison
from analyzer.evidence import Evidence, Finding, Measured
from analyzer.families.interval import bad_events, interval_noise
from analyzer.families.level import log_values
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Grid, Missing, Series
from analyzer.signal import Direction, IntervalSignal, LevelSignal, Reading, Selector, Signal

STEP = 60.0
LABELS = ("instance",)
Values = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]

LEVEL = LevelSignal("latency", Selector("latency"), unit="s")
ERRORS = IntervalSignal("errors", Selector("errors"), Selector("requests"))


def watched(signal: Signal, series: dict[str, Values], *, cuts: int = 1) -> Evidence:
    """Return the evidence after all intervals; instances named c… are the canary's."""
    some = next(iter(series.values()))
    count = len(next(iter(some.values())))
    comparison = Comparison(STEP)
    comparison.join("w", Policy("p", (signal,)), LABELS)
    sides = {n: Side.CANARY if n.startswith("c") else Side.BASELINE for n in some}
    stays = tuple(Stay((n,), side, -np.inf) for n, side in sides.items())
    comparison.enrol("w", Roster(stays))
    (family,) = comparison.families
    nothing = [Missing(Absence.NO_SERIES)] * len(family.selectors())
    before = Grid(-STEP, STEP, 1)
    family.advance(nothing, before)
    family.arm(list(family.members), nothing, before)
    for part in np.array_split(np.arange(count), cuts):
        grid = Grid(float(part[0]) * STEP, STEP, len(part))
        replies = []
        for query in family.selectors():
            found = series[query.selector.metric]
            rows = np.array([found[n][part] for n in found])
            replies.append(Series(LABELS, tuple((n,) for n in found), rows, grid))
        family.advance(replies, grid)
    return comparison.evidence()["w"][signal.name]


def measured(signal: Signal, series: dict[str, Values], *, cuts: int = 1) -> Finding:
    found = watched(signal, series, cuts=cuts)
    assert isinstance(found, Measured)
    return found.finding


def levels(seed: int, effect: float = 0.0, canaries: int = 2) -> Values:
    rng = np.random.default_rng(seed)
    names = [f"c{i}" for i in range(canaries)] + ["b0", "b1", "b2"]
    values = {n: np.exp(rng.normal(0.0, 0.1, 12)) for n in names}
    return {n: v * (np.exp(effect) if n[0] == "c" else 1.0) for n, v in values.items()}


@pytest.mark.parametrize("paired", [True, False])
def test_a_level_that_doubled_is_found(paired: bool) -> None:
    finding = measured(replace(LEVEL, paired=paired), {"latency": levels(1, np.log(2.5))})
    assert finding.harmful
    assert finding.e_value > 100
    assert finding.canary_value == pytest.approx(2.5 * finding.baseline_value, rel=0.2)


@pytest.mark.parametrize("paired", [True, False])
@given(seed=st.integers(0, 1000), unit=st.floats(1e-3, 1e3))
@settings(max_examples=10, deadline=None)
def test_order_units_and_batches_mean_nothing(paired: bool, seed: int, unit: float) -> None:
    signal = replace(LEVEL, paired=paired)
    values = levels(seed, 0.5)
    one = measured(signal, {"latency": values})
    other = {name: unit * values[name] for name in ("b2", "c1", "b0", "c0", "b1")}
    two = measured(signal, {"latency": other}, cuts=5)
    assert np.log(two.e_value) == pytest.approx(np.log(one.e_value), abs=1e-6)
    assert two.harmful == one.harmful


def test_shared_shocks_cancel_where_both_sides_run_together() -> None:
    shock = np.exp(np.repeat([0.0, 1.5], 6))
    values = {name: series * shock for name, series in levels(4).items()}
    assert measured(LEVEL, {"latency": values}).e_value < 10


def test_lower_is_worse_when_it_is() -> None:
    fallen = {"latency": levels(5, -1.2)}
    assert measured(LEVEL, fallen).e_value < 10
    assert measured(replace(LEVEL, direction=Direction.LOWER), fallen).e_value > 100
    assert measured(replace(LEVEL, direction=Direction.BOTH), fallen).e_value > 100


def test_a_silent_canary_is_no_evidence() -> None:
    values = levels(6, 1.0)
    silent: Values = {n: np.full(12, np.nan) if n[0] == "c" else v for n, v in values.items()}
    found = watched(LEVEL, {"latency": silent})
    assert not isinstance(found, Measured) or found.finding.e_value <= 1


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0, 1e308, 7.0])
@pytest.mark.parametrize("reading", list(Reading))
def test_constants_and_nonsense_never_raise_nor_accuse(reading: Reading, value: float) -> None:
    series: Values = {name: np.full(12, value) for name in ("c0", "b0")}
    for signal in (
        replace(LEVEL, reading=reading, values=Selector("x")),
        IntervalSignal("e", Selector("x"), Selector("n"), bad_reading=reading),
    ):
        found = watched(signal, {"x": series, "n": {n: np.full(12, 50.0) for n in series}})
        assert not isinstance(found, Measured) or found.finding.e_value < 10


def counts(canary: float, baseline: float, requests: float = 200.0) -> dict[str, Values]:
    bad: Values = {
        "c0": np.full(10, canary),
        "b0": np.full(10, baseline),
        "b1": np.full(10, baseline),
    }
    return {"errors": bad, "requests": {n: np.full(10, requests) for n in bad}}


def test_errors_per_interval_are_counted_exactly() -> None:
    finding = measured(ERRORS, counts(20.0, 1.0))
    assert finding.harmful
    assert finding.e_value > 100
    assert finding.ratio == pytest.approx(20.0, rel=0.1)
    assert measured(ERRORS, counts(1.0, 1.0)).e_value < 10


def test_readings_of_the_same_errors_agree() -> None:
    exact = counts(20.0, 1.0)
    good = {n: 100.0 * (1 - v / 200.0) for n, v in exact["errors"].items()}
    signal = replace(ERRORS, bad_reading=Reading.GOOD_PERCENT)
    one, two = measured(ERRORS, exact), measured(signal, {**exact, "errors": good})
    assert two.e_value == pytest.approx(one.e_value, rel=1e-3)


def test_a_hole_in_the_baselines_errors_is_not_perfection() -> None:
    series = counts(5.0, 5.0)
    series["errors"]["b0"] = np.full(10, np.nan)
    series["errors"]["b1"] = np.full(10, np.nan)
    found = watched(ERRORS, series)
    assert not isinstance(found, Measured) or found.finding.e_value <= 1


def test_what_one_side_counted_alone_is_held_until_it_can_be_compared() -> None:
    series = counts(20.0, 1.0)
    for name in ("b0", "b1"):
        series["requests"][name][::2] = 0.0
        series["errors"][name][::2] = 0.0
    finding = measured(ERRORS, series)
    assert finding.e_value > 100
    assert finding.ticks == 5


def test_events_per_time_need_no_total() -> None:
    signal = IntervalSignal("restarts", Selector("errors"))
    assert measured(signal, counts(20.0, 1.0)).e_value > 100
    assert measured(signal, counts(2.0, 2.0)).e_value < 10


def test_long_intervals_have_less_noise_than_scrapes() -> None:
    assert interval_noise(300.0, paired=True).kappa < interval_noise(10.0, paired=True).kappa
    assert interval_noise(300.0, paired=False).tau2 > interval_noise(300.0, paired=True).tau2


def test_scales() -> None:
    assert np.isnan(log_values(np.array([0.0, -1.0]), LEVEL)).all()
    least = log_values(np.array([0.0, 1.0]), replace(LEVEL, least=0.5))
    assert least.tolist() == pytest.approx([np.log(0.5), 0.0])
    total = np.array([200.0, 0.0])
    assert bad_events(np.array([0.1, np.nan]), total, Reading.SHARE, 60.0).tolist() == [20.0, 0.0]


def told(canary: list[float], baseline: list[float], of: float) -> dict[str, Values]:
    """Return bad events of one instance a side out of so many requests an interval."""
    bad: Values = {"c0": np.array(canary), "b0": np.array(baseline)}
    return {"errors": bad, "requests": {n: np.full(len(v), of) for n, v in bad.items()}}


@pytest.mark.parametrize("paired", [True, False])
def test_a_fault_that_begins_late_is_found_by_a_later_start(paired: bool) -> None:
    late = told([2.0] * 9 + [90.0] * 3, [2.0] * 12, 100.0)
    finding = measured(replace(ERRORS, paired=paired), late)
    assert finding.harmful
    assert finding.e_value > 100
    assert finding.recent_ratio > 10


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("at", [0, 5, 11])
def test_one_interval_full_of_errors_never_decides(paired: bool, at: int) -> None:
    burst = [0.0] * 12
    burst[at] = 95.0
    finding = measured(replace(ERRORS, paired=paired), told(burst, [0.0] * 12, 100.0))
    assert not (finding.harmful and finding.e_value >= 100)


def test_traffic_of_another_time_need_not_fall_into_the_same_intervals() -> None:
    early, late = [4.0] * 6 + [0.0] * 6, [0.0] * 6 + [4.0] * 6
    series: dict[str, Values] = {
        "requests": {"c0": np.array(early), "b0": np.array(late)},
        "errors": {"c0": np.array(early), "b0": np.zeros(12)},
    }
    finding = measured(replace(ERRORS, paired=False), series)
    assert finding.harmful
    assert finding.e_value > 100
    assert finding.canary_value == pytest.approx(1.0)
    swapped = {name: {"c0": v["b0"], "b0": v["c0"]} for name, v in series.items()}
    assert measured(replace(ERRORS, paired=False), swapped).e_value < 10


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 4), paired=st.booleans())
@settings(max_examples=15, deadline=None)
def test_errors_in_one_answer_or_in_several_are_the_same(
    seed: int, cut: int, paired: bool
) -> None:
    rng = np.random.default_rng(seed)
    requests: Values = {n: rng.poisson(20.0, 12).astype(float) for n in ("c0", "b0", "b1")}
    bad: Values = {n: rng.binomial(v.astype(int), 0.1).astype(float) for n, v in requests.items()}
    signal, series = replace(ERRORS, paired=paired), {"errors": bad, "requests": requests}
    one, many = measured(signal, series), measured(signal, series, cuts=cut)
    assert one == many
