"""From a rollout and the actuators' drafts to a plan, or the reasons why there is none. Pure."""

from actions.guards import Situation, refusals
from actions.plan import Plan, Refused, keyed


def plan(situation: Situation, watch_id: str, attempt: int = 1) -> Plan | Refused:
    """Return what would be done to leave the canary for the baseline.

    Args:
        situation: the rollout, its policy, the actuators' drafts and what was done before.
        watch_id: the watch that asks.
        attempt: counts plans of this watch; one made anew after a conflict is another plan.
    """
    objections = refusals(situation)
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
