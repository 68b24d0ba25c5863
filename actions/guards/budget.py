"""How much may be changed in a while, and when so much is bad that rolling back is no answer."""

from collections.abc import Callable

from actions.guards.guard import Objection
from actions.guards.situation import Situation, Trouble
from analyzer.wording import duration


def within_budget(situation: Situation) -> Objection | None:
    """Refuse more actions in a namespace or a cluster than people want to wake up to."""
    settings, workload = situation.settings, situation.rollout.workload

    def here(trouble: Trouble) -> bool:
        return trouble.acts and trouble.workload.namespace == workload.namespace

    span = settings.budget_window_s
    in_namespace = _others(situation, span, here)
    in_cluster = _others(situation, span, lambda trouble: trouble.acts)
    for count, limit, where in (
        (in_namespace, settings.namespace_budget, f"namespace {workload.namespace}"),
        (in_cluster, settings.cluster_budget, f"cluster {workload.cluster}"),
    ):
        if count >= limit:
            return Objection(
                f"the budget of {where} is spent: {count} of {limit} actions within "
                f"{duration(span)}"
            )
    return None


def no_platform_incident(situation: Situation) -> Objection | None:
    """Refuse when many workloads went bad at once: it is the platform, not each of them."""
    settings = situation.settings
    span = settings.incident_window_s
    others = _others(situation, span, lambda _: True)
    if others + 1 < settings.incident_workloads:
        return None
    return Objection(
        f"{others + 1} workloads of cluster {situation.rollout.workload.cluster} went bad within "
        f"{duration(span)}: that is a platform incident, which rolling each of them back would "
        "not mend; look at the platform first"
    )


def _others(situation: Situation, span_s: float, counts: Callable[[Trouble], bool]) -> int:
    """Count other workloads of this cluster that were in trouble lately, each of them once."""
    own = situation.rollout.workload
    found = {
        trouble.workload
        for trouble in situation.troubles
        if trouble.workload != own
        and trouble.workload.cluster == own.cluster
        and situation.now - trouble.at < span_s
        and counts(trouble)
    }
    return len(found)
