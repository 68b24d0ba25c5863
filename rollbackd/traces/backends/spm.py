"""Jaeger's Service Performance Monitoring: how many calls there really were.

Where Jaeger has a metrics storage, it tells rates, shares of errors and quantiles by service and
operation. It does not tell processes or versions apart, so that nothing of it can be evidence for or
against a canary (docs/decisions/spm.md). It tells what the traces that are read are a sample of.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from analyzer.sample import Absence
from rollbackd.sources.http_reply import Trouble
from rollbackd.traces.backends.server import Backend

WINDOW_S = 300.0
"""Of one question. A whole number of minutes: of "1m30s" Jaeger asks its storage for "1m"."""
STEP_S = 60.0
"""Storages that count by intervals (Elasticsearch) have them of a minute."""
QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class Served:
    """What a service answered in WINDOW_S, by its spans of kind server.

    Attributes:
        calls: how many. failed: which share of them, None when unknown.
        slow: the 95 % quantile of their times; in ms, or in s where Jaeger is told that its storage
            counts in seconds; None when unknown.
    """

    calls: float
    failed: float | None = None
    slow: float | None = None


class Monitoring:
    """Asks a Jaeger for these figures.

    Args:
        backend: the server, not shared with who asks for traces: that one has no metrics must not
            keep others from asking it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def served(self, service: str, until: float) -> Served | None:
        """Return what a service answered until a time, None when nothing is known of it.

        Raises:
            Trouble: there is no answer. NotThere: this Jaeger has no such figures.
        """
        rate = self._last("calls", service, until)
        if rate is None:
            return None
        failed = self._last("errors", service, until)
        slow = self._last("latencies", service, until, quantile=f"{QUANTILE:g}")
        return Served(rate * WINDOW_S, failed, slow)

    def close(self) -> None:
        """Release connections."""
        self._backend.close()

    def _last(self, what: str, service: str, until: float, **more: str) -> float | None:
        """Return the newest value; without ``spanKind`` it is of kind server, in every version."""
        query: dict[str, str | int] = {
            "service": service,
            "endTs": int(until * 1000),
            "lookback": int(STEP_S * 1000),
            "step": int(STEP_S * 1000),
            "ratePer": int(WINDOW_S * 1000),
            **more,
        }
        values = list(_values(self._backend.document(f"/api/metrics/{what}", query), service))
        return values[-1] if values else None


def _values(document: object, service: str) -> Iterator[float]:
    """Yield a service's values in order of time; what is not a number is left out."""
    if not isinstance(document, dict) or "metrics" not in document:
        raise Trouble(Absence.INVALID, "the answer is JSON, but no family of metrics")
    for metric in _list(document, "metrics"):
        names = {label.get("name"): label.get("value") for label in _list(metric, "labels")}
        if names.get("service_name") != service:
            continue
        for point in _list(metric, "metricPoints"):
            gauge = point.get("gaugeValue")
            number = _number(gauge) if isinstance(gauge, dict) else math.nan
            if number >= 0 and math.isfinite(number):
                yield number


def _list(holder: dict[str, object], key: str) -> list[dict[str, object]]:
    found = holder.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _number(gauge: dict[str, object]) -> float:
    """Return a gauge's value; protobuf's JSON leaves zeros out and writes NaN and int64 as text."""
    value = gauge.get("doubleValue", gauge.get("intValue", 0))
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
