"""How often does the guard after promotion accuse a healthy revision, and how soon a bad one?

``python -m benchmarks.own_past``: simulated services whose traffic and error share follow the clock,
drift together and differ by pod, through the daemon's own family and judge; α = 1 %. Every revision
is compared for half an hour with the same workload a day or 45 minutes earlier.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import click
import numpy as np
from numpy.typing import NDArray

from analyzer.after_promotion import guarding
from analyzer.families.past import PastFamily
from analyzer.judge import Verdict, judge
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Grid, Query, Reply, Series
from analyzer.signal import PastSignal, RatioSignal, Selector

Floats = NDArray[np.float64]

STEP_S, DAY_S = 60.0, 86400.0
GUARD_S, HISTORY_S = 1800.0, 7200.0
SHORT_S = 2700.0
MEMORY_MIN = 10.0
"""Minutes after which the noise that all pods share has forgotten most of itself."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A kind of service.

    Attributes:
        share: of failing requests, on average. rate: requests of a pod in a second.
        swing: how much traffic and the log of the share follow the clock, ±.
        shared, own: standard deviation of the log share's slow noise, of all pods and of each.
        apart: persistent difference between two stretches of time, as a standard deviation.
        burst: by how much the share of the new revision is multiplied for ``burst_min`` minutes.
        harm: by how much it is multiplied from the tenth minute on; 1: it is as good.
    """

    name: str
    share: float = 0.01
    rate: float = 10.0
    swing: float = 0.3
    shared: float = 0.2
    own: float = 0.2
    apart: float = 0.0
    burst: float = 1.0
    burst_min: int = 0
    harm: float = 1.0


FINE = (
    Situation("steady", swing=0.0, shared=0.0, own=0.0),
    Situation("day and night ±30 %"),
    Situation("day and night ±60 %", swing=0.6),
    Situation("all pods drift together, sd .5", shared=0.5),
    Situation("few errors, .1 %", share=0.001),
    Situation("little traffic, .2 rps, 5 %", rate=0.2, share=0.05),
    Situation("another day differs, sd .3", apart=0.3),
    Situation("all fail ×30 for 3 min", burst=30.0, burst_min=3),
)
BAD = (
    Situation("errors ×3 from the tenth minute", harm=3.0),
    Situation("errors ×10 from the tenth minute", harm=10.0),
    Situation(".1 % → 1 % from the tenth minute", share=0.001, harm=10.0),
)


class World:
    """Counters of many services, each with pods of now and pods of before."""

    def __init__(
        self, situation: Situation, services: int, pods: int, earlier_s: float, seed: int
    ) -> None:
        self.earlier_s = earlier_s
        rng = np.random.default_rng(seed)
        self._begin = -earlier_s - HISTORY_S - 2 * STEP_S
        times = np.arange(self._begin, GUARD_S + STEP_S, STEP_S)
        phase, later = rng.uniform(0, 2 * np.pi, (2, services, 1))
        clock = 2 * np.pi * times / DAY_S
        slow = situation.shared * _slow(rng, (services, 1, len(times)))
        own = situation.own * _slow(rng, (services, pods, len(times)))
        load = situation.rate * STEP_S * (1 + situation.swing * np.sin(clock + phase))
        log_share = np.log(situation.share) + situation.swing * np.sin(clock + later)
        share = np.exp(log_share[:, None] + slow + own)
        now = times > 0
        share[:, :, now] *= np.exp(situation.apart * rng.standard_normal((services, 1, 1)))
        share[:, :, times > 10 * STEP_S] *= situation.harm
        if situation.burst_min:
            hit = (times > 10 * STEP_S) & (times <= (10 + situation.burst_min) * STEP_S)
            share[:, :, hit] *= situation.burst
        total = rng.poisson(np.broadcast_to(load[:, None], share.shape))
        bad = rng.binomial(total, np.minimum(share, 1.0))
        self._counters = {
            "all": total.cumsum(axis=2).astype(np.float64).reshape(services * pods, -1),
            "bad": bad.cumsum(axis=2).astype(np.float64).reshape(services * pods, -1),
        }
        self._keys = tuple((f"{i}-{j}",) for i in range(services) for j in range(pods))

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer every query, those of earlier times moved to the grid."""
        return [self._answer(query, grid) for query in queries]

    def _answer(self, query: Query, grid: Grid) -> Reply:
        values = self._counters[query.selector.metric]
        at = np.round((grid.times - query.earlier_s - self._begin) / STEP_S).astype(int)
        return Series(query.by, self._keys, values[:, at], grid)


def _slow(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return standard normal noise along the last axis that forgets itself within minutes."""
    keep = np.exp(-1.0 / MEMORY_MIN)
    noise = rng.standard_normal(shape)
    for i in range(1, shape[-1]):
        noise[..., i] = keep * noise[..., i - 1] + np.sqrt(1 - keep**2) * noise[..., i]
    return noise


def policy(earlier_s: float) -> Policy:
    """Return the policy of a guard over one ratio."""
    errors = RatioSignal("errors", Selector("all"), Selector("bad"))
    usual = Policy("usual", (errors,), history_s=HISTORY_S, after_promotion_s=GUARD_S)
    found = guarding(usual, earlier_s, {})
    if found is None:
        raise ValueError("a ratio can always be compared with the past")
    return found


def accused(
    situation: Situation, earlier_s: float, *, services: int, pods: int = 4, seed: int = 1
) -> list[float]:
    """Return for each service when its new revision was called degraded, in seconds, or inf."""
    world, by = World(situation, services, pods, earlier_s, seed), policy(earlier_s)
    (signal,) = by.signals
    if not isinstance(signal, PastSignal):
        raise TypeError(f"{signal.name} is not of another time")
    family = PastFamily(signal, ("pod",), STEP_S, GUARD_S)
    for i in range(services):
        family.join(str(i), signal, by)
        ids = [(f"{i}-{j}",) for j in range(pods)]
        stays = [Stay(id_, side, -inf) for side in Side for id_ in ids]
        family.enrol(str(i), Roster(tuple(stays)))
    found = dict.fromkeys(map(str, range(services)), inf)
    for now in np.arange(0.0, GUARD_S + 1.0, STEP_S):
        _advance(family, world, now)
        for watch_id, evidence in family.evidence().items():
            verdict = judge(by, {signal.name: evidence}).verdict
            if verdict is Verdict.DEGRADED:
                found[watch_id] = min(found[watch_id], float(now))
    return list(found.values())


def _advance(family: PastFamily, world: World, now: float) -> None:
    grid = family.due(now)
    if grid is not None:
        family.advance(world.fetch(family.queries(), grid), grid)
    members = family.wanting()
    if members:
        past = family.history_grid(HISTORY_S)
        family.arm(members, world.fetch(family.queries(members), past), past)


def rows(services: int, pods: int) -> Iterator[tuple[str, str, str]]:
    """Yield situation, stretch, and what came of it."""
    for situation in (*FINE, *BAD):
        for name, earlier_s in (("a day", DAY_S), ("45 min", SHORT_S)):
            at = np.array(accused(situation, earlier_s, services=services, pods=pods))
            share = f"{100 * np.isfinite(at).mean():.1f} %"
            hit = at[np.isfinite(at)]
            if situation.harm > 1 and len(hit):
                share += f", median {np.median(hit) - 10 * STEP_S:.0f} s"
            yield situation.name, name, share


@click.command()
@click.option("--services", default=400, show_default=True)
@click.option("--pods", default=4, show_default=True)
def main(services: int, pods: int) -> None:
    """Print how many revisions are accused, by situation and by what they are compared with."""
    click.echo("| situation | earlier | accused |\n| --- | --- | --: |")
    for row in rows(services, pods):
        click.echo(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
