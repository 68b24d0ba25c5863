"""Every region's metrics as one source: series of all regions, told apart by a label of ours."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from analyzer.ports import MetricSource
from analyzer.sample import Grid, Missing, Query, Reply, Series

REGION = "rollbackd_region"
"""The label that says which region a series is from; no metric has it."""


class RegionalSource:
    """A ``MetricSource`` over one source per region.

    Queries sum by ``REGION`` first. A region whose source cannot answer has no series in the
    answer, which is what its blindness looks like; only when no region answers, the answer is
    missing as a whole.

    Args:
        sources: by region.
    """

    def __init__(self, sources: Mapping[str, MetricSource]) -> None:
        self._sources = dict(sources)
        self._pool = ThreadPoolExecutor(len(self._sources), "rollbackd-regions")

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Ask every region side by side; see ``analyzer.ports.MetricSource``."""
        inner = [_without_region(query) for query in queries]
        running = {
            region: self._pool.submit(source.fetch, inner, grid)
            for region, source in self._sources.items()
        }
        replies = {region: answer.result() for region, answer in running.items()}
        return [
            _joined(query, {region: replies[region][i] for region in replies}, grid)
            for i, query in enumerate(queries)
        ]

    def instances(
        self, query: Query, at: float, step: float
    ) -> dict[str, tuple[tuple[str, ...], ...] | Missing]:
        """Return which instances each region has at a time, by a query that keeps their labels."""
        grid = Grid(at, step, 1)
        running = {
            region: self._pool.submit(source.fetch, [_without_region(query)], grid)
            for region, source in self._sources.items()
        }
        found: dict[str, tuple[tuple[str, ...], ...] | Missing] = {}
        for region, answer in running.items():
            (reply,) = answer.result()
            if isinstance(reply, Missing):
                found[region] = reply
                continue
            present = np.isfinite(reply.values[:, 0])
            keys = (key for key, there in zip(reply.keys, present, strict=True) if there)
            found[region] = tuple((region, *key) for key in sorted(keys))
        return found

    def close(self) -> None:
        """Close every region's source; idempotent."""
        self._pool.shutdown(wait=True)
        for source in self._sources.values():
            source.close()


def _without_region(query: Query) -> Query:
    return replace(
        query,
        by=tuple(label for label in query.by if label != REGION),
        restrict=tuple((label, values) for label, values in query.restrict if label != REGION),
    )


def _joined(query: Query, replies: Mapping[str, Reply], grid: Grid) -> Reply:
    """Return one answer of the regions' answers, with the region where the query wants it."""
    present = {r: reply for r, reply in replies.items() if isinstance(reply, Series)}
    if not present:
        return next(reply for reply in replies.values() if isinstance(reply, Missing))
    place = query.by.index(REGION)
    keys = tuple(
        (*key[:place], region, *key[place:])
        for region, series in present.items()
        for key in series.keys
    )
    values = np.concatenate([series.values for series in present.values()])
    return Series(query.by, keys, values, grid)
