"""From a rollout, the actuators' drafts and the guards' answers to a plan, or why there is none."""

from collections.abc import Sequence

from actions.guards.situation import Situation
from actions.plan import Plan, Refused, keyed
from analyzer.check import Check, CheckOutcome


def plan(
    situation: Situation, found: Sequence[Check], watch_id: str, attempt: int = 1
) -> Plan | Refused:
    """Return what would be done to leave the canary for the baseline. Pure.

    Args:
        situation: the rollout, its policy, the actuators' drafts and what was done before.
        found: what the guards said about it.
        watch_id: the watch that asks.
        attempt: counts plans of this watch; one made anew after a conflict is another plan.
    """
    objections = tuple(check.text for check in found if check.outcome is CheckOutcome.REFUSED)
    good = situation.rollout.baseline
    if objections or good is None:
        return Refused(objections)
    return keyed(
        Plan(
            watch_id=watch_id,
            workload=situation.rollout.workload,
            bad=situation.rollout.canary,
            good=good,
            steps=tuple(step for _, draft in situation.drafts for step in draft.steps),
            attempt=attempt,
        )
    )
