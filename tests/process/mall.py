"""A mall: shops that are rolled out, count their requests, and can be switched back.

It is the world outside the process: it survives every restart of the controller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from actions.plan import Draft, Step
from actions.ports import Conflict, StepState
from analyzer.rollout import Instance, Revision, Rollout, Vitals, Workload
from analyzer.sample import Grid, Missing, Query, Reply, Series

TICK_S = 10.0
START = 1_800_000_000.0
OLD = START - 7200.0
RATE = 60.0
GOOD, BAD = 0.004, 0.2
BOUNDS = ("0.05", "0.1", "0.5", "+Inf")
BELOW = {GOOD: (0.4, 0.8, 0.99, 1.0), BAD: (0.1, 0.4, 0.9, 1.0)}
"""Share of requests below each bound, by how bad the revision is."""


@dataclass
class Clock:
    """The time, which only tests move."""

    at: float = START

    def __call__(self) -> float:
        return self.at


class Killed(BaseException):
    """The process died here."""


@dataclass
class Lifeline:
    """Kills the process at its n-th breath and at every later one; an endless one never does."""

    breaths: int | None = None

    @property
    def dead(self) -> bool:
        return self.breaths is not None and self.breaths < 0

    def breathe(self) -> None:
        if self.breaths is not None:
            self.breaths -= 1
            if self.breaths < 0:
                raise Killed


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Serving:
    """A stretch of time in which an instance serves."""

    name: str
    revision: str
    since: float
    until: float = np.inf


@dataclass
class Shop:
    """One workload.

    ``badness``: share of failing requests by revision. ``vitals``: what the cluster says of a
    revision's instances; those that are stuck or unready are not ready and serve nothing.
    ``annotations``: what it says of its newest change. ``left``: the revision that a complete
    rollout left, while it is still told of. ``turns``: since when a revision's share of failing
    requests is another one, and which. ``bursts``: from when to when it was another one, and which.
    ``forgotten``: the complete rollout is not told of any more. ``apart``: revisions replace each
    other at once, and the one before stays there without traffic.
    """

    name: str
    badness: dict[str, float]
    current: str = "v1"
    previous: str = "v1"
    ordinal: int = 0
    released_at: float = 0.0
    serving: list[Serving] = field(default_factory=list)
    vitals: dict[str, Vitals] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    left: str = ""
    turns: dict[str, tuple[float, float]] = field(default_factory=dict)
    bursts: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    forgotten: bool = False
    apart: bool = False

    @property
    def workload(self) -> Workload:
        return Workload("mall", "shops", "Static", self.name)

    def instances(self, revision: str) -> tuple[Instance, ...]:
        vitals = self.vitals.get(revision)
        return tuple(
            Instance((s.name,), s.since, ready=self.serves(revision), vitals=vitals)
            for s in self.serving
            if s.revision == revision
            and (s.until == np.inf or (revision == self.left and self.apart))
        )

    def serves(self, revision: str) -> bool:
        vitals = self.vitals.get(revision, Vitals())
        return not vitals.stuck and vitals.unready_since is None

    def rollout(self) -> Rollout | None:
        before = self.left or self.previous
        if self.current == before or self.forgotten:
            return None
        return Rollout(
            self.workload,
            Revision(self.current, self.current),
            Revision(before, before),
            self.instances(self.current),
            self.instances(before),
            ("instance",),
            self.released_at,
            self.ordinal,
            complete=bool(self.left),
            apart=self.apart,
            after_promotion=self.apart,
            annotations=self.annotations,
        )

    def failed(self, one: Serving, times: Floats) -> Floats:
        """Return how many of an instance's requests have failed."""
        total, share = _count(one, times), self.badness.get(one.revision, GOOD)
        at, later = self.turns.get(one.revision, (np.inf, share))
        before = _count(one, np.minimum(times, at))
        begin, end, burst = self.bursts.get(one.revision, (np.inf, np.inf, share))
        inside = _count(one, np.minimum(times, end)) - _count(one, np.minimum(times, begin))
        more = inside * (burst - share) if one.revision in self.bursts else 0.0
        return np.floor(before * share + (total - before) * later + more)


class Barrier:
    """A gate that holds shops for watches; a test shuts it."""

    def __init__(self) -> None:
        self.shut: dict[str, str] = {}
        self.let_go: list[str] = []
        self.trouble: list[Exception] = []

    def release(self, watch_id: str, by: str) -> str | None:
        if self.trouble:
            raise self.trouble.pop(0)
        what = self.shut.pop(watch_id, None)
        if what is not None:
            self.let_go.append(f"{what} for {by}")
        return what and f"{what} goes on"

    def holding(self, watch_id: str) -> str:
        return self.shut.get(watch_id, "")


class Mall:
    """Everything outside: implements RolloutSource and MetricSource.

    ``outage``: what queries are answered with instead of samples. ``unknown``: what the question
    for rollouts is answered with. ``garbled``: metrics whose series nobody could have written.
    ``meanwhile``: what happens elsewhere while the next query is answered.
    """

    def __init__(self, *shops: str) -> None:
        self.clock = Clock()
        self.shops = {name: Shop(name, {}) for name in shops or ("shop",)}
        self.outage: Missing | None = None
        self.unknown: Missing | None = None
        self.garbled: frozenset[str] = frozenset()
        self.meanwhile: Callable[[], None] | None = None
        self.writes: list[str] = []
        self.barrier = Barrier()
        self.settling = 0
        for shop in self.shops.values():
            shop.serving += [Serving(f"{shop.name}-v1-{i}", "v1", OLD) for i in range(4)]

    # What people do

    def release(self, revision: str, share: float = GOOD, shop: str = "shop") -> None:
        """Roll a revision out: two instances of it, and the ones before it go on."""
        released, now = self.shops[shop], self.clock.at
        if released.current != released.previous:
            self._retire(released, released.current)
        released.badness[revision] = share
        released.current, released.released_at = revision, now
        released.ordinal += 1
        released.left = ""
        name = f"{shop}-{revision}-{released.ordinal}"
        released.serving += [Serving(f"{name}-{i}", revision, now) for i in range(2)]

    def complete(self, shop: str = "shop", *, told: bool = False) -> None:
        """Let the canary take over; it is told of as complete, or not any more."""
        done = self.shops[shop]
        self._retire(done, done.previous)
        done.left = done.previous if told else ""
        done.previous = done.current

    def worsen(self, revision: str, share: float, shop: str = "shop") -> None:
        """Let another share of a revision's requests fail from now on."""
        self.shops[shop].turns[revision] = (self.clock.at, share)

    def roll_back(self, shop: str = "shop") -> None:
        """Put the previous revision back."""
        back = self.shops[shop]
        self._retire(back, back.current)
        if back.left:
            back.previous, back.left = back.left, ""
            names = (f"{shop}-{back.previous}-again-{i}" for i in range(4))
            back.serving += [Serving(name, back.previous, self.clock.at) for name in names]
        back.current = back.previous

    def _retire(self, shop: Shop, revision: str) -> None:
        shop.serving = [
            Serving(s.name, s.revision, s.since, self.clock.at)
            if s.revision == revision and s.until == np.inf
            else s
            for s in shop.serving
        ]

    # RolloutSource

    def rollouts(self) -> Sequence[Rollout] | Missing:
        if self.unknown is not None:
            return self.unknown
        every = (shop.rollout() for shop in self.shops.values())
        return [rollout for rollout in every if rollout is not None]

    def instances(self, workload: Workload, revision: Revision) -> Sequence[Instance] | Missing:
        if self.unknown is not None:
            return self.unknown
        return self.shops[workload.name].instances(revision.id)

    def close(self) -> None:
        """Hold nothing."""

    # MetricSource

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        if self.meanwhile is not None:
            elsewhere, self.meanwhile = Thread(target=self.meanwhile), None
            elsewhere.start()
            elsewhere.join()
        return [self.outage or self._answer(query, grid) for query in queries]

    def _answer(self, query: Query, grid: Grid) -> Series:
        metric, times = query.selector.metric, grid.times
        if metric in self.garbled:
            return Series(query.by, ((),), np.ones((1, grid.count)), grid)
        served = [
            (shop, one)
            for shop in self.shops.values()
            for one in shop.serving
            if shop.serves(one.revision)
        ]
        keys: list[tuple[str, ...]] = []
        rows: list[NDArray[np.float64]] = []
        for shop, one in served:
            total = _count(one, times)
            share = shop.badness.get(one.revision, GOOD)
            if "le" in query.by:
                keys += [(one.name, bound) for bound in BOUNDS]
                rows += [np.floor(total * below) for below in BELOW[share]]
            else:
                keys.append((one.name,))
                rows.append(shop.failed(one, times) if metric.startswith("bad") else total)
        # a label that no series has is empty
        keys = [(*key, *[""] * (len(query.by) - len(key))) for key in keys]
        # nobody has measured the future, whatever the asking replica's clock says
        values = np.where(times <= self.clock.at, np.array(rows), np.nan)
        return Series(query.by, tuple(keys), values, grid)


def _count(one: Serving, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return requests served, a little unevenly; NaN while the instance is not there."""
    age = times - one.since
    pace = 1.0 + 0.05 * np.sin(times / 50.0 + len(one.name))
    there = (age >= 0) & (times <= one.until)
    return np.where(there, np.floor(RATE * (age + 20.0 * (1.0 - pace))), np.nan).clip(0.0)


@dataclass
class Switch:
    """An actuator over the mall that may die before and after its write.

    ``trouble``: exceptions that the next calls of ``perform`` raise, in order.
    """

    mall: Mall
    life: Lifeline = field(default_factory=Lifeline)
    trouble: list[Exception] = field(default_factory=list)

    def propose(self, rollout: Rollout) -> Draft:
        if rollout.baseline is None:
            return Draft(refusals=("no way back",))
        name = rollout.workload.name
        good, bad = rollout.baseline.id, rollout.canary.id
        step = Step("switch", {"name": name}, {"revision": bad}, {"revision": good})
        return Draft((step,))

    def inspect(self, step: Step) -> StepState:
        shop = self.mall.shops[step.target["name"]]
        if shop.current == step.desired["revision"]:
            self.mall.settling -= 1
            return StepState.SETTLING if self.mall.settling >= 0 else StepState.DONE
        expected = shop.current == step.expected["revision"]
        return StepState.PENDING if expected else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        self.life.breathe()
        if self.trouble:
            raise self.trouble.pop(0)
        name = step.target["name"]
        if self.mall.shops[name].current != step.expected["revision"]:
            raise Conflict(f"{name} moved on")
        self.mall.roll_back(name)
        self.mall.writes.append(name)
        self.life.breathe()
