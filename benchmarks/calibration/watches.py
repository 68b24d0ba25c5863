"""The daemon's own path over simulated deployments: roster, families, detectors and judge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analyzer.comparison import AnyFamily, Comparison
from analyzer.evidence import EvidenceOf
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import Policy
from analyzer.roster import Roster
from benchmarks.calibration.deployments import ID_LABELS, Deployments
from benchmarks.calibration.simulator import Array

Judge = Callable[[Policy, EvidenceOf], Judgement]


@dataclass(frozen=True, slots=True)
class Course:
    """How each watch went; ticks of the canary phase, counted from 1, NaN for never.

    A watch is judged until it is degraded or its horizon is over, even after "healthy", where the
    daemon would have ended it: it rolls back less than is counted here.

    Attributes:
        degraded, healthy, shared: (runs,) tick of the first such verdict; "healthy" not before
            the policy's ``min_observation_s``.
        e_values: (runs, ticks) combined evidence against the canary; NaN after the end.
    """

    degraded: Array
    healthy: Array
    shared: Array
    e_values: Array


def follow(deployments: Deployments, policy: Policy, judge: Judge = judge) -> Course:
    """Watch every deployment from its first canary pod on, a tick at a time."""
    fleet, runs = deployments.fleet, deployments.runs
    comparison = Comparison(fleet.tick_s)
    rosters = [Roster()] * runs
    watch_ids = [rollout.watch_id for rollout in deployments.rollouts(0)]
    for watch_id in watch_ids:
        comparison.join(watch_id, policy, ID_LABELS)
    first = {verdict: np.full(runs, np.nan) for verdict in Verdict}
    e_values = np.full((runs, fleet.ticks), np.nan)
    changes = deployments.changes()
    for tick in range(fleet.ticks):
        now = deployments.time(tick)
        if tick in changes:
            for run, rollout in enumerate(deployments.rollouts(tick)):
                rosters[run] = rosters[run].observe(rollout, now, policy.warm_up_s)
                comparison.enrol(watch_ids[run], rosters[run])
        for family in comparison.families:
            collect(family, deployments, now)
        evidence = comparison.evidence()
        old_enough = (tick + 1) * fleet.tick_s >= policy.min_observation_s
        for run in np.flatnonzero(np.isnan(first[Verdict.DEGRADED])).tolist():
            watch_id = watch_ids[run]
            judgement = judge(policy, evidence[watch_id])
            e_values[run, tick] = judgement.e_value
            if judgement.verdict is not Verdict.HEALTHY or old_enough:
                seen = first[judgement.verdict]
                seen[run] = np.fmin(seen[run], tick + 1)
    return Course(
        first[Verdict.DEGRADED], first[Verdict.HEALTHY], first[Verdict.SHARED_INCIDENT], e_values
    )


def collect(family: AnyFamily, deployments: Deployments, now: float) -> None:
    """Bring a family up to date and start what can start, as the daemon's collector does."""
    grid = family.due(now)
    if grid is not None:
        family.advance(deployments.fetch(family.queries(), grid), grid)
    wanting = family.wanting()
    if wanting:
        past = family.history_grid(wanting[0].policy.history_s)
        family.arm(wanting, deployments.fetch(family.queries(wanting), past), past)
