"""What is simulated: a situation is a fleet, its noise, and what the canary does to it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from benchmarks.calibration.gauges import CPU_LIKE, MEMORY_LIKE, Level
from benchmarks.calibration.routes import Mix
from benchmarks.calibration.simulator import (
    REALISTIC_ERRORS,
    REALISTIC_LATENCY,
    Errors,
    Fleet,
    Latency,
    Wobble,
)

TICK_S = 10.0
WARM_UP_S = 60.0
WARM_TICKS = 6
"""Ticks that the default warm-up filter leaves out."""
HOUR = 360
"""Ticks of an hour, the horizon of a watch."""


class Table(StrEnum):
    """Where a situation's row stands."""

    ERRORS_FINE = "errors, nothing wrong with the canary"
    ERRORS_HARM = "errors, harmful canary"
    LATENCY_FINE = "latency, nothing wrong with the canary"
    LATENCY_HARM = "latency, harmful canary"
    SHARED = "shared incidents and rolling updates"
    GAUGES_FINE = "levels and leaks, nothing wrong with the canary"
    GAUGES_HARM = "levels and leaks, harmful canary"
    MIX = "errors by route, a canary that gets other requests"
    RATES = "orders and traffic"
    SUITE = "errors, latency, CPU and memory together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What ../design/detectors.md measured for the detectors alone; None for not measured.

    Shares as fractions, times in seconds. ``rate`` of alarms, ``healthy`` within the hour.
    """

    rate: float | None = None
    median_s: float | None = None
    p90_s: float | None = None
    healthy: float | None = None
    healthy_median_s: float | None = None
    healthy_p90_s: float | None = None


UNKNOWN = Design()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One row.

    Attributes:
        errors, latency, cpu, memory: the canary's and the baseline's, None when that signal is not
            watched; of memory it is watched whether it leaks.
        orders: events of which fewer are harm, None when not watched.
        settle_s: how much of the growth after the start is left out where starts are not known.
        mix: the requests by route, None when routes are not told apart.
        traffic: the canary's share of the requests is watched.
        noise, slowness_noise, cpu_noise, memory_noise: of the error rate, of latency, and so on.
        warm_up_s: of the policy's age filter.
        quick: part of the quick run. pictured: its evidence over time is kept for the picture.
    """

    name: str
    table: Table
    fleet: Fleet
    errors: Errors | None = None
    latency: Latency | None = None
    cpu: Level | None = None
    memory: Level | None = None
    settle_s: float = 300.0
    orders: Errors | None = None
    mix: Mix | None = None
    traffic: bool = False
    noise: Wobble = REALISTIC_ERRORS
    slowness_noise: Wobble = REALISTIC_LATENCY
    cpu_noise: Wobble = CPU_LIKE
    memory_noise: Wobble = MEMORY_LIKE
    warm_up_s: float = WARM_UP_S
    quick: bool = False
    pictured: bool = False
    design: Design = UNKNOWN

    @property
    def harmful(self) -> bool:
        """Whether the canary does harm, so that an alarm is right."""
        errors, latency = self.errors or Errors(), self.latency or Latency()
        worse = [errors.factor, latency.factor, latency.slow_factor]
        worse += [level.factor + level.leak for level in self.levels]
        worse += [1 / self.orders.factor] if self.orders is not None else []
        worse += [2.0] if self.traffic and self.fleet.canary_rps is not None else []
        return max(worse) > 1 or max(errors.extra, latency.slow_extra) > 0

    @property
    def levels(self) -> tuple[Level, ...]:
        """The gauges that are watched."""
        return tuple(level for level in (self.cpu, self.memory) if level is not None)

    @property
    def zero_tick(self) -> int:
        """Tick from which delays are counted: the onset, or when the canary's first pods are warm.

        In a rolling update it is the start of the first new pod, as in the design.
        """
        if self.fleet.replace_every:
            return 0
        watched = (self.errors, self.latency, self.orders, *self.levels)
        onset = max((x.onset for x in watched if x is not None), default=0)
        return max(onset, round(self.warm_up_s / TICK_S))


WATCHED = Fleet(tick_s=TICK_S, history=2 * HOUR, ticks=HOUR + WARM_TICKS)
"""Two hours of history, then an hour after the warm-up, without noise in the scrapes."""


def fleet(canary: int, baseline: int, rps: float = WATCHED.rps) -> Fleet:
    """Return so many pods of each side with so many requests a second each."""
    return replace(WATCHED, canary_pods=canary, baseline_pods=baseline, rps=rps)


def rolling(every: float) -> Fleet:
    """Return ten pods of which one is replaced every so many ticks, watched for 20 minutes."""
    return replace(fleet(10, 10), replace_every=every, ticks=HOUR // 3 + WARM_TICKS)


def scraped(clean: Fleet, missing: float = 0.05, reset: float = 0.0005) -> Fleet:
    """Return the fleet with missed scrapes and restarts; by default those of the design's "real"."""
    return replace(clean, missing=missing, reset=reset)


ONE_OF_21, THREE_OF_10 = fleet(1, 20), fleet(3, 7)
SPLIT, QUIET = replace(fleet(2, 10), canary_rps=2.6), fleet(1, 4, rps=0.2)
CLEAN = Wobble()
