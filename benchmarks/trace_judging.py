"""Watches with very many traced operations, and what a tick of judging them costs.

Every operation has about twenty spans of every instance in every tick, a hundredth of them failed;
nothing is wrong with anything. What makes up these counts is not measured.
"""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analyzer.comparison import Comparison
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.signal import TraceSignal
from analyzer.traces.aspects import AnyFamily
from analyzer.traces.operations import Detail, SideDetail
from rollbackd.collect import Collector
from rollbackd.telemetry import Telemetry
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Bounds, Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.measures import (
    ASSEMBLED,
    COUNTERS,
    DEPTH,
    DURATIONS,
    FAILED,
    REPEATS,
    SELF_TIMES,
    SPANS,
)

TICK_S = 10.0
RETENTION_S = 30.0
"""Short, as what the book keeps of the past is not what judging costs."""
BEGIN = 1_800_000_000.0
SERVER = 2
SPANS_A_TICK = 20.0
FAILING = 0.01
NOTHING = SideDetail(0.0, 0.0, 0.0, 0.0, 0.0)
NO_CALLS = Detail(NOTHING, NOTHING)
"""No operation makes any call, which is known at once."""
MIDDLE = 10
"""Bucket of the usual duration; half of the spans are in the next."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What judging cost.

    Attributes:
        rows: operations of all watches.
        ticks: CPU seconds of each measured tick, in order.
        changed_s: CPU seconds of a tick in which an instance of a watch left.
        resident_mb: memory of the process before the first measured tick, and after the last.
        peak_mb: the most it ever had.
    """

    rows: int
    ticks: tuple[float, ...]
    changed_s: float
    resident_mb: tuple[float, float]
    peak_mb: float

    @property
    def tick_s(self) -> float:
        """CPU seconds of the median tick."""
        return sorted(self.ticks)[len(self.ticks) // 2]


class Street:
    """Watches with so many operations each, whose spans come by themselves.

    Args:
        operations: of each watch. watches: how many. pods: of each side of a watch.
    """

    def __init__(self, operations: int, watches: int, pods: int) -> None:
        bounds = Bounds(2 * pods * watches, operations, 2 * pods * watches * operations, 1)
        self.now = BEGIN
        self.book = TraceBook(Catalogue(bounds=bounds), retention_s=RETENTION_S)
        self.comparison = Comparison(TICK_S)
        counters = TraceCounters(self.book)
        self._desk = TraceDesk(counters)
        telemetry = Telemetry(version="benchmark", environ={})
        self._collector = Collector(counters, TICK_S, 0.0, telemetry)
        self._dice = np.random.default_rng(1)
        signal = TraceSignal("traces", operations=operations, min_spans=1)
        policy = Policy("many", (signal,), history_s=TICK_S * 3)
        self.operations = [f"shop|server|op-{_word(i)}" for i in range(operations)]
        names = [f"op-{_word(i)}" for i in range(operations)]
        self._rosters = []
        rows: list[int] = []
        for watch in range(watches):
            stays = []
            for side in Side:
                for pod in range(pods):
                    rows += self._instance(f"{watch}-{side}-{pod}", names)
                    stays.append(Stay((f"{watch}-{side}-{pod}",), side, 0.0))
            self.comparison.join(str(watch), policy, ("pod",))
            self.comparison.enrol(str(watch), Roster(tuple(stays)))
            self._rosters.append(Roster(tuple(stays)))
        self._rows = np.array(rows)
        for row in rows:
            self.book.rows.begin(row, BEGIN)

    def _instance(self, pod: str, names: Sequence[str]) -> list[int]:
        catalogue = self.book.catalogue
        instance = catalogue.instance({"service.name": "shop", "k8s.pod.name": pod})
        if instance is None:
            raise SystemExit("no instance")
        instance.first, instance.seen = BEGIN, BEGIN + 1e6
        return [catalogue.row(instance, name, SERVER, templated=True) for name in names]

    def tick(self) -> float:
        """Let ten seconds pass; return the CPU seconds of judging them."""
        self.now += TICK_S
        _add(self.book, self._rows, self._dice, self.now)
        before = time.process_time()
        self._desk.tend(self.comparison.traces)
        if self._collector.collect(self.comparison.families, self.now):
            raise SystemExit("a family broke")
        self.comparison.evidence()
        return time.process_time() - before

    def begin(self) -> None:
        """Let every comparison begin: the first ones as always, the others with what those found.

        Fitting the noise of so many takes an hour, and is not what is measured here.
        """
        while not self.comparison.families:
            self.tick()
        for question in self.comparison.traces.questions():
            for operation in self.operations:
                self.comparison.traces.learn(question, operation, NO_CALLS)
        for family in self.comparison.families:
            family.brief = False
        while not all(_begun(family) for family in self.comparison.families):
            self.tick()
        for family in self.comparison.families:
            family.brief = True
            _begin_alike(family)

    def lose_an_instance(self) -> None:
        """Let the first watch's last instance go."""
        *others, last = self._rosters[0].stays
        self.comparison.enrol("0", Roster((*others, replace(last, until=self.now))))


def judge(operations: int, watches: int, *, pods: int = 2, ticks: int = 5) -> Judged:
    """Let watches with so many operations each be judged; only the judging is counted."""
    street = Street(operations, watches, pods)
    street.begin()
    for _ in range(round(RETENTION_S / TICK_S)):  # until the book forgets as much as it learns
        street.tick()
    before = resident_mb()
    costs = tuple(street.tick() for _ in range(ticks))
    after = resident_mb()
    street.lose_an_instance()
    changed = street.tick()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return Judged(operations * watches, costs, changed, (before, after), peak)


def resident_mb() -> float:
    """Return how much memory this process has now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  no path, a kernel file
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def _begun(family: AnyFamily) -> list[object]:
    return [member.armed for member in family.members if member.armed is not None]


def _begin_alike(family: AnyFamily) -> None:
    """Let all members that wait begin as the first one did, with what it saw until now."""
    waiting = [member for member in family.members if member.armed is None]
    state, order = family._state, family._order  # noqa: SLF001  what fitting would lead to
    first = order[0].armed if order else None
    if state is None or first is None:
        raise SystemExit("no comparison has begun")
    family._state = type(state).concat([state, state.take(np.zeros(len(waiting), dtype=np.int64))])  # noqa: SLF001
    like_first = replace(first, noise=first.noise.take(slice(0, 0)))
    for member in waiting:
        member.armed = like_first
    order.extend(waiting)
    family._engaged()  # noqa: SLF001


def _word(number: int) -> str:
    """Return a name without digits, which would be taken for a value."""
    letters = ""
    while True:
        letters += chr(97 + number % 26)
        number //= 26
        if not number:
            return letters


def _add(book: TraceBook, rows: NDArray[np.int64], dice: np.random.Generator, now: float) -> None:
    """Add some spans of middling length to every row, as the assembly would."""
    spans = dice.poisson(SPANS_A_TICK, len(rows)).astype(np.float64)
    calls = dice.poisson(spans).astype(np.float64)
    columns = {
        SPANS: spans,
        FAILED: dice.binomial(spans.astype(int), FAILING).astype(np.float64),
        ASSEMBLED: spans,
        REPEATS: calls,
        DEPTH: spans + calls,
    }
    for part in (DURATIONS, SELF_TIMES):
        low = dice.binomial(spans.astype(int), 0.5).astype(np.float64)
        columns[part.start + MIDDLE] = low
        columns[part.start + MIDDLE + 1] = spans - low
    numbers = sorted(columns)
    place = (rows[:, None] * COUNTERS + np.array(numbers)).reshape(-1)
    amount = np.stack([columns[n] for n in numbers], axis=1).reshape(-1)
    with book.lock:
        book.rows.add(now, place, amount)
