"""Gauges of a fleet: CPU, memory, queues; with saw teeth, leaks and start-up growth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.simulator import Array, Fleet, Wobble, log_noise

CPU_LIKE = Wobble(pod_sd=0.15, shared_sd=0.15, shared_phi=0.98, tau=0.05)
MEMORY_LIKE = Wobble(pod_sd=0.03, pod_phi=0.95, shared_sd=0.05, shared_phi=0.99, tau=0.05)
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a gauge does besides its noise; the mean of a pod without noise is 1.

    Attributes:
        factor: the canary's factor on the level. leak: its growth per minute; both from `onset`.
        onset: tick of the canary phase at which they begin.
        saw: height of the saw teeth of a garbage collector, of about `saw_ticks` each.
        drift: growth per minute of all pods.
        fill: new pods begin so much below their level and approach it with the time constant
            `fill_ticks`.
        start_known: the baseline's pods were started when the history begins, and filled then.
    """

    factor: float = 1.0
    leak: float = 0.0
    onset: int = 0
    saw: float = 0.0
    saw_ticks: float = 18.0
    drift: float = 0.0
    fill: float = 0.0
    fill_ticks: float = 12.0
    start_known: bool = False


@dataclass(frozen=True, slots=True)
class Gauges:
    """Levels on the log scale, (runs, ticks, pods); nan where not scraped."""

    fleet: Fleet
    levels: Array

    def history(self, run: int) -> Array:
        """Return the baseline's past, (H, m)."""
        return self.levels[run, : self.fleet.history, self.fleet.canary_pods :]

    def difference(self, tick: int) -> Array:
        """Return mean canary minus mean baseline level, (runs,)."""
        at, k = self.fleet.history + tick, self.fleet.canary_pods
        now = self.levels[:, at]
        difference: Array = _mean(now[:, :k]) - _mean(now[:, k:])
        return difference


def simulate_gauges(fleet: Fleet, level: Level, wobble: Wobble, runs: int, seed: int) -> Gauges:
    """Draw the gauges of `runs` independent rollouts."""
    rng = np.random.default_rng(seed)
    values = np.exp(log_noise(rng, fleet, wobble, runs, centred=False))
    ticks, k = np.arange(fleet.total_ticks, dtype=np.float64), fleet.canary_pods
    minutes = fleet.tick_s / MINUTE_S
    if level.saw:
        shape = (runs, 1, fleet.pods)
        period = level.saw_ticks * rng.uniform(0.8, 1.25, shape)
        phase = rng.integers(0, round(level.saw_ticks), shape)
        values += level.saw * ((ticks[None, :, None] + phase) % period) / period
    values += (level.drift * minutes * ticks)[None, :, None]
    begun = ticks - fleet.history - level.onset
    values[:, begun >= 0, :k] *= level.factor
    values[:, :, :k] += (level.leak * minutes * np.maximum(begun, 0))[None, :, None]
    if level.fill:
        for pod, birth in enumerate((fleet.births + fleet.history).tolist()):
            values[:, :, pod] *= _filled(level, ticks - birth)
        if level.start_known:
            values[:, :, k:] *= _filled(level, ticks)[:, None]
    if fleet.missing:
        values[rng.random(values.shape) < fleet.missing] = np.nan
    return Gauges(fleet, np.log(values))


def _filled(level: Level, age: Array) -> Array:
    filled: Array = 1 - level.fill * np.exp(-np.maximum(age, 0) / level.fill_ticks)
    return filled


def _mean(levels: Array) -> Array:
    """Return the mean of each run's scraped pods; nan where none was."""
    seen = np.isfinite(levels)
    count = seen.sum(axis=1)
    total = np.where(seen, levels, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
