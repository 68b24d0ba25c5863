"""A plan is a value: ordered steps, each with a key and a precondition; making it touches nothing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

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
        key: checksum of everything the plan says; approvals are bound to it.
    """

    watch_id: str
    workload: Workload
    bad: Revision
    good: Revision
    steps: tuple[Step, ...]
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
    """What an actuator proposes for a rollout, before guards: its steps, or why it cannot act."""

    steps: tuple[Step, ...] = ()
    refusals: tuple[str, ...] = field(default=())


def checksum(value: object) -> str:
    """Return a short, stable checksum of plain JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def keyed(plan: Plan) -> Plan:
    """Return the plan with its keys filled in: each step's, then the plan's own."""
    steps = tuple(
        Step(
            s.actuator,
            s.target,
            s.expected,
            s.desired,
            key=f"{plan.watch_id}#{i}:{checksum([s.actuator, s.target, s.expected, s.desired])}",
        )
        for i, s in enumerate(plan.steps)
    )
    body = {"watch": plan.watch_id, "bad": asdict(plan.bad), "good": asdict(plan.good)}
    key = checksum([body, [s.key for s in steps]])
    return Plan(plan.watch_id, plan.workload, plan.bad, plan.good, steps, key)
