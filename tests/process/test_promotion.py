"""The guard after promotion: what it compares with, when it acts, and what a crash leaves of it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.events import Approved
from analyzer.policy import Mode
from analyzer.sample import Absence, Missing
from rollbackd.replay import KINDS, record_of, replay
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import LATENCY, POLICY, Lifetime, MortalJournal, phases
from tests.process.mall import BAD, Killed, Lifeline, Mall

GUARDED = replace(POLICY, after_promotion_s=1800.0, after_promotion_mode=Mode.ENFORCE)
GUARD = ".after"


@pytest.fixture
def mall() -> Mall:
    return Mall()


@pytest.fixture
def life(mall: Mall) -> Iterator[Lifetime]:
    life = Lifetime(mall, MemoryJournal(), GUARDED)
    yield life
    life.end()


def promoted(mall: Mall, life: Lifetime, badness: float | None = None) -> None:
    """Let v2 take over after a good rollout, then maybe turn bad."""
    mall.release("v2")
    life.until("healthy")
    mall.complete(told=True)
    life.until("observing", watch=GUARD)
    if badness is not None:
        life.tick(30)
        mall.worsen("v2", badness)


def test_without_the_setting_nothing_is_watched_after_promotion(mall: Mall) -> None:
    life = Lifetime(mall, MemoryJournal())
    mall.release("v2")
    life.until("healthy")
    mall.complete(told=True)
    mall.worsen("v2", BAD)
    life.tick(60)
    assert [view.phase for view in life.controller.watches.views()] == ["healthy"]
    life.end()


def test_a_good_revision_is_guarded_to_the_end_and_left_alone(mall: Mall, life: Lifetime) -> None:
    promoted(mall, life)
    view = life.until("healthy", "inconclusive", "degraded", ticks=200, watch=GUARD)
    assert view.phase == "healthy"
    assert view.since - view.started_at == pytest.approx(1800.0, abs=20.0)
    assert mall.writes == []
    assert life.controller.watches.known_good(mall.shops["shop"].workload) == ("v2",)


def test_what_turns_bad_later_is_rolled_back_and_its_recovery_measured(
    mall: Mall, life: Lifetime
) -> None:
    promoted(mall, life, BAD)
    began = mall.clock.at
    degraded = life.until("verifying", watch=GUARD)
    assert 240.0 <= degraded.since - began <= 900.0
    assert "compared with its own past, 45 min earlier" in degraded.reasons[0]
    assert "less certain" in degraded.reasons[0]
    assert "errors" in degraded.reasons[1]
    assert mall.shops["shop"].current == "v1"
    assert life.until("rolled back", "needs a human", watch=GUARD).phase == "rolled back"
    assert mall.writes == ["shop"]
    assert life.controller.watches.known_good(mall.shops["shop"].workload) == ()
    life.tick(30)
    assert mall.writes == ["shop"]


def test_a_person_is_asked_unless_the_policy_says_otherwise(mall: Mall) -> None:
    policy = replace(GUARDED, after_promotion_mode=Mode.APPROVE)
    life = Lifetime(mall, MemoryJournal(), policy)
    promoted(mall, life, BAD)
    view = life.until("awaiting approval", watch=GUARD)
    assert view.mode == "approve"
    assert mall.writes == []
    life.controller.watches.handle(view.id, Approved(view.plan_key, "ann"))
    life.settle()
    assert mall.writes == ["shop"]
    life.end()


def test_a_burst_and_what_is_over_are_not_rolled_back(mall: Mall, life: Lifetime) -> None:
    promoted(mall, life, BAD)
    life.tick(15)  # two and a half minutes
    burst = mall.clock.at
    shop = mall.shops["shop"]
    began, _ = shop.turns["v2"]
    shop.bursts["v2"] = (began, burst, BAD)
    del shop.turns["v2"]
    view = life.until("healthy", "inconclusive", "degraded", "rolled back", ticks=200, watch=GUARD)
    assert view.phase in {"healthy", "inconclusive"}
    assert mall.writes == []


def test_latency_is_compared_beyond_the_bound_that_was_slow_before(mall: Mall) -> None:
    life = Lifetime(mall, MemoryJournal(), replace(GUARDED, signals=(LATENCY,)))
    mall.release("v2")
    life.until("healthy", ticks=110)
    mall.complete(told=True)
    view = life.until("observing", watch=GUARD)
    (signal,) = view.signals
    assert signal.name == "latency"
    assert signal.unit == "share"
    view = life.until("healthy", "inconclusive", "degraded", ticks=200, watch=GUARD)
    assert view.phase == "healthy"
    life.end()


def test_a_rollout_that_took_over_too_fast_hands_over(mall: Mall, life: Lifetime) -> None:
    mall.release("v2", BAD)
    life.tick(1)
    mall.complete(told=True)
    handed = life.until("inconclusive")
    assert "guarded by its workload's own past" in handed.note
    life.until("rolled back", watch=GUARD)
    assert mall.writes == ["shop"]


def test_a_newer_revision_supersedes_the_guard(mall: Mall, life: Lifetime) -> None:
    promoted(mall, life)
    mall.release("v3")
    life.until("superseded", watch=GUARD)
    life.until("healthy", watch="@v3")
    assert mall.writes == []


def test_a_revision_whose_instances_are_gone_is_guarded_no_more(
    mall: Mall, life: Lifetime
) -> None:
    promoted(mall, life)
    mall.shops["shop"].left = ""
    mall.shops["shop"].serving = []
    assert life.until("inconclusive", watch=GUARD).note == "the rollout is gone"


def test_a_guard_goes_on_when_the_rollout_is_not_told_of_any_more(
    mall: Mall, life: Lifetime
) -> None:
    """A source forgets a complete rollout some time; the instances are still there."""
    promoted(mall, life)
    shop = mall.shops["shop"]
    shop.forgotten = True
    life.tick(20)
    assert life.view(GUARD).phase == "observing"


@pytest.mark.parametrize("reason", [Absence.SOURCE_DOWN, Absence.NO_SERIES])
def test_a_past_that_cannot_be_had_accuses_nobody(mall: Mall, reason: Absence) -> None:
    life = Lifetime(mall, MemoryJournal(), GUARDED)
    mall.release("v2")
    life.until("healthy")
    mall.complete(told=True)
    mall.worsen("v2", BAD)
    mall.outage = Missing(reason)
    life.tick(30)
    assert [v for v in life.controller.watches.views() if GUARD in v.id] == []
    mall.outage = None
    life.tick(10)
    begun = [v for v in life.controller.watches.views() if GUARD in v.id]
    assert bool(begun) == (reason is Absence.SOURCE_DOWN)
    life.end()


def test_no_past_and_missing_samples_never_act(mall: Mall, life: Lifetime) -> None:
    promoted(mall, life, BAD)
    mall.outage = Missing(Absence.SOURCE_DOWN)
    assert life.until("held", "degraded", watch=GUARD).hold == "blind"
    assert mall.writes == []


def test_a_guard_can_be_replayed(mall: Mall, life: Lifetime) -> None:
    promoted(mall, life, BAD)
    view = life.until("verifying", watch=GUARD)
    record = record_of(life.journal.entries(watch_id=view.id, kinds=KINDS))
    again = replay(record, mall)
    assert again.same, again.text


def test_a_switch_is_compared_with_the_time_before_it_at_once(mall: Mall) -> None:
    """Blue/green: the other colour stands there without traffic; there is but one watch."""
    life = Lifetime(mall, MemoryJournal())
    mall.shops["shop"].apart = True
    mall.release("v2", BAD)
    mall.complete(told=True)
    view = life.until("awaiting approval")
    assert view.id.endswith("@v2.1")
    assert view.mode == "approve"
    assert "compared with its own past" in view.reasons[0]
    again = Lifetime(mall, life.end())
    again.tick()
    assert again.view().phase == "awaiting approval"
    again.controller.watches.handle(view.id, Approved(view.plan_key, "ann"))
    again.settle()
    assert again.until("rolled back", "needs a human").phase == "rolled back"
    assert mall.writes == ["shop"]
    again.end()


def test_a_good_switch_is_left_alone(mall: Mall) -> None:
    life = Lifetime(mall, MemoryJournal())
    mall.shops["shop"].apart = True
    mall.release("v2")
    mall.complete(told=True)
    view = life.until("healthy", "inconclusive", "degraded", ticks=200)
    assert view.phase == "healthy"
    assert life.controller.watches.known_good(mall.shops["shop"].workload) == ("v2",)
    life.end()


@settings(max_examples=25, deadline=None)
@given(breaths=st.integers(0, 40))
def test_a_crash_at_any_write_ends_in_one_rollback(breaths: int) -> None:
    """From promotion to recovery; each life dies at some write, the next takes over."""
    mall, journal = Mall(), MemoryJournal()
    life = Lifetime(mall, journal, GUARDED)
    promoted(mall, life)
    kept = list(life.end().entries())
    mall.worsen("v2", BAD)
    mortal = MortalJournal(Lifeline(), kept)
    with suppress(Killed):
        lifeline = Lifeline(breaths)
        mortal = MortalJournal(lifeline, kept)
        Lifetime(mall, mortal, GUARDED, life=lifeline).tick(150)
    last = Lifetime(mall, MemoryJournal(mortal.entries()), GUARDED)
    assert last.until("rolled back", "needs a human", watch=GUARD).phase == "rolled back"
    assert mall.writes == ["shop"]
    assert phases(last.journal, GUARD)[-1] == "rolled back"
    last.end()


def test_a_restart_before_the_rollout_is_complete_does_not_lose_the_guard(mall: Mall) -> None:
    life = Lifetime(mall, MemoryJournal(), GUARDED)
    mall.release("v2")
    life.until("healthy")
    again = Lifetime(mall, life.end(), GUARDED)
    again.tick(3)
    mall.complete(told=True)
    assert again.until("observing", watch=GUARD).mode == "enforce"
    again.end()
