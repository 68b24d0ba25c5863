"""Guards: pure reasons to refuse a plan, each with its own sentence for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actions.plan import Draft
from analyzer.policy import Policy
from analyzer.rollout import Rollout, Workload
from analyzer.wording import duration


@dataclass(frozen=True, slots=True)
class PastAction:
    """An action that was carried out, as the journal tells."""

    workload: Workload
    at: float
    bad_revision: str
    good_revision: str


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a guard may look at.

    Attributes:
        drafts: what each of the policy's actuators proposes, by actuator name.
        past: actions carried out before, newest last.
        now: seconds since the epoch.
    """

    policy: Policy
    rollout: Rollout
    drafts: Sequence[tuple[str, Draft]]
    past: Sequence[PastAction]
    now: float


Guard = Callable[[Situation], str | None]
"""Returns why the plan must not be carried out, or None when this guard has no objection."""


def has_baseline(situation: Situation) -> str | None:
    """Refuse when there is no known-good revision to go back to."""
    if situation.rollout.baseline is None:
        return f"{situation.rollout.workload} has no known-good revision to go back to"
    return None


def has_actuator(situation: Situation) -> str | None:
    """Refuse when the policy names nothing that could act."""
    if not situation.policy.actuators:
        return f"policy {situation.policy.name} names no action"
    return None


def actuators_agree(situation: Situation) -> str | None:
    """Refuse when an actuator says that it cannot act: a plan is carried out whole or not."""
    refusals = [f"{name}: {text}" for name, d in situation.drafts for text in d.refusals]
    return "; ".join(refusals) or None


def changes_something(situation: Situation) -> str | None:
    """Refuse an empty plan: nothing would change, so nothing would help."""
    drafts = [draft for _, draft in situation.drafts]
    if drafts and not any(d.steps or d.refusals for d in drafts):
        return "there is nothing to change: the canary is already out of traffic"
    return None


def cooled_down(situation: Situation) -> str | None:
    """Refuse to act on a workload again so soon: acting in a loop is worse than asking."""
    for action in situation.past:
        left = action.at + situation.policy.cool_down_s - situation.now
        if action.workload == situation.rollout.workload and left > 0:
            return (
                f"{action.workload} was acted on already, its cool-down ends in {duration(left)}"
            )
    return None


def target_is_not_bad(situation: Situation) -> str | None:
    """Refuse to go back to a revision that was itself left as bad."""
    good = situation.rollout.baseline
    if good is None:
        return None
    for action in situation.past:
        if action.workload == situation.rollout.workload and action.bad_revision == good.id:
            return f"the revision to go back to, {good.label}, was itself rolled back before"
    return None


GUARDS: tuple[Guard, ...] = (
    has_baseline,
    has_actuator,
    actuators_agree,
    changes_something,
    target_is_not_bad,
    cooled_down,
)
"""In the order in which people read them; all are asked, so that all reasons are told at once."""


def refusals(situation: Situation, guards: Sequence[Guard] = GUARDS) -> tuple[str, ...]:
    """Return the reasons of all guards that object."""
    return tuple(why for guard in guards if (why := guard(situation)) is not None)
