"""Healthy cases of systems that nobody recorded: what the recordings at hand do not have.

Pods beside each other, gauges of CPU, memory, network and queues, steps from 1 to 60 s, jumps,
slow movements and rare bursts. Invented, so no proof of anything real; it shows whether a change
that helps one recording costs elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class System:
    """How a source samples. ``baselines``: instances, or stretches when not paired.

    ``memory_s``: range of the time in which noise falls to 1/e, whatever the gauge; None: each gauge
    says what neighbouring intervals have in common, whatever the step.
    """

    name: str
    step_s: float
    points: int
    baselines: int
    paired: bool
    memory_s: tuple[float, float] | None = None


SYSTEMS: Final = (
    System("invented: 60 s, two pods beside", 60, 15, 2, paired=True),
    System("invented: 10 s, one pod beside", 10, 30, 1, paired=True),
    System("invented: 60 s, one stretch before", 60, 12, 1, paired=False),
    System("invented: 30 s, three stretches before", 30, 20, 3, paired=False),
    System("invented: 5 s, slow noise, one stretch before", 5, 60, 1, False, (10.0, 90.0)),
    System("invented: 1 s, slow noise, one stretch before", 1, 300, 1, False, (10.0, 90.0)),
)


@dataclass(frozen=True, slots=True)
class Gauge:
    """How a gauge of a service behaves while nothing is wrong; all on the log scale.

    Attributes:
        apart: range of the standard deviation between instances. noise: the same of an interval.
        carry: range of the correlation of neighbouring intervals. spikes: chance of an interval
            two to five times as high.
    """

    name: str
    role: str
    unit: str
    apart: tuple[float, float]
    noise: tuple[float, float]
    carry: tuple[float, float] = (0.1, 0.7)
    spikes: float = 0.0
    direction: str = "higher-is-worse"


GAUGES: Final = (
    Gauge("cpu", "resource", "cores", (0.03, 0.15), (0.05, 0.3), spikes=0.02),
    Gauge("memory", "resource", "bytes", (0.02, 0.2), (0.002, 0.03), (0.7, 0.95)),
    Gauge("received", "resource", "bytes per s", (0.03, 0.1), (0.05, 0.3), direction="both"),
    Gauge("written", "resource", "bytes per s", (0.05, 0.2), (0.2, 0.8), spikes=0.05),
    Gauge("threads", "resource", "threads", (0.0, 0.05), (0.0, 0.02)),
    Gauge("latency_p50", "latency", "ms", (0.02, 0.08), (0.02, 0.15)),
    Gauge("latency_p95", "latency", "ms", (0.03, 0.1), (0.05, 0.4), spikes=0.03),
)


def invented(each: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield healthy cases, ``each`` of every system, in the form of recorded ones."""
    rng = np.random.default_rng(seed)
    for system in SYSTEMS:
        for number in range(each):
            yield _case(system, number, rng)


def _case(system: System, number: int, rng: np.random.Generator) -> dict[str, Any]:
    times = [system.step_s * i for i in range(system.points)]
    metrics = [_gauge(gauge, system, rng) for gauge in GAUGES]
    metrics += _requests_and_errors(system, rng)
    for metric in metrics:
        metric.update(step_s=system.step_s, t=times)
    return {
        "id": f"{system.name} {number}",
        "source": system.name,
        "service": "invented",
        "kind": "aa",
        "fault_type": None,
        "pairing": "concurrent" if system.paired else "shifted",
        "onset_s": None,
        "duration_s": system.step_s * system.points,
        "step_s": system.step_s,
        "silent": False,
        "effect_class": "none",
        "contaminated": False,
        "metrics": metrics,
        "spans": None,
    }


def _gauge(gauge: Gauge, system: System, rng: np.random.Generator) -> dict[str, Any]:
    noise, carry = rng.uniform(*gauge.noise), rng.uniform(*gauge.carry)
    own = noise * _correlated(carry, system, rng)
    shared = noise * _correlated(carry, system, rng)
    if system.paired:
        shared[:] = shared[0]
    apart = rng.normal(0.0, rng.uniform(*gauge.apart), (len(own), 1))
    values = 100.0 * np.exp(own + shared + apart)
    values[rng.random(values.shape) < gauge.spikes] *= rng.uniform(2.0, 5.0)
    if gauge.unit == "threads":
        values = np.round(values)
    return _metric(gauge.name, gauge.role, "gauge", gauge.unit, gauge.direction, values)


def _requests_and_errors(system: System, rng: np.random.Generator) -> list[dict[str, Any]]:
    rate = np.exp(rng.uniform(np.log(0.5), np.log(50.0)))
    sway = 0.15 * _correlated(0.7, system, rng)
    if system.paired:
        sway[:] = sway[0]
    requests = rng.poisson(rate * system.step_s * np.exp(sway)).astype(np.float64)
    share = rng.choice([0.0, 0.0, 0.0005, 0.005, 0.02])
    wobble = np.exp(0.3 * _correlated(0.5, system, rng))
    errors = rng.binomial(requests.astype(np.int64), np.minimum(share * wobble, 1.0))
    bad = np.where(requests > 0, errors / np.maximum(requests, 1.0), np.nan)
    return [
        _metric("requests", "traffic", "counter", "requests per step", "both", requests),
        _metric("error_ratio", "error", "gauge", "ratio", "higher-is-worse", bad),
    ]


def _correlated(carry: float, system: System, rng: np.random.Generator) -> Floats:
    """Return (canary and baselines, points) AR(1) noise of variance one, its level wandering."""
    shape = (system.baselines + 1, system.points)
    if system.memory_s is not None:
        carry = float(np.exp(-system.step_s / rng.uniform(*system.memory_s)))
    fresh = rng.normal(size=shape)
    out = np.empty(shape)
    out[:, 0] = fresh[:, 0]
    for i in range(1, system.points):
        out[:, i] = carry * out[:, i - 1] + np.sqrt(1.0 - carry**2) * fresh[:, i]
    return out


def _metric(
    name: str, role: str, kind: str, unit: str, direction: str, values: Floats
) -> dict[str, Any]:
    rows = [[None if np.isnan(v) else float(v) for v in row] for row in values]
    return {
        "name": name,
        "role": role,
        "kind": kind,
        "unit": unit,
        "direction": direction,
        "canary": {"canary": rows[0]},
        "baseline": {f"b{i}": row for i, row in enumerate(rows[1:])},
    }
