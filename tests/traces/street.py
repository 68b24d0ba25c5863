"""A street of pods that send traces, and everything that judges them but the network."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from analyzer.comparison import Comparison
from analyzer.evidence import Evidence, Finding, Measured
from analyzer.policy import Policy
from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.roster import Roster
from analyzer.signal import TraceSignal
from rollbackd.collect import Collector
from rollbackd.telemetry import Telemetry
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.otlp import decode
from tests.traces.building import CLIENT, INTERNAL, NOW, SERVER, Made, request, span_id, trace_id

TICK_S = 10.0
SHORT_S = 0.001
"""Calls that make a request no slower."""
BEFORE = 12
"""Ticks before the canary."""
OLD, NEW = ("old-1", "old-2", "old-3"), ("new-1", "new-2")
WATCH = "watch"
SIGNAL = TraceSignal("traces", weight=1.0)
POLICY = Policy("traced", (SIGNAL,), warm_up_s=0.0, history_s=300.0, horizon_s=1800.0)

Mutation = Callable[["Shape"], "Shape"]


@dataclass(frozen=True)
class Shape:
    """What a request does."""

    own_s: float = 0.040
    query_s: float = 0.010
    queries: int = 1
    errors: float = 0.01
    error_type: str = "Timeout"
    failing_queries: float = 0.0
    other_call: str = ""
    other_share: float = 1.0
    """Of the requests that make the other call."""
    orders: float = 0.0
    """Share of the requests that are for something else."""
    layers: int = 0
    """Steps of work within the request, one inside the other."""


@dataclass
class Street:
    """Pods, the book, and a comparison; time moves by ticks."""

    seed: int = 1
    rate: int = 25
    """Requests of a pod in a tick."""
    signal: TraceSignal = SIGNAL
    book: TraceBook = field(default_factory=lambda: TraceBook(Catalogue()))
    ticks: int = 0

    def __post_init__(self) -> None:
        self.dice = np.random.default_rng(self.seed)
        self.comparison = Comparison(TICK_S)
        self.counters = TraceCounters(self.book, lambda trace: f"http://traces/{trace}")
        self.desk = TraceDesk(self.counters)
        telemetry = Telemetry(version="test", environ={})
        self.collector = Collector(self.counters, TICK_S, 0.0, telemetry)
        self.roster = Roster()

    @property
    def now(self) -> float:
        return NOW + self.ticks * TICK_S

    def join(self) -> None:
        policy = replace(POLICY, signals=(self.signal,))
        self.comparison.join(WATCH, policy, ("pod",))

    def requests(self, shape: Shape, busy: float) -> list[Made]:
        """Return one tick's spans of a pod; the clock is that of the tick."""
        shift = self.now - NOW
        made = []
        for _ in range(self.dice.poisson(self.rate * busy)):
            trace, root = trace_id(), span_id()
            noise = float(self.dice.lognormal(0, 0.3))
            at = shift
            if shape.orders and self.dice.random() < shape.orders:
                made.append(Made("POST /order", SERVER, at, at + 0.02 * noise, trace, root))
                continue
            calls: list[Made] = []
            for _ in range(shape.queries):
                length = shape.query_s * float(self.dice.lognormal(0, 0.3))
                if self.dice.random() < shape.failing_queries:
                    calls.append(_query(trace, root, at, length, failed=True))
                    at += length
                calls.append(_query(trace, root, at, length))
                at += length
            if shape.other_call and self.dice.random() < shape.other_share:
                other = Made(shape.other_call, CLIENT, at, at + SHORT_S, trace, span_id(), root)
                calls.append(other)
                at += SHORT_S
            inside = root
            for layer in range(shape.layers):
                mine = span_id()
                work = Made(
                    f"step {'abc'[layer]}", INTERNAL, at, at + SHORT_S, trace, mine, inside
                )
                calls.append(work)
                inside = mine
            at += SHORT_S if shape.layers else 0.0
            failed = bool(self.dice.random() < shape.errors)
            end = at + shape.own_s * noise
            error = shape.error_type if failed else ""
            top = Made("GET /", SERVER, shift, end, trace, root, failed=failed, exception=error)
            made += [*calls, top]
        return made

    def send(self, spans: list[Made], pod: str) -> None:
        if spans:
            made = request(spans, pod=pod)
            out = decode(made, self.book.catalogue, made.SerializeToString(), self.now)
            self.book.take(out.columns, self.now)

    def tick(self, shapes: Mapping[str, Shape]) -> None:
        self.ticks += 1
        busy = float(self.dice.lognormal(0, 0.1))
        for pod, shape in shapes.items():
            self.send(self.requests(shape, busy), pod)
        self.book.turn(self.now)
        self.book.turn(self.now)
        self.desk.tend(self.comparison.traces)
        assert self.collector.collect(self.comparison.families, self.now) == []
        self.comparison.evidence()

    def live(
        self,
        minutes: float,
        *,
        canary: Shape,
        baseline: Shape | None = None,
        after: int = 0,
        usual: Shape = Shape(),
    ) -> Evidence:
        """Live through a rollout whose sides change their shape some ticks after its begin.

        ``usual``: what the baseline did before, and does unless told otherwise.
        """
        for _ in range(BEFORE):
            self.tick(dict.fromkeys(OLD, usual))
        self.join()
        rollout = _rollout()
        for i in range(round(60 * minutes / TICK_S)):
            self.roster = self.roster.observe(rollout, self.now, 0.0)
            self.comparison.enrol(WATCH, self.roster)
            old = (baseline or usual) if i >= after else usual
            new = canary if i >= after else usual
            self.tick(dict.fromkeys(OLD, old) | dict.fromkeys(NEW, new))
        return self.evidence()

    def evidence(self) -> Evidence:
        return self.comparison.evidence()[WATCH][self.signal.name]


def found(evidence: Evidence) -> Finding:
    assert isinstance(evidence, Measured), evidence
    return evidence.finding


def _query(trace: bytes, parent: bytes, at: float, length: float, *, failed: bool = False) -> Made:
    return Made("SELECT items", CLIENT, at, at + length, trace, span_id(), parent, failed)


def _rollout() -> Rollout:
    def instances(pods: tuple[str, ...]) -> tuple[Instance, ...]:
        return tuple(itertools.starmap(Instance, (((pod,), 0.0) for pod in pods)))

    new, old = Revision("new", "new"), Revision("old", "old")
    workload = Workload("c", "shop", "Deployment", "shop")
    return Rollout(workload, new, old, instances(NEW), instances(OLD), ("pod",), NOW)
