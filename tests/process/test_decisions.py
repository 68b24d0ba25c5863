"""What people decide, with the real controller and desk behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.guards.settings import GuardSettings
from actions.ports import Conflict, Transient
from analyzer.policy import Mode
from analyzer.watch import Phase
from rollbackd.config.settings import Deciders
from rollbackd.decisions import (
    MAX_SNOOZE_S,
    Answer,
    Decision,
    Decisions,
    Person,
    Verb,
    offer_key,
    offers,
    refusal,
)
from rollbackd.planning import Precautions
from rollbackd.views import WatchView
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, TELEMETRY, Lifetime
from tests.process.mall import BAD, Mall

ANN = Person("ann", "slack", "U1")
ALLOWED = Deciders(users=("U1",))


@contextmanager
def running(
    mode: Mode = Mode.APPROVE, deciders: Deciders = ALLOWED
) -> Iterator[tuple[Lifetime, Decisions]]:
    mall = Mall()
    life = Lifetime(mall, MemoryJournal(), replace(POLICY, mode=mode))
    try:
        yield life, taking(life, deciders)
    finally:
        life.end()


def taking(life: Lifetime, deciders: Deciders = ALLOWED) -> Decisions:
    return Decisions(
        views=life.controller.watches.views,
        handle=life.decided,
        release=life.release,
        deciders=lambda _: deciders,
        journal=life.journal,
        telemetry=TELEMETRY,
        now=life.mall.clock,
    )


def on(view: WatchView, verb: Verb, by: Person = ANN) -> Decision:
    return Decision(view.id, verb, by, view.plan_key, view.turn)


def test_a_person_rolls_back_a_canary_that_nothing_is_said_against() -> None:
    with running(Mode.OBSERVE) as (life, people):
        life.mall.release("v2")
        view = life.until("observing")
        taken = people.decide(on(view, Verb.ROLL_BACK))
        assert (taken.answer, taken.phase) == (Answer.TAKEN, "rollback demanded")
        life.settle()
        assert life.mall.writes == ["shop"]
        view = life.until("rolled back", "needs a human")
        assert any("at the demand of ann" in item.text for item in view.timeline)
        (entry,) = life.journal.entries(kinds=frozenset({"decision"}))
        assert {"decision": "rollback", "id": "U1", "via": "slack"}.items() <= entry.data.items()


def test_the_guards_are_asked_and_a_refused_demand_changes_nothing() -> None:
    with running(Mode.ENFORCE) as (life, people):
        life.mall.release("v2", BAD)
        life.until("rolled back")
        life.mall.release("v3")
        view = life.until("observing", watch="@v3")
        people.decide(on(view, Verb.ROLL_BACK))
        life.settle()
        life.tick()
        now = life.view("@v3")
        assert now.phase == "observing"
        assert any("cool-down" in item.text for item in now.timeline)
        assert life.mall.writes == ["shop"]
        assert people.decide(on(view, Verb.ROLL_BACK)).answer is Answer.STALE
        assert people.decide(on(now, Verb.ROLL_BACK)).answer is Answer.TAKEN


def test_a_decision_delivered_again_is_taken_once() -> None:
    with running() as (life, people):
        life.mall.release("v2", BAD)
        view = life.until("awaiting approval")
        key = offer_key(view, Verb.APPROVE)
        assert people.offered(key) == (life.view(), Verb.APPROVE)
        answers = [people.decide(on(view, Verb.APPROVE)).answer for _ in range(3)]
        assert answers == [Answer.TAKEN, Answer.STALE, Answer.STALE]
        assert people.offered(key) is None
        life.settle()
        assert life.mall.writes == ["shop"]


def test_after_a_restart_an_old_button_still_decides_once() -> None:
    with running() as (life, _):
        life.mall.release("v2", BAD)
        view = life.until("awaiting approval")
        key = offer_key(view, Verb.APPROVE)
        life.end()
        second = Lifetime(life.mall, life.journal, replace(POLICY, mode=Mode.APPROVE))
        second.tick()
        again = taking(second)
        assert again.offered(key) is not None
        assert again.decide(on(view, Verb.APPROVE)).answer is Answer.TAKEN
        second.settle()
        second.end()
        third = Lifetime(life.mall, life.journal, replace(POLICY, mode=Mode.APPROVE))
        third.tick()
        last = taking(third)
        assert last.offered(key) is None
        assert last.decide(on(view, Verb.APPROVE)).answer is Answer.STALE
        third.end()
        assert life.mall.writes == ["shop"]


def test_one_click_on_two_replicas_acts_once() -> None:
    """The second replica's memory is old; the journal, which both share, is not."""
    with running() as (life, people):
        life.mall.release("v2", BAD)
        view = life.until("awaiting approval")
        other = Lifetime(life.mall, life.journal, replace(POLICY, mode=Mode.APPROVE))
        other.controller.tick()
        assert other.view().phase == "awaiting approval"
        assert people.decide(on(view, Verb.APPROVE)).answer is Answer.TAKEN
        assert other.view().phase == "awaiting approval"
        assert taking(other).decide(on(view, Verb.APPROVE)).answer is Answer.STALE
        life.settle()
        other.end()
        assert life.mall.writes == ["shop"]


def test_a_superseded_and_an_expired_plan_are_not_decided_about() -> None:
    with running() as (life, people):
        life.mall.release("v2", BAD)
        old = life.until("awaiting approval")
        life.mall.release("v3", BAD)
        new = life.until("awaiting approval", watch="@v3")
        assert people.decide(on(old, Verb.APPROVE)).answer is Answer.STALE
        life.mall.clock.at += POLICY.approval_expires_s
        late = people.decide(on(new, Verb.APPROVE))
        assert late.answer is Answer.STALE
        assert "came too late" in late.text
        assert life.mall.writes == []


def test_what_was_only_reported_is_rolled_back_at_a_persons_demand() -> None:
    with running(Mode.OBSERVE) as (life, people):
        life.mall.release("v2", BAD)
        view = life.until("reported")
        life.tick(20)
        assert life.mall.writes == []
        assert offers(view) == (Verb.ROLL_BACK,)
        answers = [people.decide(on(view, Verb.ROLL_BACK)).answer for _ in range(2)]
        assert answers == [Answer.TAKEN, Answer.STALE]
        life.settle()
        assert life.mall.writes == ["shop"]
        view = life.until("rolled back", "needs a human")
        assert (view.phase, view.decided_by) == ("rolled back", "ann")
        assert view.note.startswith("recovered")
        assert offers(view) == ()


def test_what_was_reported_before_a_restart_can_still_be_rolled_back() -> None:
    with running(Mode.OBSERVE) as (life, _):
        life.mall.release("v2", BAD)
        before = life.until("reported")
        life.end()
        second = Lifetime(life.mall, life.journal, replace(POLICY, mode=Mode.OBSERVE))
        second.tick()
        view = second.view()
        assert (view.verdict, view.reasons) == (before.verdict, before.reasons)
        assert offer_key(view, Verb.ROLL_BACK) == offer_key(before, Verb.ROLL_BACK)
        assert taking(second).decide(on(before, Verb.ROLL_BACK)).answer is Answer.TAKEN
        second.settle()
        assert life.mall.writes == ["shop"]
        assert second.until("rolled back", "needs a human").phase == "rolled back"
        second.end()


def test_a_demand_after_the_report_that_the_guards_refuse_leaves_it_reported() -> None:
    mall = Mall("shop", "cafe")
    one = Precautions({"usual": GuardSettings(namespace_budget=1)})
    life = Lifetime(mall, MemoryJournal(), replace(POLICY, mode=Mode.OBSERVE), precautions=one)
    people = taking(life)
    mall.release("v2", BAD)
    mall.release("v2", shop="cafe")
    view = life.until("reported", watch="/shop@")
    people.decide(on(life.view("/cafe@"), Verb.ROLL_BACK))
    life.settle()
    assert mall.writes == ["cafe"]
    assert people.decide(on(view, Verb.ROLL_BACK)).answer is Answer.TAKEN
    life.settle()
    after = life.view("/shop@")
    assert after.phase == "reported"
    assert after.note.startswith("not rolled back as ann wanted: ")
    assert people.decide(on(view, Verb.ROLL_BACK)).answer is Answer.STALE
    assert offers(after) == (Verb.ROLL_BACK,)
    assert mall.writes == ["cafe"]
    life.end()


def test_what_was_reported_and_is_gone_is_not_offered_any_more() -> None:
    with running(Mode.OBSERVE) as (life, people):
        life.mall.release("v2", BAD)
        old = life.until("reported")
        life.mall.release("v3")
        life.tick()
        assert offers(life.view("@v2")) == ()
        assert people.decide(on(old, Verb.ROLL_BACK)).answer is Answer.STALE
        stored = life.journal.latest("view")[old.id].data
        assert stored["can_demand"] is False
        assert life.mall.writes == []


def test_a_hold_is_released_once_also_after_the_end_of_its_watch_and_a_restart() -> None:
    with running(Mode.ENFORCE) as (life, _):
        life.mall.release("v2", BAD)
        view = life.until("rolled back")
        assert Verb.RELEASE not in offers(view)
        life.mall.barrier.shut[view.id] = "the sync of a/b"
        life.controller.watches.redraw(view.id)
        life.end()
        second = Lifetime(life.mall, life.journal, POLICY)
        second.tick()
        people, held = taking(second), second.view()
        assert (held.held, offers(held)) == (("the sync of a/b",), (Verb.RELEASE,))
        assert people.decide(on(held, Verb.RELEASE, STRANGER)).answer is Answer.FORBIDDEN
        key = offer_key(held, Verb.RELEASE)
        told = [people.press(key, Verb.RELEASE, ANN) for _ in range(2)]
        assert [outcome.answer for outcome in told] == [Answer.TAKEN, Answer.STALE]
        assert told[0].text == "the sync of a/b goes on"
        assert life.mall.barrier.let_go == ["the sync of a/b for ann"]
        assert second.view().held == ()
        assert second.journal.latest("view")[view.id].data["held"] == []
        second.end()


def test_a_hold_that_cannot_be_released_stays_and_is_offered_again() -> None:
    with running(Mode.ENFORCE) as (life, people):
        life.mall.release("v2")
        view = life.until("observing")
        life.mall.barrier.shut[view.id] = "its rollout"
        life.tick()
        held = life.view()
        assert offers(held) == (Verb.ROLL_BACK, Verb.SNOOZE, Verb.RELEASE)
        life.mall.barrier.trouble = [Conflict("somebody changed it"), Transient("timeout")]
        failed = people.decide(on(held, Verb.RELEASE))
        assert (failed.answer, failed.text) == (
            Answer.FAILED,
            "not all was let go: somebody changed it",
        )
        with pytest.raises(Transient):
            people.decide(on(held, Verb.RELEASE))
        assert people.decide(on(held, Verb.RELEASE)).answer is Answer.TAKEN
        assert life.view().phase == "observing"


def test_a_snooze_holds_for_so_long_and_can_be_ended() -> None:
    with running(Mode.ENFORCE) as (life, people):
        life.mall.release("v2", BAD)
        view = life.until("warming", "observing")
        long = replace(on(view, Verb.SNOOZE), for_s=1e9)
        assert people.decide(long).phase == "held"
        held = life.view()
        assert f"for {MAX_SNOOZE_S / 3600:.0f} h" in held.note
        life.tick(20)
        assert life.view().phase == "held"
        assert people.decide(on(held, Verb.RESUME)).answer is Answer.TAKEN
        life.until("acting", "verifying", "rolled back")


def test_nobody_decides_about_what_is_not_offered() -> None:
    with running() as (life, people):
        life.mall.release("v2")
        view = life.until("observing")
        for verb in (Verb.APPROVE, Verb.REJECT, Verb.RESUME):
            assert people.decide(on(view, verb)).answer is Answer.STALE
        unknown = replace(on(view, Verb.SNOOZE), watch_id="nobody")
        assert people.decide(unknown).answer is Answer.UNKNOWN
        assert not list(life.journal.entries(kinds=frozenset({"decision"})))


def test_without_a_journal_nothing_is_decided_and_it_can_be_done_again() -> None:
    with running() as (life, people):
        life.mall.release("v2", BAD)
        view = life.until("awaiting approval")
        for failures in ([Transient("disk full")], [None, Transient("disk full")]):
            life.journal.failures.extend(failures)
            with pytest.raises(Transient):
                people.decide(on(view, Verb.APPROVE))
            assert life.view().phase == "awaiting approval"
        assert people.decide(on(view, Verb.APPROVE)).answer is Answer.TAKEN


STRANGER = Person("eve", "slack", "U9", ("eve@shop.example",))


@pytest.mark.parametrize(
    ("by", "deciders", "allowed"),
    [
        (STRANGER, Deciders(), False),
        (STRANGER, ALLOWED, False),
        (ANN, ALLOWED, True),
        (STRANGER, Deciders(users=("EVE@shop.example",)), True),
        (replace(STRANGER, name="U1", aliases=("U1", "ann@shop.example")), ALLOWED, False),
        (replace(STRANGER, aliases=("ann@a.b",)), Deciders(users=("ann@a.b", "@eve")), False),
        (STRANGER, Deciders(users=("eve", "")), False),
        (STRANGER, Deciders(groups=("S1",)), False),
        (replace(STRANGER, is_member=lambda group: group == "S1"), Deciders(groups=("S1",)), True),
        (replace(STRANGER, trusted=True), Deciders(), True),
    ],
)
def test_only_those_named_may_decide(by: Person, deciders: Deciders, allowed: bool) -> None:
    assert (refusal(by, deciders, {}) == "") is allowed


@pytest.mark.parametrize("author", ["U1", "u1", "ann", "Ann ", "ann@shop.example"])
@pytest.mark.parametrize("trusted", [True, False])
def test_with_four_eyes_the_author_does_not_decide(author: str, trusted: bool) -> None:
    person = replace(ANN, addresses=("ann@shop.example",), trusted=trusted)
    strict = replace(ALLOWED, four_eyes=True)
    assert "author" in refusal(person, strict, {"rollbackd.io/author": author})
    assert "does not say its author" in refusal(person, strict, {})
    assert refusal(person, strict, {"rollbackd.io/author": "bob"}) == ""


def test_an_address_that_cannot_be_compared_is_no_other_person() -> None:
    strict = replace(ALLOWED, four_eyes=True)
    said = {"rollbackd.io/author": "ann@shop.example"}
    assert "address of ann is not known" in refusal(ANN, strict, said)
    known = replace(ANN, addresses=("ann@home.example",))
    assert refusal(known, strict, said) == ""


def test_who_may_not_decide_changes_nothing() -> None:
    with running() as (life, people):
        life.mall.release("v2", BAD)
        view = life.until("awaiting approval")
        outcome = people.decide(on(view, Verb.APPROVE, STRANGER))
        assert outcome.answer is Answer.FORBIDDEN
        assert life.view().phase == "awaiting approval"
        assert life.mall.writes == []


@given(
    st.sampled_from(Phase), st.sampled_from(["", "blind", "snoozed"]), st.integers(0, 5),
    st.sampled_from(["", "plan-1", "plan-2"]), st.sampled_from([(), ("a",), ("a", "b")]),
)  # fmt: skip
def test_every_offer_has_a_key_of_its_own(
    phase: Phase, hold: str, turn: int, plan: str, held: tuple[str, ...]
) -> None:
    from tests.cli import sample_views

    view = replace(sample_views.degraded(), phase=phase.value, hold=hold, turn=turn, plan_key=plan)
    view = replace(view, held=held)
    keys = {offer_key(view, verb) for verb in offers(view)}
    assert len(keys) == len(offers(view))
    for other in (
        replace(view, turn=turn + 1),
        replace(view, plan_key="x"),
        replace(view, id="y"),
    ):
        assert keys.isdisjoint(offer_key(other, verb) for verb in Verb)
    assert not (phase.final and set(offers(view)) - {Verb.RELEASE})
    assert (Verb.RELEASE in offers(view)) is bool(held)
