"""Simulated deployments as a daemon meets them: rollouts that change, and counters to be read.

Nothing here knows statistics. Increments of the simulator become monotonic counters with restarts,
pods that are not there have no series, and questions are answered on the grid as by any source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from benchmarks.calibration.gauges import Gauges
from benchmarks.calibration.routes import RouteCounts
from benchmarks.calibration.simulator import Array, Bools, Counts, Fleet, Histograms

START = 1_790_000_000.0
"""Grid time before the first tick of the history."""
REQUESTS, ERRORS, ORDERS = "requests_total", "errors_total", "orders_total"
BUCKETS, CPU, MEMORY = "latency_seconds_bucket", "cpu_cores", "memory_bytes"
ID_LABELS, ROUTE = ("pod",), "route"


@dataclass(frozen=True, slots=True)
class Counters:
    """One metric: its keys, and its values at every grid time, (keys, ticks)."""

    keys: tuple[tuple[str, ...], ...]
    values: Array


@dataclass(frozen=True, slots=True)
class Deployments:
    """Many independent rollouts that go through the same schedule, and their metrics."""

    fleet: Fleet
    runs: int
    metrics: Mapping[str, Counters]
    baseline_started_at: float = 0.0

    @classmethod
    def of(
        cls,
        counts: Counts | None,
        histograms: Histograms | None,
        gauges: Mapping[str, Gauges] = MappingProxyType({}),
        *,
        routes: RouteCounts | None = None,
        events: str = ERRORS,
        start_known: bool = False,
    ) -> "Deployments":
        """Return the deployments of which these were simulated; one of them at least.

        Args:
            counts: requests and events.
            histograms: latencies.
            gauges: by metric.
            routes: the same requests and events by route.
            events: the metric of the events among the requests.
            start_known: the baseline's pods were started when the history begins.
        """
        metrics: dict[str, Counters] = {}
        seen = next((x for x in (counts, histograms, *gauges.values()) if x is not None), None)
        if seen is None:
            raise ValueError("deployments need counts, histograms or gauges")
        runs = len(seen.levels) if isinstance(seen, Gauges) else len(seen.restarted)
        for name, gauge in gauges.items():
            metrics[name] = _gauge(gauge)
        if counts is not None:
            keys = tuple((pod,) for pod in _pods(len(counts.requests), counts.fleet))
            for name, increments in ((REQUESTS, counts.requests), (events, counts.events)):
                values = _counted(increments[..., None], counts.restarted, counts.fleet)
                metrics[name] = Counters(keys, values)
        if routes is not None:
            by = tuple(product(_pods(len(routes.requests), seen.fleet), routes.mix.routes))
            for name, increments in ((REQUESTS, routes.requests), (events, routes.events)):
                values = _counted(increments, routes.whole.restarted, seen.fleet)
                metrics[by_route(name)] = Counters(by, values)
        if histograms is not None:
            below = np.cumsum(histograms.counts, axis=-1)
            bounds = [f"{b:g}" if np.isfinite(b) else "+Inf" for b in histograms.bounds]
            pods = _pods(len(below), histograms.fleet)
            values = _counted(below, histograms.restarted, histograms.fleet)
            metrics[BUCKETS] = Counters(tuple(product(pods, bounds)), values)
        return cls(seen.fleet, runs, metrics, START if start_known else 0.0)

    def time(self, tick: int) -> float:
        """Return the grid time at the end of a tick of the canary phase."""
        return START + (self.fleet.history + tick + 1) * self.fleet.tick_s

    def changes(self) -> frozenset[int]:
        """Return the ticks at which pods come or go."""
        fleet = self.fleet
        return frozenset({0, *fleet.births.tolist(), *fleet.deaths.tolist()})

    def rollouts(self, tick: int) -> list[Rollout]:
        """Return every rollout as it is seen at the end of a tick."""
        fleet, began = self.fleet, START + self.fleet.history * self.fleet.tick_s
        born = [began + birth * fleet.tick_s for birth in fleet.births.tolist() if birth <= tick]
        left = np.flatnonzero(fleet.deaths > tick).tolist()
        return [
            Rollout(
                workload=Workload("simulated", "shop", "Deployment", f"app-{run}"),
                canary=Revision("2", "2"),
                baseline=Revision("1", "1"),
                canary_instances=tuple(
                    Instance((_pod(run, pod),), at) for pod, at in enumerate(born)
                ),
                baseline_instances=tuple(
                    Instance((_pod(run, fleet.canary_pods + pod),), self.baseline_started_at)
                    for pod in left
                ),
                id_labels=ID_LABELS,
                started_at=began,
            )
            for run in range(self.runs)
        ]

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer as a metric source does; more than was asked for is allowed."""
        return [self._answer(query, grid) for query in queries]

    def _answer(self, query: Query, grid: Grid) -> Reply:
        name = query.selector.metric
        counters = self.metrics.get(by_route(name) if ROUTE in query.by else name)
        if counters is None:
            return Missing(Absence.NO_SERIES)
        column = np.round((grid.times - START) / self.fleet.tick_s).astype(np.intp) - 1
        known = (column >= 0) & (column < self.fleet.total_ticks)
        values = counters.values[:, np.clip(column, 0, self.fleet.total_ticks - 1)]
        return Series(query.by, counters.keys, np.where(known, values, np.nan), grid)


def by_route(metric: str) -> str:
    """Return the name under which a metric's values by route are kept."""
    return f"{metric} by {ROUTE}"


def comparable(fleet: Fleet, warm_up_s: float) -> Bools:
    """Return which pods are old enough, and there, at each tick of the canary phase.

    Returns:
        (ticks, pods), for judges that have no roster of their own.
    """
    tick = np.arange(fleet.ticks)[:, None]
    warm: NDArray[np.int64] = np.ceil(fleet.births + warm_up_s / fleet.tick_s).astype(np.int64)
    return np.concatenate([tick >= warm, tick < fleet.deaths], axis=1)


def _pod(run: int, pod: int) -> str:
    return f"{run}-{pod}"


def _pods(runs: int, fleet: Fleet) -> list[str]:
    return [_pod(run, pod) for run, pod in product(range(runs), range(fleet.pods))]


def _gauge(gauges: Gauges) -> Counters:
    """Return a gauge by pod, absent where the pod is."""
    fleet = gauges.fleet
    values = _living(np.exp(gauges.levels)[..., None], fleet)
    return Counters(tuple((pod,) for pod in _pods(len(values) // fleet.pods, fleet)), values)


def _counted(increments: Array, restarted: Bools, fleet: Fleet) -> Array:
    """Return counters from (runs, ticks, pods, series) increments, (runs·pods·series, ticks)."""
    total = np.cumsum(increments, axis=1)
    before = np.where(restarted[..., None], total - increments, 0.0)
    values = total - np.maximum.accumulate(before, axis=1)
    return _living(values, fleet)


def _living(values: Array, fleet: Fleet) -> Array:
    """Return (runs, ticks, pods, series) values of pods that are there, by series and tick."""
    values = values.copy()
    for pod, birth in enumerate((fleet.births + fleet.history).tolist()):
        values[:, :birth, pod] = np.nan
    for pod, death in enumerate((fleet.deaths + fleet.history).tolist()):
        values[:, death:, fleet.canary_pods + pod] = np.nan
    return np.ascontiguousarray(np.moveaxis(values, 1, 3)).reshape(-1, fleet.total_ticks)
