"""The election: never two who act, whatever clocks and networks do; and somebody does, in time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actions.ports import Fenced, Permanent, Transient
from rollbackd.leadership.elector import Elector, Pace, steady_clock
from rollbackd.leadership.lease import Lease
from tests.fakes.memory_lease import MemoryLease

PACE = Pace(duration_s=15.0, renew_by_s=10.0, retry_s=2.0)


@dataclass
class Replica:
    """One process with its own idea of the time, over the lease of all."""

    store: MemoryLease
    name: str
    true_time: Callable[[], float]
    skew: float = 0.0
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.elector = Elector(
            self.store,
            self.name,
            PACE,
            on_elected=lambda: self.calls.append("elected"),
            on_lost=lambda: self.calls.append("lost"),
            clock=lambda: self.true_time() + self.skew,
        )


@dataclass
class World:
    now: float = 1000.0
    store: MemoryLease = field(default_factory=MemoryLease)

    def replica(self, name: str, skew: float = 0.0) -> Replica:
        return Replica(self.store, name, lambda: self.now, skew)


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_leads_and_the_second_follows(world: World) -> None:
    one, other = world.replica("one"), world.replica("other")
    for replica in (one, other):
        replica.elector.advance()
    assert one.elector.leads
    assert not other.elector.leads
    assert one.calls == ["elected"]
    assert other.calls == []
    one.elector.permit()
    with pytest.raises(Fenced, match="this replica follows; one leads"):
        other.elector.permit()


def test_a_leader_that_renews_leads_for_ever(world: World) -> None:
    one, other = world.replica("one"), world.replica("other")
    for _ in range(100):
        one.elector.advance()
        other.elector.advance()
        world.now += PACE.retry_s
        assert one.elector.leads
    assert (one.calls, other.calls) == (["elected"], [])


def test_a_silent_leader_is_succeeded_after_the_duration(world: World) -> None:
    one, other = world.replica("one"), world.replica("other")
    one.elector.advance()
    other.elector.advance()
    began = world.now
    while not other.elector.leads:
        world.now += 1.0
        other.elector.advance()
    assert world.now - began == PACE.duration_s
    assert world.store.lease is not None
    assert world.store.lease.transitions == 1
    assert not one.elector.leads  # it never looked, its own clock told it
    with pytest.raises(Fenced, match="does not lead any more"):
        one.elector.permit()
    one.elector.advance()
    assert one.calls == ["elected", "lost"]


def test_a_released_lease_is_taken_at_once(world: World) -> None:
    one, other = world.replica("one"), world.replica("other")
    one.elector.advance()
    one.elector.close()
    assert not one.elector.leads
    other.elector.advance()
    assert other.calls == ["elected"]


def test_a_follower_releases_nothing(world: World) -> None:
    one, other = world.replica("one"), world.replica("other")
    one.elector.advance()
    other.elector.advance()
    other.elector.close()
    assert world.store.lease is not None
    assert world.store.lease.holder == "one"


def test_who_cannot_renew_acts_until_its_time_is_over_and_never_again(world: World) -> None:
    one = world.replica("one")
    one.elector.advance()
    world.store.failures = [Transient("timeout")] * 20
    for _ in range(4):
        world.now += PACE.retry_s
        one.elector.advance()
        assert one.elector.leads
    world.now += PACE.retry_s
    one.elector.advance()
    assert one.calls == ["elected", "lost"]
    world.store.failures = []
    one.elector.advance()
    assert not one.elector.leads


def test_another_holder_ends_it_at_once(world: World) -> None:
    one = world.replica("one")
    one.elector.advance()
    assert world.store.lease is not None
    world.store.write(Lease("somebody", 15.0, 5), world.store.lease)
    one.elector.advance()
    assert one.calls == ["elected", "lost"]
    assert world.store.lease.holder == "somebody"


def test_an_answer_that_was_lost_is_found_on_the_next_look(world: World) -> None:
    one = world.replica("one")
    world.store.lost_answers = [Transient("the connection broke")]
    one.elector.advance()
    assert one.calls == []
    one.elector.advance()
    assert one.calls == ["elected"]
    assert world.store.lease is not None
    assert world.store.lease.transitions == 0


def test_a_lease_that_cannot_be_seen_is_told(world: World) -> None:
    one = world.replica("one")
    world.store.failures = [Permanent("403 forbidden")] * 10
    one.elector.advance()
    assert one.elector.unseen() == ""
    world.now += PACE.duration_s
    one.elector.advance()
    assert one.elector.unseen() == "the lease was last seen 15 s ago: 403 forbidden"


def test_an_answer_that_comes_too_late_gives_nothing(world: World) -> None:
    """The process slept between its look and its write, and another leads by now."""
    one, other = world.replica("one"), world.replica("other")
    one.elector.advance()
    other.elector.advance()
    read = world.store.read

    def slow() -> Lease | None:
        found = read()
        world.now += 60.0
        world.store.read = read  # type: ignore[method-assign]
        other.elector.advance()
        return found

    world.store.read = slow  # type: ignore[method-assign]
    one.elector.advance()
    assert other.elector.leads
    assert not one.elector.leads
    assert one.calls == ["elected", "lost"]


def test_times_with_which_two_could_act_are_refused() -> None:
    for wrong in ((10.0, 10.0, 2.0), (15.0, 2.0, 2.0), (15.0, 10.0, 0.0)):
        with pytest.raises(ValueError, match="does not hold"):
            Pace(*wrong)


def test_the_steady_clock_only_grows() -> None:
    assert steady_clock() <= steady_clock()


class Election(RuleBasedStateMachine):
    """Three replicas with clocks of their own, failing calls and lost answers, in any order."""

    @initialize(skews=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
    def begin(self, skews: list[float]) -> None:
        self.world = World()
        self.skews = skews
        self.born = 0
        self.replicas = [self.new(i) for i in range(3)]

    def new(self, slot: int) -> Replica:
        self.born += 1
        return self.world.replica(f"r{slot}-{self.born}", self.skews[slot])

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.0, 6.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(slot=st.integers(0, 2))
    def look(self, slot: int) -> None:
        self.replicas[slot].elector.advance()

    @rule(failing=st.lists(st.booleans(), max_size=3))
    def calls_fail(self, failing: list[bool]) -> None:
        self.world.store.failures = [Transient("timeout") if f else None for f in failing]

    @rule()
    def an_answer_is_lost(self) -> None:
        self.world.store.lost_answers = [Transient("the connection broke")]

    @rule(slot=st.integers(0, 2), orderly=st.booleans())
    def restart(self, slot: int, orderly: bool) -> None:
        if orderly:
            self.replicas[slot].elector.close()
        self.replicas[slot] = self.new(slot)

    @invariant()
    def never_two_act(self) -> None:
        if hasattr(self, "replicas"):
            assert sum(replica.elector.leads for replica in self.replicas) <= 1

    @invariant()
    def each_leads_once(self) -> None:
        if hasattr(self, "replicas"):
            for replica in self.replicas:
                assert replica.calls in ([], ["elected"], ["elected", "lost"])

    def teardown(self) -> None:
        """Once calls get through again, somebody leads after the duration and two looks."""
        if not hasattr(self, "replicas"):
            return
        self.world.store.failures, self.world.store.lost_answers = [], []
        self.replicas = [self.new(slot) for slot in range(3)]
        for _ in range(3):
            for replica in self.replicas:
                replica.elector.advance()
            self.world.now += PACE.duration_s
            if any(replica.elector.leads for replica in self.replicas):
                return
            self.world.now -= PACE.duration_s - 8.0
        leads = [r.elector.leads for r in self.replicas]
        assert any("elected" in r.calls for r in self.replicas), leads


TestElection = Election.TestCase
TestElection.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@given(shares=st.floats(0, 1))
def test_pauses_end_with_the_own_time(shares: float) -> None:
    world = World()
    one = world.replica("one")
    one.elector.advance()
    world.now += PACE.renew_by_s * shares
    assert 0.0 <= one.elector._pause_s() <= PACE.renew_by_s * (1 - shares) + 1e-9


def test_on_a_thread_it_leads_and_releases_when_closed() -> None:
    import threading

    store, elected = MemoryLease(), threading.Event()
    elector = Elector(
        store, "one", Pace(3.0, 2.0, 0.01), on_elected=elected.set, on_lost=lambda: None
    )
    elector.start()
    assert elected.wait(30)
    elector.close()
    assert store.lease is not None
    assert store.lease.holder == ""
