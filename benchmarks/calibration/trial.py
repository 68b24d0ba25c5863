"""One chunk of one situation: simulate, let the daemon and the other judges look, note the times."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analyzer.judge import judge
from analyzer.policy import Policy
from analyzer.signal import HistogramSignal, RatioSignal, Selector, Signal
from benchmarks.calibration.deployments import BUCKETS, ERRORS, REQUESTS, Deployments
from benchmarks.calibration.observed import observed_counts, observed_histograms
from benchmarks.calibration.peers import PEERS, Observed
from benchmarks.calibration.simulator import (
    Array,
    Counts,
    Histograms,
    simulate_counts,
    simulate_histograms,
)
from benchmarks.calibration.situations import TICK_S, Situation
from benchmarks.calibration.watches import Judge, follow

ALPHA = 0.01
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
    """Return a policy with all defaults that watches what the situation simulates."""
    signals: list[Signal] = []
    if situation.errors is not None:
        signals.append(RatioSignal("errors", Selector(REQUESTS), Selector(ERRORS)))
    if situation.latency is not None:
        signals.append(HistogramSignal("latency", Selector(BUCKETS)))
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
    course = follow(Deployments.of(counts, histograms), policy_of(situation), judge)
    zero = situation.zero_tick
    alarms = {"rollbackd": _seconds(course.degraded - zero)}
    if peers:
        alarms |= _peers(situation, counts, histograms)
    return Times(
        alarms,
        _seconds(course.healthy - zero),
        _seconds(course.shared - zero),
        course.e_values[: KEPT_PATHS if situation.pictured else 0],
    )


def _simulated(
    situation: Situation, runs: int, seed: int
) -> tuple[Counts | None, Histograms | None]:
    counts, histograms = None, None
    if situation.errors is not None:
        counts = simulate_counts(situation.fleet, situation.errors, situation.noise, runs, seed)
    if situation.latency is not None:
        histograms = simulate_histograms(
            situation.fleet, situation.latency, situation.slowness_noise, runs, seed + 1
        )
    return counts, histograms


def _peers(
    situation: Situation, counts: Counts | None, histograms: Histograms | None
) -> dict[str, Array]:
    """Return the other judges' alarms; with two signals, the first alarm of either."""
    seen: list[Observed] = []
    if counts is not None:
        seen.append(observed_counts(counts, situation.warm_up_s))
    if histograms is not None:
        seen.append(observed_histograms(histograms, situation.warm_up_s))
    # their first tick is the first that the warm-up filter lets through
    begin = round(situation.warm_up_s / TICK_S)
    late = begin - situation.zero_tick
    return {
        name: _seconds(np.fmin.reduce([peer(part) for part in seen]) + late)
        for name, peer in PEERS.items()
    }


def _seconds(ticks: Array) -> Array:
    return ticks * TICK_S
