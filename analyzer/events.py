"""What can happen to a watch (events), and what it asks to be done (commands)."""

from dataclasses import dataclass

from analyzer.check import Check, CheckOutcome
from analyzer.judge import Judgement
from analyzer.rollout import Revision


@dataclass(frozen=True, slots=True)
class Judged:
    """The evidence was judged once more. ``measured``: some acting signal could be tested."""

    judgement: Judgement
    measured: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan passed all guards; some may have warned or ask for a person's approval."""

    plan_key: str
    text: str
    checks: tuple[Check, ...] = ()

    @property
    def asks(self) -> str:
        """Why a person has to approve it in mode enforce, too; "" when nothing asks for that."""
        return "; ".join(c.text for c in self.checks if c.outcome is CheckOutcome.ASKS)


@dataclass(frozen=True, slots=True)
class PlanRefused:
    """No plan can be made, for these reasons."""

    reasons: tuple[str, ...]
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Approved:
    """A person approved exactly this plan."""

    plan_key: str
    by: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person rejected exactly this plan."""

    plan_key: str
    by: str


@dataclass(frozen=True, slots=True)
class Acted:
    """Every step of the plan is done and its effect is in place."""

    plan_key: str


@dataclass(frozen=True, slots=True)
class ActFailed:
    """The plan could not be carried out. ``conflict``: the world moved on, nothing was written."""

    plan_key: str
    reason: str
    conflict: bool


@dataclass(frozen=True, slots=True)
class RecoveryMeasured:
    """What the restored baseline looks like; ``recovered`` None means not decided yet."""

    recovered: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """Somebody rolled out again, after our action, the very revision that was left.

    ``hint``: who it may have been, for people, or "".
    """

    revision: Revision
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Snoozed:
    """A person holds the watch until a time."""

    until: float
    by: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person ends a hold."""

    by: str


@dataclass(frozen=True, slots=True)
class Demanded:
    """A person wants the canary left now, whatever the evidence says."""

    by: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer revision of the workload arrived."""

    by: Revision


@dataclass(frozen=True, slots=True)
class Ended:
    """The rollout is not there any more (workload deleted, rolled back by somebody else)."""

    reason: str


Event = (
    Judged
    | Planned
    | PlanRefused
    | Approved
    | Rejected
    | Acted
    | ActFailed
    | RecoveryMeasured
    | PutBack
    | Snoozed
    | Resumed
    | Demanded
    | Superseded
    | Ended
)


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Ask the planner; answer with Planned or PlanRefused."""


@dataclass(frozen=True, slots=True)
class AskApproval:
    """Ask people to approve this plan; answer with Approved or Rejected."""

    plan_key: str


@dataclass(frozen=True, slots=True)
class Act:
    """Carry out exactly this plan; answer with Acted or ActFailed."""

    plan_key: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell people. ``urgent``: somebody must look now."""

    text: str
    urgent: bool = False


Command = MakePlan | AskApproval | Act | Announce
