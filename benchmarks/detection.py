"""What one tick of the detectors alone costs, for many watches at once, beside a loop over them.

``python -m benchmarks.detection [--watches 10000] [--json FILE]``

Ten signals a watch, as in the design note: three event counters, two latency histograms, three
levels and two leaks; each signal is a batch of its own, as in the daemon. Every row is live, every tick has traffic, and findings are asked for after
each tick, as the daemon does. Nothing else runs: no queries, no families, no judge.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.calibration.simulator import BOUNDS
from detectors import (
    CountNoise,
    CountRatio,
    LatencyNoise,
    LatencyShift,
    LeakTrend,
    Limits,
    MeanNoise,
    MeanShift,
    PairCounts,
    PairHistograms,
    PairMeans,
    PairTrends,
    TrendNoise,
    fit_latency_noise,
)
from detectors.rows import Floats, Rows

WARM_UP_TICKS = 26
TICKS = 8
RESTART_S = 30.0
"""Restarts so often that all the instances of an hour's watch are there when it is measured."""
NAIVE_WATCHES = 20
MIX = {"counts": 3, "histograms": 2, "levels": 3, "leaks": 2}
"""Signals a watch."""
CANARIES, BASELINES = 3.0, 7.0
SHAPE = np.array([0.02, 0.08, 0.2, 0.25, 0.25, 0.13, 0.05, 0.015, 0.003, 0.001, 0.0005, 0.0005])
"""Share of the requests in each bucket."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one kind of signal."""

    kind: str
    detector: Any
    start: Callable[[], Any]
    ticks: Sequence[Any]

    def fed(self, tick: int, state: Rows) -> Rows:
        """Return the state after one tick."""
        live = np.ones(len(state), dtype=np.bool_)
        after: Rows = self.detector.update(state, self.ticks[tick % len(self.ticks)], live)
        return after

    def run(self, tick: int, state: Rows) -> Rows:
        """Feed one tick and ask what is known."""
        after = self.fed(tick, state)
        self.detector.findings(after)
        return after


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of one tick of all detectors, by kind and in sum; medians over ticks."""

    watches: int
    by_kind: dict[str, float]
    median: float
    slowest: float
    peak_mb: float


def parts(watches: int, seed: int = 1) -> list[Part]:
    """Return the rows of all watches, made for a busy, healthy service."""
    rng = np.random.default_rng(seed)
    makers = {"counts": _counts, "histograms": _histograms, "levels": _levels, "leaks": _leaks}
    return [makers[kind](rng, watches) for kind, count in MIX.items() for _ in range(count)]


def measure(watches: int) -> Figures:
    """Tick all rows together."""
    rows = parts(watches)
    states = [part.start() for part in rows]
    for tick in range(WARM_UP_TICKS):
        for i, part in enumerate(rows):
            states[i] = part.fed(tick, states[i])
    spent = np.zeros((TICKS, len(rows)))
    for tick in range(TICKS):
        for i, part in enumerate(rows):
            began = time.process_time()
            states[i] = part.run(tick, states[i])
            spent[tick, i] = time.process_time() - began
    whole = spent.sum(axis=1)
    return Figures(
        watches=watches,
        by_kind={
            kind: float(np.median(spent[:, [p.kind == kind for p in rows]].sum(axis=1)))
            for kind in MIX
        },
        median=float(np.median(whole)),
        slowest=float(whole.max()),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def naive(watches: int) -> float:
    """Return the CPU seconds of one tick when every watch calls its own detectors."""
    followed = [(part, part.start()) for seed in range(watches) for part in parts(1, seed)]
    began = time.process_time()
    for part, state in followed:
        part.run(0, state)
    return time.process_time() - began


def _limits(rows: int, margin: float, harm: float) -> Limits:
    return Limits.of(
        rows, margin=np.log(margin), harm=np.log(harm), floor=np.nan, harm_rate=np.nan
    )


def _sides(rows: int) -> tuple[Floats, Floats]:
    return np.full(rows, CANARIES), np.full(rows, BASELINES)


def _counts(rng: np.random.Generator, rows: int) -> Part:
    detector = CountRatio(restart_s=RESTART_S)
    limits = Limits.of(rows)
    ticks = []
    for _ in range(1):
        n1, n0 = rng.poisson(300, rows), rng.poisson(700, rows)
        c, b = rng.binomial(n1, 0.01), rng.binomial(n0, 0.01)
        events, exposure = (c.astype(float), b.astype(float)), (n1.astype(float), n0.astype(float))
        ticks.append(PairCounts(*events, *exposure, *_sides(rows)))
    return Part(
        "counts",
        detector,
        lambda: detector.start(CountNoise.prior(rows), limits, CANARIES, BASELINES),
        ticks,
    )


def _histograms(rng: np.random.Generator, rows: int) -> Part:
    detector = LatencyShift(restart_s=RESTART_S)
    history = rng.poisson(100 * SHAPE, (360, 7, len(SHAPE))).astype(float)
    noise = fit_latency_noise(history, BOUNDS)
    many: LatencyNoise = noise.take(np.zeros(rows, np.int64))
    limits = _limits(rows, 1.1, 1.25)
    ticks = []
    for _ in range(1):
        canary, baseline = (
            rng.poisson(n * SHAPE, (rows, len(SHAPE))).astype(float) for n in (300, 700)
        )
        ticks.append(PairHistograms(canary, baseline, *_sides(rows)))
    return Part(
        "histograms", detector, lambda: detector.start(many, limits, CANARIES, BASELINES), ticks
    )


def _levels(rng: np.random.Generator, rows: int) -> Part:
    detector = MeanShift(restart_s=RESTART_S)
    limits = _limits(rows, 1.1, 1.3)
    ticks = [PairMeans(rng.normal(0, 0.1, rows), np.zeros(rows), *_sides(rows)) for _ in range(1)]
    return Part(
        "levels",
        detector,
        lambda: detector.start(MeanNoise.prior(rows), limits, CANARIES, BASELINES),
        ticks,
    )


def _leaks(rng: np.random.Generator, rows: int) -> Part:
    detector = LeakTrend(restart_s=RESTART_S)
    limits = _limits(rows, 1.002, 1.005)
    ticks = [PairTrends(rng.normal(0, 0.005, rows), *_sides(rows)) for _ in range(1)]
    return Part(
        "leaks",
        detector,
        lambda: detector.start(TrendNoise.prior(rows), limits, CANARIES, BASELINES),
        ticks,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What one tick of the detectors costs.")
    parser.add_argument("--watches", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    together = measure(options.watches)
    alone = naive(NAIVE_WATCHES) / NAIVE_WATCHES * options.watches
    table = Table(title=f"one tick of {options.watches} watches × {sum(MIX.values())} signals")
    table.add_column("CPU seconds")
    table.add_column("", justify="right")
    for kind, seconds in together.by_kind.items():
        table.add_row(f"{kind} × {MIX[kind]}", f"{seconds:.3f}")
    table.add_row("all together, median", f"{together.median:.3f}")
    table.add_row("all together, slowest", f"{together.slowest:.3f}")
    table.add_row(f"one by one, from {NAIVE_WATCHES} watches", f"{alone:.1f}")
    console = Console(width=90)
    console.print(table)
    console.print(f"median of {TICKS} ticks; peak memory {together.peak_mb:,.0f} MB")
    if options.json is not None:
        figures = {**asdict(together), "naive": alone}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
