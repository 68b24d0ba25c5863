"""Exemplars on ``/metrics``: from a bucket of a histogram to the trace of something that fell into it.

OpenTelemetry's Prometheus exporter leaves them out, so the newest of each bucket is kept here and
put beside the samples when OpenMetrics is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from threading import Lock

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.samples import Exemplar, Sample

from rollbackd.histograms import Gathered

Labels = frozenset[tuple[str, str]]


class Exemplars:
    """The newest exemplar of each bucket. Thread-safe; bounded by the buckets there are.

    Args:
        bounds: upper bounds of the buckets of each histogram, rising, by the histogram's name.
    """

    def __init__(self, bounds: Mapping[str, Sequence[float]]) -> None:
        self._bounds = {name: (*some, inf) for name, some in bounds.items()}
        self._kept: dict[tuple[str, Labels, float], Exemplar] = {}
        self._lock = Lock()

    def note(
        self, name: str, labels: Mapping[str, str], value: float, span: SpanContext, at: float
    ) -> None:
        """Keep a value's trace, when it is one that somebody can look at.

        Args:
            name: of the histogram.
            labels: of the series.
            value: what was recorded.
            span: in which.
            at: when, in seconds since the epoch.
        """
        if not (span.is_valid and span.trace_flags.sampled):
            return
        bucket = next((bound for bound in self._bounds[name] if value <= bound), inf)
        ids = {
            "trace_id": format_trace_id(span.trace_id),
            "span_id": format_span_id(span.span_id),
        }
        with self._lock:
            self._kept[name, frozenset(labels.items()), bucket] = Exemplar(ids, value, at)

    def exposition(self, metrics: Iterable[Metric]) -> bytes:
        """Return metrics in OpenMetrics text, with exemplars."""
        together = Gathered(self._beside(metrics))
        text: bytes = generate_latest(together)  # type: ignore[no-untyped-call]  # it has no types
        return text

    def _beside(self, metrics: Iterable[Metric]) -> Iterator[Metric]:
        for metric in metrics:
            if metric.name in self._bounds:
                metric.samples = [self._with_exemplar(metric.name, s) for s in metric.samples]
            yield metric

    def _with_exemplar(self, name: str, sample: Sample) -> Sample:
        if "le" not in sample.labels:
            return sample
        labels = frozenset((k, v) for k, v in sample.labels.items() if k != "le")
        with self._lock:
            found = self._kept.get((name, labels, float(sample.labels["le"])))
        return sample if found is None else sample._replace(exemplar=found)
