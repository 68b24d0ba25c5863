"""What the ledger tells of the past, and that it reads each entry once."""

from collections.abc import Iterator
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.guards.situation import PastAction, Trouble
from actions.plan import Plan, Step, keyed, plan_to_json
from actions.ports import Entry, Transient
from analyzer.rollout import Revision, Workload
from rollbackd.ledger import KEPT_ACTIONS, KEPT_TROUBLE_S, Ledger
from tests.fakes.memory_journal import MemoryJournal

SHOP = Workload("c", "n", "Deployment", "shop")
V1, V2 = Revision("uid-1", "v1"), Revision("uid-2", "v2")


def a_plan(watch_id: str = "w", attempt: int = 1, workload: Workload = SHOP) -> Plan:
    steps = tuple(Step(name, {}, {"is": 1}, {"is": 2}) for name in ("hold", "undo"))
    return keyed(Plan(watch_id, workload, V2, V1, steps, attempt))


def made(plan: Plan, at: float, mode: str = "enforce", asks: str = "") -> Entry:
    data = plan_to_json(plan) | {"mode": mode, "asks": asks, "checks": []}
    return Entry(at, plan.watch_id, "plan", plan.key, data)


def stepped(plan: Plan, at: float, kind: str, number: int = 1) -> Entry:
    data = {"plan": plan.key, "step": "whatever"}
    return Entry(at, plan.watch_id, kind, plan.steps[number].key, data)


def test_an_action_is_one_whose_step_is_done() -> None:
    journal, plan = MemoryJournal(), a_plan()
    ledger = Ledger(journal, preparing=frozenset({"hold"}))
    journal.append(made(plan, 1.0), stepped(plan, 2.0, "step-started", 0))
    journal.append(stepped(plan, 3.0, "step-done", 0))
    assert ledger.account(5.0).past == ()  # a hold alone changes nothing
    journal.append(stepped(plan, 4.0, "step-started"), stepped(plan, 5.0, "step-done"))
    assert ledger.account(6.0).past == (PastAction(SHOP, 5.0, "uid-2", "uid-1"),)


@pytest.mark.parametrize(
    ("mode", "asks", "begun", "acts"),
    [
        ("enforce", "", False, True),
        ("enforce", "a freeze", False, False),
        ("enforce", "a freeze", True, True),
        ("approve", "", False, False),
        ("approve", "", True, True),
        ("observe", "", False, False),
    ],
)
def test_what_counts_against_a_budget(mode: str, asks: str, begun: bool, acts: bool) -> None:
    plan = a_plan()
    journal = MemoryJournal([made(plan, 1.0, mode, asks)])
    if begun:
        journal.append(stepped(plan, 2.0, "step-started"))
    assert Ledger(journal).account(3.0).troubles == (Trouble("w", SHOP, 1.0, acts),)


def test_a_refusal_is_trouble_and_planning_again_is_the_same_trouble() -> None:
    refusal = {"reasons": ["no"], "workload": asdict(SHOP), "checks": []}
    journal = MemoryJournal([Entry(1.0, "w", "refusal", "", refusal)])
    ledger = Ledger(journal)
    assert ledger.account(2.0).troubles == (Trouble("w", SHOP, 1.0, acts=False),)
    journal.append(made(a_plan(), 9.0), made(a_plan(attempt=2), 12.0, "observe"))
    assert ledger.account(13.0).troubles == (Trouble("w", SHOP, 1.0, acts=True),)


def test_entries_of_an_older_version_are_read_as_well() -> None:
    old = Entry(1.0, "w", "refusal", "", {"reasons": ["no"]})
    plan = a_plan()
    written = Entry(2.0, "w", "plan", plan.key, plan_to_json(plan))
    journal = MemoryJournal([old, written, stepped(plan, 3.0, "step-done")])
    account = Ledger(journal).account(4.0)
    assert [action.at for action in account.past] == [3.0]
    assert account.troubles == (Trouble("w", SHOP, 2.0, acts=False),)


class CountingJournal(MemoryJournal):
    """Counts the entries that were read of it."""

    read = 0

    def entries(
        self, *, watch_id: str | None = None, kinds: frozenset[str] | None = None, after: int = 0
    ) -> Iterator[Entry]:
        for entry in super().entries(watch_id=watch_id, kinds=kinds, after=after):
            self.read += 1
            yield entry


def test_each_entry_is_read_once_and_memory_is_bounded() -> None:
    journal = CountingJournal()
    ledger = Ledger(journal)
    for i in range(100):
        plan = a_plan(f"w{i}")
        journal.append(made(plan, float(i)), stepped(plan, float(i), "step-done"))
        ledger.account(float(i))
    account = ledger.account(99.0)
    assert journal.read == 200
    assert len(account.past) == KEPT_ACTIONS
    assert account.past[-1].at == 99.0
    assert ledger.account(99.0 + KEPT_TROUBLE_S).troubles == (
        Trouble("w99", SHOP, 99.0, acts=True),
    )


def test_a_journal_that_cannot_be_read_loses_nothing() -> None:
    class Flaky(MemoryJournal):
        down = True

        def entries(
            self,
            *,
            watch_id: str | None = None,
            kinds: frozenset[str] | None = None,
            after: int = 0,
        ) -> Iterator[Entry]:
            for i, entry in enumerate(
                super().entries(watch_id=watch_id, kinds=kinds, after=after)
            ):
                if i == 1 and self.down:
                    raise Transient("the disk is slow")
                yield entry

    plan = a_plan()
    journal = Flaky([made(plan, 1.0), stepped(plan, 2.0, "step-done")])
    ledger = Ledger(journal)
    with pytest.raises(Transient):
        ledger.account(3.0)
    journal.down = False
    assert len(ledger.account(3.0).past) == 1


@given(cuts=st.lists(st.integers(0, 40), max_size=5))
def test_looking_more_often_tells_the_same(cuts: list[int]) -> None:
    entries = []
    for i in range(10):
        plan = a_plan(f"w{i % 4}", i, Workload("c", "n", "Deployment", f"s{i % 3}"))
        entries += [made(plan, float(i), "approve" if i % 2 else "enforce")]
        entries += [stepped(plan, i + 0.5, kind) for kind in ("step-started", "step-done")]
    often, once = MemoryJournal(), MemoryJournal(entries)
    ledger = Ledger(often)
    for i, entry in enumerate(entries):
        often.append(entry)
        if i in cuts:
            ledger.account(float(i))
    assert ledger.account(50.0) == Ledger(once).account(50.0)
