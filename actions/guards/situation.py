"""Everything a guard may look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from actions.facts import Fact
from actions.guards.settings import GuardSettings
from actions.plan import Draft
from analyzer.policy import Policy
from analyzer.rollout import Rollout, Workload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PastAction:
    """An action that was carried out, as the journal tells."""

    workload: Workload
    at: float
    bad_revision: str
    good_revision: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A watch whose canary was found degraded, as the journal tells.

    ``at``: when a plan was made or refused for it. ``acts``: the plan is carried out without a
    person, or was begun; so it counts against the budget from the moment it is made, and two
    plans that are made at once cannot both take the last place.
    """

    watch_id: str
    workload: Workload
    at: float
    acts: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """A rollout that should be left, and what speaks for or against it.

    Attributes:
        drafts: what each of the policy's actuators proposes, by actuator name.
        past: actions carried out before, oldest first, of this and of other workloads.
        now: seconds since the epoch.
        troubles: lately degraded watches of every workload.
        settings: of the guards. facts: what is known besides the drafts.
    """

    policy: Policy
    rollout: Rollout
    drafts: Sequence[tuple[str, Draft]]
    past: Sequence[PastAction]
    now: float
    troubles: Sequence[Trouble] = ()
    settings: GuardSettings = field(default_factory=GuardSettings)
    facts: Sequence[Fact] = ()

    def known(self, kind: type[T]) -> Iterator[T]:
        """Yield the facts of one kind, those of the drafts first."""
        every = (*(f for _, draft in self.drafts for f in draft.facts), *self.facts)
        return (fact for fact in every if isinstance(fact, kind))
