"""Gauges, leaks, rates and traffic: from raw samples through families to the judge's words."""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.comparison import Comparison
from analyzer.evidence import Finding, Measured
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import Policy
from analyzer.rollout import Instance, Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Missing
from analyzer.signal import (
    Direction,
    GaugeSignal,
    LeakSignal,
    RateSignal,
    RatioSignal,
    Selector,
    Signal,
    Tier,
    TrafficSignal,
)
from rollbackd.records import armed_from_json, armed_to_json
from tests.analyzer.scenario import STEP, Floats, World, advance, rollout

HISTORY, TICKS = 200, 360
BASELINES, CANARIES = 5, 3
NAMES = [f"shop-b{i}" for i in range(BASELINES)] + [f"shop-c{i}" for i in range(CANARIES)]

CPU = GaugeSignal("cpu", Selector("cpu_seconds"), counter=True, per=Selector("requests"))
QUEUE = GaugeSignal("queue", Selector("queue"), unit="jobs", least=1.0)
MEMORY = LeakSignal("memory", Selector("memory"), unit="MB", settle_s=0.0, limit=500.0)
ORDERS = RateSignal("orders", Selector("orders"), Selector("requests"), Direction.LOWER, "each")
RESTARTS = RateSignal("restarts", Selector("restarts"))
TRAFFIC = TrafficSignal("traffic", Selector("requests"))


def is_canary(name: str) -> bool:
    return "-c" in name


def world(values: dict[str, Callable[[np.random.Generator, str], Floats]], seed: int = 1) -> World:
    """Metrics by name, each drawn instance by instance; canaries have none before HISTORY."""
    rng = np.random.default_rng(seed)
    made = World()
    for metric, draw in values.items():
        made.series[metric] = {}
        for name in NAMES:
            series = np.array(draw(rng, name), dtype=np.float64)
            if is_canary(name):
                series[:HISTORY] = np.nan
            made.series[metric][name,] = series
    return made


def counter(rate: float, canary: float = 1.0) -> Callable[[np.random.Generator, str], Floats]:
    """A counter with this rate per tick, so many times as high on the canary."""
    return lambda rng, name: rng.poisson(
        rate * (canary if is_canary(name) else 1.0), TICKS
    ).cumsum()


def noisy(
    level: float, sd: float, *, growth: float = 0.0, factor: float = 1.0
) -> Callable[[np.random.Generator, str], Floats]:
    """A gauge with independent noise; the canary grows by a part of the level per minute."""

    def draw(rng: np.random.Generator, name: str) -> Floats:
        minutes = np.maximum(np.arange(TICKS) - HISTORY, 0) * STEP / 60
        trend = growth * minutes if is_canary(name) else 0.0
        scale = factor if is_canary(name) else 1.0
        return np.asarray(level * scale * (np.exp(sd * rng.standard_normal(TICKS)) + trend))

    return draw


def watched(
    signal: Signal, there: World, *, roster: Roster | None = None, end: int = TICKS
) -> Comparison:
    comparison = Comparison(STEP)
    policy = Policy("p", (signal,), warm_up_s=0.0, history_s=STEP * HISTORY)
    comparison.join("w", policy, ("instance",))
    seen = rollout(BASELINES, CANARIES)
    comparison.enrol("w", roster or Roster().observe(seen, 0.0, 0.0))
    (family,) = comparison.families
    for tick in looks(end):
        advance(family, there, tick * STEP)
    return comparison


def looks(end: int = TICKS) -> list[int]:
    """Ticks at which the daemon looks: until all has begun, then once for all of the rest."""
    return [*range(HISTORY, HISTORY + 8), end - 1]


def verdict(signal: Signal, there: World, *, roster: Roster | None = None) -> Judgement:
    comparison = watched(signal, there, roster=roster)
    return judge(Policy("p", (signal,)), comparison.evidence()["w"])


def found(comparison: Comparison, signal: Signal) -> Finding:
    evidence = comparison.evidence()["w"][signal.name]
    assert isinstance(evidence, Measured), evidence
    return evidence.finding


REQUESTS = counter(500)
HARM: list[tuple[Signal, dict[str, Callable[[np.random.Generator, str], Floats]], str]] = [
    (CPU, {"cpu_seconds": counter(300, 1.5), "requests": REQUESTS}, "×1.5"),
    (QUEUE, {"queue": noisy(40, 0.1, factor=1.6)}, "jobs"),
    (
        replace(QUEUE, direction=Direction.LOWER),
        {"queue": noisy(40, 0.1, factor=0.6)},
        "lower",
    ),
    (
        replace(QUEUE, direction=Direction.BOTH),
        {"queue": noisy(40, 0.1, factor=0.6)},
        "lower",
    ),
    (replace(QUEUE, direction=Direction.BOTH), {"queue": noisy(40, 0.1, factor=1.6)}, "higher"),
    (MEMORY, {"memory": noisy(200, 0.02, growth=0.03)}, "grows by 3"),
    (ORDERS, {"orders": counter(50, 0.5), "requests": REQUESTS}, "lower"),
    (RESTARTS, {"restarts": counter(0.01, 30)}, "a minute"),
]
IDS = [f"{signal.kind} {words}" for signal, _, words in HARM]


@pytest.mark.parametrize(("signal", "metrics", "words"), HARM, ids=IDS)
def test_harm_is_found_and_told(
    signal: Signal,
    metrics: dict[str, Callable[[np.random.Generator, str], Floats]],
    words: str,
) -> None:
    there = world(metrics)
    alone = verdict(signal, there)
    assert any(words in reason.text for reason in alone.reasons), alone.reasons
    assert alone.e_value >= alone.limit
    # what needs company does not act alone; the same as a critical signal does
    assert alone.verdict is (
        Verdict.DEGRADED if signal.tier is Tier.CRITICAL else Verdict.INCONCLUSIVE
    )
    assert verdict(replace(signal, tier=Tier.CRITICAL), there).verdict is Verdict.DEGRADED


INNOCENT: list[tuple[Signal, dict[str, Callable[[np.random.Generator, str], Floats]]]] = [
    (CPU, {"cpu_seconds": counter(300), "requests": REQUESTS}),
    (replace(QUEUE, direction=Direction.BOTH), {"queue": noisy(40, 0.1)}),
    (MEMORY, {"memory": noisy(200, 0.02)}),
    (ORDERS, {"orders": counter(50), "requests": REQUESTS}),
    (replace(RESTARTS, direction=Direction.BOTH), {"restarts": counter(5)}),
]


@pytest.mark.parametrize(("signal", "metrics"), INNOCENT, ids=[s.kind for s, _ in INNOCENT])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000))
def test_innocence_is_not_accused(
    signal: Signal,
    metrics: dict[str, Callable[[np.random.Generator, str], Floats]],
    seed: int,
) -> None:
    judged = verdict(replace(signal, tier=Tier.CRITICAL), world(metrics, seed))
    assert judged.verdict is not Verdict.DEGRADED


@pytest.mark.parametrize(("signal", "metrics", "words"), HARM, ids=IDS)
def test_order_and_units_of_instances_mean_nothing(
    signal: Signal, metrics: dict[str, Callable[[np.random.Generator, str], Floats]], words: str
) -> None:
    del words
    there = world(metrics)
    plain = found(watched(signal, there), signal)
    turned = World({m: dict(reversed(list(s.items()))) for m, s in there.series.items()})
    assert_close(found(watched(signal, turned), signal), plain)
    if isinstance(signal, LeakSignal):
        scaled = World({m: {n: 8 * v for n, v in s.items()} for m, s in there.series.items()})
        other = found(watched(signal, scaled), signal)
        assert other.e_value == pytest.approx(plain.e_value, rel=1e-3)
        assert other.canary_value == pytest.approx(8 * plain.canary_value)


def assert_close(one: Finding, other: Finding) -> None:
    for name, value in asdict(other).items():
        if isinstance(value, float):
            assert asdict(one)[name] == pytest.approx(value, rel=1e-4, nan_ok=True), name


@pytest.mark.parametrize(("signal", "metrics", "words"), HARM, ids=IDS)
def test_a_restart_replays_to_the_same_evidence(
    signal: Signal, metrics: dict[str, Callable[[np.random.Generator, str], Floats]], words: str
) -> None:
    del words
    there = world(metrics)
    first = watched(signal, there)
    kept = armed_from_json(armed_to_json(first.armed("w")))
    again = Comparison(STEP)
    policy = Policy("p", (signal,), warm_up_s=0.0)
    again.join("w", policy, ("instance",), kept)
    again.enrol("w", Roster().observe(rollout(BASELINES, CANARIES), 0.0, 0.0))
    (family,) = again.families
    advance(family, there, (TICKS - 1) * STEP)
    assert_close(found(again, signal), found(first, signal))


@pytest.mark.parametrize(("signal", "metrics", "words"), HARM, ids=IDS)
def test_missing_scrapes_only_delay(
    signal: Signal, metrics: dict[str, Callable[[np.random.Generator, str], Floats]], words: str
) -> None:
    del words
    there = world(metrics)
    rng = np.random.default_rng(3)
    missed = {name: rng.random(TICKS) < 0.1 for name in NAMES}
    for series in there.series.values():
        for (name,), values in series.items():
            values[missed[name]] = np.nan
    judged = verdict(replace(signal, tier=Tier.CRITICAL), there)
    assert judged.verdict is Verdict.DEGRADED
    if "memory" in there.series:
        assert (
            verdict(
                replace(MEMORY, tier=Tier.CRITICAL), world({"memory": noisy(200, 0.02)})
            ).verdict
            is not Verdict.DEGRADED
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0, 1e300])
@pytest.mark.parametrize(("signal", "metrics", "words"), HARM, ids=IDS)
def test_nonsense_of_the_canary_is_no_evidence(
    signal: Signal,
    metrics: dict[str, Callable[[np.random.Generator, str], Floats]],
    words: str,
    value: float,
) -> None:
    del words
    there = world(metrics)
    for series in there.series.values():
        for (name,), values in series.items():
            if is_canary(name):
                values[HISTORY:] = value
    judged = verdict(replace(signal, tier=Tier.CRITICAL), there)
    lower = getattr(signal, "direction", Direction.HIGHER) is not Direction.HIGHER
    if value == 0.0 and lower and signal is not ORDERS:
        return  # a queue that is empty, where a fall is harmful, is as low as it can be
    assert judged.verdict is not Verdict.DEGRADED


class TestLeaks:
    def test_pods_that_come_and_go_bring_no_jump(self) -> None:
        def unlike(rng: np.random.Generator, name: str) -> Floats:
            level = 100.0 * (1 + int(name[-1]))  # 100 to 500 MB
            return np.asarray(level * np.exp(0.01 * rng.standard_normal(TICKS)))

        stays = [Stay((n,), Side.BASELINE, -np.inf) for n in NAMES[:BASELINES]]
        stays[0] = replace(stays[0], until=(HISTORY + 40) * STEP)
        stays += [
            Stay((n,), Side.CANARY, (HISTORY + 30 * i) * STEP)
            for i, n in enumerate(NAMES[BASELINES:])
        ]
        judged = verdict(
            replace(MEMORY, tier=Tier.CRITICAL),
            world({"memory": unlike}),
            roster=Roster(tuple(stays)),
        )
        assert judged.verdict is not Verdict.DEGRADED
        assert judged.e_value < 10

    @pytest.mark.parametrize("leak", [0.0, 0.03])
    def test_start_up_growth_that_the_baseline_had_is_taken_off(self, leak: float) -> None:
        begun = {name: HISTORY if is_canary(name) else 10 for name in NAMES}

        def filling(rng: np.random.Generator, name: str) -> Floats:
            age = np.maximum(np.arange(TICKS) - begun[name], 0)
            level = 200.0 * (1 - 0.3 * np.exp(-age / 60))
            level += 200.0 * leak * age * STEP / 60 if is_canary(name) else 0.0
            return np.asarray(level * np.exp(0.01 * rng.standard_normal(TICKS)))

        stays = tuple(
            Stay((n,), Side.CANARY if is_canary(n) else Side.BASELINE, begun[n] * STEP)
            for n in NAMES
        )
        signal = replace(MEMORY, tier=Tier.CRITICAL)
        known = verdict(signal, world({"memory": filling}), roster=Roster(stays))
        assert (known.verdict is Verdict.DEGRADED) is (leak > 0)
        ignorant = Roster(
            tuple(replace(s, since=-np.inf) if s.side is Side.BASELINE else s for s in stays)
        )
        # growth is growth while starts are not known
        early = watched(signal, world({"memory": filling}), roster=ignorant, end=HISTORY + 60)
        assert found(early, signal).e_value > 100

    def test_growth_of_the_first_minutes_is_left_out_where_starts_are_not_known(self) -> None:
        def filling(rng: np.random.Generator, name: str) -> Floats:
            age = np.maximum(np.arange(TICKS) - HISTORY, 0)
            level = 200.0 * (1 - 0.3 * np.exp(-age / 6) if is_canary(name) else 1.0)
            return np.asarray(level * np.exp(0.01 * rng.standard_normal(TICKS)))

        there = world({"memory": filling})
        patient = replace(MEMORY, tier=Tier.CRITICAL, settle_s=300.0)
        assert verdict(patient, there).verdict is not Verdict.DEGRADED
        hasty = found(watched(MEMORY, there, end=HISTORY + 30), MEMORY)
        assert hasty.e_value > 100

    def test_the_time_to_the_limit_is_told(self) -> None:
        judged = verdict(MEMORY, world({"memory": noisy(200, 0.02, growth=0.03)}))
        assert any("at the limit of 500 MB in " in reason.text for reason in judged.reasons)


class TestRates:
    def test_orders_that_are_not_there_are_not_fewer_orders(self) -> None:
        there = world({"orders": counter(50), "requests": REQUESTS})
        for name in NAMES[BASELINES:]:
            del there.series["orders"][name,]
        evidence = watched(ORDERS, there).evidence()["w"]["orders"]
        assert isinstance(evidence, Missing)
        assert evidence.reason in {Absence.NO_SERIES, Absence.TOO_FEW}

    def test_retries_that_were_never_counted_are_none(self) -> None:
        retries = RateSignal("retries", Selector("retries"), Selector("requests"), floor=0.01)
        there = world({"retries": counter(50), "requests": REQUESTS})
        for name in NAMES[:BASELINES]:
            del there.series["retries"][name,]
        finding = found(watched(retries, there), retries)
        assert finding.baseline_value == 0
        assert finding.canary_value == pytest.approx(0.1, rel=0.1)
        assert finding.harmful

    def test_few_restarts_below_the_floor_are_never_harmful(self) -> None:
        there = world(
            {"restarts": counter(1e-9, 2e7)}
        )  # the baseline never, the canary now and then
        assert found(watched(RESTARTS, there), RESTARTS).harmful
        patient = replace(RESTARTS, floor=2.0)
        assert not found(watched(patient, there), patient).harmful

    def test_an_instance_counts_while_it_restarts(self) -> None:
        seen = rollout(BASELINES, CANARIES, started=0.0)
        there = world({"restarts": counter(0.01, 30)})
        roster = Roster().observe(seen, 0.0, 0.0)
        for tick in range(HISTORY, TICKS, 3):  # it is ready once in a while
            ready = tick % 2 == 0
            canaries = tuple(Instance(c.id, c.started_at, ready) for c in seen.canary_instances)
            now = replace(seen, canary_instances=canaries)
            roster = roster.observe(now, tick * STEP, 0.0)
        assert len(roster.stays) > BASELINES + CANARIES
        whole = found(watched(RESTARTS, there, roster=roster), RESTARTS)
        assert whole.canary_value == pytest.approx(0.3 * 60 / STEP, rel=0.2)

    def test_a_rate_may_exceed_one(self) -> None:
        rows = RateSignal("rows", Selector("rows"), Selector("requests"), unit="each")
        there = world({"rows": counter(5000, 1.5), "requests": REQUESTS})
        finding = found(watched(rows, there), rows)
        assert finding.baseline_value == pytest.approx(10.0, rel=0.05)
        assert finding.ratio == pytest.approx(1.5, rel=0.05)


class TestTraffic:
    ERRORS = RatioSignal("errors", Selector("requests"), Selector("bad"))

    def judged(self, traffic: TrafficSignal, there: World) -> Judgement:
        policy = Policy("p", (self.ERRORS, traffic), warm_up_s=0.0, history_s=1800.0)
        comparison = Comparison(STEP)
        comparison.join("w", policy, ("instance",))
        comparison.enrol("w", Roster().observe(rollout(BASELINES, CANARIES), 0.0, 0.0))
        for tick in looks():
            for family in comparison.families:
                advance(family, there, tick * STEP)
        return judge(policy, comparison.evidence()["w"])

    def test_a_mismatch_is_told_and_proves_no_health(self) -> None:
        fair = world({"requests": REQUESTS, "bad": counter(1)})
        assert self.judged(TRAFFIC, fair).verdict is Verdict.HEALTHY
        unfair = world({"requests": counter(500, 0.3), "bad": counter(1, 0.3)})
        judged = self.judged(TRAFFIC, unfair)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert any("off by ×3.3" in reason.text for reason in judged.reasons), judged.reasons

    def test_the_configured_share_is_what_counts(self) -> None:
        # three canaries with a third of the others' traffic each: 1 of 6 parts
        unlike = world({"requests": counter(500, 1 / 3), "bad": counter(1, 1 / 3)})
        split = replace(TRAFFIC, share=1 / 6)
        assert self.judged(split, unlike).verdict is Verdict.HEALTHY
        wrong = self.judged(replace(TRAFFIC, share=0.5), unlike)
        assert wrong.verdict is Verdict.INCONCLUSIVE
        assert any("off by ×5.0 from 50 %" in reason.text for reason in wrong.reasons)

    def test_a_canary_without_traffic_is_told_and_never_degraded(self) -> None:
        there = world({"requests": counter(500, 0.0), "bad": counter(1, 0.0)})
        comparison = watched(self.ERRORS, there)
        evidence = comparison.evidence()["w"]["errors"]
        assert isinstance(evidence, Missing)
        assert evidence.reason is Absence.NO_TRAFFIC
        judged = judge(Policy("p", (self.ERRORS,)), comparison.evidence()["w"])
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert judged.blind  # and so the watch is held
        assert any("check its weight" in reason.text for reason in judged.reasons)

    def test_a_canary_that_loses_its_traffic_is_not_measured_any_more(self) -> None:
        there = world({"requests": counter(500), "bad": counter(1)})
        for series in there.series.values():
            for (name,), values in series.items():
                if is_canary(name):
                    values[HISTORY + 60 :] = values[HISTORY + 60]
        before = watched(self.ERRORS, there, end=HISTORY + 60)
        assert isinstance(before.evidence()["w"]["errors"], Measured)
        evidence = watched(self.ERRORS, there).evidence()["w"]["errors"]
        assert isinstance(evidence, Missing)
        assert evidence.reason is Absence.NO_TRAFFIC

    def test_it_acts_only_if_the_policy_says_so(self) -> None:
        unfair = world({"requests": counter(500, 0.3), "bad": counter(1, 0.3)})
        asked = replace(TRAFFIC, tier=Tier.CRITICAL, weight=0.5)
        assert self.judged(asked, unfair).verdict is Verdict.DEGRADED
