"""What one tick costs: CPU and wall time, queries, peak memory, beside one comparison per watch.

``python -m benchmarks.tick [--watches 1000] [--signals 10] [--json FILE]``

The daemon's own controller, comparison, judge and journal follow steady synthetic rollouts: half of
the signals are ratios, half histograms, each watch has 5 baseline and 2 canary instances. The clock
is a number that the benchmark moves, so a tick takes as long as its work. What the synthetic source
spends on making up its answers is measured and left out.

The naive loop that it is compared with is the same code with a comparison for every watch, which
asks its own queries and calls its own detectors. It is run for fewer watches and reported per watch.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import structlog
from rich.console import Console
from rich.table import Table

from actions.ports import Journal
from analyzer.comparison import Comparison
from analyzer.policy import Policy
from analyzer.rollout import Rollout
from analyzer.signal import HistogramSignal, RatioSignal, Selector, Signal
from benchmarks.steady_world import SteadyRollouts, SteadySource
from rollbackd.collect import BEGIN_A_TICK, Collector
from rollbackd.controller import Controller
from rollbackd.store.journal import SqlJournal
from rollbackd.telemetry import Telemetry

TICK_S = 10.0
WARM_UP_TICKS = 4
"""Ticks until comparisons begin, and some more."""
MEASURED_TICKS = 20
NAIVE_WATCHES = 50
START = 1_790_000_000.0


@dataclass(frozen=True, slots=True)
class TickTime:
    """Seconds of one tick, without those of the synthetic source."""

    cpu: float
    wall: float
    queries: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one way to work; times in seconds.

    ``begin_cpu``: of all the ticks until every comparison had begun.
    """

    watches: int
    signals: int
    ticks: int
    cpu_median: float
    cpu_p95: float
    wall_median: float
    wall_p95: float
    queries_per_tick: float
    begin_cpu: float

    @property
    def cpu_per_watch(self) -> float:
        """Median CPU seconds of one watch in one tick."""
        return self.cpu_median / self.watches


@dataclass(frozen=True, slots=True)
class OnePolicy:
    """Every rollout is watched by the same policy."""

    policy: Policy

    def policy_for(self, rollout: Rollout) -> Policy | None:
        """Return the policy."""
        del rollout
        return self.policy

    def named(self, name: str) -> Policy | None:
        """Return the policy, by its name only."""
        return self.policy if name == self.policy.name else None

    def lapsed(self, name: str) -> bool:
        """Tell whether it is another policy's name."""
        return name != self.policy.name


@dataclass(slots=True)
class Follower:
    """A controller over its own part of the synthetic world."""

    controller: Controller
    source: SteadySource
    clock: "Clock"

    @classmethod
    def of(
        cls,
        rollouts: SteadyRollouts,
        policy: Policy,
        journal: Journal,
        telemetry: Telemetry,
        clock: "Clock",
    ) -> "Follower":
        """Return a follower of some rollouts."""
        source = SteadySource(rollouts.instances_by_name, START)
        controller = Controller(
            sources=[rollouts],
            policies=OnePolicy(policy),
            collector=Collector(source, TICK_S, 0.0, telemetry),
            comparison=Comparison(TICK_S),
            journal=journal,
            telemetry=telemetry,
            now=clock,
        )
        return cls(controller, source, clock)


@dataclass(slots=True)
class Clock:
    """The time, as the benchmark says."""

    at: float = START

    def __call__(self) -> float:
        """Return the time."""
        return self.at


@dataclass(slots=True)
class Stopwatch:
    """Times ticks of one or many followers."""

    ticks: list[TickTime] = field(default_factory=list)

    def tick(self, followers: Sequence[Follower]) -> None:
        """Let every follower tick once."""
        sources = [f.source for f in followers]
        spent = [sum(s.cpu_s for s in sources), sum(s.wall_s for s in sources)]
        asked = sum(s.queries for s in sources)
        cpu, wall = time.process_time(), time.perf_counter()
        for follower in followers:
            follower.controller.tick()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self.ticks.append(
            TickTime(
                cpu - sum(s.cpu_s for s in sources) + spent[0],
                wall - sum(s.wall_s for s in sources) + spent[1],
                sum(s.queries for s in sources) - asked,
            )
        )


def a_policy(signals: int) -> Policy:
    """Return a policy whose watches last: none is called healthy while we look."""
    return Policy("bench", tuple(map(_signal, range(signals))), min_observation_s=3600.0)


def _signal(index: int) -> Signal:
    if index % 2:
        return HistogramSignal(f"latency-{index}", Selector(f"latency_{index}_seconds_bucket"))
    return RatioSignal(
        f"errors-{index}", Selector(f"requests_{index}_total"), Selector(f"errors_{index}_total")
    )


def measure(followers: Sequence[Follower], watches: int, signals: int) -> Figures:
    """Tick until all comparisons run, then measure."""
    clock = followers[0].clock
    stopwatch = Stopwatch()
    warm_up = WARM_UP_TICKS + ceil(watches / BEGIN_A_TICK)
    for _ in range(warm_up + MEASURED_TICKS):
        clock.at += TICK_S
        stopwatch.tick(followers)
    begin, steady = stopwatch.ticks[:warm_up], stopwatch.ticks[warm_up:]
    cpu, wall = [t.cpu for t in steady], [t.wall for t in steady]
    return Figures(
        watches=watches,
        signals=signals,
        ticks=len(steady),
        cpu_median=float(np.median(cpu)),
        cpu_p95=float(np.quantile(cpu, 0.95)),
        wall_median=float(np.median(wall)),
        wall_p95=float(np.quantile(wall, 0.95)),
        queries_per_tick=float(np.mean([t.queries for t in steady])),
        begin_cpu=sum(t.cpu for t in begin),
    )


@contextmanager
def a_journal() -> Iterator[Journal]:
    """Open a real journal in a folder that goes away."""
    with TemporaryDirectory(prefix="rollbackd-bench-") as folder:
        journal = SqlJournal.open(f"sqlite:///{Path(folder) / 'journal.db'}")
        yield journal
        journal.close()


def batched(watches: int, signals: int, telemetry: Telemetry) -> Figures:
    """Measure the daemon's way: one comparison for all watches."""
    rollouts = SteadyRollouts.of(range(watches), START)
    with a_journal() as journal:
        follower = Follower.of(rollouts, a_policy(signals), journal, telemetry, Clock())
        return measure([follower], watches, signals)


def naive(watches: int, signals: int, telemetry: Telemetry) -> Figures:
    """Measure the naive way: a comparison for each watch."""
    clock = Clock()
    with a_journal() as journal:
        followers = [
            Follower.of(
                SteadyRollouts.of([i], START), a_policy(signals), journal, telemetry, clock
            )
            for i in range(watches)
        ]
        return measure(followers, watches, signals)


def peak_memory_mb() -> float:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(together: Figures, apart: Figures, memory_mb: float) -> None:
    """Print the figures."""
    scale = together.watches / apart.watches
    table = Table(title=f"one tick, {together.watches} watches × {together.signals} signals")
    table.add_column("")
    table.add_column("batched", justify="right")
    table.add_column(f"naive, from {apart.watches} watches", justify="right")
    rows: list[tuple[str, Callable[[Figures], float], str, bool]] = [
        ("CPU, median", lambda f: f.cpu_median, "s", True),
        ("CPU, 95 %", lambda f: f.cpu_p95, "s", True),
        ("wall, median", lambda f: f.wall_median, "s", True),
        ("wall, 95 %", lambda f: f.wall_p95, "s", True),
        ("CPU a watch", lambda f: 1000 * f.cpu_per_watch, "ms", False),
        ("queries", lambda f: f.queries_per_tick, "", True),
        ("CPU until all began", lambda f: f.begin_cpu, "s", True),
    ]
    for name, figure, unit, grows in rows:
        naive_figure = figure(apart) * (scale if grows else 1.0)
        table.add_row(name, f"{figure(together):,.3g} {unit}", f"{naive_figure:,.3g} {unit}")
    console = Console(width=90)
    console.print(table)
    console.print(f"median and 95 % of {together.ticks} ticks; peak memory {memory_mb:,.0f} MB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What one tick costs.")
    parser.add_argument("--watches", type=int, default=1000)
    parser.add_argument("--signals", type=int, default=10)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    telemetry = Telemetry(version="benchmark", environ={})
    together = batched(options.watches, options.signals, telemetry)
    memory_mb = peak_memory_mb()
    apart = naive(min(NAIVE_WATCHES, options.watches), options.signals, telemetry)
    telemetry.close()
    show(together, apart, memory_mb)
    if options.json is not None:
        figures = {"batched": asdict(together), "naive": asdict(apart), "peak_mb": memory_mb}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
