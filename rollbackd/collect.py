"""One round of questions to the metric source, for all families at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import floor
from typing import Any

import structlog

from analyzer.comparison import AnyFamily
from analyzer.families.family import Member
from analyzer.ports import MetricSource
from analyzer.sample import Grid, Query, Reply, Series
from rollbackd.telemetry import Telemetry

log = structlog.get_logger()

BEGIN_TOGETHER = 25
"""Comparisons whose baselines' past is asked for in one question: two hours of the buckets of a
few pods are a megabyte of answer for each."""
BEGIN_A_TICK = 4 * BEGIN_TOGETHER
"""Comparisons of a family that are started in one tick: fitting the noise takes some milliseconds
for each, and the others wait for their judgement meanwhile."""


class Collector:
    """Brings every family up to date.

    Args:
        source: where samples come from.
        tick_s: distance of grid points.
        settle_s: samples younger than this are not asked for: they may not be all there yet.
        telemetry: counts queries by outcome.
    """

    def __init__(
        self, source: MetricSource, tick_s: float, settle_s: float, telemetry: Telemetry
    ) -> None:
        self.source = source
        self.tick_s = tick_s
        self.settle_s = settle_s
        self._telemetry = telemetry

    def grid_end(self, now: float) -> float:
        """Return the newest grid time whose samples are complete; grid times are shared by all."""
        return floor((now - self.settle_s) / self.tick_s) * self.tick_s

    def collect(self, families: Iterable[AnyFamily], now: float) -> list[AnyFamily]:
        """Fetch what is due, fold it in, and start the comparisons that can start.

        Returns:
            The families that an error of our own broke half-way: their state means nothing.
        """
        every = list(families)
        broken: list[AnyFamily] = []
        until = self.grid_end(now)
        due: dict[Grid, list[AnyFamily]] = defaultdict(list)
        for family in every:
            grid = family.due(until)
            if grid is not None:
                due[grid].append(family)
        for grid, group in due.items():
            asked = [family.queries() for family in group]
            for family, replies in zip(group, self._ask(asked, grid), strict=True):
                if not _intact(partial(family.advance, replies, grid)):
                    broken.append(family)
        for family in every:
            # what the detector says is worked out here, so that its errors show here, too
            if family not in broken and not (
                _intact(partial(self._arm, family)) and _intact(family.settle)
            ):
                broken.append(family)
        return broken

    def _arm(self, family: AnyFamily) -> None:
        """Start the comparisons of a family whose sides both have traffic, policy by policy."""
        by_history: dict[float, list[Member[Any]]] = defaultdict(list)
        # what could not be started before must not keep the others waiting
        wanting = sorted(family.wanting(), key=lambda member: member.trouble is not None)
        for member in wanting[:BEGIN_A_TICK]:
            by_history[member.policy.history_s].append(member)
        for history_s, members in by_history.items():
            grid = family.history_grid(history_s)
            for first in range(0, len(members), BEGIN_TOGETHER):
                some = members[first : first + BEGIN_TOGETHER]
                (replies,) = self._ask([family.queries(some)], grid)
                family.arm(some, replies, grid)

    def _ask(self, asked: Sequence[Sequence[Query]], grid: Grid) -> list[list[Reply]]:
        """Ask all queries in one call; return the replies in the same nesting."""
        every = [query for queries in asked for query in queries]
        replies = iter(fetch_moved(self.source, every, grid))
        nested = [[next(replies) for _ in queries] for queries in asked]
        for reply in (r for group in nested for r in group):
            reason = getattr(reply, "reason", None)
            self._telemetry.fetched("ok" if reason is None else reason.value)
        return nested


def fetch_moved(source: MetricSource, queries: Sequence[Query], grid: Grid) -> list[Reply]:
    """Return every answer on the grid, those of earlier times moved to it.

    Sources are asked in one call for each distance in time; they know nothing of it. What several
    families want to know is asked for once.
    """
    replies: dict[int, Reply] = {}
    for earlier_s in dict.fromkeys(query.earlier_s for query in queries):
        places = [i for i, query in enumerate(queries) if query.earlier_s == earlier_s]
        asked = {i: replace(queries[i], earlier_s=0.0) for i in places}
        different = list(dict.fromkeys(asked.values()))
        moved = replace(grid, start=grid.start - earlier_s)
        answers = dict(zip(different, source.fetch(different, moved), strict=True))
        for place in places:
            reply = answers[asked[place]]
            if earlier_s and isinstance(reply, Series):
                replies[place] = replace(reply, grid=grid)
            else:
                replies[place] = reply
    return [replies[i] for i in range(len(queries))]


def _intact(work: Callable[[], object]) -> bool:
    """Do some work on a family; tell whether no error of our own broke it."""
    try:
        work()
    except Exception:
        log.exception("signal family broke")
        return False
    return True
