"""The desk: one job a watch at a time, every outcome an event, nothing forgotten."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event as Signal
from threading import Lock
from typing import cast

import pytest

from actions.apply import Applier, Patience
from actions.guards.register import GUARDS
from actions.guards.settings import GuardSettings
from actions.plan import Draft, Plan, Step, keyed, plan_to_json
from actions.ports import Entry, Permanent, StepState, Transient
from analyzer.events import Acted, ActFailed, Event, Planned, PlanRefused
from analyzer.policy import Mode
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.desk import ActionDesk
from rollbackd.planning import Planning, Precautions
from rollbackd.telemetry import Telemetry
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY
from tests.process.mall import START, Mall

PATIENCE_S = 10.0
"""Nothing here takes so long; a test that waits for ever should fail and say so."""


@dataclass
class Lever:
    """An actuator whose state is one word; a test may hold its calls, and make them fail."""

    word: str = "bad"
    gate: Signal = field(default_factory=Signal)
    proposals: list[Exception] = field(default_factory=list)
    looks: list[Exception] = field(default_factory=list)
    pulls: int = 0
    settling: bool = False
    held: Signal = field(default_factory=Signal)

    def __post_init__(self) -> None:
        self.gate.set()

    def propose(self, rollout: Rollout) -> Draft:
        if self.proposals:
            raise self.proposals.pop(0)
        name = rollout.workload.name
        return Draft((Step("lever", {"name": name}, {"word": "bad"}, {"word": "good"}),))

    def inspect(self, step: Step) -> StepState:
        self.held.set()
        assert self.gate.wait(PATIENCE_S)
        if self.looks:
            raise self.looks.pop(0)
        if self.word == step.desired["word"]:
            return StepState.SETTLING if self.settling else StepState.DONE
        return StepState.PENDING if self.word == step.expected["word"] else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        self.word = step.desired["word"]
        self.pulls += 1


@dataclass
class Office:
    """A desk, what it answered, and what it stands on."""

    lever: Lever = field(default_factory=Lever)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    telemetry: Telemetry = field(default_factory=lambda: Telemetry(version="t", environ={}))
    answers: list[Event] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    stopping: Signal = field(default_factory=Signal)
    precautions: Precautions = field(default_factory=Precautions)
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        mall = Mall()
        mall.release("v2")
        self.rollout = cast("Rollout", mall.shops["shop"].rollout())
        self.answered = Signal()
        patience = Patience(attempts=2, settle_s=1e9)
        applier = Applier(
            {"lever": self.lever}, self.journal, lambda: START, self._pause, patience
        )
        self.planning = Planning(
            {"lever": self.lever}, self.journal, self.precautions, lambda: START, self.telemetry
        )
        self.desk = ActionDesk(self.planning, applier, self.journal, self._answer, self.telemetry)

    def _pause(self, seconds: float) -> bool:
        return not self.stopping.wait(0 if seconds < 1 else 0.001)

    def _answer(self, watch_id: str, event: Event) -> None:
        assert watch_id
        with self.lock:
            if self.trouble:
                self.answered.set()
                raise self.trouble.pop(0)
            self.answers.append(event)
            self.answered.set()

    def plan(self, attempt: int = 1, actuators: tuple[str, ...] = ("lever",)) -> None:
        self.desk.plan("w", replace(POLICY, actuators=actuators), self.rollout, attempt)

    def planned(self) -> Planned:
        self.plan()
        event = self.answer()
        assert isinstance(event, Planned)
        return event

    def answer(self) -> Event:
        """Return the next answer."""
        assert self.answered.wait(PATIENCE_S)
        self.idle()
        with self.lock:
            self.answered.clear()
            return self.answers.pop(0)

    def idle(self) -> None:
        """Wait until every job is over; the desk has four workers."""
        while self.desk._busy:
            self.desk._pool.submit(lambda: None).result()

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.journal.entries()]

    def counted(self, metric: str) -> float:
        lines = self.telemetry.exposition().decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


@pytest.fixture
def office() -> Iterator[Office]:
    with opened() as office:
        yield office


@contextmanager
def opened(office: Office | None = None) -> Iterator[Office]:
    office = office or Office()
    yield office
    office.lever.gate.set()
    office.stopping.set()
    office.desk.close()
    office.telemetry.close()


def test_a_plan_is_on_record_before_it_is_answered(office: Office) -> None:
    planned = office.planned()
    (entry,) = office.journal.entries()
    assert (entry.kind, entry.key, entry.watch_id) == ("plan", planned.plan_key, "w")
    assert office.desk.find_plan("w", planned.plan_key) is not None
    assert office.desk.find_plan("w", "another") is None
    assert office.counted('rollbackd_plans_total{outcome="made"}') == 1


@pytest.mark.parametrize(
    ("proposal", "actuators", "reason"),
    [
        (Permanent("403 forbidden"), ("lever",), "403 forbidden"),
        (None, ("crane",), "no action named crane is configured"),
        (None, (), "names no action"),
    ],
)
def test_a_refusal_is_on_record_with_its_reasons(
    office: Office, proposal: Exception | None, actuators: tuple[str, ...], reason: str
) -> None:
    office.lever.proposals += [proposal] if proposal else []
    office.plan(actuators=actuators)
    event = office.answer()
    assert isinstance(event, PlanRefused)
    assert any(reason in text for text in event.reasons)
    (entry,) = office.journal.entries()
    assert entry.kind == "refusal"
    assert entry.data["reasons"] == list(event.reasons)
    assert office.counted('rollbackd_plans_total{outcome="refused"}') == 1


def test_a_plan_is_carried_out_and_counted(office: Office) -> None:
    key = office.planned().plan_key
    office.desk.act("w", POLICY, key)
    assert office.answer() == Acted(key)
    assert (office.lever.word, office.lever.pulls) == ("good", 1)
    assert office.kinds() == ["plan", "step-started", "step-done"]
    assert office.counted('rollbackd_actions_total{outcome="done"}') == 1


def test_asking_again_for_what_is_in_hand_does_nothing(office: Office) -> None:
    key = office.planned().plan_key
    office.lever.gate.clear()
    for _ in range(5):
        office.desk.act("w", POLICY, key)
    office.lever.gate.set()
    assert office.answer() == Acted(key)
    assert office.answers == []
    assert office.lever.pulls == 1


def test_asking_again_while_the_answer_is_being_taken_does_nothing(office: Office) -> None:
    """The tick asks for everything again; an answer on its way must not be worked out twice."""
    key = office.planned().plan_key
    taking, go_on = Signal(), Signal()

    def slow(_: str, event: Event) -> None:
        taking.set()
        assert go_on.wait(PATIENCE_S)
        office.answers.append(event)

    office.desk._answer = slow
    office.desk.act("w", POLICY, key)
    assert taking.wait(PATIENCE_S)
    office.desk.act("w", POLICY, key)
    go_on.set()
    office.idle()
    assert office.answers == [Acted(key)]
    assert office.counted('rollbackd_actions_total{outcome="done"}') == 1


def test_an_answer_may_ask_for_the_next_job(office: Office) -> None:
    """The answer to a planned rollback is to carry it out, at once and not with the next tick."""
    answer = office.desk._answer

    def go_on(watch_id: str, event: Event) -> None:
        if isinstance(event, Planned):
            office.desk.act(watch_id, POLICY, event.plan_key)
        else:
            answer(watch_id, event)

    office.desk._answer = go_on
    office.plan()
    assert isinstance(office.answer(), Acted)


def test_watches_do_not_wait_for_each_other(office: Office) -> None:
    key = office.planned().plan_key
    office.lever.gate.clear()
    office.desk.act("w", POLICY, key)
    assert office.lever.held.wait(PATIENCE_S)
    office.desk.plan("another", POLICY, office.rollout, 1)
    assert office.answered.wait(PATIENCE_S)
    assert isinstance(office.answers[0], PlanRefused)  # it names an actuator we do not have


def test_a_bug_becomes_an_event_for_people(office: Office) -> None:
    office.lever.proposals.append(ZeroDivisionError("a bug"))
    office.plan()
    assert office.answer() == PlanRefused(("internal error: a bug",))
    key = office.planned().plan_key
    office.lever.looks.append(ZeroDivisionError("a bug"))
    office.desk.act("w", POLICY, key)
    assert office.answer() == ActFailed(key, "internal error: a bug", conflict=False)


def test_passing_trouble_is_retried_when_asked_again(office: Office) -> None:
    office.lever.proposals.append(Transient("503"))
    office.plan()
    office.idle()
    assert office.answers == []
    key = office.planned().plan_key
    office.journal.failures.append(Transient("disk full"))
    office.desk.act("w", POLICY, key)
    office.idle()
    assert office.answers == []
    assert office.lever.pulls == 0
    office.desk.act("w", POLICY, key)
    assert office.answer() == Acted(key)


@pytest.mark.parametrize("error", [Transient("disk full"), Permanent("read-only"), KeyError("w")])
def test_an_answer_that_was_not_taken_is_given_again(office: Office, error: Exception) -> None:
    key = office.planned().plan_key
    office.trouble.append(error)
    office.desk.act("w", POLICY, key)
    assert office.answered.wait(PATIENCE_S)
    office.idle()
    office.answered.clear()
    office.desk.act("w", POLICY, key)
    assert office.answer() == Acted(key)
    assert office.lever.pulls == 1
    assert office.kinds().count("step-done") == 1


def test_a_plan_that_is_not_on_record_is_not_carried_out(office: Office) -> None:
    office.desk.act("w", POLICY, "nobody made it")
    event = office.answer()
    assert isinstance(event, ActFailed)
    assert "journal does not hold the plan" in event.reason
    assert office.lever.pulls == 0


def test_a_world_that_moved_on_is_a_conflict(office: Office) -> None:
    key = office.planned().plan_key
    office.lever.word = "something else"
    office.desk.act("w", POLICY, key)
    event = office.answer()
    assert isinstance(event, ActFailed)
    assert event.conflict
    assert office.counted('rollbackd_actions_total{outcome="conflict"}') == 1


def test_past_actions_are_those_that_took_effect(office: Office) -> None:
    office.planned()
    assert office.planning.ledger.account(START).past == ()
    key = office.planned().plan_key
    office.desk.act("w", POLICY, key)
    office.answer()
    (past,) = office.planning.ledger.account(START).past
    assert (past.workload, past.at) == (office.rollout.workload, START)
    assert (past.bad_revision, past.good_revision) == ("v2", "v1")
    office.plan(attempt=2)
    refused = office.answer()
    assert isinstance(refused, PlanRefused)
    assert "cool-down" in refused.reasons[0]


def test_closing_waits_for_the_step_in_hand_and_leaves_it_open(office: Office) -> None:
    key = office.planned().plan_key
    office.lever.settling = True
    office.lever.held.clear()
    office.desk.act("w", POLICY, key)
    assert office.lever.held.wait(PATIENCE_S)
    office.stopping.set()
    office.desk.close()
    assert office.answers == []
    assert office.counted('rollbackd_actions_total{outcome="interrupted"}') == 1
    assert "step-done" not in office.kinds()
    office.desk.act("w", POLICY, key)  # after the end: quietly nothing
    office.plan()
    assert office.answers == []


def test_asking_while_it_closes_is_never_an_error() -> None:
    """The tick goes on until the scheduler has stopped, after the desk."""
    for _ in range(20):
        with opened() as office, ThreadPoolExecutor(1) as tick:
            asking = [
                tick.submit(office.desk.act, f"{i}", POLICY, "nobody made it") for i in range(50)
            ]
            office.desk.close()
            assert [asked.exception(PATIENCE_S) for asked in asking] == [None] * 50


def test_the_journal_of_an_earlier_process_is_enough_to_finish() -> None:
    with opened() as first:
        key = first.planned().plan_key
        first.lever.settling = True
        first.stopping.set()
        first.desk.act("w", POLICY, key)
        first.desk.close()
    kept = [Entry(e.at, e.watch_id, e.kind, e.key, e.data) for e in first.journal.entries()]
    with opened(Office(Lever(word="good"), MemoryJournal(kept))) as second:
        second.desk.act("w", POLICY, key)
        assert second.answer() == Acted(key)
        assert second.lever.pulls == 0


def lately(count: int, mode: str) -> list[Entry]:
    """Return plans that were made for other workloads just now."""
    entries = []
    for i in range(count):
        workload = replace(MALL_SHOP, name=f"other-{i}")
        plan = keyed(Plan(f"w{i}", workload, Revision("b", "b"), Revision("g", "g"), ()))
        data = plan_to_json(plan) | {"mode": mode, "asks": "", "checks": []}
        entries.append(Entry(START, f"w{i}", "plan", plan.key, data))
    return entries


MALL_SHOP = Workload("mall", "shops", "Static", "shop")


def test_what_each_guard_said_is_on_record_shown_and_counted(office: Office) -> None:
    office.journal.append(*lately(4, "observe"))
    office.plan()
    refused = office.answer()
    assert isinstance(refused, PlanRefused)
    assert "platform incident" in "; ".join(refused.reasons)
    *_, entry = office.journal.entries()
    told = {check["guard"]: check["outcome"] for check in entry.data["checks"]}
    assert set(told) == set(GUARDS)
    assert {name for name, outcome in told.items() if outcome != "passed"} == {"incident"}
    assert entry.data["workload"]["name"] == "shop"
    assert [c.guard for c in refused.checks] == [name.value for name in GUARDS]
    assert office.counted('rollbackd_refusals_total{guard="incident"}') == 1
    assert office.counted('rollbackd_refusals_total{guard="budget"}') == 0


def test_an_incident_that_shows_only_now_stops_a_plan_that_was_not_begun(office: Office) -> None:
    """Watches that go bad in the same tick do not know of each other when plans are made."""
    key = office.planned().plan_key
    office.journal.append(*lately(4, "observe"))
    office.desk.act("w", POLICY, key)
    event = office.answer()
    assert isinstance(event, ActFailed)
    assert not event.conflict
    assert "nothing was written: 5 workloads" in event.reason
    assert office.lever.pulls == 0
    assert "step-started" not in office.kinds()


def test_a_plan_that_was_begun_is_finished_whatever_happens_elsewhere(office: Office) -> None:
    key = office.planned().plan_key
    (step,) = cast("Plan", office.desk.find_plan("w", key)).steps
    office.journal.append(Entry(START, "w", "step-started", step.key, {"plan": key}))
    office.journal.append(*lately(4, "observe"))
    office.desk.act("w", POLICY, key)
    assert office.answer() == Acted(key)


def test_a_plan_that_a_person_approved_is_carried_out_in_an_incident(office: Office) -> None:
    policy = replace(POLICY, mode=Mode.APPROVE, actuators=("lever",))
    office.desk.plan("w", policy, office.rollout, 1)
    planned = office.answer()
    assert isinstance(planned, Planned)
    office.journal.append(*lately(4, "observe"))
    office.desk.act("w", POLICY, planned.plan_key)
    assert office.answer() == Acted(planned.plan_key)


def test_only_one_of_two_takes_the_last_of_a_budget() -> None:
    settings = GuardSettings(namespace_budget=1)
    with opened(Office(precautions=Precautions({POLICY.name: settings}))) as office:
        policy = replace(POLICY, actuators=("lever",))
        other = replace(office.rollout, workload=replace(MALL_SHOP, name="other"))
        office.desk.plan("w1", policy, office.rollout, 1)
        office.desk.plan("w2", policy, other, 1)
        office.idle()
        kinds = [type(answer) for answer in office.answers]
        assert sorted(kinds, key=str) == [PlanRefused, Planned]
