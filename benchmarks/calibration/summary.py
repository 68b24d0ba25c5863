"""From times to the figures of a row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.calibration.simulator import Array
from benchmarks.calibration.situations import Design, Situation
from benchmarks.calibration.trial import Times

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one judge did in one situation.

    Attributes:
        alarms: runs with an alarm; of a harmful canary only those after the onset.
        early: runs with an alarm before the onset.
        rate, low, high: share of alarms with its exact (Clopper-Pearson) 95 % interval.
        median_s, p90_s: delay of the alarms, None without any.
    """

    alarms: int
    early: int
    rate: float
    low: float
    high: float
    median_s: float | None
    p90_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One situation's figures.

    Attributes:
        filtered: warming pods were left out, as by default. judges: by name. design: what the design note measured of the detectors alone.
        healthy: share of runs called healthy within the horizon, not degraded before.
        shared: share of runs in which a shared incident was seen.
        paths: evidence over time of some runs, by tick from the canary's start.
    """

    table: str
    name: str
    harmful: bool
    quick: bool
    filtered: bool
    runs: int
    seed: int
    judges: dict[str, Figures]
    design: Design
    healthy: float
    healthy_median_s: float | None
    healthy_p90_s: float | None
    shared: float
    shared_median_s: float | None
    paths: list[list[float | None]]


def row_from(told: dict[str, Any]) -> Row:
    """Return the row that was written as JSON."""
    judges = {name: Figures(**figures) for name, figures in told["judges"].items()}
    return Row(**told | {"judges": judges, "design": Design(**told["design"])})


def row_of(situation: Situation, times: Times, seed: int) -> Row:
    """Return the figures of a situation."""
    runs = len(times.healthy)
    degraded = times.alarms["rollbackd"]
    # a watch ends at its first verdict, so "healthy" after "degraded" is never said
    healthy = times.healthy[~(degraded <= times.healthy)]
    healthy = healthy[np.isfinite(healthy)]
    shared = times.shared[np.isfinite(times.shared)]
    return Row(
        table=situation.table.value,
        name=situation.name,
        harmful=situation.harmful,
        quick=situation.quick,
        filtered=situation.warm_up_s > 0,
        runs=runs,
        seed=seed,
        judges={name: figures(alarms) for name, alarms in times.alarms.items()},
        design=situation.design,
        healthy=len(healthy) / runs,
        healthy_median_s=_quantile(healthy, 0.5),
        healthy_p90_s=_quantile(healthy, 0.9),
        shared=len(shared) / runs,
        shared_median_s=_quantile(shared, 0.5),
        paths=[[_or_none(e) for e in path] for path in times.paths.tolist()],
    )


def figures(alarms: Array) -> Figures:
    """Return the figures of one judge from its first alarms in seconds, NaN for none."""
    late = alarms[alarms > 0]
    low, high = binomial_interval(len(late), len(alarms))
    return Figures(
        alarms=len(late),
        early=int((alarms <= 0).sum()),
        rate=len(late) / len(alarms),
        low=low,
        high=high,
        median_s=_quantile(late, 0.5),
        p90_s=_quantile(late, 0.9),
    )


def binomial_interval(hits: int, of: int) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) 95 % interval of a share."""
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.isf(tail, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def _quantile(values: Array, level: float) -> float | None:
    return float(np.quantile(values, level)) if len(values) else None


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 3)
