"""Would somebody put back what we change?"""

from typing import assert_never

from actions.facts import Owned
from actions.guards.guard import Objection, OwnerRule, Strength
from actions.guards.situation import Situation


def owner_is_dealt_with(situation: Situation) -> Objection | None:
    """Object when a GitOps owner would undo a rollback, unless the plan holds it first."""
    owned = list(situation.known(Owned))
    active = [fact for fact in owned if fact.syncs is not False]
    if not active:
        told = "; ".join(f"{fact.owner} does not know of a rollback: {fact.why}" for fact in owned)
        return Objection(told, Strength.WARN) if told else None
    told = "; ".join(_sentence(fact) for fact in active)
    match situation.settings.gitops:
        case OwnerRule.WARN:
            return Objection(told, Strength.WARN)
        case OwnerRule.REFUSE:
            return Objection(f"{told}; guards.gitops says refuse (warn and hold are the others)")
        case OwnerRule.HOLD:
            held = {step.target.get("owner") for _, d in situation.drafts for step in d.steps}
            free = [fact for fact in active if fact.owner not in held]
            return Objection("; ".join(map(_sentence, free))) if free else None
        case _:
            assert_never(situation.settings.gitops)


def _sentence(fact: Owned) -> str:
    if fact.syncs:
        return f"{fact.owner} would put the canary back: {fact.why}"
    return f"{fact.owner} may put the canary back; whether it would is not known ({fact.why})"
