"""How often traces accuse an innocent canary, and how soon they find a guilty one.

``python -m benchmarks.trace_calibration`` runs what the product runs, from the ledger of counts through the
families to the judge, over simulated rollouts whose traces decide alone (``tier: critical``,
``changed_calls: harm``): more than anything by default. A rollout is watched for half an hour.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analyzer.comparison import Comparison
from analyzer.evidence import Measured
from analyzer.judge import Verdict, judge
from analyzer.policy import Policy
from analyzer.signal import ChangedCalls, Tier, TraceSignal
from benchmarks.calibration.summary import binomial_interval
from benchmarks.trace_streets import TICK_S, Fault, Noise, Streets
from rollbackd.collect import Collector
from rollbackd.telemetry import Telemetry
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.desk import TraceDesk

BEFORE, DURING = 120, 180
"""Ticks of the baseline alone, and of the rollout."""
ONSET = 0
TOGETHER = 50
"""Rollouts that are simulated together: one comparison judges them all."""
SIGNAL = TraceSignal("traces", tier=Tier.CRITICAL, weight=1.0, changed_calls=ChangedCalls.HARM)
POLICY = Policy("traced", (SIGNAL,), warm_up_s=0.0, history_s=BEFORE * TICK_S, horizon_s=1800.0)

USUAL = Noise()
INNOCENT = {
    "3 v 6 pods, 10 requests/s each": USUAL,
    "1 v 1 pods": replace(USUAL, canary=1, baseline=1),
    "unequal pods (errors, times, mix)": replace(
        USUAL, pods_errors=0.3, pods_times=0.05, pods_mix=0.15
    ),
    "bursts of errors of single pods": replace(USUAL, bursts=0.002),
    "wandering pods (AR 0.9)": replace(USUAL, wander=0.5),
    "little traffic, 0.3 requests/s": replace(USUAL, rate=0.3, canary=1, baseline=3),
    "sampled, 2 %": replace(USUAL, kept=0.02),
    "the newest 100 traces of 10 s": replace(USUAL, newest=100),
    "hundreds of rare error types": replace(USUAL, rare_types=0.5),
}
GUILTY = {
    "N+1: 8 SELECTs instead of 2": Fault(queries=8),
    "own time × 1.5": Fault(own=1.5),
    "own time × 3": Fault(own=3.0),
    "new error type in 2 %": Fault(bug=0.02),
    "vanished call, made by every order": Fault(pays=False),
    "vanished call, made by 60 %": Fault(caches=False),
    "new call": Fault(audits=True),
    "no more orders": Fault(orders=False),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """When rollouts were accused, called healthy, held for a shared incident; inf: never. Seconds."""

    accused: list[float]
    healthy: list[float]
    shared: list[float]
    said: list[str]


def watch(noise: Noise, fault: Fault, watches: int, seed: int) -> Outcome:
    """Let so many rollouts be watched together."""
    streets = Streets(watches, noise, fault, seed)
    comparison = Comparison(TICK_S)
    counters = TraceCounters(streets.book)
    desk = TraceDesk(counters)
    collector = Collector(counters, TICK_S, 0.0, Telemetry(version="benchmark", environ={}))
    for _ in range(BEFORE):
        streets.tick(canary=False, faulty=False)
    for i in range(watches):
        comparison.join(str(i), POLICY, ("pod",))
        comparison.enrol(str(i), streets.roster(i))
    never = [np.inf] * watches
    out = Outcome(never.copy(), never.copy(), never.copy(), [""] * watches)
    for tick in range(DURING):
        if max(out.accused) < np.inf:
            break
        streets.tick(canary=True, faulty=tick >= ONSET)
        desk.tend(comparison.traces)
        if collector.collect(comparison.families, streets.now):
            raise SystemExit("a family broke")
        for watch_id, evidence in comparison.evidence().items():
            i = int(watch_id)
            if out.accused[i] < np.inf:
                continue
            judgement = judge(POLICY, evidence)
            found = evidence[SIGNAL.name]
            if judgement.verdict is Verdict.DEGRADED and isinstance(found, Measured):
                out.accused[i], out.said[i] = (tick + 1) * TICK_S, found.finding.told
            elif judgement.verdict is Verdict.HEALTHY:
                # the daemon would look no longer; what would have come is counted all the same
                out.healthy[i] = min(out.healthy[i], (tick + 1) * TICK_S)
            elif judgement.verdict is Verdict.SHARED_INCIDENT:
                out.shared[i] = min(out.shared[i], (tick + 1) * TICK_S)
    return out


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=200, help="rollouts of each innocent kind")
    parser.add_argument("--guilty", type=int, default=50, help="rollouts of each guilty kind")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a name")
    args = parser.parse_args()
    print("situation | accused | 95 % | median s | 90 % s | healthy | median s | shared")
    with ProcessPoolExecutor(args.processes) as pool:
        for name, noise, fault, runs in [
            *((name, noise, Fault(), args.runs) for name, noise in INNOCENT.items()),
            *((name, USUAL, fault, args.guilty) for name, fault in GUILTY.items()),
        ]:
            if args.only not in name or runs == 0:
                continue
            began = time.monotonic()
            batches = -(-runs // TOGETHER)
            sizes = [min(TOGETHER, runs - i * TOGETHER) for i in range(batches)]
            work = partial(watch, noise, fault)
            outcomes = list(pool.map(work, sizes, range(1, batches + 1)))
            print(_row(name, outcomes, runs), flush=True)
            print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)


def _row(name: str, outcomes: list[Outcome], runs: int) -> str:
    accused = np.array([t for o in outcomes for t in o.accused])
    healthy = np.array([t for o in outcomes for t in o.healthy])
    shared = np.array([t for o in outcomes for t in o.shared])
    hits = int(np.isfinite(accused).sum())
    low, high = binomial_interval(hits, runs)
    for text in sorted({s for o in outcomes for s in o.said if s})[:3]:
        print(f"  {text}", file=sys.stderr)
    return " | ".join(
        [
            name,
            f"{hits}/{runs} ({100 * hits / runs:.1f} %)",
            f"[{100 * low:.1f}, {100 * high:.1f}]",
            *_times(accused),
            f"{100 * np.isfinite(healthy).mean():.0f} %",
            _times(healthy)[0],
            f"{100 * np.isfinite(shared).mean():.0f} %",
        ]
    )


def _times(at: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[str, str]:
    seen = at[np.isfinite(at)]
    if not len(seen):
        return "-", "-"
    return f"{np.median(seen):.0f}", f"{np.quantile(seen, 0.9):.0f}"


if __name__ == "__main__":
    main()
