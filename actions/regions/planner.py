"""The plan of a move: one step for each record and stage, with keys; or the reasons against it."""

from dataclasses import replace

from actions.dns.record import Record
from actions.dns.switch import dns_step
from actions.plan import Plan, Refused, Step, keyed
from actions.regions.guards import MoveSituation, refusals
from analyzer.regions.events import Direction
from analyzer.regions.life import Region
from analyzer.rollout import Revision, Workload

KIND = "Region"


def watch_id(region: str) -> str:
    """Return the id under which the journal keeps what happens to a region."""
    return f"region/{region}"


def plan_move(situation: MoveSituation) -> Plan | Refused:
    """Return what would be done to move a region's traffic."""
    objections = refusals(situation)
    if objections:
        return Refused(objections)
    region = situation.region
    others = ",".join(r.name for r in situation.receivers)
    return keyed(
        Plan(
            watch_id=watch_id(region.name),
            workload=Workload("", "region", KIND, region.name),
            bad=Revision(region.name, region.name),
            good=Revision(others, others),
            steps=_steps(situation),
            attempt=region.moves + 1,
        )
    )


def stage_of(step: Step) -> int:
    """Return the stage that a step of a move belongs to."""
    return int(step.target["stage"])


def stages(plan: Plan) -> int:
    """Return how many stages a move has."""
    return max(stage_of(step) for step in plan.steps)


def until_stage(plan: Plan, stage: int) -> Plan:
    """Return the beginning of a plan, with its keys: what is done after so many stages."""
    return replace(plan, steps=tuple(s for s in plan.steps if stage_of(s) <= stage))


def _steps(situation: MoveSituation) -> tuple[Step, ...]:
    last = max(len(name.shift.stages) for name in situation.names)
    steps = []
    for stage in range(1, last + 1):
        for name in situation.names:
            # a record with fewer stages takes part in the last ones
            place = stage - (last - len(name.shift.stages))
            if place < 1:
                continue
            before = name.shift.stages[place - 2] if place > 1 else name.shift.before
            after = name.shift.stages[place - 1]
            summary = _summary(situation.region, situation.direction, before, after)
            steps.append(dns_step(name.backend, before, after, stage=stage, summary=summary))
    return tuple(steps)


def _summary(region: Region, direction: Direction, before: Record, after: Record) -> str:
    verb = "take" if direction is Direction.AWAY else "give back"
    of = "from" if direction is Direction.AWAY else "to"
    led = before.describe().split(" → ", 1)[1]
    return f"{verb} traffic {of} {region.name}: {after.describe()} (was {led})"
