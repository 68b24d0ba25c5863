"""Which signal watches a recorded metric: the rules a user's policy would state, none for a system.

Weights are shares of α by role, split evenly within a role; they depend on which metrics there
are, never on their values.
"""

from collections.abc import Sequence
from dataclasses import replace

from analyzer.policy import Mode, Policy
from analyzer.signal import (
    Direction,
    IntervalSignal,
    LevelSignal,
    Reading,
    Selector,
    Signal,
    TraceSignal,
)
from benchmarks.recorded.cases import Metric

ROLE_WEIGHT = {
    "error": 0.3,
    "count": 0.1,
    "latency": 0.35,
    "traffic": 0.05,
    "structure": 0.05,
    "resource": 0.15,
}
"""Share of α by what a metric is about; golden signals first (detectors.md 7)."""
DIRECTION = {
    "higher-is-worse": Direction.HIGHER,
    "lower-is-worse": Direction.LOWER,
    "both": Direction.BOTH,
}
SHARES = {"percent": 100.0, "%": 100.0, "ratio": 1.0, "share": 1.0, "fraction": 1.0}
TRAFFIC_MARGIN = 2.0
"""Traffic goes up and down by itself; half of it missing is a fault."""
TRAFFIC_SPREAD = 0.3
ALPHA = 0.02
"""Tolerated false alarms per case: the benchmark's own target."""
TRACES = "traces of spans"
"""The signal of traces; as the daemon has it by default: supporting, with its own weight."""
PERSISTENCE_S = 15.0
"""Shorter than the daemon's 30 s: some recordings end half a minute after the fault began."""


def policy_for(metrics: Sequence[Metric], *, paired: bool, traced: bool = False) -> Policy:
    """Return the policy that watches these metrics, and spans where there are any.

    Args:
        metrics: what the first look at a case shows.
        paired: both sides ran at the same time.
        traced: there are spans.
    """
    exposure = _exposure(metrics)
    signals = [s for m in metrics if (s := _signal(m, exposure, paired=paired)) is not None]
    roles = {m.name: m.role for m in metrics}
    held = [roles[s.name] for s in signals]
    weighted = tuple(
        replace(s, weight=ROLE_WEIGHT.get(roles[s.name], 0.05) / held.count(roles[s.name]))
        for s in signals
    )
    traces = (TraceSignal(TRACES),) if traced else ()
    return Policy(
        "recorded", (*weighted, *traces), Mode.OBSERVE, ALPHA, persistence_s=PERSISTENCE_S
    )


def _exposure(metrics: Sequence[Metric]) -> Metric | None:
    """Return the metric that counts all requests, when there is one."""
    counted = [m for m in metrics if m.role == "traffic" and "request" in m.unit]
    return counted[0] if counted else None


def _signal(metric: Metric, exposure: Metric | None, *, paired: bool) -> Signal | None:
    if metric.direction not in DIRECTION:
        return None
    if metric.role == "traffic":
        return _traffic(metric, paired=paired)
    share = _share_reading(metric)
    comparable = exposure is not None and exposure.step_s == metric.step_s
    if metric.role in ("error", "count") and (share is not None or metric.kind == "counter"):
        counted = comparable and (share is not None or "request" in metric.unit)
        if exposure is not None and counted:
            return IntervalSignal(
                metric.name,
                Selector(metric.name),
                Selector(exposure.name),
                share or Reading.COUNT,
                Reading.COUNT if exposure.kind == "counter" else Reading.RATE,
                paired=paired,
            )
        if share is None:
            return IntervalSignal(metric.name, Selector(metric.name), paired=paired)
    return _level(metric, share, paired=paired)


def _share_reading(metric: Metric) -> Reading | None:
    """Return how a share of requests is to be read, None for what is no share."""
    if metric.role != "error" or metric.unit not in SHARES:
        return None
    good = metric.direction == "lower-is-worse"
    if SHARES[metric.unit] == 1.0:
        return Reading.GOOD_SHARE if good else Reading.SHARE
    return Reading.GOOD_PERCENT if good else Reading.PERCENT


def _traffic(metric: Metric, *, paired: bool) -> LevelSignal:
    """Watch for traffic that stays away; more of it is nobody's fault."""
    per_step = 1.0 if metric.kind == "counter" else metric.step_s
    return LevelSignal(
        metric.name,
        Selector(metric.name),
        direction=Direction.LOWER,
        unit=metric.unit,
        least=0.5 / per_step,
        spread=TRAFFIC_SPREAD,
        margin=TRAFFIC_MARGIN,
        harm=2.0 * TRAFFIC_MARGIN,
        paired=paired,
    )


def _level(metric: Metric, share: Reading | None, *, paired: bool) -> LevelSignal:
    direction = DIRECTION[metric.direction] if share is None else Direction.HIGHER
    return LevelSignal(
        metric.name,
        Selector(metric.name),
        share or Reading.LEVEL,
        direction,
        unit=metric.unit,
        least=SHARES.get(metric.unit, 0.0) * 0.005,
        paired=paired,
    )
