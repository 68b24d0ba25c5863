"""Regions moved on a real BIND: outages, crashes at every write, two daemons at once."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from actions.apply import Applier, Patience
from actions.dns.authority import AuthoritativeServers
from actions.dns.record import plain
from actions.dns.rfc2136 import DynamicUpdate, Key
from actions.dns.switch import NAME, DnsSwitch
from actions.regions.guards import Capacity
from actions.regions.limits import Limits
from analyzer.policy import Mode
from analyzer.regions.events import Assessed, Direction, Ordered, Standing
from analyzer.regions.life import Region, RegionPhase
from analyzer.regions.policy import RegionPolicy
from analyzer.sample import Absence, Missing
from rollbackd.regions.journey import journey
from rollbackd.regions.keeper import RegionKeeper
from rollbackd.regions.mover import KeptRecord, Mover, Routes
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import MortalJournal
from tests.process.mall import Killed, Lifeline
from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind

pytestmark = pytest.mark.servers
ZONE, WWW = "shop.test", "www.shop.test"
EU, US = "192.0.2.1", "192.0.2.2"
BOTH = plain(WWW, "A", 60, (EU, US))
POLICY = RegionPolicy(Mode.ENFORCE, sick_for_s=0, healthy_for_s=60, dwell_s=10)
UNKNOWN = Missing(Absence.NO_SERIES)


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with Bind(tmp_path_factory.mktemp("bind"), ZONE, [f"www 60 A {EU}", f"www 60 A {US}"]) as run:
        yield run


@pytest.fixture(autouse=True)
def _as_it_was(bind: Bind) -> Iterator[None]:
    yield
    now = backend(bind).read(WWW, "A")
    if now != BOTH:
        backend(bind).swap(now, BOTH)


def backend(bind: Bind, timeout_s: float = 2.0) -> DynamicUpdate:
    return DynamicUpdate(
        zone=ZONE,
        primary=bind.server,
        key=Key(KEY_NAME, "hmac-sha256", lambda: KEY_SECRET),
        authority=AuthoritativeServers(ZONE, [bind.server]),
        timeout_s=timeout_s,
    )


def changes(bind: Bind) -> int:
    """Return the zone's serial number: it grows with each change."""
    (soa,) = bind.ask(ZONE, "SOA")
    return int(soa.split()[2])


@dataclass
class Told:
    """Evidence as a test says it."""

    standing: dict[str, Standing] = field(
        default_factory=lambda: {"eu": Standing.SICK, "us": Standing.HEALTHY}
    )
    renewed: list[str] = field(default_factory=list)

    def assess(self) -> Mapping[str, Assessed]:
        return {name: Assessed(s, "as the test says") for name, s in self.standing.items()}

    def renew(self, region: str) -> None:
        self.renewed.append(region)


class Life:
    """A keeper from its start to its end; BIND and the journal stay."""

    def __init__(
        self,
        bind: Bind,
        journal: MemoryJournal,
        evidence: Told | None = None,
        *,
        at: float = 1000.0,
        timeout_s: float = 2.0,
        policy: RegionPolicy = POLICY,
    ) -> None:
        self.evidence = evidence or Told()
        self.at = at
        self._journal = journal
        backends = {"main": backend(bind, timeout_s)}
        record = KeptRecord("main", WWW, "A", {"eu": (EU,), "us": (US,)})
        applier = Applier(
            {NAME: DnsSwitch(backends)}, journal, self._now, _pause, Patience(3, 0.01, 0.01)
        )
        self.keeper = RegionKeeper(
            names=("eu", "us"),
            policy=policy,
            assessor=self.evidence,
            mover=Mover(
                backends=backends,
                routes=Routes((record,), (0.5, 1.0), Limits()),
                capacities=lambda: {n: Capacity(UNKNOWN, UNKNOWN, True) for n in ("eu", "us")},
                applier=applier,
                journal=journal,
                now=self._now,
            ),
            journal=journal,
            causes=dict,
            now=self._now,
        )
        self.keeper.restore()

    def _now(self) -> float:
        return self.at

    def tick(self, seconds: float = 1.0) -> Region:
        """Let time pass, look once, and wait for the worker."""
        self.at += seconds
        self.keeper.tick()
        return self.settled()

    def settled(self) -> Region:
        self.keeper.settle()
        return self.eu

    @property
    def eu(self) -> Region:
        return self.keeper.regions()[0]

    def until(self, *phases: RegionPhase, ticks: int = 20) -> Region:
        for _ in range(ticks):
            if self.tick().phase in phases:
                return self.eu
        raise AssertionError(f"{self.eu} is not in {phases}")


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def test_traffic_leaves_and_comes_back_and_the_journal_tells_it(bind: Bind) -> None:
    before = changes(bind)
    life = Life(bind, MemoryJournal())
    over = life.until(RegionPhase.FAILED_OVER)
    assert bind.ask(WWW, "A") == {US}
    assert over.drained_at == life.at + 60
    past = journey(life._journal, "eu")
    assert list(past.origin.values()) == [BOTH]
    assert [r.answers for r in past.left.values()] == [{US}]
    life.evidence.standing["eu"] = Standing.HEALTHY
    assert life.tick(59).well_since is None
    assert life.tick(2).well_since == life.at
    assert life.tick(59).phase is RegionPhase.FAILED_OVER
    life.tick(1)
    assert life.until(RegionPhase.NORMAL).away is False
    assert bind.ask(WWW, "A") == {EU, US}
    assert changes(bind) == before + 2
    assert "eu" in life.evidence.renewed
    life.keeper.close()


@pytest.mark.parametrize(
    "standing", [Standing.BLIND, Standing.SHARED, Standing.UNDECIDED, Standing.DIFFERENT]
)
def test_nothing_but_sickness_moves(bind: Bind, standing: Standing) -> None:
    before = changes(bind)
    life = Life(bind, MemoryJournal(), Told({"eu": standing, "us": Standing.HEALTHY}))
    for _ in range(5):
        assert life.tick(100).phase is RegionPhase.NORMAL
    assert changes(bind) == before
    life.keeper.close()


def test_two_sick_regions_move_nothing(bind: Bind) -> None:
    before = changes(bind)
    life = Life(bind, MemoryJournal(), Told({"eu": Standing.SICK, "us": Standing.SICK}))
    for _ in range(5):
        life.tick(100)
    assert "us is sick" in life.eu.note
    assert changes(bind) == before
    refusals = life._journal.entries(watch_id="region/eu", kinds=frozenset({"refusal"}))
    assert len(list(refusals)) == 1
    life.keeper.close()


def test_a_record_that_a_person_changed_is_not_touched_again(bind: Bind) -> None:
    life = Life(bind, MemoryJournal())
    life.until(RegionPhase.FAILED_OVER)
    theirs = plain(WWW, "A", 60, ("192.0.2.9",))
    backend(bind).swap(plain(WWW, "A", 60, (US,)), theirs)
    life.evidence.standing["eu"] = Standing.HEALTHY
    for _ in range(10):
        life.tick(30)
    assert "somebody changed www.shop.test since" in life.eu.note
    assert bind.ask(WWW, "A") == {"192.0.2.9"}
    backend(bind).swap(theirs, BOTH)  # and put back as it was before
    assert life.until(RegionPhase.NORMAL).note.startswith("its records were put back")
    life.keeper.close()


def test_a_server_that_is_down_delays_and_nothing_is_lost(bind: Bind) -> None:
    life = Life(bind, MemoryJournal(), timeout_s=0.3)
    bind.stop()
    try:
        for _ in range(3):
            assert life.tick().phase is RegionPhase.SICK
    finally:
        bind.start()
    assert life.until(RegionPhase.FAILED_OVER).away
    life.keeper.close()


def test_a_server_that_hangs_delays_and_nothing_is_done_twice(bind: Bind) -> None:
    before = changes(bind)
    life = Life(bind, MemoryJournal(), timeout_s=0.3)
    assert bind._process is not None
    bind._process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(2):
            assert life.tick().phase is RegionPhase.SICK
    finally:
        bind._process.send_signal(signal.SIGCONT)
    assert life.until(RegionPhase.FAILED_OVER, RegionPhase.NEEDS_HUMAN).away
    assert changes(bind) == before + 1
    life.keeper.close()


def test_two_daemons_at_once_make_exactly_one_change(bind: Bind) -> None:
    before = changes(bind)
    lives = [Life(bind, MemoryJournal()) for _ in range(2)]
    for life in lives:
        life.at += 1
        life.keeper.tick()  # both plan, and both act, side by side
    for life in lives:
        life.settled()
    for _ in range(3):
        for life in lives:
            life.tick()
    assert changes(bind) == before + 1
    assert bind.ask(WWW, "A") == {US}
    done = [life for life in lives if life.eu.phase is RegionPhase.FAILED_OVER]
    assert done
    for life in lives:
        life.keeper.close()


def test_after_a_crash_at_any_write_the_move_is_made_exactly_once(bind: Bind) -> None:
    """The process dies before or after each write of the journal; the next one finishes."""
    survived = False
    for breaths in range(1, 40):
        before = changes(bind)
        line = Lifeline(breaths)
        journal = MortalJournal(line)
        life = Life(bind, journal)
        with suppress(Killed):
            for _ in range(4):
                if not line.dead:
                    life.tick()
        life.keeper.close()
        entries = tuple(journal.entries())
        after = Life(bind, MemoryJournal(entries), at=2000.0)
        after.until(RegionPhase.FAILED_OVER)
        assert bind.ask(WWW, "A") == {US}
        assert changes(bind) == before + 1, f"after {breaths} breaths"
        assert list(journey(after._journal, "eu").origin.values()) == [BOTH]
        after.keeper.close()
        backend(bind).swap(plain(WWW, "A", 60, (US,)), BOTH)
        survived = not line.dead
        if survived:
            break
    assert survived


def test_in_approve_mode_nothing_moves_without_a_person(bind: Bind) -> None:
    life = Life(bind, MemoryJournal(), policy=replace(POLICY, mode=Mode.APPROVE))
    assert life.until(RegionPhase.AWAITING_APPROVAL).plan_key
    assert bind.ask(WWW, "A") == {EU, US}
    life.keeper.handle("us", Ordered(Direction.BACK, "ann"))  # us is not away
    assert life.settled().phase is RegionPhase.AWAITING_APPROVAL
    life.keeper.close()
