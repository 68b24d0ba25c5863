"""Trains over made-up regions and a GitHub that runs twice what is asked twice."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from actions.apply import Applier, Patience
from actions.ports import Transient
from actions.trains.dispatch import GitHubDispatch
from actions.trains.lever import Lever
from actions.trains.settings import Workflow
from analyzer.events import Approved
from analyzer.policy import Mode
from analyzer.rollout import AFTER
from analyzer.sample import Absence, Missing
from analyzer.trains.events import Continued, Halted, Recalled
from analyzer.trains.life import Train, TrainPhase
from analyzer.trains.policy import OnFailure, TrainPolicy
from rollbackd.trains.conductor import Conductor, Line
from rollbackd.trains.station import release_of
from rollbackd.views import WatchView
from rollbackd.withdrawals import State, Withdrawn
from tests.cli import sample_views
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import MortalJournal
from tests.process.mall import Killed, Lifeline
from tests.trains.stub_github import StubGitHub

ROUTE = ("eu", "us", "ap")
POLICY = TrainPolicy(Mode.ENFORCE, OnFailure.ROLL_BACK, soak_s=5, begin_within_s=600)
DOWN = Missing(Absence.SOURCE_DOWN, "no answer")


@dataclass
class Region:
    """A region's daemon as a test says it: implements ``Station``."""

    name: str
    watches_: list[WatchView] = field(default_factory=list)
    down: Missing | None = None
    taken_back: list[str] = field(default_factory=list)
    answers: list[Withdrawn | Exception] = field(default_factory=list)
    verdict: str = "healthy"

    def roll_out(self, release: str, at: float, phase: str = "observing") -> None:
        view = replace(
            sample_views.healthy(),
            id=f"{self.name}/shop/Deployment/web@{release}.{len(self.watches_)}",
            workload="shop/web",
            canary=f"{self.name}-{release}",
            annotations={"rollbackd.io/commit": release},
            started_at=at,
        )
        self.watches_.append(_in_phase(view, phase))

    def guard(self, at: float, phase: str = "observing") -> None:
        """Let the newest revision be guarded after its promotion."""
        guarded = self.watches_[-1]
        view = replace(guarded, id=f"{guarded.id}{AFTER}", started_at=at)
        self.watches_.append(_in_phase(view, phase))

    def ends(self, phase: str) -> None:
        self.watches_[-1] = _in_phase(self.watches_[-1], phase)

    def watches(self) -> Sequence[WatchView] | Missing:
        return self.down or tuple(self.watches_)

    def take_back(self, watch_id: str, by: str) -> Withdrawn:
        assert by == "train shop"
        answer = self.answers.pop(0) if self.answers else Withdrawn(State.DONE, "back")
        if isinstance(answer, Exception):
            raise answer
        if answer.state is State.DONE:
            self.taken_back.append(watch_id)
        return answer

    def page(self, watch_id: str) -> str:
        return f"https://{self.name}.example/watches/{watch_id}"


def _in_phase(view: WatchView, phase: str) -> WatchView:
    final = phase in {"healthy", "rolled back", "inconclusive", "needs a human", "reported"}
    return replace(view, phase=phase, final=final, note=f"the test says {phase}")


@dataclass
class World:
    """Regions and GitHub: what survives every restart of the conductor."""

    github: StubGitHub
    regions: dict[str, Region] = field(default_factory=lambda: {n: Region(n) for n in ROUTE})
    at: float = 1000.0

    def begin(self, release: str = "abc") -> None:
        self.at += 1
        self.regions["eu"].roll_out(release, self.at)

    def deploy(self) -> None:
        """Let the workflows do what they are for."""
        for region in ROUTE[1:]:
            there = self.regions[region]
            for run in self.github.runs:
                release = run["inputs"]["release"]
                known = {release_of(view) for view in there.watches_}
                if run["inputs"]["region"] == region and release not in known:
                    there.roll_out(release, self.at)


class Life:
    """A conductor from its start to its end."""

    def __init__(self, world: World, journal: MemoryJournal, policy: TrainPolicy = POLICY) -> None:
        self.world = world
        self.journal = journal
        line = Line("shop", ROUTE, policy, world.regions, self._lever)
        self.conductor = Conductor([line], journal, self._applier, lambda: world.at)
        self.conductor.restore()

    def _lever(self, _: str, begun: frozenset[str]) -> Lever:
        workflow = Workflow("acme/shop", "deploy.yaml")
        github = self.world.github
        return GitHubDispatch(
            workflow, github.session(), begun=begun, api=github.http.url, timeout_s=5.0
        )

    def _applier(self, name: str, lever: Lever) -> Applier:
        def pause(seconds: float) -> bool:
            self.world.at += seconds
            return True

        patience = Patience(attempts=2, backoff_s=0.01, settle_s=5.0)
        return Applier({name: lever}, self.journal, lambda: self.world.at, pause, patience)

    @property
    def train(self) -> Train:
        return self.conductor.trains()[0]

    def tick(self, seconds: float = 1.0) -> Train:
        self.world.at += seconds
        self.world.deploy()
        self.conductor.tick()
        self.conductor.settle()
        return self.train

    def until(self, *phases: TrainPhase, ticks: int = 30) -> Train:
        for _ in range(ticks):
            if self.tick().phase in phases:
                return self.train
        raise AssertionError(f"{self.train} is not in {phases}")

    def reach(self, place: int, ticks: int = 30) -> None:
        for _ in range(ticks):
            if self.tick().place == place:
                return
        raise AssertionError(f"{self.train} is not at {place}")

    def end(self) -> None:
        self.conductor.close()


@pytest.fixture
def world() -> Iterator[World]:
    with StubGitHub() as github:
        yield World(github)


def ride(life: Life, *, ticks: int = 60) -> Train:
    """Let every region be judged healthy as soon as it has the release.

    Where it is unknown whether a dispatch was sent, a person looks at GitHub, and lets it go on.
    """
    for _ in range(ticks):
        if life.train.phase is TrainPhase.NEEDS_HUMAN:
            assert "no effect within" in life.train.note
            assert life.world.github.dispatched(ROUTE[life.train.place + 1]) == 0
            life.conductor.handle("shop", Continued("ann"))
        for region in life.world.regions.values():
            if region.watches_ and region.watches_[-1].phase == "observing":
                region.ends(region.verdict)
        if life.tick().phase.over and life.train.number:
            return life.train
    raise AssertionError(f"{life.train} never ends")


def test_a_release_reaches_every_region_once(world: World) -> None:
    life = Life(world, MemoryJournal())
    assert life.tick().phase is TrainPhase.WAITING
    world.begin()
    assert life.tick().phase is TrainPhase.JUDGING
    for _ in range(5):
        assert life.tick(100).phase is TrainPhase.JUDGING
    assert world.github.runs == []
    assert ride(life).phase is TrainPhase.ARRIVED
    assert [run["inputs"]["region"] for run in world.github.runs] == ["us", "ap"]
    # the same train is not run again, the next one is
    assert life.tick().phase is TrainPhase.ARRIVED
    world.begin("def")
    assert ride(life).number == 2
    assert [run["inputs"]["release"] for run in world.github.runs] == ["abc"] * 2 + ["def"] * 2
    life.end()


def test_what_began_before_the_train_was_configured_is_none_of_it(world: World) -> None:
    world.begin()
    world.at += 10
    life = Life(world, MemoryJournal())
    assert life.tick().phase is TrainPhase.WAITING
    life.end()


def test_what_began_while_the_conductor_was_down_is_not_forgotten(world: World) -> None:
    first = Life(world, MemoryJournal())
    first.end()
    world.at += 1
    world.begin()
    world.regions["eu"].ends("healthy")
    second = Life(world, first.journal)
    assert ride(second).phase is TrainPhase.ARRIVED
    second.end()


def test_a_failure_releases_nothing_more_and_takes_back_what_was_done(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    world.at += 1
    world.regions["eu"].ends("healthy")
    life.until(TrainPhase.JUDGING)
    life.reach(1)
    life.tick()
    world.regions["us"].ends("degraded")
    world.regions["eu"].answers = [
        Transient("it restarts"),
        Withdrawn(State.UNDER_WAY, "on its way"),
        Withdrawn(State.UNDER_WAY, "on its way"),
    ]
    back = life.until(TrainPhase.TAKEN_BACK)
    assert "us: degraded" in back.failed
    assert world.regions["eu"].taken_back == [back.stops[0].watch_id]
    assert world.regions["us"].taken_back == []  # its own daemon rolls it back
    assert world.github.dispatched("ap") == 0
    life.end()


def test_a_region_that_refuses_to_go_back_is_for_people(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    world.regions["eu"].ends("healthy")
    life.tick()
    life.reach(1)
    life.tick()
    world.regions["us"].ends("rolled back")
    world.regions["eu"].answers = [Withdrawn(State.REFUSED, "a migration stands in the way")]
    assert "a migration" in life.until(TrainPhase.NEEDS_HUMAN).note
    for _ in range(5):
        life.tick()
    assert world.regions["eu"].taken_back == []
    life.conductor.handle("shop", Continued("ann"))
    life.until(TrainPhase.TAKEN_BACK)
    life.end()


@pytest.mark.parametrize("blind", ROUTE)
def test_a_region_that_cannot_be_seen_holds_the_train(world: World, blind: str) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    life.tick()
    world.regions["eu"].ends("healthy")
    world.regions[blind].down = DOWN
    for _ in range(10):
        assert life.tick(50).place == 0 or blind == "ap"
        if world.regions["us"].watches_:
            world.regions["us"].ends("healthy")
    if blind != "ap":
        assert world.github.runs == []
    assert world.github.dispatched("ap") == 0
    assert life.train.failed == ""
    world.regions[blind].down = None
    assert ride(life).phase is TrainPhase.ARRIVED
    life.end()


def test_a_train_leaves_only_when_every_region_can_be_seen(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.regions["ap"].down = DOWN
    world.begin()
    assert life.tick().phase is TrainPhase.WAITING
    world.regions["ap"].down = None
    assert life.tick().phase is TrainPhase.JUDGING
    life.end()


def test_a_region_that_somebody_released_already_is_only_judged(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    life.tick()
    world.regions["us"].roll_out("abc", world.at)
    assert ride(life).phase is TrainPhase.ARRIVED
    assert world.github.dispatched("us") == 0
    assert world.github.dispatched("ap") == 1
    life.end()


def test_a_guard_of_what_was_promoted_is_no_new_release_and_nobody_waits_for_it(
    world: World,
) -> None:
    life = Life(world, MemoryJournal())
    world.regions["us"].roll_out("old", world.at - 500, "healthy")
    world.regions["us"].guard(world.at - 400)
    world.begin()
    world.regions["eu"].ends("healthy")
    life.until(TrainPhase.SOAKING)
    world.regions["eu"].guard(world.at)
    life.reach(1)
    assert world.github.dispatched("us") == 1
    assert ride(life).phase is TrainPhase.ARRIVED
    assert life.tick().number == 1
    life.end()


def test_harm_after_a_promotion_fails_the_region(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    world.regions["eu"].ends("healthy")
    life.reach(1)
    world.regions["eu"].guard(world.at, "degraded")
    failed = life.tick()
    assert "eu: after its promotion: degraded" in failed.failed
    assert failed.stops[0].failed_at is not None
    for _ in range(5):
        life.tick()
    assert world.github.dispatched("ap") == 0
    assert world.regions["eu"].taken_back == []  # its own daemon rolls it back
    life.end()


def test_a_person_takes_a_release_back_that_has_arrived(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    arrived = ride(life)
    assert arrived.phase is TrainPhase.ARRIVED
    assert life.conductor.handle("shop", Recalled("ann"))
    back = life.until(TrainPhase.TAKEN_BACK)
    for stop, region in zip(back.stops, ROUTE, strict=True):
        assert world.regions[region].taken_back == [stop.watch_id]
    order = [stop.taken_back_at or 0.0 for stop in back.stops]
    assert order == sorted(order, reverse=True)
    life.end()


def test_a_train_that_was_stopped_while_its_process_died_may_be_taken_back(world: World) -> None:
    life = Life(world, MemoryJournal(), replace(POLICY, mode=Mode.APPROVE))
    world.begin()
    world.regions["eu"].ends("healthy")
    asking = life.until(TrainPhase.AWAITING_APPROVAL)
    life.conductor.handle("shop", Approved(asking.plan_key, "ann"))
    life.conductor.handle("shop", Halted("ann"))
    assert not life.train.can_be_recalled  # a write may be under way
    again = Life(world, MemoryJournal(tuple(life.journal.entries())))
    assert again.tick().phase is TrainPhase.STOPPED
    assert again.train.can_be_recalled
    assert life.tick().can_be_recalled  # nor did anything begin in the first one
    assert world.github.runs == []
    life.end()
    again.end()


def test_a_verdict_of_an_earlier_train_counts_for_nothing(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.regions["us"].roll_out("abc", world.at - 500, "healthy")
    world.begin()
    world.regions["eu"].ends("healthy")
    for _ in range(12):
        life.tick()
    assert world.github.dispatched("us") == 1
    assert world.github.dispatched("ap") == 0
    life.end()


def test_a_region_that_is_busy_with_something_else_waits(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.regions["us"].roll_out("hotfix", world.at)
    world.begin()
    world.regions["eu"].ends("healthy")
    for _ in range(12):
        life.tick()
    assert "us is busy with another release (hotfix)" in life.train.note
    assert world.github.runs == []
    world.regions["us"].ends("healthy")
    assert ride(life).phase is TrainPhase.ARRIVED
    life.end()


def test_something_newer_in_a_region_behind_us_ends_the_train(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    world.regions["eu"].ends("healthy")
    life.tick()
    life.reach(1)
    world.regions["eu"].roll_out("def", world.at)
    stopped = life.tick()
    assert (stopped.phase, stopped.release) == (TrainPhase.STOPPED, "abc")
    begun = life.tick()
    assert (begun.phase, begun.release) == (TrainPhase.JUDGING, "def")
    life.end()


def test_without_approval_nothing_is_released(world: World) -> None:
    life = Life(world, MemoryJournal(), replace(POLICY, mode=Mode.APPROVE))
    world.begin()
    world.regions["eu"].ends("healthy")
    asking = life.until(TrainPhase.AWAITING_APPROVAL)
    for _ in range(5):
        life.tick()
    assert world.github.runs == []
    world.regions["eu"].down = DOWN
    assert life.conductor.handle("shop", Approved(asking.plan_key, "ann"))
    life.until(TrainPhase.SOAKING)  # blind since: it is not begun, and asked anew
    world.regions["eu"].down = None
    asking = life.until(TrainPhase.AWAITING_APPROVAL)
    assert world.github.runs == []
    life.conductor.handle("shop", Approved(asking.plan_key, "ann"))
    life.until(TrainPhase.JUDGING)
    assert world.github.dispatched("us") == 1
    life.end()


def test_a_stopped_train_releases_nothing(world: World) -> None:
    life = Life(world, MemoryJournal())
    world.begin()
    world.regions["eu"].ends("healthy")
    life.until(TrainPhase.SOAKING)
    life.conductor.handle("shop", Halted("ann"))
    for _ in range(10):
        assert life.tick(60).phase is TrainPhase.STOPPED
    assert world.github.runs == []
    life.end()


def test_after_a_crash_at_any_write_each_region_is_released_exactly_once() -> None:
    """The process dies before or after each write of the journal; the next one goes on."""
    survived = False
    for breaths in range(1, 80):
        with StubGitHub() as github:
            world = World(github)
            line = Lifeline(breaths)
            journal = MortalJournal(line, Life(world, MemoryJournal()).journal.entries())
            world.at += 1
            world.begin()
            life = Life(world, journal)
            with suppress(Killed, AssertionError):
                ride(life, ticks=40)
            life.end()
            survived = not line.dead
            after = Life(world, MemoryJournal(tuple(journal.entries())))
            assert ride(after).phase is TrainPhase.ARRIVED, f"after {breaths} breaths"
            assert github.dispatched("us") == 1, f"after {breaths} breaths"
            assert github.dispatched("ap") == 1, f"after {breaths} breaths"
            assert all(stop.passed for stop in after.train.stops)
            after.end()
        if survived:
            break
    assert survived


def test_after_a_crash_at_any_write_everything_is_taken_back_exactly_once() -> None:
    survived = False
    for breaths in range(1, 80):
        with StubGitHub() as github:
            world = World(github)
            line = Lifeline(breaths)
            journal = MortalJournal(line, Life(world, MemoryJournal()).journal.entries())
            world.at += 1
            world.begin()
            world.regions["us"].verdict = "degraded"
            life = Life(world, journal)
            with suppress(Killed, AssertionError):
                ride(life, ticks=40)
            life.end()
            survived = not line.dead
            after = Life(world, MemoryJournal(tuple(journal.entries())))
            assert ride(after).phase is TrainPhase.TAKEN_BACK, f"after {breaths} breaths"
            assert set(world.regions["eu"].taken_back) == {after.train.stops[0].watch_id}
            assert github.dispatched("us") == 1
            assert github.dispatched("ap") == 0
            after.end()
        if survived:
            break
    assert survived
