"""How often regions that are well would be left, and how soon one that is sick is.

``python -m benchmarks.regions [--trials 40] [--hours 3] [--seed 1]``

Everything that judges is real: the sources' fan-out, the assessor with its comparisons against the
other regions and against each region's own history, and the life of a region in mode enforce up to
its wish to move, which counts when there is a region that may take over. Only the metrics are made up: counters of requests and of failed requests, for each
instance of three regions, as Poisson draws around a load and a share of failures that follow the
situation. A trial is one world for some hours, after a history of six.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzer.policy import Mode, Policy
from analyzer.regions.events import Direction, PlanMove, Renew
from analyzer.regions.life import Region, step
from analyzer.regions.policy import RegionPolicy
from analyzer.sample import Grid, Query, Reply, Series
from analyzer.signal import RatioSignal, Selector
from benchmarks.calibration.summary import binomial_interval
from rollbackd.collect import Collector
from rollbackd.regions.assessor import Assessor
from rollbackd.regions.source import RegionalSource
from rollbackd.telemetry import Telemetry

TICK_S = 30.0
HISTORY_S = 6 * 3600.0
START = 1_800_000_000.0
DAY_S = 86400.0
SHARE = 0.004
"""Of requests that fail when all is well."""
RATE = 40.0
"""Requests a second of one instance, on average over the day."""
NAMES = ("eu", "us", "ap")
SICK_AT_S = 3600.0
"""After the beginning of a trial with a sick region."""
AROUND_S = 1200.0
"""Half of the shared incident in which a region falls sick."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Weather:
    """What one region meets over time; every array has one value a tick.

    Attributes:
        load: factor on the rate. share: of requests that fail. instances: how many there are.
    """

    load: Array
    share: Array
    instances: int = 6


Situation = Callable[[np.random.Generator, Array], dict[str, Weather]]


def _calm(times: Array) -> Weather:
    return Weather(np.ones_like(times), np.full_like(times, SHARE))


def _noisy(rng: np.random.Generator, times: Array, spread: float) -> Array:
    """Return a factor that wanders by a random walk back to 1, as a share of failures does."""
    drawn = rng.normal(0.0, spread, len(times))
    wander = np.zeros(len(times))
    for i in range(1, len(times)):
        wander[i] = 0.9 * wander[i - 1] + drawn[i] * np.sqrt(1 - 0.9**2)
    return np.exp(wander)


def _quiet(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    del rng
    return {name: _calm(times) for name in NAMES}


def _day(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """Load of one to four over the day, at its own hour in each region; failures grow a bit."""
    found = {}
    for name in NAMES:
        phase = rng.uniform(0, 2 * np.pi)
        load = 1.0 + 0.6 * np.sin(2 * np.pi * times / DAY_S + phase)
        share = SHARE * (1 + 0.2 * (load - 1)) * _noisy(rng, times, 0.15)
        found[name] = Weather(load, share)
    return found


def _bursts(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """Each region has bursts of threefold load for minutes, and half as many failures more."""
    found = {}
    for name in NAMES:
        load, share = np.ones_like(times), np.full_like(times, SHARE)
        for at in rng.uniform(times[0], times[-1], int((times[-1] - times[0]) / 3600)):
            during = (times >= at) & (times < at + rng.uniform(120, 300))
            load[during] *= 3.0
            share[during] *= 1.5
        found[name] = Weather(load, share * _noisy(rng, times, 0.15))
    return found


def _small(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """One region has two instances of twelve, and a tenth of the load."""
    found = _day(rng, times)
    tiny = found["eu"]
    return {**found, "eu": Weather(0.3 * tiny.load, tiny.share, 2)}


def _worse(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """One region fails half as often again as the others, always."""
    found = _day(rng, times)
    bad = found["eu"]
    return {**found, "eu": Weather(bad.load, 1.5 * bad.share)}


def _shared(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """Everything fails ten times as often for twenty minutes of each hour, everywhere at once."""
    found = _day(rng, times)
    during = (times - START) % 3600 < 1200
    return _everywhere(found, during & (times >= START))


def _long(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """As ``_worse``, and for two hours everything fails ten times as often, everywhere at once."""
    during = (times >= START + 1800) & (times < START + 9000)
    return _everywhere(_worse(rng, times), during)


def _everywhere(found: dict[str, Weather], during: NDArray[np.bool_]) -> dict[str, Weather]:
    """Let everything fail ten times as often for a while, in every region."""
    return {
        name: Weather(
            w.load, np.where(during, np.minimum(10 * w.share, 0.5), w.share), w.instances
        )
        for name, w in found.items()
    }


def _sick(factor: float) -> Situation:
    def situation(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
        found = _day(rng, times)
        share = np.where(times >= START + SICK_AT_S, factor * found["eu"].share, found["eu"].share)
        return {**found, "eu": Weather(found["eu"].load, np.minimum(share, 1.0))}

    return situation


def _sick_amidst(rng: np.random.Generator, times: Array) -> dict[str, Weather]:
    """As failures ×10, in the middle of forty minutes in which everything fails as often."""
    found = _sick(10.0)(rng, times)
    during = np.abs(times - (START + SICK_AT_S)) < AROUND_S
    everywhere = _everywhere(found, during)
    eu = np.where(during & (times >= START + SICK_AT_S), 0.2, everywhere["eu"].share)
    return {**everywhere, "eu": Weather(found["eu"].load, eu)}


WELL: dict[str, Situation] = {
    "all quiet": _quiet,
    "the day's course, at its own hour": _day,
    "bursts of load": _bursts,
    "one region is small": _small,
    "one region is always worse": _worse,
    "shared incidents": _shared,
    "a long shared incident, one region always worse": _long,
}
SICK: dict[str, Situation] = {
    "failures ×3 (1.2 %)": _sick(3.0),
    "failures ×10 (4 %)": _sick(10.0),
    "failures ×100 (40 %)": _sick(100.0),
    "failures ×10, amidst a shared incident": _sick_amidst,
}
POLICY = Policy(
    name="regions",
    signals=(
        RatioSignal(
            "errors", Selector("all_total"), Selector("bad_total"), margin=1.5, harm_rate=0.02
        ),
    ),
    mode=Mode.ENFORCE,
    alpha=0.001,
    warm_up_s=60.0,
    persistence_s=60.0,
    history_s=HISTORY_S,
)
MOVES = RegionPolicy(Mode.ENFORCE)


class Counters:
    """One region's metrics, drawn once for the whole trial; a ``MetricSource``."""

    def __init__(self, rng: np.random.Generator, times: Array, weather: Weather) -> None:
        expected = RATE * TICK_S * weather.load
        uneven = rng.lognormal(0.0, 0.1, (weather.instances, 1))
        total = rng.poisson(uneven * expected)
        bad = rng.binomial(total, np.clip(weather.share, 0.0, 1.0))
        self._first = times[0]
        self._values = {
            "all_total": np.cumsum(total, axis=1).astype(float),
            "bad_total": np.cumsum(bad, axis=1).astype(float),
        }
        self._keys = tuple((f"{i}",) for i in range(weather.instances))

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer from what was drawn; there is nothing before it."""
        place = np.floor((grid.times - self._first) / TICK_S).astype(int)
        found: list[Reply] = []
        for query in queries:
            values = self._values[query.selector.metric]
            known = (place >= 0) & (place < values.shape[1])
            rows = np.full((len(values), grid.count), np.nan)
            rows[:, known] = values[:, place[known]]
            found.append(Series(query.by, self._keys, rows, grid))
        return found

    def close(self) -> None:
        """Hold nothing."""


@dataclass
class Outcome:
    """What became of one situation.

    Attributes:
        regions: region-trials. left: how many of them would have been left.
        delays: from sickness to the wish to move, in seconds.
    """

    regions: int = 0
    left: int = 0
    delays: list[float] = field(default_factory=list)

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share that is left."""
        return binomial_interval(self.left, self.regions)


def trial(situation: Situation, seed: int, hours: float) -> dict[str, float | None]:
    """Return when each region was to be left first, in seconds after the beginning, or None."""
    rng = np.random.default_rng(seed)
    times = np.arange(START - HISTORY_S - 600, START + 3600 * hours + TICK_S, TICK_S)
    weather = situation(rng, times)
    sources = {name: Counters(rng, times, weather[name]) for name in NAMES}
    clock = [START]
    source = RegionalSource(sources)
    telemetry = Telemetry(version="benchmark", environ={})
    assessor = Assessor(
        NAMES,
        POLICY,
        ("instance",),
        source,
        Collector(source, TICK_S, 0.0, telemetry),
        lambda: clock[0],
    )
    regions = {name: Region(name, START) for name in NAMES}
    left: dict[str, float | None] = dict.fromkeys(NAMES)
    for tick in range(int(3600 * hours / TICK_S)):
        clock[0] = START + tick * TICK_S
        assessed = assessor.assess()
        for name, found in assessed.items():
            regions[name], commands = step(regions[name], found, MOVES, clock[0])
            others = [seen for other, seen in assessed.items() if other != name]
            # as the guard "into health": nobody takes over who is in trouble
            takers = any(seen.standing.takes_traffic for seen in others)
            for command in commands:
                if isinstance(command, Renew):
                    assessor.renew(name)
                if command == PlanMove(Direction.AWAY) and takers and left[name] is None:
                    left[name] = clock[0] - START
    source.close()
    telemetry.close()
    return left


def study(trials: int, hours: float, seed: int) -> Iterator[str]:
    """Yield the lines of a Markdown page."""
    length = f"{hours:g} h"
    yield f"| nothing is wrong with one region alone | region-trials of {length} | left | 95 % |"
    yield "|---|---|---|---|"
    every = Outcome()
    for number, (name, situation) in enumerate(WELL.items()):
        found = Outcome()
        for i in range(trials):
            ends = trial(situation, 10_000 * (seed + number) + i, hours)
            found.regions += len(ends)
            found.left += sum(at is not None for at in ends.values())
        every.regions, every.left = every.regions + found.regions, every.left + found.left
        low, high = found.interval()
        yield f"| {name} | {found.regions} | {found.left} | {low:.1%} to {high:.1%} |"
    low, high = every.interval()
    yield f"| **together** | {every.regions} | {every.left} | {low:.1%} to {high:.1%} |"
    yield ""
    yield "| sick after an hour | trials | left | median time | 90 % within | others left |"
    yield "|---|---|---|---|---|---|"
    for number, (name, situation) in enumerate(SICK.items()):
        found, wrong = Outcome(), 0
        for i in range(trials):
            ends = trial(situation, 10_000 * (seed + 100 + number) + i, hours)
            wrong += sum(at is not None for region, at in ends.items() if region != "eu")
            found.regions += 1
            at = ends["eu"]
            if at is not None and at >= SICK_AT_S:
                found.left += 1
                found.delays.append(at - SICK_AT_S)
        late = found.delays + [np.inf] * (found.regions - found.left)
        median, most = (_minutes(float(np.quantile(late, q, method="higher"))) for q in (0.5, 0.9))
        yield f"| {name} | {found.regions} | {found.left} | {median} | {most} | {wrong} |"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if np.isfinite(seconds) else "never"


def main() -> None:
    """Print the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for line in study(asked.trials, asked.hours, asked.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
