"""What a guard is, and how strongly it may object."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from analyzer.check import CheckOutcome

if TYPE_CHECKING:
    from actions.guards.situation import Situation


class GuardName(StrEnum):
    """Every guard; the closed set of the label ``guard`` of our metrics."""

    WAY_BACK = "way-back"
    ACTION = "action"
    ACTUATOR = "actuator"
    NO_CHANGE = "no-change"
    PAUSED = "paused"
    NEWER_REVISION = "newer-revision"
    BAD_TARGET = "bad-target"
    RETURNED = "returned"
    COOL_DOWN = "cool-down"
    BUDGET = "budget"
    INCIDENT = "incident"
    FREEZE = "freeze"
    CAPACITY = "capacity"
    SCHEMA = "schema"
    GITOPS = "gitops"


class Strength(StrEnum):
    """What an objection leads to; where it can be chosen, by the user."""

    WARN = "warn"
    """Said, and nothing else."""
    ASK = "ask"
    """A person has to approve the plan, in mode enforce, too."""
    REFUSE = "refuse"
    """There is no plan; people are called."""

    @property
    def outcome(self) -> CheckOutcome:
        """How a check ends that finds something of this strength."""
        return _OUTCOMES[self]


def stronger(one: Strength, other: Strength) -> Strength:
    """Return the one of two strengths that objects more."""
    return max(one, other, key=tuple(Strength).index)


class OwnerRule(StrEnum):
    """What is done about a GitOps owner that would put the canary back."""

    REFUSE = "refuse"
    WARN = "warn"
    HOLD = "hold"
    """Its automatic sync is suspended as the first step of the plan."""


_OUTCOMES = {
    Strength.WARN: CheckOutcome.WARNED,
    Strength.ASK: CheckOutcome.ASKS,
    Strength.REFUSE: CheckOutcome.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Objection:
    """What a guard has to say against a plan, in one sentence for people."""

    text: str
    strength: Strength = Strength.REFUSE


Guard = Callable[["Situation"], Objection | None]
"""Returns what speaks against a plan, or None when this guard has no objection."""


class Freeze(Protocol):
    """A time in which nothing is to be changed; parsed where the configuration is read."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def strength(self) -> Strength:
        """How strongly it objects."""

    def ends_at(self, now: float) -> float | None:
        """Return when the freeze that is on at ``now`` ends, None when none is on. Pure."""
