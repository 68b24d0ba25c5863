"""Two replicas on one journal: whichever dies or sleeps, at whichever write, one rollback.

Everything is real but the world: controllers, desks, appliers, electors. A replica that dies is
gone at that instruction. One that sleeps (a stopped process, a long pause of its machine) goes on
at that instruction, after the other has taken over and finished; then nothing of what it does may
have any effect.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock

from hypothesis import given, settings
from hypothesis import strategies as st

from actions.ports import Entry, Fenced
from rollbackd.leadership.elector import Elector, Pace
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.memory_lease import MemoryLease
from tests.process.lifetime import POLICY, Lifetime, phases
from tests.process.mall import BAD, Killed, Lifeline, Mall

PACE = Pace(duration_s=35.0, renew_by_s=25.0, retry_s=5.0)
PATIENT = replace(POLICY, recovery_s=900.0)
"""A clock that is four minutes ahead of the one before takes them off the wait for recovery."""

WHOLE_LIFE = ["warming", "degraded", "acting", "verifying", "rolled back"]


@dataclass
class Store:
    """What both replicas share: the journal's entries, its fence, and the lease."""

    entries: list[Entry] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    token: int = 0
    lease: MemoryLease = field(default_factory=MemoryLease)


class PenJournal(MemoryJournal):
    """A replica's way to the shared journal; it may die, or sleep, before and after each write."""

    def __init__(self, store: Store, life: Lifeline) -> None:
        self._store, self._life, self._token = store, Lifeline(), store.token
        super().__init__()
        self._life, self._token = life, -1
        self._entries, self._lock = store.entries, store.lock

    def take_pen(self) -> None:
        self._store.token += 1
        self._token = self._store.token

    def append(self, *entries: Entry) -> int:
        self._life.breathe()
        if self._token != self._store.token:
            raise Fenced("another replica has the pen. Nothing was written.")
        seq = super().append(*entries)
        self._life.breathe()
        return seq


@dataclass
class Sleeper(Lifeline):
    """Falls asleep, once, at its n-th breath; ``asleep`` is what the others do meanwhile."""

    asleep: Callable[[], None] | None = None

    def breathe(self) -> None:
        if self.breaths is None:
            return
        self.breaths -= 1
        if self.breaths < 0 and self.asleep is not None:
            meanwhile, self.asleep, self.breaths = self.asleep, None, None
            meanwhile()


class Replica:
    """A process that follows until it is elected, then leads until it dies or is deposed."""

    def __init__(
        self, name: str, mall: Mall, store: Store, life: Lifeline, skew_s: float = 0.0
    ) -> None:
        self.name, self.mall, self.life, self.skew_s = name, mall, life, skew_s
        self.journal = PenJournal(store, life)
        self.lifetime: Lifetime | None = None
        self.elector = Elector(
            store.lease,
            name,
            PACE,
            on_elected=lambda: None,
            on_lost=lambda: None,
            clock=lambda: mall.clock() + 1000.0 * skew_s,  # steady clocks begin anywhere
        )

    def follow(self) -> None:
        """Look at the lease until it is this replica's, and take up the watches."""
        while not self.elector.leads:
            self.mall.clock.at += PACE.retry_s
            self.elector.advance()
        self.journal.take_pen()
        self.lifetime = Lifetime(
            self.mall,
            self.journal,
            PATIENT,
            life=self.life,
            permit=self.elector.permit,
            skew_s=self.skew_s,
        )

    def lead(self, ticks: int) -> None:
        """Tick and renew, like the daemon: a replica that may not act does not tick."""
        assert self.lifetime is not None
        for _ in range(ticks):
            self.elector.advance()
            if not self.elector.leads:
                return
            self.lifetime.tick()

    def end(self) -> None:
        if self.lifetime is not None:
            self.lifetime.end()


def finish(name: str, mall: Mall, store: Store) -> Replica:
    """Let another replica take over and bring everything to its end."""
    other = Replica(name, mall, store, Lifeline())
    other.follow()
    other.lead(80)
    other.end()
    return other


def check(mall: Mall, store: Store) -> None:
    journal = MemoryJournal(store.entries)
    assert mall.writes == ["shop"]
    assert [p for p in phases(journal) if p != "observing"] == WHOLE_LIFE
    steps = [e.kind for e in store.entries if e.kind.startswith("step")]
    assert steps == ["step-started", "step-done"]


@settings(max_examples=50, deadline=None)
@given(
    breaths=st.lists(st.integers(0, 40), max_size=4),
    settling=st.integers(0, 2),
    skews=st.lists(st.sampled_from([-120.0, -7.0, 0.0, 7.0, 120.0]), min_size=5, max_size=5),
)
def test_whoever_dies_at_whichever_write_the_other_finishes(
    breaths: list[int], settling: int, skews: list[float]
) -> None:
    """Also when the wall clocks of the replicas differ by minutes."""
    mall, store = Mall(), Store()
    mall.release("v2", BAD)
    mall.settling = settling
    for n, remaining in enumerate(breaths):
        replica = Replica(f"r{n % 2}-{n}", mall, store, Lifeline(), skews[n])
        replica.follow()
        replica.life.breaths = remaining
        with suppress(Killed):
            replica.lead(80)
        replica.end()
    finish("last", mall, store)
    check(mall, store)


@settings(max_examples=50, deadline=None)
@given(breaths=st.integers(0, 45), settling=st.integers(0, 2))
def test_who_sleeps_at_whichever_write_and_wakes_writes_nothing(
    breaths: int, settling: int
) -> None:
    mall, store = Mall(), Store()
    mall.release("v2", BAD)
    mall.settling = settling
    done: list[tuple[int, int]] = []

    def meanwhile() -> None:
        finish("other", mall, store)
        done.append((len(store.entries), len(mall.writes)))

    life = Sleeper(breaths=None, asleep=meanwhile)
    sleeper = Replica("sleeper", mall, store, life)
    sleeper.follow()
    life.breaths = breaths
    sleeper.lead(80)
    if done:
        assert not sleeper.elector.leads
        assert sleeper.lifetime is not None
        sleeper.lifetime.tick(5)  # even if nobody told it
        assert (len(store.entries), len(mall.writes)) == done[0]
    sleeper.end()
    check(mall, store)


def test_a_fenced_replica_concludes_nothing_about_its_watches() -> None:
    """The pen is gone while a plan is carried out, and the lease does not tell yet."""
    mall, store = Mall(), Store()
    mall.release("v2", BAD)
    replica = Replica("old", mall, store, Lifeline())
    replica.follow()
    while not any(entry.kind == "plan" for entry in store.entries):
        replica.lead(1)
    store.token += 1
    before = len(store.entries)
    replica.lead(10)
    assert len(store.entries) == before
    replica.end()
    finish("next", mall, store)
    check(mall, store)
