"""Is there a way back, and is it still the right one?"""

from actions.facts import NewerRevision, PausedByHand
from actions.guards.guard import Objection
from actions.guards.situation import Situation


def has_baseline(situation: Situation) -> Objection | None:
    """Refuse when there is no known-good revision to go back to."""
    if situation.rollout.baseline is None:
        return Objection(f"{situation.rollout.workload} has no known-good revision to go back to")
    return None


def has_actuator(situation: Situation) -> Objection | None:
    """Refuse when the policy names nothing that could act."""
    if not situation.policy.actuators:
        return Objection(f"policy {situation.policy.name} names no action")
    return None


def actuators_agree(situation: Situation) -> Objection | None:
    """Refuse when an actuator says that it cannot act: a plan is carried out whole or not."""
    refusals = [f"{name}: {text}" for name, d in situation.drafts for text in d.refusals]
    return Objection("; ".join(refusals)) if refusals else None


def changes_something(situation: Situation) -> Objection | None:
    """Refuse an empty plan: nothing would change, so nothing would help."""
    drafts = [draft for _, draft in situation.drafts]
    if not drafts or any(d.steps or d.refusals for d in drafts):
        return None
    if any(situation.known(PausedByHand)) or any(situation.known(NewerRevision)):
        return None  # there is no step for these reasons, which have their own guards
    return Objection("there is nothing to change: the canary is already out of traffic")


def nobody_paused_it(situation: Situation) -> Objection | None:
    """Refuse while somebody holds the workload: a change would wait, then come by surprise."""
    paused = [fact.what for fact in situation.known(PausedByHand)]
    if not paused:
        return None
    return Objection(
        f"{', '.join(paused)} was paused by hand: a change would have no effect until somebody "
        "resumes it"
    )


def no_newer_revision(situation: Situation) -> Objection | None:
    """Refuse when the workload was already asked to run something else than the canary."""
    for fact in situation.known(NewerRevision):
        return Objection(
            f"{fact.canary} is no longer the current revision of {fact.what}: another change is "
            "on its way, which a rollback would undo"
        )
    return None
