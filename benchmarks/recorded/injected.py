"""Faults put into healthy recordings at random onsets: what would be found, and how soon.

The noise, the traffic and the gaps are the recording's own; only what the fault changes is changed,
and in all metrics that such a fault moves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.recorded.scoring import Case

Row = list[float | None]

LEAST_LEFT: Final = {True: 2, False: 5}
"""Intervals that are left after the onset, at least: of a minute and longer, and shorter ones."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault does to one metric from the onset on.

    Attributes:
        name: for the table. touches: whether it moves this metric.
        change: (values, requests per interval, whether it counts per interval, rng) -> values.
    """

    name: str
    touches: Callable[[Mapping[str, Any]], bool]
    change: Callable[[Row, Row, Mapping[str, Any], np.random.Generator], Row]


def _about(*roles: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda metric: metric["role"] in roles and metric["direction"] != "none"


def _failing(share: float) -> Callable[[Row, Row, Mapping[str, Any], np.random.Generator], Row]:
    """Let a share of requests fail, by chance; errors that were there stay."""

    def change(
        values: Row, requests: Row, metric: Mapping[str, Any], rng: np.random.Generator
    ) -> Row:
        out: Row = []
        for value, count in zip(values, requests, strict=True):
            if value is None or count is None:
                out.append(value)
                continue
            failed = int(rng.binomial(round(count), share))
            part = failed / count if count else 0.0
            match metric["unit"], metric["direction"]:
                case "percent" | "%", "lower-is-worse":
                    out.append(max(value - 100.0 * part, 0.0))
                case "percent" | "%", _:
                    out.append(min(value + 100.0 * part, 100.0))
                case "ratio" | "share" | "fraction", _:
                    out.append(min(value + part, 1.0))
                case _:
                    out.append(value + failed)
        return out

    return change


def _times(
    factor: float,
) -> Callable[[Row, Row, Mapping[str, Any], np.random.Generator], Row]:
    """Multiply levels, ±10 % an interval."""

    def change(
        values: Row, requests: Row, metric: Mapping[str, Any], rng: np.random.Generator
    ) -> Row:
        del requests, metric
        jitter = np.exp(rng.normal(0.0, 0.1, len(values)))
        return [v if v is None else v * factor * j for v, j in zip(values, jitter, strict=True)]

    return change


def _high_quantile(metric: Mapping[str, Any]) -> bool:
    return metric["role"] == "latency" and any(q in metric["name"] for q in ("p95", "p99"))


FAULTS: Final = (
    Fault("errors 5 %", _about("error", "count"), _failing(0.05)),
    Fault("errors 20 %", _about("error", "count"), _failing(0.2)),
    Fault("errors 90 %", _about("error", "count"), _failing(0.9)),
    Fault("latency ×1.5", _about("latency"), _times(1.5)),
    Fault("latency ×2", _about("latency"), _times(2.0)),
    Fault("latency ×4", _about("latency"), _times(4.0)),
    Fault("tail ×4", _high_quantile, _times(4.0)),
    Fault("resources ×2", _about("resource"), _times(2.0)),
    Fault("resources ×4", _about("resource"), _times(4.0)),
    Fault("traffic ×0.1", _about("traffic"), _times(0.1)),
)


def injected(cases: Iterable[Case], seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield every clean healthy case with each fault that any of its metrics could show.

    Args:
        cases: recorded cases; those with a fault and those that are not clean are left out.
        seed: of onsets and chances.
    """
    rng = np.random.default_rng(seed)
    for case in cases:
        if case["kind"] != "aa" or case["effect_class"] != "none" or case.get("contaminated"):
            continue
        for fault in FAULTS:
            if any(fault.touches(m) for m in case["metrics"]):
                yield _struck(case, fault, rng)


def _struck(case: Case, fault: Fault, rng: np.random.Generator) -> dict[str, Any]:
    step = case["step_s"]
    steps = round(case["duration_s"] / step)
    onset = step * int(rng.integers(0, max(1, steps - LEAST_LEFT[step >= 60] + 1)))
    # the same requests fail in every metric that tells of failures
    dice = int(rng.integers(2**32))
    metrics = [
        _changed(m, case, fault, onset, np.random.default_rng(dice)) if fault.touches(m) else m
        for m in case["metrics"]
    ]
    return {
        **case,
        "id": f"{case['id']}-{fault.name}",
        "kind": "fault",
        "fault_type": fault.name,
        "onset_s": onset,
        "silent": False,
        "metrics": metrics,
    }


def _changed(
    metric: Mapping[str, Any], case: Case, fault: Fault, onset: float, rng: np.random.Generator
) -> dict[str, Any]:
    since = next((i for i, t in enumerate(metric["t"]) if t >= onset), len(metric["t"]))
    canary = {}
    for name, values in metric["canary"].items():
        requests = _requests(case, name, metric)
        later = fault.change(values[since:], requests[since:], metric, rng)
        canary[name] = [*values[:since], *later]
    return {**metric, "canary": canary}


def _requests(case: Case, instance: str, like: Mapping[str, Any]) -> Row:
    """Return the canary's requests in each interval of a metric, None where nobody knows."""
    for metric in case["metrics"]:
        same = metric["step_s"] == like["step_s"] and len(metric["t"]) == len(like["t"])
        if metric["role"] == "traffic" and "request" in metric["unit"] and same:
            values = metric["canary"].get(instance, [None] * len(like["t"]))
            scale = 1.0 if metric["kind"] == "counter" else metric["step_s"]
            return [None if v is None else v * scale for v in values]
    return [None] * len(like["t"])
