"""One chunk of one situation: simulate, let the daemon and the other judges look, note the times."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analyzer.evidence import EvidenceOf, Measured
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import Policy
from analyzer.signal import (
    Direction,
    GaugeSignal,
    HistogramSignal,
    LeakSignal,
    RateSignal,
    RatioSignal,
    Selector,
    Signal,
    Tier,
    TrafficSignal,
)
from benchmarks.calibration.deployments import (
    BUCKETS,
    CPU,
    ERRORS,
    MEMORY,
    ORDERS,
    REQUESTS,
    ROUTE,
    Deployments,
)
from benchmarks.calibration.gauges import Gauges, simulate_gauges
from benchmarks.calibration.observed import observed_counts, observed_histograms
from benchmarks.calibration.peers import PEERS, Observed
from benchmarks.calibration.routes import RouteCounts, simulate_routes
from benchmarks.calibration.simulator import (
    Array,
    Counts,
    Errors,
    Histograms,
    simulate_counts,
    simulate_histograms,
)
from benchmarks.calibration.situations import TICK_S, Situation
from benchmarks.calibration.watches import Judge, follow

ALPHA = 0.01
OVER_ALL_ROUTES, MIX_TOLD = "rollbackd, routes not told apart", "other requests told"
"""Beside the judges: the daemon without ``request_mix``, and when it warns of an unlike mix."""
KEPT_PATHS = 20
"""Runs whose evidence over time is kept, of a situation that is pictured."""


@dataclass(frozen=True, slots=True)
class Times:
    """When things were said, in seconds after the situation's zero; NaN for never.

    Negative times are before the harm began. Arrays are (runs,).

    Attributes:
        alarms: by judge, "rollbackd" among them.
        healthy, shared: first such verdict of the daemon.
        paths: (some runs or none, ticks) the daemon's evidence over time.
    """

    alarms: Mapping[str, Array]
    healthy: Array
    shared: Array
    paths: Array

    @classmethod
    def joined(cls, parts: Sequence["Times"]) -> "Times":
        """Return the times of several chunks as one."""
        return cls(
            {name: np.concatenate([p.alarms[name] for p in parts]) for name in parts[0].alarms},
            np.concatenate([p.healthy for p in parts]),
            np.concatenate([p.shared for p in parts]),
            np.concatenate([p.paths for p in parts])[:KEPT_PATHS],
        )


def policy_of(situation: Situation) -> Policy:
    """Return a policy with all defaults that watches what the situation simulates.

    Every signal may act alone: an alarm that a tier would hold back is an alarm here.
    """
    signals: list[Signal] = []
    if situation.errors is not None:
        mix = situation.mix
        told: dict[str, Any] = (
            {} if mix is None else {"route": ROUTE, "routes": mix.routes[: mix.named]}
        )
        signals.append(RatioSignal("errors", Selector(REQUESTS), Selector(ERRORS), **told))
    if situation.latency is not None:
        signals.append(HistogramSignal("latency", Selector(BUCKETS)))
    if situation.cpu is not None:
        signals.append(GaugeSignal("cpu", Selector(CPU), tier=Tier.CRITICAL))
    if situation.memory is not None:
        settle_s, acts = situation.settle_s, Tier.CRITICAL
        signals.append(LeakSignal("memory", Selector(MEMORY), settle_s=settle_s, tier=acts))
    if situation.orders is not None:
        fewer, per = Direction.LOWER, Selector(REQUESTS)
        signals.append(RateSignal("orders", Selector(ORDERS), per, fewer, tier=Tier.CRITICAL))
    if situation.traffic:
        signals.append(TrafficSignal("traffic", Selector(REQUESTS), tier=Tier.CRITICAL))
    return Policy("calibration", tuple(signals), alpha=ALPHA, warm_up_s=situation.warm_up_s)


def seed_of(base: int, situation: Situation, chunk: int) -> int:
    """Return a seed that depends on nothing but the run's seed, the situation's name and table."""
    name = zlib.crc32(f"{situation.table}/{situation.name}".encode())
    return int(np.random.SeedSequence((base, name, chunk)).generate_state(1)[0])


def run(
    situation: Situation, runs: int, seed: int, judge: Judge = judge, *, peers: bool = True
) -> Times:
    """Return what every judge said of some simulated deployments."""
    counts, histograms = _simulated(situation, runs, seed)
    routes = _routes(situation, runs, seed)
    counts = counts if routes is None else routes.whole
    deployments = Deployments.of(
        counts,
        histograms,
        _gauges(situation, runs, seed),
        routes=routes,
        events=ERRORS if situation.orders is None else ORDERS,
        start_known=any(level.start_known for level in situation.levels),
    )
    policy = policy_of(situation)
    course = follow(deployments, policy, judge)
    zero = situation.zero_tick
    alarms = {"rollbackd": _seconds(course.degraded - zero)}
    if routes is not None:
        blind = follow(deployments, replace(policy, request_mix=False), judge)
        alarms[OVER_ALL_ROUTES] = _seconds(blind.degraded - zero)
        warned = follow(deployments, policy, _warned)
        alarms[MIX_TOLD] = _seconds(warned.degraded - zero)
    if peers:
        alarms |= _peers(situation, counts, histograms)
    return Times(
        alarms,
        _seconds(course.healthy - zero),
        _seconds(course.shared - zero),
        course.e_values[: KEPT_PATHS if situation.pictured else 0],
    )


def _warned(policy: Policy, evidence: EvidenceOf) -> Judgement:
    """Return a judgement that is "degraded" when people are told of other requests."""
    judgement = judge(policy, evidence)
    told = any(isinstance(e, Measured) and e.finding.mix for e in evidence.values())
    return replace(judgement, verdict=Verdict.DEGRADED if told else Verdict.INCONCLUSIVE)


def _routes(situation: Situation, runs: int, seed: int) -> RouteCounts | None:
    mix, errors = situation.mix, situation.errors
    if mix is None or errors is None:
        return None
    return simulate_routes(situation.fleet, errors, mix, situation.noise, runs, seed)


def _simulated(
    situation: Situation, runs: int, seed: int
) -> tuple[Counts | None, Histograms | None]:
    counts, histograms = None, None
    events = situation.errors or situation.orders or (Errors() if situation.traffic else None)
    if events is not None and situation.mix is None:
        counts = simulate_counts(situation.fleet, events, situation.noise, runs, seed)
    if situation.latency is not None:
        histograms = simulate_histograms(
            situation.fleet, situation.latency, situation.slowness_noise, runs, seed + 1
        )
    return counts, histograms


def _gauges(situation: Situation, runs: int, seed: int) -> dict[str, Gauges]:
    watched = (
        (CPU, situation.cpu, situation.cpu_noise),
        (MEMORY, situation.memory, situation.memory_noise),
    )
    return {
        metric: simulate_gauges(situation.fleet, level, noise, runs, seed + 2 + i)
        for i, (metric, level, noise) in enumerate(watched)
        if level is not None
    }


def _peers(
    situation: Situation, counts: Counts | None, histograms: Histograms | None
) -> dict[str, Array]:
    """Return the other judges' alarms: the first of errors or latency; they see nothing else."""
    seen: list[Observed] = []
    if counts is not None and situation.errors is not None:
        seen.append(observed_counts(counts, situation.warm_up_s))
    if histograms is not None:
        seen.append(observed_histograms(histograms, situation.warm_up_s))
    if not seen:
        return {}
    # their first tick is the first that the warm-up filter lets through
    begin = round(situation.warm_up_s / TICK_S)
    late = begin - situation.zero_tick
    return {
        name: _seconds(np.fmin.reduce([peer(part) for part in seen]) + late)
        for name, peer in PEERS.items()
    }


def _seconds(ticks: Array) -> Array:
    return ticks * TICK_S
