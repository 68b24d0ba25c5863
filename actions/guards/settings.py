"""What users can set about guards."""

from dataclasses import dataclass

from actions.guards.guard import Freeze, OwnerRule, Strength


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """The guards of one policy. The defaults are on the safe side; times are in seconds.

    Attributes:
        namespace_budget, cluster_budget: actions in ``budget_window_s`` in one namespace and in
            one cluster; the next one is refused.
        incident_workloads: so many workloads degraded within ``incident_window_s`` in one cluster
            are a platform incident, which rolling back would not mend.
        freezes: when nothing is to be changed.
        capacity: when the revision to go back to could not run at full size.
        schema: when the canary migrated a schema that the baseline does not work with.
        returned: when the canary was rolled back before and somebody put it back.
        gitops: when a GitOps owner would put the canary back.
    """

    namespace_budget: int = 5
    cluster_budget: int = 10
    budget_window_s: float = 3600.0
    incident_workloads: int = 5
    incident_window_s: float = 600.0
    freezes: tuple[Freeze, ...] = ()
    capacity: Strength = Strength.REFUSE
    schema: Strength = Strength.REFUSE
    returned: Strength = Strength.ASK
    gitops: OwnerRule = OwnerRule.REFUSE
