"""One metric source out of two: counters of traces from the book, everything else as before."""

from collections.abc import Sequence

from analyzer.ports import MetricSource
from analyzer.sample import Grid, Query, Reply
from analyzer.traces.operations import PREFIX


class RoutedSource:
    """Asks for each query whoever knows the answer.

    Args:
        traces: knows the counters of traces. others: everything else.
    """

    def __init__(self, traces: MetricSource, others: MetricSource) -> None:
        self._traces = traces
        self._others = others

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer every query, in order; trouble of one source is not the other's."""
        ours = [query.selector.metric.startswith(PREFIX) for query in queries]
        replies = {
            mine: iter(source.fetch(asked, grid) if asked else [])
            for mine, source in ((True, self._traces), (False, self._others))
            for asked in ([q for q, of in zip(queries, ours, strict=True) if of is mine],)
        }
        return [next(replies[mine]) for mine in ours]

    def close(self) -> None:
        """Close both."""
        self._traces.close()
        self._others.close()
