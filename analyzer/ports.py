"""The ports this layer calls. Adapters live in ``rollbackd.sources`` and ``rollbackd.rollouts``."""

from collections.abc import Sequence
from typing import Protocol

from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Grid, Missing, Query, Reply


class MetricSource(Protocol):
    """Where samples come from: Prometheus, the built-in scraper, recorded data."""

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer every query on the grid, in order.

        Never raises for trouble of the source: what could not be had is ``Missing`` with its
        reason, for each query by itself. May be called from several threads at once.
        """

    def close(self) -> None:
        """Release connections and threads; idempotent."""


class RolloutSource(Protocol):
    """Where rollouts come from: the Kubernetes API, static groups."""

    def rollouts(self) -> Sequence[Rollout] | Missing:
        """Return every rollout seen now, or why nothing can be said (then nothing changes)."""

    def instances(self, workload: Workload, revision: Revision) -> Sequence[Instance] | Missing:
        """Return the instances of a revision that may not be part of a rollout any more.

        After a rollback there is no rollout, and whether it helped is to be measured. A workload
        that this source does not know has no instances.
        """

    def close(self) -> None:
        """Release connections and threads; idempotent."""
