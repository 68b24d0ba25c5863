"""Ready-made signals: found when a watch begins, journalled, and the same in the next life."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from analyzer.policy import Policy
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Selector
from rollbackd.catalogue.discovery import NAME
from rollbackd.policy_record import policy_from_json
from rollbackd.signal_finder import PATIENCE_S, resumed
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, Lifetime
from tests.process.mall import BAD, TICK_S, Mall

AUTO = replace(POLICY, signals=(), discovers=True)
GO = "http_requests_total"
ISTIO = "istio_requests_total"
LABELS = {GO: {"code": "200"}, ISTIO: {"reporter": "destination", "response_code": "200"}}


@dataclass
class Exposition:
    """What the mall's instances call their counters, by metric."""

    metrics: list[str] = field(default_factory=lambda: [GO])


class NamedMall(Mall):
    """A mall whose counters have the names of a convention, and that can be asked for them."""

    def __init__(self) -> None:
        super().__init__()
        self.exposition = Exposition()

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        return [self._renamed(query, grid) for query in queries]

    def _renamed(self, query: Query, grid: Grid) -> Reply:
        if not query.selector.metric:
            return self.outage or self._listed(query, grid)
        assert query.selector.metric in LABELS
        bad = any(m.value.startswith("5") for m in query.selector.matchers)
        counted = replace(query, selector=Selector("bad_total" if bad else "all_total"))
        return super().fetch([counted], grid)[0]

    def _listed(self, query: Query, grid: Grid) -> Reply:
        served = [one.name for shop in self.shops.values() for one in shop.serving]
        names = self.exposition.metrics
        if not names:
            return Missing(Absence.NO_SERIES, "nothing matches")
        keys = tuple(
            tuple({NAME: m, "instance": n, **LABELS[m]}.get(label, "") for label in query.by)
            for m in names
            for n in served
        )
        return Series(query.by, keys, np.ones((len(keys), grid.count)), grid)


@pytest.fixture
def mall() -> NamedMall:
    return NamedMall()


def recorded(journal: MemoryJournal) -> Policy:
    (entry,) = journal.latest("policy").values()
    return policy_from_json(entry.data)


def test_a_bad_release_is_rolled_back_without_any_signal_configured(mall: NamedMall) -> None:
    journal = MemoryJournal()
    life = Lifetime(mall, journal, AUTO)
    life.tick(3)
    mall.release("v2", BAD)
    assert life.until("rolled back", "needs a human").phase == "rolled back"
    (signal,) = recorded(journal).signals
    assert signal.name == "errors"
    life.end()


def test_a_restart_judges_by_the_same_signals_although_more_is_exposed(mall: NamedMall) -> None:
    journal = MemoryJournal()
    first = Lifetime(mall, journal, AUTO)
    mall.release("v2")
    first.tick(2)
    before = recorded(journal).signals
    first.end()
    mall.exposition.metrics = [ISTIO, GO]
    second = Lifetime(mall, journal, AUTO)
    second.tick(2)
    (view,) = second.controller.watches.views()
    assert view.phase in {"warming", "observing"}
    assert recorded(journal).signals == before
    second.end()


def test_a_watch_waits_for_a_source_that_is_down_and_then_begins(mall: NamedMall) -> None:
    journal = MemoryJournal()
    life = Lifetime(mall, journal, AUTO)
    mall.release("v2")
    mall.outage = Missing(Absence.SOURCE_DOWN, "no answer")
    life.tick(int(3 * PATIENCE_S / TICK_S))
    assert life.controller.watches.views() == ()
    mall.outage = None
    life.tick()
    assert len(life.controller.watches.views()) == 1
    assert recorded(journal).signals
    life.end()


def test_where_nothing_is_known_the_watch_ends_inconclusive_and_says_why(mall: NamedMall) -> None:
    mall.exposition.metrics = []
    life = Lifetime(mall, MemoryJournal(), replace(AUTO, horizon_s=300.0))
    mall.release("v2", BAD)
    life.tick(int(PATIENCE_S / TICK_S) - 1)
    assert life.controller.watches.views() == ()
    view = life.until("inconclusive", "rolled back", "healthy")
    assert view.phase == "inconclusive"
    assert mall.writes == []
    life.end()


def test_a_watch_whose_signals_were_not_recorded_begins_anew() -> None:
    assert resumed(AUTO, None) is None
    assert resumed(POLICY, None) is POLICY
