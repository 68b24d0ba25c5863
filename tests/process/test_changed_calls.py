"""A rollout whose calls changed, from the traces to the end of the watch, through the controller."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from analyzer.sample import Grid, Query, Reply
from analyzer.signal import ChangedCalls, Tier, TraceSignal
from analyzer.traces.operations import PREFIX
from rollbackd.traces.desk import TraceDesk
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, Lifetime
from tests.process.mall import TICK_S, Mall
from tests.traces.street import Shape, Street

SIGNAL = TraceSignal(
    "traces",
    tier=Tier.CRITICAL,
    weight=1.0,
    changed_calls=ChangedCalls.HARM,
    id_labels=("pod",),
)
TRACED = replace(POLICY, signals=(SIGNAL,), history_s=120.0)
PLAIN = Shape(errors=0.0)
AUDITED, ORDERED = replace(PLAIN, other_call="POST audit"), replace(PLAIN, orders=0.3)
CHANGES = [
    (AUDITED, PLAIN, "GET /: `POST audit` calls"),
    (PLAIN, AUDITED, "GET /: calls that the baseline never made"),
    (PLAIN, replace(PLAIN, queries=10), "GET /: calls"),
    (ORDERED, PLAIN, "POST /order: requests"),
]
IDS = ["vanished", "new", "n plus one", "requests"]


def nothing() -> float:
    return 0.0


@dataclass
class Traffic(Street):
    """Spans of pods at the time of a clock; nothing here judges them."""

    clock: Callable[[], float] = field(default=nothing)

    @property
    def now(self) -> float:
        return self.clock()


class TracedMall(Mall):
    """A mall whose instances send traces, shaped by their revision; their metrics are not asked for."""

    def __init__(self, usual: Shape) -> None:
        super().__init__()
        self.traffic = Traffic(clock=self.clock)
        self.shapes = {"v1": usual}

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        assert all(query.selector.metric.startswith(PREFIX) for query in queries)
        return self.traffic.counters.fetch(queries, grid)

    def send(self) -> None:
        """Let every instance that serves answer some requests."""
        for one in self.shops["shop"].serving:
            if one.until == np.inf:
                spans = self.traffic.requests(self.shapes[one.revision], 1.0)
                self.traffic.send(spans, one.name)
        for _ in range(2):
            self.traffic.book.turn(self.clock())


class TracedLife(Lifetime):
    """A life in which spans come with every tick."""

    mall: TracedMall

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.mall.clock.at += TICK_S
            self.mall.send()
            self.controller.tick()
            self.settle()


def rolled_back(usual: Shape, canary: Shape) -> TracedLife:
    """Return a life in which a canary was rolled back for what it calls."""
    life = TracedLife(TracedMall(usual), MemoryJournal(), TRACED)
    life.controller.consult(TraceDesk(life.mall.traffic.counters))
    for _ in range(14):  # before the rollout nobody looks, and spans come all the same
        life.mall.clock.at += TICK_S
        life.mall.send()
    life.mall.shapes["v2"] = canary
    life.mall.release("v2")
    life.until("verifying")
    return life


@pytest.mark.parametrize(("usual", "canary", "told"), CHANGES, ids=IDS)
def test_a_rollback_for_changed_calls_ends_when_they_are_as_they_were(
    usual: Shape, canary: Shape, told: str
) -> None:
    life = rolled_back(usual, canary)
    view = life.until("rolled back", "needs a human")
    life.end()
    assert view.phase == "rolled back"
    assert told in view.note


def test_a_rollback_after_which_calls_are_still_missing_calls_people() -> None:
    life = rolled_back(AUDITED, PLAIN)
    life.mall.shapes["v1"] = PLAIN
    view = life.until("rolled back", "needs a human")
    life.end()
    assert view.phase == "needs a human"
    assert "`POST audit` calls" in view.note
