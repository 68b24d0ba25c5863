"""A world in which nothing happens: rollouts that stay, counters that grow evenly."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Grid, Query, Reply, Series

BASELINES, CANARIES = 5, 2
BOUNDS = ("0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
BELOW = np.array([0.02, 0.1, 0.3, 0.55, 0.8, 0.93, 0.98, 0.995, 0.999, 0.9998, 1.0])
"""Share of requests below each bound."""
RATE = 20.0
"""Requests per second of one instance."""
ERROR_SHARE = 0.004
AGE_S = 20_000.0
"""How long instances had been running when the benchmark begins."""


@dataclass(frozen=True)
class SteadyRollouts:
    """A rollout source whose rollouts never change."""

    seen: tuple[Rollout, ...]

    @classmethod
    def of(cls, numbers: Iterable[int], now: float) -> "SteadyRollouts":
        """Return one rollout for each number."""
        return cls(tuple(_rollout(number, now) for number in numbers))

    @cached_property
    def instances_by_name(self) -> tuple[str, ...]:
        """The names of all instances."""
        both = ((*r.baseline_instances, *r.canary_instances) for r in self.seen)
        return tuple(i.id[0] for instances in both for i in instances)

    def rollouts(self) -> Sequence[Rollout]:
        """Return all of them."""
        return self.seen

    def instances(self, workload: Workload, revision: Revision) -> Sequence[Instance]:
        """Return none: nothing is rolled back."""
        del workload, revision
        return ()

    def close(self) -> None:
        """Hold nothing."""


def _rollout(number: int, now: float) -> Rollout:
    old, name = now - AGE_S, f"app-{number}"
    return Rollout(
        Workload("bench", "default", "Deployment", name),
        Revision(f"{name}-2", "2"),
        Revision(f"{name}-1", "1"),
        tuple(Instance((f"{name}-canary-{i}",), now - 120.0) for i in range(CANARIES)),
        tuple(Instance((f"{name}-baseline-{i}",), old) for i in range(BASELINES)),
        ("instance",),
        now - 120.0,
    )


class SteadySource:
    """A metric source that makes its answers up, and takes the time that it needs for it.

    Args:
        names: of all instances.
        now: when the benchmark begins.
    """

    def __init__(self, names: Sequence[str], now: float) -> None:
        self._row = {name: i for i, name in enumerate(names)}
        self._began = now - AGE_S
        self._pace = RATE * np.random.default_rng(1).uniform(0.5, 1.5, len(names))
        self.queries = 0
        self.cpu_s = 0.0
        self.wall_s = 0.0

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer on the grid, only for the instances that are asked for."""
        cpu, wall = time.process_time(), time.perf_counter()
        replies: list[Reply] = [self._answer(query, grid) for query in queries]
        self.queries += len(queries)
        self.cpu_s += time.process_time() - cpu
        self.wall_s += time.perf_counter() - wall
        return replies

    def _answer(self, query: Query, grid: Grid) -> Series:
        wanted = dict(query.restrict)["instance"]
        names = [name for name in self._row if name in wanted]
        pace = self._pace[[self._row[name] for name in names]]
        events = pace[:, None] * np.maximum(grid.times - self._began, 0.0)
        if "le" in query.by:
            keys = _fresh([(name, bound) for name in names for bound in BOUNDS])
            return Series(query.by, keys, _buckets(events), grid)
        share = ERROR_SHARE if query.selector.metric.startswith("errors") else 1.0
        return Series(query.by, _fresh([(n,) for n in names]), np.floor(share * events), grid)

    def close(self) -> None:
        """Hold nothing."""


def _fresh(keys: list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return equal keys made of new strings, as a reply that was read has them."""
    return tuple(map(tuple, json.loads(json.dumps(keys))))


def _buckets(events: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cumulative counts, (instances × bounds, times)."""
    counts: NDArray[np.float64] = np.floor(events[:, None, :] * BELOW[:, None])
    return counts.reshape(-1, events.shape[1])
