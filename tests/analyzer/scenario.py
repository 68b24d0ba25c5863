"""A small world of counters behind the shape of a metric source, for tests of the pure core."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Family
from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.roster import Roster
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series

Floats = NDArray[np.float64]
STEP = 10.0


@dataclass
class World:
    """Cumulative values by metric and labels, at multiples of STEP from time 0.

    ``series``: metric -> labels (in the query's order) -> values; NaN where not scraped.
    ``outage``: grid times at which the source does not answer.
    """

    series: dict[str, dict[tuple[str, ...], Floats]] = field(default_factory=dict)
    outage: Callable[[float], bool] = lambda _: False

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        return [self._answer(query, grid) for query in queries]

    def _answer(self, query: Query, grid: Grid) -> Reply:
        if self.outage(grid.end):
            return Missing(Absence.SOURCE_DOWN, "connection refused")
        found = self.series.get(query.selector.metric, {})
        if not found:
            return Missing(Absence.NO_SERIES)
        at = np.round(grid.times / STEP).astype(int)
        rows = []
        for values in found.values():
            inside = (at >= 0) & (at < len(values))
            rows.append(np.where(inside, values[np.clip(at, 0, len(values) - 1)], np.nan))
        return Series(query.by, tuple(found), np.array(rows), grid)


def rollout(baseline: int, canary: int, *, name: str = "shop", started: float = 0.0) -> Rollout:
    """A rollout whose instances are called ``<name>-b0…`` and ``<name>-c0…``."""
    return Rollout(
        Workload("c", "n", "Static", name),
        Revision("2", "v2"),
        Revision("1", "v1"),
        tuple(Instance((f"{name}-c{i}",), started) for i in range(canary)),
        tuple(Instance((f"{name}-b{i}",), 0.0) for i in range(baseline)),
        ("instance",),
        started,
    )


def roster_of(observed: Rollout, now: float, warm_up_s: float = 0.0) -> Roster:
    return Roster().observe(observed, now, warm_up_s)


def counted(
    rng: np.random.Generator, ticks: int, rate: float, share: Floats, *, start: int = 0
) -> tuple[Floats, Floats]:
    """Return cumulative totals and bad events of one instance; nothing before tick ``start``."""
    total = rng.poisson(rate, ticks)
    total[:start] = 0
    bad = rng.binomial(total, share)
    values = np.array([total.cumsum(), bad.cumsum()], dtype=np.float64)
    values[:, :start] = np.nan
    return values[0], values[1]


def advance(family: Family[Any, Any], world: World, until: float) -> None:
    """Do what the collector does, once."""
    grid = family.due(until)
    if grid is not None:
        family.advance(world.fetch(family.queries(), grid), grid)
    for member in family.wanting():
        past = family.history_grid(member.policy.history_s)
        family.arm([member], world.fetch(family.queries([member]), past), past)
