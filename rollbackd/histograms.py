"""Histograms on ``/metrics`` from the first scrape on, at 0.

OpenTelemetry knows a histogram only once a value was recorded. A series that is born with its first
value shows Prometheus no increase, so the first decision after each start would be missing from
every rate. Here the series that are declared, and were not recorded yet, are put beside the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class Declared:
    """A histogram and all its series.

    Attributes:
        name: as Prometheus sees it. text: what it says.
        bounds: upper bounds of the buckets, rising, without infinity.
        series: labels of each series; one without labels when there is just that.
    """

    name: str
    text: str
    bounds: tuple[float, ...]
    series: tuple[tuple[tuple[str, str], ...], ...] = ((),)

    def at_zero(self, present: Iterable[Sample] = ()) -> Iterator[Sample]:
        """Yield the samples, all 0, of the series that are not among those present."""
        count = f"{self.name}_count"
        known = {frozenset(s.labels.items()) for s in present if s.name == count}
        for series in self.series:
            if frozenset(series) in known:
                continue
            labels = dict(series)
            for bound in (*map(str, self.bounds), "+Inf"):
                yield Sample(f"{self.name}_bucket", labels | {"le": bound}, 0.0)
            yield Sample(count, labels, 0.0)
            yield Sample(f"{self.name}_sum", labels, 0.0)


@dataclass(frozen=True)
class Gathered(Collector):
    """Metrics that are collected already; stands where a registry is asked for."""

    metrics: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self.metrics


def from_zero(metrics: Iterable[Metric], declared: Sequence[Declared]) -> Iterator[Metric]:
    """Yield metrics, completed by the series of declared histograms that are not there yet."""
    waiting = {histogram.name: histogram for histogram in declared}
    for metric in metrics:
        histogram = waiting.pop(metric.name, None)
        if histogram is not None:
            metric.samples = [*metric.samples, *histogram.at_zero(metric.samples)]
        yield metric
    for histogram in waiting.values():
        empty = Metric(histogram.name, histogram.text, "histogram")
        empty.samples = list(histogram.at_zero())
        yield empty
