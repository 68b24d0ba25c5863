"""One round of questions: few of them, bounded in size, and no watch pays for another's trouble."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from analyzer.comparison import Comparison
from analyzer.evidence import Measured
from analyzer.policy import Policy
from analyzer.roster import Roster
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from rollbackd.collect import BEGIN_A_TICK, BEGIN_TOGETHER, Collector
from tests.process.lifetime import ERRORS, LATENCY, POLICY, TELEMETRY
from tests.process.mall import START, TICK_S, Mall

SETTLE_S = 5.0


@dataclass
class Recorder:
    """A metric source that remembers its questions and lets a test spoil answers."""

    mall: Mall
    asked: list[tuple[tuple[Query, ...], Grid]] = field(default_factory=list)
    spoil: Callable[[Query, Grid], Reply | None] = lambda _query, _grid: None

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        self.asked.append((tuple(queries), grid))
        answers = self.mall.fetch(queries, grid)
        return [
            self.spoil(query, grid) or answer
            for query, answer in zip(queries, answers, strict=True)
        ]

    def close(self) -> None:
        """Hold nothing."""


class Round:
    """A collector over some shops that are all being rolled out."""

    def __init__(self, *shops: str, policy: Policy = POLICY) -> None:
        self.mall = Mall(*shops)
        self.source = Recorder(self.mall)
        self.collector = Collector(self.source, TICK_S, SETTLE_S, TELEMETRY)
        self.comparison = Comparison(TICK_S)
        for name, shop in self.mall.shops.items():
            self.mall.release("v2", shop=name)
            rollout = shop.rollout()
            assert rollout is not None
            self.comparison.join(name, policy, rollout.id_labels)
            self.comparison.enrol(name, Roster().observe(rollout, START, policy.warm_up_s))

    def go(self, ticks: int = 1) -> list[tuple[tuple[Query, ...], Grid]]:
        """Collect; return what was asked in the last round."""
        for _ in range(ticks):
            self.source.asked.clear()
            self.mall.clock.at += TICK_S
            broken = self.collector.collect(self.comparison.families, self.mall.clock.at)
            assert broken == []
        return self.source.asked

    def measured(self) -> set[str]:
        evidence = self.comparison.evidence()
        return {
            name
            for name, found in evidence.items()
            if all(isinstance(e, Measured) for e in found.values())
        }


@pytest.mark.parametrize(
    ("now", "end"), [(1004.9, 990.0), (1005.0, 1000.0), (1014.9, 1000.0), (1015.0, 1010.0)]
)
def test_only_settled_samples_are_asked_for(now: float, end: float) -> None:
    assert Collector(Mall(), TICK_S, SETTLE_S, TELEMETRY).grid_end(now) == end


def test_one_question_serves_all_watches_and_signals() -> None:
    world = Round("a", "b", "c", policy=replace(POLICY, signals=(ERRORS, LATENCY)))
    world.go(8)
    assert world.measured() == {"a", "b", "c"}
    ((queries, grid),) = world.go()
    assert [str(q.selector) for q in queries] == ["all_total", "bad_total", "seconds_bucket"]
    assert grid == Grid(world.collector.grid_end(world.mall.clock.at), TICK_S, 1)
    names = {s.name for shop in world.mall.shops.values() for s in shop.serving}
    assert all(dict(q.restrict)["instance"] == names for q in queries)


def test_a_round_that_was_missed_is_caught_up_in_one_question() -> None:
    world = Round("a")
    world.go(8)
    before = world.collector.grid_end(world.mall.clock.at)
    world.mall.clock.at += 4 * TICK_S
    ((_, grid),) = world.go()
    assert (grid.start, grid.count) == (before + TICK_S, 5)


def test_many_beginnings_are_asked_for_in_pieces() -> None:
    count = BEGIN_A_TICK + BEGIN_TOGETHER + 1
    world = Round(*(f"s{i}" for i in range(count)))
    begun = []
    for _ in range(6):
        asked = world.go()
        past = [queries for queries, grid in asked if grid.count > 1]
        begun.append(len(past))
        for queries in past:
            assert len(dict(queries[0].restrict)["instance"]) <= 4 * BEGIN_TOGETHER
    assert [n for n in begun if n] == [4, 2]
    world.go(3)
    assert len(world.measured()) == count


def test_a_past_that_cannot_be_had_blinds_no_other_watch() -> None:
    world = Round("ill", "well")

    def spoil(query: Query, grid: Grid) -> Reply | None:
        ill = any("ill-" in name for name in dict(query.restrict)["instance"])
        return Missing(Absence.TOO_LARGE, "a hundred pods") if ill and grid.count > 1 else None

    world.go(2)
    world.comparison.leave("ill")
    world.go(6)
    assert world.measured() == {"well"}
    shop = world.mall.shops["ill"].rollout()
    assert shop is not None
    world.comparison.join("ill", POLICY, ("instance",))
    world.comparison.enrol("ill", Roster().observe(shop, START, 0.0))
    world.source.spoil = spoil
    world.go(3)
    assert world.measured() == {"well"}
    evidence = world.comparison.evidence()["ill"]["errors"]
    assert evidence == Missing(Absence.TOO_LARGE, "a hundred pods")
    world.source.spoil = lambda _query, _grid: None
    world.go(4)
    assert world.measured() == {"ill", "well"}


def test_bounds_that_do_not_fit_blind_no_other_watch() -> None:
    world = Round("ill", "well", policy=replace(POLICY, signals=(LATENCY,)))

    def other_bounds(query: Query, grid: Grid) -> Reply | None:
        answer = world.mall.fetch([query], grid)[0]
        assert isinstance(answer, Series)
        keys = tuple(
            (name, f"{i}") if name.startswith("ill-v2") and bound != "+Inf" else (name, bound)
            for i, (name, bound) in enumerate(answer.keys)
        )
        return Series(answer.by, keys, answer.values, grid)

    world.source.spoil = other_bounds
    world.go(8)
    assert world.measured() == {"well"}
    assert "share no usable bucket bounds" in str(world.comparison.evidence()["ill"]["latency"])


@pytest.mark.parametrize("reason", [Absence.TOO_LARGE, Absence.TIMEOUT])
def test_an_answer_that_is_too_much_is_asked_for_in_smaller_pieces(reason: Absence) -> None:
    """After an outage a long stretch is due; asking for all of it for ever would never end."""
    world = Round("a")
    world.go(8)
    counts = []

    def at_most_ten(_: Query, grid: Grid) -> Reply | None:
        counts.append(grid.count)
        return Missing(reason, "too much") if grid.count > 10 else None

    world.source.spoil = at_most_ten
    world.mall.clock.at += 60 * TICK_S
    for _ in range(40):
        world.go()
    assert max(counts) > 10
    assert world.measured() == {"a"}
    assert world.comparison.newest("a", "errors") == world.collector.grid_end(world.mall.clock.at)


def test_a_broken_family_is_told_and_the_others_are_collected() -> None:
    world = Round("a", policy=replace(POLICY, signals=(ERRORS, LATENCY)))
    world.go(8)

    def nonsense(query: Query, grid: Grid) -> Reply | None:
        if "le" not in query.by:
            return None
        return Series(query.by, ((),), np.ones((1, grid.count)), grid)

    world.source.spoil = nonsense
    world.mall.clock.at += TICK_S
    (broken,) = world.collector.collect(world.comparison.families, world.mall.clock.at)
    assert [str(q.selector) for q in broken.selectors()] == ["seconds_bucket"]
    end = world.collector.grid_end(world.mall.clock.at)
    assert world.comparison.newest("a", "errors") == end
