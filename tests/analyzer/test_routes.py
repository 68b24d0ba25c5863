"""Requests told apart by route: what other requests explain is no harm, and harm beside it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analyzer.comparison import BY_ROUTE, Comparison
from analyzer.evidence import Evidence, Finding, Measured
from analyzer.families.family import Armed
from analyzer.families.routes import RouteFamily, _filled
from analyzer.judge import Verdict, judge
from analyzer.policy import Policy
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import (
    GaugeSignal,
    HistogramSignal,
    LeakSignal,
    RatioSignal,
    Selector,
    Tier,
)
from tests.analyzer.scenario import STEP, Floats, World, advance, rollout, roster_of

ROUTES = ("/browse", "/search", "/pay")
RATES = {"/browse": 0.001, "/search": 0.01, "/pay": 0.1, "/odd": 0.001}
LIKE = {"/browse": 0.85, "/search": 0.1, "/pay": 0.04, "/odd": 0.01}
UNLIKE = {"/browse": 0.4, "/search": 0.2, "/pay": 0.39, "/odd": 0.01}
ERRORS = RatioSignal("errors", Selector("all"), Selector("bad"), route="handler", routes=ROUTES)
SLOW = HistogramSignal("latency", Selector("slow_bucket"))
POLICY = Policy("p", (ERRORS,), warm_up_s=0.0, history_s=600.0)
HISTORY, TICKS = 60, 130


class RoutedWorld(World):
    """A world whose counters are told by route when a query asks for it."""

    def __init__(self) -> None:
        super().__init__({"all": {}, "bad": {}})
        self.by_route: dict[str, dict[tuple[str, ...], Floats]] = {"all": {}, "bad": {}}
        self.asked: list[Query] = []
        self.routes_missing: Callable[[float], bool] = lambda _: False

    def _answer(self, query: Query, grid: Grid) -> Reply:
        self.asked.append(query)
        if "handler" not in query.by:
            return super()._answer(query, grid)
        if self.routes_missing(grid.end):
            return Missing(Absence.TIMEOUT, "too slow")
        whole = self.series
        self.series = self.by_route
        try:
            reply = super()._answer(query, grid)
        finally:
            self.series = whole
        if isinstance(reply, Missing):
            return reply
        wanted = dict(query.restrict)["handler"]
        rows = [i for i, key in enumerate(reply.keys) if key[-1] in wanted]
        return Series(reply.by, tuple(reply.keys[i] for i in rows), reply.values[rows], grid)


def world(
    seed: int, mix: dict[str, float], *, factor: float = 1.0, slower: float = 1.0
) -> RoutedWorld:
    """Two canaries and four baselines, 15 requests a second each; requests to /pay take longer."""
    rng = np.random.default_rng(seed)
    made = RoutedWorld()
    made.series["slow_bucket"] = {}
    for side, count, start in (("b", 4, 0), ("c", 2, HISTORY)):
        canary = side == "c"
        for i in range(count):
            name = f"shop-{side}{i}"
            total, failed = np.zeros(TICKS), np.zeros(TICKS)
            fast = np.zeros((3, TICKS))
            for route, share in (mix if canary else LIKE).items():
                requests = rng.poisson(150 * share, TICKS)
                requests[:start] = 0
                bad = rng.binomial(requests, min(1.0, RATES[route] * (factor if canary else 1)))
                total, failed = total + requests, failed + bad
                takes = (0.4 if route == "/pay" else 0.05) * (slower if canary else 1.0)
                for j, bound in enumerate((0.1, 0.5, np.inf)):
                    fast[j] += rng.binomial(requests, 1 - np.exp(-bound / takes))
                for metric, events in (("all", requests), ("bad", bad)):
                    counter = events.cumsum().astype(float)
                    counter[counter == 0] = np.nan  # no series before its first event
                    made.by_route[metric][name, route] = counter
            for metric, values in (("all", total), ("bad", failed)):
                counter = values.cumsum()
                counter[:start] = np.nan
                made.series[metric][name,] = counter
            for le, values in zip(("0.1", "0.5", "+Inf"), fast, strict=True):
                counter = values.cumsum()
                counter[:start] = np.nan
                made.series["slow_bucket"][name, le] = counter
    return made


def followed(
    there: RoutedWorld,
    policy: Policy = POLICY,
    *,
    begin: int = HISTORY,
    end: int = TICKS,
    armed: dict[str, Armed[Any]] | None = None,
    comparison: Comparison | None = None,
) -> Comparison:
    one = comparison or Comparison(STEP)
    if comparison is None:
        one.join("shop", policy, ("instance",), armed)
        one.enrol("shop", roster_of(rollout(4, 2), 0.0))
    for tick in range(begin, end):
        for family in one.families:
            advance(family, there, tick * STEP)
    return one


def evidence(comparison: Comparison) -> dict[str, Evidence]:
    return comparison.evidence()["shop"]


def finding(comparison: Comparison, signal: str = "errors") -> Finding:
    found = evidence(comparison)[signal]
    assert isinstance(found, Measured), found
    return found.finding


class TestErrors:
    def test_other_requests_are_no_harm_and_are_told(self) -> None:
        blind = followed(world(1, UNLIKE), replace(POLICY, request_mix=False))
        assert judge(POLICY, evidence(blind)).verdict is Verdict.DEGRADED
        seen = followed(world(1, UNLIKE))
        judgement = judge(POLICY, evidence(seen))
        assert judgement.verdict is not Verdict.DEGRADED
        (told,) = [r.text for r in judgement.reasons if "other requests" in r.text]
        assert "/pay is 39 % of them, 3.9 % of the baseline's" in told
        assert "within routes" in finding(seen).note

    def test_harm_beside_them_is_found(self) -> None:
        judgement = judge(POLICY, evidence(followed(world(2, UNLIKE, factor=3.0))))
        assert judgement.verdict is Verdict.DEGRADED
        assert any("other requests" in r.text for r in judgement.reasons)

    def test_the_same_requests_change_no_number(self) -> None:
        with_routes = finding(followed(world(3, LIKE, factor=2.0)))
        without = finding(followed(world(3, LIKE, factor=2.0), replace(POLICY, request_mix=False)))
        assert with_routes == without

    def test_a_canary_that_serves_little_of_what_there_is_is_not_healthy(self) -> None:
        narrow = {"/browse": 0.0, "/search": 0.0, "/pay": 1.0}
        found = finding(followed(world(4, narrow, factor=0.5)))
        assert not found.harmless
        assert "serves only the routes of 4." in found.note

    def test_routes_that_cannot_be_had_any_more_take_the_comparison_with_them(self) -> None:
        """Not back to all routes together: that is what other requests have spoilt."""
        there = world(5, UNLIKE)
        one = followed(there, end=100)
        assert finding(one).mix
        there.routes_missing = lambda _: True
        followed(there, begin=100, comparison=one)
        assert isinstance(evidence(one)["errors"], Missing)

    def test_routes_that_never_could_be_had_leave_all_as_it_was(self) -> None:
        there = world(6, LIKE, factor=3.0)
        there.routes_missing = lambda _: True
        without = followed(world(6, LIKE, factor=3.0), replace(POLICY, request_mix=False))
        assert finding(followed(there)) == finding(without)


class TestTheOthers:
    def test_what_other_requests_may_explain_does_not_count(self) -> None:
        slow = replace(POLICY, signals=(ERRORS, SLOW))
        blind = followed(world(7, UNLIKE), replace(slow, request_mix=False))
        assert finding(blind, "latency").harmful
        found = finding(followed(world(7, UNLIKE), slow), "latency")
        assert not found.harmful
        assert not found.harmless
        assert "not counted" in found.note

    def test_more_than_they_can_explain_does(self) -> None:
        slow = replace(POLICY, signals=(ERRORS, SLOW))
        one = followed(world(8, UNLIKE, slower=8.0), slow)
        found = finding(one, "latency")
        assert found.harmful
        assert "more than other requests" in found.note
        assert judge(slow, evidence(one)).verdict is Verdict.DEGRADED

    def test_a_leak_is_of_no_request_and_a_level_may_be(self) -> None:
        gauge = GaugeSignal("cpu", Selector("cpu"), tier=Tier.CRITICAL)
        leak = LeakSignal("memory", Selector("memory"))
        there = world(9, UNLIKE)
        for metric, values in (("cpu", np.full(TICKS, 0.5)), ("memory", np.arange(TICKS) + 100.0)):
            there.series[metric] = {}
            for name in [f"shop-b{i}" for i in range(4)] + [f"shop-c{i}" for i in range(2)]:
                factor = 2.0 if "-c" in name and metric == "cpu" else 1.0
                there.series[metric][name,] = values * factor * (1 + 1e-3 * np.sin(values))
        one = followed(there, replace(POLICY, signals=(ERRORS, gauge, leak)))
        assert finding(one, "cpu").note.startswith("not counted")
        assert not finding(one, "cpu").harmful
        assert not finding(one, "memory").note


class TestTheFold:
    @pytest.mark.parametrize("mix", [LIKE, UNLIKE], ids=["like", "unlike"])
    def test_a_restart_comes_to_the_same(self, mix: dict[str, float]) -> None:
        there = world(10, mix)
        whole = followed(there)
        began = followed(there, end=90).armed("shop")
        assert set(began) == {"errors", "errors" + BY_ROUTE}
        again = followed(there, begin=90, armed=began)
        for name in ("e_value", "ratio", "low", "high", "mix", "note", "harmful", "harmless"):
            want = getattr(finding(whole), name)
            got = getattr(finding(again), name)
            assert got == (pytest.approx(want, rel=1e-4) if isinstance(want, float) else want)

    def test_what_comes_later_changes_nothing_before(self) -> None:
        there, other = world(11, UNLIKE), world(12, LIKE)
        early = finding(followed(there, end=100))
        for metrics, later in ((there.series, other.series), (there.by_route, other.by_route)):
            for metric, rows in metrics.items():
                for key, values in rows.items():
                    values[100:] = later[metric].get(key, values)[100:]
        assert finding(followed(there, end=100)) == early

    def test_one_query_more_for_each_counter_whatever_routes_and_watches_there_are(self) -> None:
        one = Comparison(STEP)
        for name in ("shop", "cart"):
            one.join(name, POLICY, ("instance",))
            one.enrol(name, roster_of(rollout(4, 2, name=name), 0.0))
        (by_route,) = [f for f in one.families if isinstance(f, RouteFamily)]
        others = {q for f in one.families if f is not by_route for q in f.queries()}
        more = [q for q in by_route.queries() if q not in others]
        assert [q.by for q in more] == [("instance", "handler")] * 2
        assert all(dict(q.restrict)["handler"] == frozenset(ROUTES) for q in more)

    def test_a_watch_that_leaves_takes_its_row(self) -> None:
        one = followed(world(13, UNLIKE))
        one.leave("shop")
        assert one.evidence() == {}
        assert not one.families


class TestCounters:
    """(instances, columns, times); the first column is the sum over all routes."""

    def test_a_route_never_asked_for_stands_at_nothing(self) -> None:
        values = np.array([[[5.0, 9.0, 12.0], [np.nan, np.nan, 3.0]]])
        filled = _filled(values, np.full((1, 2), np.nan))
        np.testing.assert_array_equal(filled[0, 1], [0, 0, 3])

    def test_a_route_that_vanished_is_a_broken_answer_until_the_process_starts_anew(self) -> None:
        values = np.array([[[5.0, 9.0, 2.0, 4.0], [3.0, np.nan, np.nan, 1.0]]])
        filled = _filled(values, np.full((1, 2), np.nan))
        np.testing.assert_array_equal(filled[0, 1], [3, np.nan, 0, 1])
        known = _filled(values[:, :, 1:2], np.array([[5.0, 3.0]]))
        assert np.isnan(known[0, 1, 0])

    def test_a_route_that_falls_alone_is_no_restart(self) -> None:
        values = np.array([[[50.0, 60.0, 70.0], [40.0, 10.0, 45.0]]])
        filled = _filled(values, np.full((1, 2), np.nan))
        np.testing.assert_array_equal(filled[0, 1], [40, np.nan, 45])

    def test_what_is_not_scraped_stays_unknown(self) -> None:
        values = np.array([[[np.nan, 9.0], [np.nan, np.nan]]])
        filled = _filled(values, np.full((1, 2), np.nan))
        assert np.isnan(filled[0, :, 0]).all()
        assert filled[0, 1, 1] == 0
