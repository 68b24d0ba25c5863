"""Watches of canaries that the cluster says are in distress, through their whole life."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from analyzer.policy import FactUse, Mode, Policy
from analyzer.rollout import Vitals
from analyzer.sample import Absence, Missing
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, Lifetime, MortalJournal, phases
from tests.process.mall import START, Killed, Lifeline, Mall

WELL = Vitals()
CRASHING = Vitals("CrashLoopBackOff", 5, "Error", START)
PULLING = Vitals("ImagePullBackOff", unready_since=START)


@contextmanager
def running(mall: Mall, policy: Policy = POLICY) -> Iterator[Lifetime]:
    life = Lifetime(mall, MemoryJournal(), policy)
    yield life
    life.end()


@pytest.fixture
def mall() -> Mall:
    mall = Mall()
    mall.shops["shop"].vitals["v1"] = WELL
    return mall


def test_a_canary_that_never_becomes_ready_is_rolled_back_and_found_recovered(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        mall.shops["shop"].vitals["v2"] = PULLING
        view = life.until("rolled back", "needs a human")
        assert view.phase == "rolled back"
        assert mall.writes == ["shop"]
        whole = ["warming", "degraded", "acting", "verifying", "rolled back"]
        assert phases(life.journal) == whole
        assert view.reasons[0].startswith("2 of 2 canary pods in ImagePullBackOff for 1 min")


def test_without_any_metric_the_restored_pods_themselves_tell_that_it_helped(mall: Mall) -> None:
    mall.outage = Missing(Absence.SOURCE_DOWN, "connection refused")
    with running(mall) as life:
        mall.release("v2")
        mall.shops["shop"].vitals["v2"] = CRASHING
        view = life.until("rolled back", "needs a human")
        assert view.phase == "rolled back"
        assert "4 of 4 baseline pods are well" in view.timeline[-1].text


def test_a_canary_that_had_traffic_and_then_crashes_never_ends_healthy(mall: Mall) -> None:
    policy = replace(POLICY, facts=FactUse.SHOW)
    with running(mall, policy) as life:
        mall.release("v2")
        life.tick(6)
        mall.shops["shop"].vitals["v2"] = CRASHING
        assert life.until("healthy", "inconclusive", ticks=200).phase == "inconclusive"
        assert mall.writes == []


def test_a_canary_whose_instances_are_gone_never_ends_healthy(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        life.tick(6)
        shop = mall.shops["shop"]
        now = mall.clock.at
        shop.serving = [replace(s, until=now) if s.revision == "v2" else s for s in shop.serving]
        assert life.until("healthy", "inconclusive", ticks=200).phase == "inconclusive"


def test_the_mode_says_how_far_it_goes(mall: Mall) -> None:
    with running(mall, replace(POLICY, mode=Mode.APPROVE)) as life:
        mall.release("v2")
        mall.shops["shop"].vitals["v2"] = CRASHING
        life.until("awaiting approval")
        assert mall.writes == []


def test_the_same_distress_on_both_sides_is_held(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        mall.shops["shop"].vitals |= {"v1": CRASHING, "v2": CRASHING}
        view = life.until("held")
        life.tick(20)
        assert "not the canary's fault alone" in view.reasons[0]
        assert mall.writes == []


def test_an_api_server_that_is_away_adds_nothing_to_distress(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        mall.shops["shop"].vitals["v2"] = CRASHING
        life.tick(2)
        mall.unknown = Missing(Absence.SOURCE_DOWN, "connection refused")
        life.tick(30)
        assert life.view().phase == "warming"
        mall.unknown = None
        life.until("rolled back")


@pytest.mark.parametrize("breaths", range(1, 20, 2))
def test_a_crash_at_any_write_changes_only_how_long_it_takes(mall: Mall, breaths: int) -> None:
    mall.release("v2")
    mall.shops["shop"].vitals["v2"] = CRASHING
    life = Lifeline(breaths)
    journal = MortalJournal(life)
    first = Lifetime(mall, journal, life=life)
    try:
        for _ in range(40):
            first.tick()
    except Killed:
        pass
    first.end()
    with running_again(mall, journal) as again:
        assert again.until("rolled back", "needs a human").phase == "rolled back"
    assert mall.writes == ["shop"]


@contextmanager
def running_again(mall: Mall, journal: MemoryJournal) -> Iterator[Lifetime]:
    life = Lifetime(mall, MemoryJournal(journal.entries()))
    yield life
    life.end()
