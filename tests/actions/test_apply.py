"""Crashes at every journal write and every call of the world: each effect happens exactly once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.apply import Applier, Done, Failed, Patience
from actions.plan import Draft, Plan, Step, keyed
from actions.ports import Conflict, Entry, Fenced, Permanent, StepState, Transient
from analyzer.rollout import Revision, Rollout, Workload
from tests.fakes.memory_journal import MemoryJournal


class Killed(BaseException):
    """The process died here."""


@dataclass
class Lifeline:
    """Kills the process at its n-th breath; an endless one never does."""

    breaths: int | None = None

    def breathe(self) -> None:
        if self.breaths is not None:
            self.breaths -= 1
            if self.breaths < 0:
                raise Killed


@dataclass
class World:
    """Revisions by name. Survives the process."""

    current: dict[str, str]
    writes: list[str] = field(default_factory=list)


@dataclass
class Switch:
    """An actuator over the world that may die before and after its write."""

    world: World
    life: Lifeline
    trouble: list[Exception] = field(default_factory=list)
    settles_after: int = 0

    def propose(self, rollout: Rollout) -> Draft:
        raise NotImplementedError

    def inspect(self, step: Step) -> StepState:
        self.life.breathe()
        now = self.world.current[step.target["name"]]
        if now == step.desired["revision"]:
            if self.settles_after > 0:
                self.settles_after -= 1
                return StepState.SETTLING
            return StepState.DONE
        return StepState.PENDING if now == step.expected["revision"] else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        self.life.breathe()
        if self.trouble:
            raise self.trouble.pop(0)
        name = step.target["name"]
        if self.world.current[name] != step.expected["revision"]:
            raise Conflict(f"{name} moved on")
        self.world.current[name] = step.desired["revision"]
        self.world.writes.append(name)
        self.life.breathe()


class MortalJournal(MemoryJournal):
    """A journal whose process may die before or after each write."""

    def __init__(self, life: Lifeline, entries: Iterable[Entry]) -> None:
        self.life = life
        super().__init__(entries)

    def append(self, *entries: Entry) -> int:
        self.life.breathe()
        seq = super().append(*entries)
        self.life.breathe()
        return seq


def a_plan(*names: str) -> Plan:
    steps = tuple(
        Step("switch", {"name": n}, {"revision": "bad"}, {"revision": "good"}) for n in names
    )
    workload = Workload("c", "n", "Deployment", "shop")
    return keyed(Plan("w", workload, Revision("2", "bad"), Revision("1", "good"), steps))


def applier(
    switch: Switch, journal: MemoryJournal, stop: Callable[[], bool] = lambda: False
) -> Applier:
    clock = iter(range(10**9))
    return Applier(
        {"switch": switch},
        journal,
        now=lambda: float(next(clock)),
        pause=lambda _: not stop(),
        patience=Patience(attempts=3, settle_s=50),
    )


@settings(max_examples=300)
@given(
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
    crashes=st.lists(st.integers(0, 25), max_size=5),
    settling=st.integers(0, 2),
)
def test_after_any_crashes_each_step_has_happened_exactly_once(
    names: list[str], crashes: list[int], settling: int
) -> None:
    world = World(dict.fromkeys(names, "bad"))
    plan = a_plan(*names)
    kept: list[Entry] = []
    for breaths in [*crashes, None]:
        life = Lifeline()
        journal = MortalJournal(life, kept)
        life.breaths = breaths
        try:
            outcome = applier(Switch(world, life, settles_after=settling), journal).carry_out(plan)
            assert outcome == Done()
        except Killed:
            pass
        life.breaths = None
        kept = list(journal.entries())
    assert sorted(world.writes) == sorted(names)
    assert set(world.current.values()) == {"good"}
    done = [e.key for e in kept if e.kind == "step-done"]
    assert sorted(done) == sorted(s.key for s in plan.steps)
    started = [e.key for e in kept if e.kind == "step-started"]
    assert len(started) == len(set(started))


def test_started_is_on_record_before_the_world_changes() -> None:
    world, journal = World({"a": "bad"}), MemoryJournal()
    at_write: list[str] = []

    class Watching(Switch):
        def perform(self, step: Step) -> None:
            at_write.extend(e.kind for e in journal.entries())
            super().perform(step)

    applier(Watching(world, Lifeline()), journal).carry_out(a_plan("a"))
    assert at_write == ["step-started"]


def test_passing_trouble_is_tried_again_and_lasting_trouble_is_told() -> None:
    world, journal = World({"a": "bad"}), MemoryJournal()
    slow = Switch(world, Lifeline(), [Transient("503"), Transient("timeout")])
    assert applier(slow, journal).carry_out(a_plan("a")) == Done()
    never = Switch(World({"a": "bad"}), Lifeline(), [Transient("503")] * 9)
    outcome = applier(never, MemoryJournal()).carry_out(a_plan("a"))
    assert outcome == Failed("gave up after 3 tries: 503")


def test_a_lost_answer_is_not_written_twice() -> None:
    world = World({"a": "bad"})

    class LosesAnswer(Switch):
        def perform(self, step: Step) -> None:
            super().perform(step)
            raise Transient("connection closed after the write")

    assert (
        applier(LosesAnswer(world, Lifeline()), MemoryJournal()).carry_out(a_plan("a")) == Done()
    )
    assert world.writes == ["a"]


def test_a_world_that_moved_on_is_a_conflict_and_nothing_is_written() -> None:
    world = World({"a": "newer"})
    outcome = applier(Switch(world, Lifeline()), MemoryJournal()).carry_out(a_plan("a"))
    assert isinstance(outcome, Failed)
    assert outcome.conflict
    assert world.writes == []


def test_a_world_that_moved_on_after_a_start_is_for_people() -> None:
    world, journal, plan = World({"a": "newer"}), MemoryJournal(), a_plan("a")
    journal.append(Entry(0, "w", "step-started", plan.steps[0].key, {}))
    outcome = applier(Switch(world, Lifeline()), journal).carry_out(plan)
    assert isinstance(outcome, Failed)
    assert not outcome.conflict


def test_what_never_takes_effect_is_told() -> None:
    never = Switch(World({"a": "bad"}), Lifeline(), settles_after=10**6)
    outcome = applier(never, MemoryJournal()).carry_out(a_plan("a"))
    assert isinstance(outcome, Failed)
    assert "no effect within" in outcome.reason


def test_a_stop_leaves_the_step_open_and_the_next_start_finishes_it() -> None:
    world, journal, plan = World({"a": "bad"}), MemoryJournal(), a_plan("a")
    settling = Switch(world, Lifeline(), settles_after=3)
    assert applier(settling, journal, stop=lambda: True).carry_out(plan) is None
    assert "step-done" not in [e.kind for e in journal.entries()]
    assert applier(settling, journal).carry_out(plan) == Done()
    assert world.writes == ["a"]


def test_an_action_that_is_configured_no_more_is_told() -> None:
    journal = MemoryJournal()
    outcome = Applier({}, journal, lambda: 0.0, lambda _: True).carry_out(a_plan("a"))
    assert outcome == Failed("no action named 'switch' is configured any more")


def test_permanent_trouble_is_journalled_with_its_reason() -> None:
    journal = MemoryJournal()
    denied = Switch(World({"a": "bad"}), Lifeline(), [Permanent("403 forbidden")])
    assert applier(denied, journal).carry_out(a_plan("a")) == Failed("403 forbidden")
    (failed,) = journal.entries(kinds=frozenset({"step-failed"}))
    assert failed.data["reason"] == "403 forbidden"


def test_a_journal_that_cannot_be_written_stops_the_action_before_it_begins() -> None:
    world = World({"a": "bad"})

    class Full(MemoryJournal):
        def append(self, *entries: Entry) -> int:
            del entries
            raise Transient("disk full")

    with pytest.raises(Transient, match="disk full"):
        applier(Switch(world, Lifeline()), Full()).carry_out(a_plan("a"))
    assert world.writes == []


# Trouble that takes its time, and leaders that lead no more


def waits(trouble: list[Exception]) -> tuple[list[float], object]:
    """Carry a plan out with the default patience; return the waits and the outcome."""
    switch = Switch(World({"a": "bad"}), Lifeline(), trouble)
    waited: list[float] = []

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        return True

    outcome = Applier({"switch": switch}, MemoryJournal(), lambda: 0.0, pause).carry_out(
        a_plan("a")
    )
    return waited, outcome


def test_a_server_that_restarts_within_a_minute_and_a_half_is_waited_for() -> None:
    waited, outcome = waits([Transient("refused")] * 11)
    assert outcome == Done()
    assert sum(waited) > 90
    assert max(waited) <= 15.0
    _, outcome = waits([Transient("refused")] * 12)
    assert outcome == Failed("gave up after 12 tries: refused")


def test_who_is_asked_to_wait_longer_does_up_to_a_bound() -> None:
    throttled = []
    for asked in (7.0, 3600.0):
        throttled.append(Transient("429"))
        throttled[-1].retry_after_s = asked
    waited, outcome = waits(list(throttled))
    assert outcome == Done()
    assert waited == [7.0, 60.0]


@pytest.mark.parametrize("allowed", [0, 1])
def test_who_does_not_lead_any_more_writes_nothing_and_concludes_nothing(allowed: int) -> None:
    world, journal, left = World({"a": "bad", "b": "bad"}), MemoryJournal(), [allowed]

    def permit() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Fenced("another process leads")

    done = Applier(
        {"switch": Switch(world, Lifeline())}, journal, lambda: 0.0, lambda _: True, permit=permit
    ).carry_out(a_plan("a", "b"))
    assert done is None
    assert world.writes == ["a", "b"][:allowed]
    kinds = [entry.kind for entry in journal.entries()]
    assert kinds == ["step-started", "step-done"] * allowed + ["step-started"]
