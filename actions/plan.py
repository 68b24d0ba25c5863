"""A plan is a value: ordered steps, each with a key and a precondition; making it touches nothing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from actions.facts import Fact
from analyzer.rollout import Revision, Workload


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the outside world, carried out by one actuator.

    Attributes:
        actuator: name of the actuator in the registry, such as ``kubernetes-rollback``.
        target: what is changed, for people and for the actuator, as plain JSON values.
        expected: the precondition: the part of the world's state that the plan was made for.
        desired: the state that the step brings about. A step whose desired state is already
            there is done; one whose world is neither expected nor desired is a conflict.
        key: identity of the effect, made by ``plan``; applying a key twice changes nothing.
    """

    actuator: str
    target: Mapping[str, Any]
    expected: Mapping[str, Any]
    desired: Mapping[str, Any]
    key: str = ""

    def describe(self) -> str:
        """Say in one line what would change."""
        return str(self.desired.get("summary", f"{self.actuator} {dict(self.target)}"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done for one watch, in order.

    Attributes:
        attempt: counts the plans of one watch; each needs its own approval.
        key: checksum of everything the plan says; approvals are bound to it.
    """

    watch_id: str
    workload: Workload
    bad: Revision
    good: Revision
    steps: tuple[Step, ...]
    attempt: int = 1
    key: str = ""

    def describe(self) -> str:
        """Say in one line what would be done."""
        return "; ".join(step.describe() for step in self.steps)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no plan: one sentence for each reason, for people."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """What an actuator proposes for a rollout, before guards: its steps, or why it cannot act.

    ``facts``: what it saw of the world that is for guards to judge.
    """

    steps: tuple[Step, ...] = ()
    refusals: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()


def checksum(value: object) -> str:
    """Return a short, stable checksum of plain JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def keyed(plan: Plan) -> Plan:
    """Return the plan with its keys filled in: each step's, then the plan's own."""
    steps = tuple(
        replace(
            s,
            key=f"{plan.watch_id}#{plan.attempt}.{i}:{_content(s)}",
        )
        for i, s in enumerate(plan.steps)
    )
    identity = [plan.watch_id, plan.attempt, asdict(plan.bad), asdict(plan.good)]
    return replace(plan, steps=steps, key=checksum([identity, [s.key for s in steps]]))


def _content(step: Step) -> str:
    return checksum([step.actuator, dict(step.target), dict(step.expected), dict(step.desired)])


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain JSON values, for the journal."""
    return asdict(plan)


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """Return the plan that ``plan_to_json`` wrote. Raises KeyError or TypeError for other data."""
    return Plan(
        watch_id=data["watch_id"],
        workload=Workload(**data["workload"]),
        bad=Revision(**data["bad"]),
        good=Revision(**data["good"]),
        steps=tuple(Step(**step) for step in data["steps"]),
        attempt=data["attempt"],
        key=data["key"],
    )
