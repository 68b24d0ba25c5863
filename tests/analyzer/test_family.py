"""Live = restart = replay: families fold the same grid to the same evidence, whatever happens."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np
import pytest

from analyzer.evidence import Evidence, Finding, Measured
from analyzer.families.family import Family
from analyzer.families.histogram import HistogramFamily
from analyzer.families.ratio import RatioFamily
from analyzer.judge import Verdict, judge
from analyzer.policy import Policy
from analyzer.rollout import Instance
from analyzer.sample import Absence, Missing
from analyzer.signal import HistogramSignal, RatioSignal, Selector
from tests.analyzer.scenario import STEP, Floats, World, advance, counted, rollout, roster_of

ERRORS = RatioSignal("errors", Selector("all"), Selector("bad"), weight=1.0)
LATENCY = HistogramSignal("latency", Selector("slow_bucket"), weight=1.0)
POLICY = Policy("p", (ERRORS,), warm_up_s=0.0, history_s=600.0)
HISTORY, TICKS = 60, 130
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, np.inf)


AnyFamily = Family[Any, Any]
MakeFamily = Callable[[], AnyFamily]


class MakeWorld(Protocol):
    """Builds the world of a seed; the canary is ``factor`` times worse."""

    def __call__(self, seed: int, *, factor: float = 1.0) -> World: ...


def errors_family() -> RatioFamily:
    return RatioFamily(ERRORS, ("instance",), STEP, 3600.0)


def latency_family() -> HistogramFamily:
    return HistogramFamily(LATENCY, ("instance",), STEP, 3600.0)


def errors_world(seed: int, *, factor: float = 1.0, names: Iterable[str] = ("shop",)) -> World:
    rng = np.random.default_rng(seed)
    world = World({"all": {}, "bad": {}})
    for name in names:
        for side, count, start in (("b", 4, 0), ("c", 2, HISTORY)):
            share = np.full(TICKS, 0.01 * (factor if side == "c" else 1.0))
            for i in range(count):
                total, bad = counted(rng, TICKS, 150, share, start=start)
                world.series["all"][f"{name}-{side}{i}",] = total
                world.series["bad"][f"{name}-{side}{i}",] = bad
    return world


def latency_world(
    seed: int, *, factor: float = 1.0, name: str = "shop", bounds: tuple[float, ...] = BOUNDS
) -> World:
    rng = np.random.default_rng(seed)
    series: dict[tuple[str, ...], Floats] = {}
    for side, count, start in (("b", 4, 0), ("c", 2, HISTORY)):
        for i in range(count):
            scale = 0.06 * (factor if side == "c" else 1.0)
            times = scale * np.exp(0.6 * rng.standard_normal((TICKS, 120)))
            for bound in bounds:
                values = (times <= bound).sum(axis=1).cumsum().astype(float)
                values[:start] = np.nan
                label = "+Inf" if bound == np.inf else str(bound)
                series[f"{name}-{side}{i}", label] = values
    return World({"slow_bucket": series})


def follow(
    family: AnyFamily, world: World, *, name: str = "shop", policy: Policy = POLICY,
    begin: int = HISTORY, end: int = TICKS,
) -> AnyFamily:  # fmt: skip
    signal = ERRORS if isinstance(family, RatioFamily) else LATENCY
    family.join(name, signal, policy)
    family.enrol(name, roster_of(rollout(4, 2, name=name), 0.0))
    for tick in range(begin, end):
        advance(family, world, tick * STEP)
    return family


def finding(evidence: Evidence) -> Finding:
    assert isinstance(evidence, Measured)
    return evidence.finding


def assert_same(one: Evidence, other: Evidence) -> None:
    """Equal but for the last bits of single precision, which depend on the batch's shape."""
    left, right = asdict(finding(one)), asdict(finding(other))
    for name, value in left.items():
        if isinstance(value, float):
            assert right[name] == pytest.approx(value, rel=1e-5, nan_ok=True), name
        else:
            assert right[name] == value, name


@pytest.mark.parametrize(
    ("family", "world"),
    [(errors_family, errors_world), (latency_family, latency_world)],
    ids=["errors", "latency"],
)
class TestEveryKind:
    def test_a_bad_canary_is_found_and_an_equal_one_is_not(
        self, family: MakeFamily, world: MakeWorld
    ) -> None:
        factor = 6.0 if family is errors_family else 1.8
        for bad, verdict in ((factor, Verdict.DEGRADED), (1.0, Verdict.HEALTHY)):
            followed = follow(family(), world(1, factor=bad))
            signal = ERRORS if family is errors_family else LATENCY
            policy = replace(POLICY, signals=(signal,))
            assert judge(policy, {signal.name: followed.evidence()["shop"]}).verdict is verdict

    def test_an_outage_delays_and_loses_nothing(
        self, family: MakeFamily, world: MakeWorld
    ) -> None:
        steady, broken = world(2), world(2)
        broken.outage = lambda t: 700 <= t < 900
        interrupted = follow(family(), broken, end=89)
        missing = interrupted.evidence()["shop"]
        assert missing == Missing(Absence.SOURCE_DOWN, "connection refused")
        for tick in range(89, TICKS):
            advance(interrupted, broken, tick * STEP)
        assert_same(interrupted.evidence()["shop"], follow(family(), steady).evidence()["shop"])

    def test_a_restart_replays_to_the_same_evidence(
        self, family: MakeFamily, world: MakeWorld
    ) -> None:
        there = world(3, factor=1.2)
        first = follow(family(), there)
        armed = first.member("shop").armed
        again = family()
        again.join("shop", first.member("shop").signal, POLICY, armed)
        again.enrol("shop", roster_of(rollout(4, 2), 0.0))
        for _ in range(3):
            advance(again, there, (TICKS - 1) * STEP)
        assert_same(again.evidence()["shop"], first.evidence()["shop"])

    def test_what_comes_later_changes_nothing_before(
        self, family: MakeFamily, world: MakeWorld
    ) -> None:
        calm, stormy = world(4), world(4)
        for values in next(iter(stormy.series.values())).values():
            values[100:] += 1e6
        before = follow(family(), calm, end=100).evidence()["shop"]
        assert_same(before, follow(family(), stormy, end=100).evidence()["shop"])

    def test_the_order_of_instances_does_not_matter(
        self, family: MakeFamily, world: MakeWorld
    ) -> None:
        forth, back = world(5, factor=1.3), world(5, factor=1.3)
        back.series = {m: dict(reversed(s.items())) for m, s in back.series.items()}
        one = finding(follow(family(), forth).evidence()["shop"])
        other = finding(follow(family(), back).evidence()["shop"])
        assert other.e_value == pytest.approx(one.e_value, rel=1e-9)

    @pytest.mark.parametrize("junk", [np.nan, np.inf, -5.0])
    def test_nonsense_in_the_counters_is_not_harm(
        self, family: MakeFamily, world: MakeWorld, junk: float
    ) -> None:
        there = world(6)
        for series in there.series.values():
            for key, values in series.items():
                if "-c" in key[0]:
                    values[80:] = junk
        followed = follow(family(), there)
        evidence = followed.evidence()["shop"]
        assert isinstance(evidence, Missing)
        assert evidence.reason is Absence.STALE

    def test_a_vanished_metric_is_missing(self, family: MakeFamily, world: MakeWorld) -> None:
        there = world(7)
        followed = follow(family(), there, end=100)
        there.series.clear()
        advance(followed, there, 100 * STEP)
        evidence = followed.evidence()["shop"]
        assert isinstance(evidence, Missing)
        assert evidence.reason is Absence.NO_SERIES


def test_two_watches_in_one_batch_are_judged_as_if_alone() -> None:
    world = errors_world(8, factor=1.4, names=("shop", "cart"))
    both = errors_family()
    for name in ("shop", "cart"):
        both.join(name, ERRORS, POLICY)
        both.enrol(name, roster_of(rollout(4, 2, name=name), 0.0))
    for tick in range(HISTORY, TICKS):
        advance(both, world, tick * STEP)
    for name in ("shop", "cart"):
        alone = follow(errors_family(), world, name=name)
        assert_same(both.evidence()[name], alone.evidence()[name])
    both.leave("shop")
    assert set(both.evidence()) == {"cart"}


@pytest.mark.parametrize("family", [errors_family, latency_family], ids=["errors", "latency"])
def test_comparisons_that_begin_later_in_a_batch_are_as_if_alone(family: MakeFamily) -> None:
    delays = {"first": 0, "second": 20, "third": 35}

    def world(names: Iterable[str]) -> World:
        every = World()
        for seed, name in enumerate(delays):
            one = (
                errors_world(seed, factor=2.0, names=[name])
                if family is errors_family
                else latency_world(seed, factor=1.3, name=name)
            )
            for metric, series in one.series.items():
                for labels, values in series.items():
                    if labels[0].startswith(f"{name}-c"):
                        values[: HISTORY + delays[name]] = np.nan
                    if name in names:
                        every.series.setdefault(metric, {})[labels] = values
        return every

    together = family()
    for name in delays:
        follow(together, World(), name=name, begin=0, end=0)
    everything = world(delays)
    for tick in range(HISTORY, TICKS):
        advance(together, everything, tick * STEP)
    found = together.evidence()
    for name in delays:
        alone = follow(family(), world([name]), name=name)
        assert_same(found[name], alone.evidence()[name])


def test_histograms_of_different_bounds_share_a_batch() -> None:
    coarse = (0.1, 0.5, np.inf)
    one = latency_world(9, name="shop")
    other = latency_world(10, name="cart", bounds=coarse, factor=1.8)
    world = World({"slow_bucket": one.series["slow_bucket"] | other.series["slow_bucket"]})
    both = latency_family()
    for name in ("shop", "cart"):
        both.join(name, LATENCY, POLICY)
        both.enrol(name, roster_of(rollout(4, 2, name=name), 0.0))
    for tick in range(HISTORY, TICKS):
        advance(both, world, tick * STEP)
    assert not finding(both.evidence()["shop"]).harmful
    assert finding(both.evidence()["cart"]).harmful
    assert both.member("cart").armed is not None


def test_a_canary_that_changed_its_bounds_is_compared_on_the_shared_ones() -> None:
    world = latency_world(11, factor=1.0)
    series = world.series["slow_bucket"]
    for key in [k for k in series if "-c" in k[0] and k[1] in {"0.1", "0.5"}]:
        del series[key]
    followed = follow(latency_family(), world)
    armed = followed.member("shop").armed
    assert armed is not None
    assert armed.bounds == (0.05, 0.25, 1.0, np.inf)
    assert not finding(followed.evidence()["shop"]).harmful


def test_without_shared_bounds_it_is_missing_with_a_reason() -> None:
    world = latency_world(12)
    series = world.series["slow_bucket"]
    for key in [k for k in series if "-c" in k[0] and k[1] != "+Inf"]:
        series[key[0], str(float(key[1]) * 1.01)] = series.pop(key)
    evidence = follow(latency_family(), world).evidence()["shop"]
    assert isinstance(evidence, Missing)
    assert "share no usable bucket bounds" in str(evidence)


def test_no_bad_series_at_all_means_no_errors() -> None:
    world = errors_world(13)
    world.series["bad"].clear()
    found = finding(follow(errors_family(), world).evidence()["shop"])
    assert (found.canary_value, found.baseline_value, found.harmless) == (0, 0, True)


def test_instances_that_are_warming_do_not_count() -> None:
    world = errors_world(14, factor=30.0)
    family = errors_family()
    family.join("shop", ERRORS, POLICY)
    young = rollout(4, 2, started=HISTORY * STEP)
    family.enrol("shop", roster_of(young, HISTORY * STEP, warm_up_s=10_000.0))
    for tick in range(HISTORY, TICKS):
        advance(family, world, tick * STEP)
    evidence = family.evidence()["shop"]
    assert isinstance(evidence, Missing)
    assert evidence.reason is Absence.WARMING


def test_a_counter_reset_is_no_burst() -> None:
    world = errors_world(15)
    for series in world.series.values():
        for values in series.values():
            values[100:] -= values[99]
    reset = finding(follow(errors_family(), world).evidence()["shop"])
    steady = finding(follow(errors_family(), errors_world(15)).evidence()["shop"])
    assert reset.e_value == pytest.approx(steady.e_value, rel=0.3)
    assert not reset.harmful


def test_what_is_missing_is_named() -> None:
    family = errors_family()
    family.join("shop", ERRORS, POLICY)
    observed = rollout(4, 2)
    family.enrol("shop", roster_of(replace(observed, baseline_instances=()), 0.0))
    reasons = []
    for instances in ((), observed.baseline_instances):
        family.enrol("shop", roster_of(replace(observed, baseline_instances=instances), 0.0))
        advance(family, World({"all": {("x",): np.ones(200)}}), 700.0)
        found = family.evidence()["shop"]
        assert isinstance(found, Missing)
        reasons.append(found.reason)
    assert reasons == [Absence.NO_BASELINE, Absence.NO_SERIES]
    gone = Instance(("shop-c0",), 0.0, ready=False)
    family.enrol("shop", roster_of(replace(observed, canary_instances=(gone,)), 0.0))
    found = family.evidence()["shop"]
    assert isinstance(found, Missing)
    assert found.reason is Absence.NO_CANARY


def test_recovery_is_measured_on_the_baseline_alone() -> None:
    world = errors_world(16, factor=20.0)
    family = follow(errors_family(), world, end=100)
    family.mark("shop", 99 * STEP)
    for tick in range(100, TICKS):
        advance(family, world, tick * STEP)
    tally = family.tally("shop")
    counts = family.harm_counts(tally)
    assert tally.ticks == TICKS - 100
    assert counts.after.value == pytest.approx(0.01, rel=0.3)
    assert counts.before.value == pytest.approx(0.01, rel=0.3)
    assert counts.canary.value > 5 * counts.before.value
