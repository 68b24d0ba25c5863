"""Taking back a release that was kept: once, with guards, whatever happens in between."""

from contextlib import suppress

import pytest

from actions.apply import Applier, Patience
from actions.ports import Fenced, Transient
from rollbackd.planning import Planning, Precautions
from rollbackd.withdrawals import State, Withdrawals, Withdrawn
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, TELEMETRY, Lifetime, MortalJournal
from tests.process.mall import Killed, Lifeline, Mall, Switch


def kept() -> tuple[Mall, MemoryJournal, str]:
    """Return a mall whose newest release was judged healthy, the journal, and the watch's id."""
    mall = Mall()
    life = Lifetime(mall, MemoryJournal())
    life.tick(3)
    mall.release("v2")
    watch = life.until("healthy").id
    return mall, life.end(), watch


class Desk:
    """What one process has for withdrawals."""

    def __init__(
        self, mall: Mall, journal: MemoryJournal, line: Lifeline | None = None, **options: object
    ) -> None:
        self.mall = mall
        self.line = line or Lifeline()
        self.fenced = False
        actuators = {"switch": Switch(mall, self.line, [])}
        planning = Planning(actuators, journal, Precautions(), mall.clock, TELEMETRY)
        applier = Applier(
            actuators, journal, mall.clock, lambda _: not self.line.dead, Patience(attempts=2)
        )
        policies = {POLICY.name: POLICY} if options.get("policy", POLICY) else {}
        self.withdrawals = Withdrawals(
            planning, applier, journal, policies.get, mall.clock, self.permit
        )

    def permit(self) -> None:
        if self.fenced:
            raise Fenced("another replica leads")

    def ask(self, watch: str) -> Withdrawn:
        """Ask until there is an answer."""
        for _ in range(5):
            found = self.withdrawals.withdraw(watch, "train shop")
            if found.state is not State.UNDER_WAY:
                return found
            self.withdrawals.settle()
        raise AssertionError("it is under way for ever")


def test_a_kept_release_is_taken_back_once() -> None:
    mall, journal, watch = kept()
    desk = Desk(mall, journal)
    assert desk.withdrawals.withdraw(watch, "train shop").state is State.UNDER_WAY
    desk.withdrawals.settle()
    assert desk.ask(watch).state is State.DONE
    assert desk.ask(watch).state is State.DONE
    assert len(mall.writes) == 1
    assert mall.shops["shop"].current == "v1"
    desk.withdrawals.close()
    assert Desk(mall, journal).ask(watch).state is State.DONE
    assert len(mall.writes) == 1
    (said,) = journal.entries(kinds=frozenset({"withdrawal"}))
    assert said.data == {"by": "train shop", "watch": watch}


def test_what_is_no_longer_there_or_still_judged_is_not_taken_back() -> None:
    mall = Mall()
    life = Lifetime(mall, MemoryJournal())
    life.tick(3)
    mall.release("v2")
    watch = life.until("observing").id
    desk = Desk(mall, life.journal)
    assert desk.ask(watch) == Withdrawn(
        State.REFUSED, "shops/shop is observing: there is nothing to take back"
    )
    assert desk.ask("nobody").state is State.UNKNOWN
    without = Desk(mall, kept()[1], policy=None)
    assert "there is no policy" in without.ask(watch).text
    assert mall.writes == []
    life.end()


def test_guards_are_asked_and_what_they_say_is_told_once() -> None:
    mall, journal, watch = kept()
    mall.release("v3")  # what is there now is not what was kept
    desk = Desk(mall, journal)
    refused = desk.ask(watch)
    assert refused.state in {State.REFUSED, State.FAILED}
    assert refused.text
    assert mall.shops["shop"].current == "v3"
    # asked again, it is tried anew
    assert desk.withdrawals.withdraw(watch, "ann").state is State.UNDER_WAY
    desk.withdrawals.close()


def test_who_does_not_lead_takes_nothing_back() -> None:
    mall, journal, watch = kept()
    desk = Desk(mall, journal)
    desk.fenced = True
    with pytest.raises(Transient):
        desk.withdrawals.withdraw(watch, "ann")
    assert mall.writes == []


def test_after_a_crash_at_any_write_it_is_taken_back_exactly_once() -> None:
    survived = False
    for breaths in range(1, 30):
        mall, before, watch = kept()
        line = Lifeline(breaths)
        journal = MortalJournal(line, before.entries())
        desk = Desk(mall, journal, line)
        with suppress(Killed, AssertionError):
            desk.ask(watch)
        survived = not line.dead
        after = Desk(mall, MemoryJournal(tuple(journal.entries())))
        assert after.ask(watch).state is State.DONE, f"after {breaths} breaths"
        assert len(mall.writes) == 1, f"after {breaths} breaths"
        assert mall.shops["shop"].current == "v1"
        if survived:
            break
    assert survived
