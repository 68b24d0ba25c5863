"""A revision compared with its workload's past: pure parts, and the family behind it."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.after_promotion import (
    CLOCK_TIMES_S,
    guarding,
    hands_over,
    is_over,
    left_out,
    past_roster,
    times_before,
)
from analyzer.evidence import Measured
from analyzer.families.past import INTERVAL_S, PastFamily, interval_of
from analyzer.judge import Verdict, judge
from analyzer.policy import Mode, Policy, WhenMissing
from analyzer.rollout import Rollout, Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Grid, Missing, Query, Reply
from analyzer.signal import (
    GaugeSignal,
    HistogramSignal,
    PastSignal,
    RatioSignal,
    Selector,
    Signal,
    Tier,
    TrafficSignal,
)
from analyzer.watch import Hold, Phase, begin
from rollbackd.collect import fetch_moved
from rollbackd.own_past import slow_bound, slow_bounds
from rollbackd.policy_record import policy_from_json, policy_to_json
from tests.analyzer.scenario import World, rollout

ERRORS = RatioSignal("errors", Selector("all"), Selector("bad"))
LATENCY = HistogramSignal("latency", Selector("seconds_bucket"))
CPU = GaugeSignal("cpu", Selector("cpu"))
USUAL = Policy("usual", (ERRORS, LATENCY, CPU), mode=Mode.ENFORCE, after_promotion_s=1800.0)
MODES = st.sampled_from(list(Mode))


# What it is compared with, and by which rules


@given(mode=MODES, most=MODES)
def test_the_guard_never_goes_further_than_either_says(mode: Mode, most: Mode) -> None:
    made = guarding(replace(USUAL, mode=mode, after_promotion_mode=most), 3600.0, {})
    assert made is not None
    order = list(Mode)
    assert order.index(made.mode) == min(order.index(mode), order.index(most))


def test_the_guards_limits_are_stricter_and_its_end_is_fixed() -> None:
    made = guarding(USUAL, 86400.0, {"latency": 0.5})
    assert made is not None
    errors, latency = made.signals
    assert isinstance(errors, PastSignal)
    assert isinstance(latency, PastSignal)
    assert made.alpha < USUAL.alpha
    assert made.horizon_s == made.min_observation_s == 1800.0
    assert made.persistence_s >= 300.0
    assert (errors.margin, errors.bad, errors.earlier_s) == (2.0, Selector("bad"), 86400.0)
    assert (latency.bound, latency.total) == (0.5, Selector("seconds_bucket"))
    assert left_out(USUAL, made) == ["cpu"]
    assert policy_from_json(policy_to_json(made)) == made


@pytest.mark.parametrize(
    "signals",
    [
        (CPU,),
        (LATENCY,),  # no bound is known
        (replace(ERRORS, tier=Tier.SUPPORTING),),
        (TrafficSignal("split", Selector("all")),),
    ],
)
def test_without_a_critical_signal_there_is_nothing_to_guard_with(
    signals: tuple[Signal, ...],
) -> None:
    assert guarding(replace(USUAL, signals=signals), 86400.0, {}) is None


def test_nobody_is_woken_for_a_past_that_cannot_be_read() -> None:
    made = guarding(replace(USUAL, when_missing=WhenMissing.PAGE), 86400.0, {})
    assert made is not None
    assert made.when_missing is WhenMissing.HOLD


@given(
    age=st.floats(0.0, 14 * 86400.0),
    lasts=st.floats(60.0, 86400.0),
)
def test_the_other_stretch_is_over_before_the_rollout_began(age: float, lasts: float) -> None:
    now = 1_800_000_000.0
    policy = replace(USUAL, after_promotion_s=lasts)
    found = times_before(now - age, now, policy)
    assert all(now + lasts - earlier <= now - age + 1e-3 for earlier in found)
    assert set(found[:-1]) <= set(CLOCK_TIMES_S)
    assert found[-1] % 900.0 == 0.0


def test_the_baseline_of_before_counts_from_when_it_was_warm() -> None:
    stays = (
        Stay(("old",), Side.BASELINE, 160.0, 5000.0, 100.0),
        Stay(("old",), Side.BASELINE, 5100.0, 6000.0, 100.0),
        Stay(("unknown",), Side.BASELINE, -inf, 6000.0),
        Stay(("new",), Side.CANARY, 5500.0, inf, 5440.0),
    )
    past = past_roster(Roster(stays), 3600.0, 60.0)
    assert [(s.id, s.since, s.until) for s in past.stays] == [
        (("old",), 3760.0, inf),
        (("unknown",), -inf, inf),
    ]


def test_what_runs_alone_leaves_the_past_as_it_is() -> None:
    seen = rollout(2, 2)
    past = Roster((Stay(("then",), Side.BASELINE, 0.0),))
    first = past.alone(seen.canary_instances, 100.0, 10.0)
    assert first.alone(seen.canary_instances, 110.0, 10.0) is first
    gone = first.alone((), 120.0, 10.0)
    assert [(s.id, s.until) for s in gone.stays if s.side is Side.BASELINE] == [(("then",), inf)]
    assert {s.until for s in gone.stays if s.side is Side.CANARY} == {120.0}


def test_only_what_nothing_spoke_against_is_guarded() -> None:
    watch = begin(rollout(1, 1), USUAL, 0.0)
    ends = {p: hands_over(replace(watch, phase=p), USUAL) for p in Phase}
    assert {phase for phase, guarded in ends.items() if guarded} == {
        Phase.HEALTHY,
        Phase.INCONCLUSIVE,
    }
    healthy = replace(watch, phase=Phase.HEALTHY)
    assert not hands_over(healthy, replace(USUAL, after_promotion_s=0.0))
    assert not hands_over(replace(healthy, after_promotion=True), USUAL)
    assert not hands_over(replace(healthy, baseline=None), USUAL)


def test_a_watch_that_can_still_measure_or_that_people_hold_goes_on() -> None:
    gone = Roster((Stay(("b",), Side.BASELINE, 0.0, 100.0),))
    blind = replace(begin(rollout(1, 1), USUAL, 0.0), blind_since=50.0)
    assert is_over(blind, USUAL, gone, 160.0)
    assert not is_over(blind, USUAL, gone, 150.0)
    assert not is_over(replace(blind, blind_since=None), USUAL, gone, 160.0)
    assert not is_over(replace(blind, hold=Hold.SNOOZED), USUAL, gone, 160.0)
    assert not is_over(replace(blind, phase=Phase.ACTING), USUAL, gone, 160.0)
    assert not is_over(blind, USUAL, Roster((Stay(("b",), Side.BASELINE, 0.0),)), 160.0)


@pytest.mark.parametrize(
    ("tick_s", "interval_s"), [(10.0, 60.0), (15.0, 60.0), (7.0, 63.0), (300.0, 300.0)]
)
def test_an_interval_is_whole_ticks(tick_s: float, interval_s: float) -> None:
    assert interval_of(tick_s) == interval_s


# The family

PODS, DAY = 3, 86400.0


def world(now_share: float, then_share: float, *, buckets: bool = False) -> World:
    """A StatefulSet: the pods have the same names at both times."""
    rng = np.random.default_rng(3)
    ticks = round((DAY + 9000.0) / 10.0)
    share = np.full(ticks, then_share)
    share[round((DAY + 7000.0) / 10.0) :] = now_share
    made = World()
    for i in range(PODS):
        total = rng.poisson(100.0, ticks)
        bad = rng.binomial(total, share)
        whole, failed = (x.cumsum().astype(np.float64) for x in (total, bad))
        key = (f"shop-{i}",)
        if buckets:
            series = made.series.setdefault("seconds_bucket", {})
            series[*key, "0.5"], series[*key, "+Inf"] = whole - failed, whole
        else:
            made.series.setdefault("all", {})[key] = whole
            made.series.setdefault("bad", {})[key] = failed
    return made


def judged(
    made: World, policy: Policy, begin_at: float = DAY + 7200.0, minutes: int = 29
) -> tuple[PastFamily, Verdict, str]:
    (signal,) = policy.signals
    assert isinstance(signal, PastSignal)
    family = PastFamily(signal, ("pod",), 10.0, policy.horizon_s)
    family.join("w", signal, policy)
    stays = [Stay((f"shop-{i}",), side, -inf) for side in Side for i in range(PODS)]
    family.enrol("w", Roster(tuple(stays)))
    for now in np.arange(begin_at, begin_at + minutes * 60.0, 10.0):
        grid = family.due(now)
        if grid is not None:
            family.advance(fetch_moved(_Source(made), family.queries(), grid), grid)
        for member in family.wanting():
            past = family.history_grid(policy.history_s)
            queries = family.queries([member])
            family.arm([member], fetch_moved(_Source(made), queries, past), past)
    found = judge(policy, {signal.name: family.evidence()["w"]})
    return family, found.verdict, "; ".join(r.text for r in found.reasons)


class _Source:
    """A source as the collector asks it: it knows nothing of moved grids."""

    def __init__(self, made: World) -> None:
        self._made = made

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        assert all(query.earlier_s == 0 for query in queries)
        return self._made.fetch(queries, grid)

    def close(self) -> None:
        """Hold nothing."""


def guard(*, buckets: bool = False) -> Policy:
    signal = LATENCY if buckets else ERRORS
    made = guarding(replace(USUAL, signals=(signal,)), DAY, {"latency": 0.5})
    assert made is not None
    return made


@pytest.mark.parametrize("buckets", [False, True])
def test_pods_of_the_same_name_are_compared_with_themselves_a_day_ago(*, buckets: bool) -> None:
    share = 0.3 if buckets else 0.05
    _, verdict, text = judged(world(share, 0.01, buckets=buckets), guard(buckets=buckets))
    assert verdict is Verdict.DEGRADED
    assert "24 h earlier" in text
    assert "less certain" in text
    _, verdict, _ = judged(world(0.01, 0.01, buckets=buckets), guard(buckets=buckets))
    assert verdict is Verdict.HEALTHY


def test_a_past_without_samples_is_missing_and_accuses_nobody() -> None:
    made = world(0.5, 0.01)
    policy = guarding(replace(USUAL, signals=(ERRORS,)), 40 * DAY, {})
    assert policy is not None
    family, verdict, text = judged(made, policy)
    found = family.evidence()["w"]
    assert isinstance(found, Missing)
    assert found.reason is Absence.NO_SERIES
    assert verdict is Verdict.INCONCLUSIVE
    assert "no samples of any baseline instance yet" in text


def test_what_is_over_is_not_harmful_any_more() -> None:
    made = world(0.2, 0.01)
    end = round((DAY + 8000.0) / 10.0)
    for key, bad in made.series["bad"].items():
        total = made.series["all"][key]
        bad[end:] = bad[end] + 0.01 * (total[end:] - total[end])
    family, verdict, _ = judged(made, guard())
    found = family.evidence()["w"]
    assert isinstance(found, Measured)
    assert found.finding.e_value > 1000.0
    assert not found.finding.harmful
    assert verdict is not Verdict.DEGRADED


def test_since_an_action_the_restored_instances_are_tallied() -> None:
    made, acted = world(0.2, 0.01), DAY + 7200.0 + 600.0
    restored = round(acted / 10.0)
    for key, bad in made.series["bad"].items():
        total = made.series["all"][key]
        bad[restored:] = bad[restored] + np.floor(0.01 * (total[restored:] - total[restored]))
    family, _, _ = judged(made, guard(), minutes=10)
    family.mark("w", acted)
    for now in np.arange(acted, acted + 600.0, INTERVAL_S):
        grid = family.due(now)
        if grid is not None:
            family.advance(fetch_moved(_Source(made), family.queries(), grid), grid)
    counts = family.harm_counts(family.tally("w"))
    # the interval in which the action fell is nobody's
    assert counts.canary.value > 0.15
    assert counts.before.value == pytest.approx(0.01, rel=0.2)
    assert counts.after.value == pytest.approx(0.01, rel=0.2)


# Does the source hold that time?


def test_the_slow_bound_is_the_one_that_a_tenth_exceeds() -> None:
    made = world(0.1, 0.1, buckets=True)
    family = PastFamily(guard(buckets=True).signals[0], ("pod",), 10.0, 1800.0)  # type: ignore[arg-type]
    for key in [k for k in made.series["seconds_bucket"] if k[1] == "0.5"]:
        whole = made.series["seconds_bucket"][key[0], "+Inf"]
        made.series["seconds_bucket"][key[0], "0.1"] = np.floor(0.3 * whole)
        made.series["seconds_bucket"][key[0], "5"] = np.floor(0.9999 * whole)
    stretch = replace(family.history_grid(1800.0), start=DAY)
    (reply, *_) = made.fetch(family.queries(), stretch)
    assert not isinstance(reply, Missing)
    assert slow_bound(reply) == 0.5


@pytest.mark.parametrize(
    ("until", "found"), [(DAY, {"latency": 0.5}), (40 * DAY, None), (-DAY, None)]
)
def test_only_a_time_that_the_source_holds_is_compared_with(
    until: float, found: dict[str, float] | None
) -> None:
    source = _Source(world(0.1, 0.1, buckets=True))
    policy = replace(USUAL, signals=(LATENCY, CPU))
    assert slow_bounds(source, policy, ("pod",), [("shop-0",)], until) == found
    assert slow_bounds(source, policy, ("pod",), [], until) is None


def test_a_source_that_cannot_tell_now_is_asked_again() -> None:
    made = world(0.1, 0.1)
    made.outage = lambda _: True
    found = slow_bounds(_Source(made), USUAL, ("pod",), [("shop-0",)], DAY)
    assert isinstance(found, Missing)


def test_a_guards_watch_has_an_id_of_its_own() -> None:
    seen: Rollout = rollout(1, 1)
    assert replace(seen, after_promotion=True).watch_id == f"{seen.watch_id}.after"
