"""What was done to this workload before."""

from actions.guards.guard import Objection
from actions.guards.situation import Situation
from analyzer.wording import duration


def cooled_down(situation: Situation) -> Objection | None:
    """Refuse to act on a workload again so soon: acting in a loop is worse than asking."""
    for action in situation.past:
        left = action.at + situation.policy.cool_down_s - situation.now
        if action.workload == situation.rollout.workload and left > 0:
            return Objection(
                f"{action.workload} was acted on already, its cool-down ends in {duration(left)}"
            )
    return None


def target_is_not_bad(situation: Situation) -> Objection | None:
    """Refuse to go back to a revision that was itself left as bad."""
    good = situation.rollout.baseline
    if good is None:
        return None
    for action in situation.past:
        if action.workload == situation.rollout.workload and action.bad_revision == good.id:
            return Objection(
                f"the revision to go back to, {good.label}, was itself rolled back before"
            )
    return None


def was_not_put_back(situation: Situation) -> Objection | None:
    """Object when the very revision that we left came back: somebody wants it, and we never fight.

    An owner such as Argo CD would put it back again and again; a person may know more than we do.
    """
    bad = situation.rollout.canary
    for action in situation.past:
        if action.workload == situation.rollout.workload and action.bad_revision == bad.id:
            since = duration(situation.now - action.at)
            return Objection(
                f"{bad.label} was rolled back {since} ago and somebody put it back: find out who, "
                "instead of a fight over it",
                situation.settings.returned,
            )
    return None
