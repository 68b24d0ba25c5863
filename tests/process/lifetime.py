"""One life of the process: controller and desk over a journal, driven tick by tick."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from actions.apply import Applier, Patience, always
from actions.ports import Entry
from analyzer.comparison import Comparison
from analyzer.policy import Mode, Policy
from analyzer.regions.events import RegionWish
from analyzer.rollout import Rollout
from analyzer.signal import HistogramSignal, RatioSignal, Selector
from analyzer.trains.events import TrainWish
from rollbackd.collect import Collector
from rollbackd.controller import Controller
from rollbackd.decisions import Deed
from rollbackd.desk import ActionDesk
from rollbackd.planning import Planning, Precautions
from rollbackd.releases import Released, Releases
from rollbackd.signal_finder import SignalFinder
from rollbackd.telemetry import Telemetry
from rollbackd.views import WatchView
from tests.fakes.memory_journal import MemoryJournal
from tests.process.mall import TICK_S, Lifeline, Mall, Switch

ERRORS = RatioSignal("errors", Selector("all_total"), Selector("bad_total"), harm_rate=0.02)
LATENCY = HistogramSignal("latency", Selector("seconds_bucket"), weight=0.25)
POLICY = Policy(
    "usual",
    (ERRORS,),
    mode=Mode.ENFORCE,
    warm_up_s=10.0,
    min_observation_s=120.0,
    horizon_s=1200.0,
    history_s=600.0,
    recovery_s=300.0,
    actuators=("switch",),
)
TELEMETRY = Telemetry(version="test", environ={})
NO_PRECAUTIONS = Precautions()


@dataclass(frozen=True)
class Rules:
    """Policies by the workload's name; the usual one for all others."""

    usual: Policy = POLICY
    special: dict[str, Policy] = field(default_factory=dict)

    def policy_for(self, rollout: Rollout) -> Policy | None:
        return self.special.get(rollout.workload.name, self.usual)

    def named(self, name: str) -> Policy | None:
        every = (self.usual, *self.special.values())
        return next((policy for policy in every if policy.name == name), None)

    def lapsed(self, name: str) -> bool:
        return self.named(name) is None


class MortalJournal(MemoryJournal):
    """A journal whose process may die before and after each write."""

    def __init__(self, life: Lifeline, entries: Iterable[Entry] = ()) -> None:
        self.life = Lifeline()
        super().__init__(entries)
        self.life = life

    def append(self, *entries: Entry) -> int:
        self.life.breathe()
        seq = super().append(*entries)
        self.life.breathe()
        return seq


class Lifetime:
    """A controller and a desk, from their start to their end; the mall and the journal stay."""

    def __init__(
        self,
        mall: Mall,
        journal: MemoryJournal,
        policy: Policy | Rules = POLICY,
        *,
        life: Lifeline | None = None,
        trouble: Sequence[Exception] = (),
        telemetry: Telemetry = TELEMETRY,
        precautions: Precautions = NO_PRECAUTIONS,
        permit: Callable[[], None] = always,
        skew_s: float = 0.0,
    ) -> None:
        def now() -> float:
            return mall.clock() + skew_s

        self.mall, self.journal = mall, journal
        self.life = life or Lifeline()
        rules = policy if isinstance(policy, Rules) else Rules(policy)
        self.controller = Controller(
            sources=[mall],
            policies=rules,
            collector=Collector(mall, TICK_S, 0.0, telemetry),
            comparison=Comparison(TICK_S),
            journal=journal,
            telemetry=telemetry,
            now=now,
            finder=SignalFinder(mall),
        )
        actuators = {"switch": Switch(mall, self.life, list(trouble))}
        planning = Planning(actuators, journal, precautions, now, telemetry)
        performers = {name: telemetry.spans.traced(each) for name, each in actuators.items()}
        applier = Applier(performers, journal, now, self._pause, Patience(attempts=2), permit)
        self._desk = ActionDesk(
            planning, applier, journal, self.controller.watches.handle, telemetry, workers=1
        )
        self.controller.watches.employ(self._desk)
        self.releases = Releases(applier, journal, (mall.barrier,), now)
        self.controller.watches.show_held(self.releases.held)
        self.releases.restore()
        self.controller.restore()

    def release(self, watch_id: str, by: str) -> Released:
        """Let go of what a watch holds, as the daemon does."""
        try:
            return self.releases.release(watch_id, by)
        finally:
            self.controller.watches.redraw(watch_id)

    def decided(self, watch_id: str, deed: Deed) -> None:
        """Let a decision happen to its watch; there are no regions or trains here."""
        assert not isinstance(deed, RegionWish | TrainWish)
        self.controller.watches.handle(watch_id, deed)

    def _pause(self, seconds: float) -> bool:
        del seconds
        return not self.life.dead

    def tick(self, count: int = 1) -> None:
        """Let time pass, look at everything, and wait until nothing more is being done."""
        for _ in range(count):
            self.mall.clock.at += TICK_S
            self.controller.tick()
            self.settle()
            self.life.breathe()

    def settle(self) -> None:
        """Wait for the desk: its only worker takes one job after the other."""
        while self._desk._busy:
            self._desk._pool.submit(lambda: None).result()

    def until(self, *phases: str, ticks: int = 100, watch: str = "") -> WatchView:
        """Tick until a watch is in one of these phases."""
        for _ in range(ticks):
            self.tick()
            for view in self.controller.watches.views():
                if watch in view.id and view.phase in phases:
                    return view
        seen = [(v.id, v.phase, v.reasons) for v in self.controller.watches.views()]
        raise AssertionError(f"no watch {watch} in {phases} after {ticks} ticks: {seen}")

    def view(self, watch: str = "") -> WatchView:
        """Return the only watch whose id holds this."""
        (view,) = [v for v in self.controller.watches.views() if watch in v.id]
        return view

    def end(self) -> MemoryJournal:
        """End in good order; return the journal for the next life."""
        self._desk.close()
        return self.journal


def observing(**fields: object) -> Policy:
    """Return the usual policy in observe mode, with fields overridden."""
    return replace(POLICY, mode=Mode.OBSERVE, **fields)  # type: ignore[arg-type]


def phases(journal: MemoryJournal, watch: str = "") -> list[str]:
    """Return the phases that the journal holds of a watch, without repetition."""
    found: list[str] = []
    for entry in journal.entries(kinds=frozenset({"watch"})):
        if watch in entry.watch_id and entry.data["phase"] not in found[-1:]:
            found.append(entry.data["phase"])
    return found
