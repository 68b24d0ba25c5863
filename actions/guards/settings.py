"""What users can set about guards."""

from dataclasses import dataclass
from typing import Self

from actions.guards.guard import Freeze, OwnerRule, Strength, stronger


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

    def tightened(self, own: Self) -> Self:
        """Return these guards, stricter where ``own`` are; nothing becomes weaker.

        A stop of a GitOps owner's sync needs rights of its own, so ``own`` cannot ask for it: it
        can only refuse.
        """
        return type(self)(
            namespace_budget=min(self.namespace_budget, own.namespace_budget),
            cluster_budget=min(self.cluster_budget, own.cluster_budget),
            budget_window_s=max(self.budget_window_s, own.budget_window_s),
            incident_workloads=min(self.incident_workloads, own.incident_workloads),
            incident_window_s=max(self.incident_window_s, own.incident_window_s),
            freezes=(*self.freezes, *(f for f in own.freezes if f not in self.freezes)),
            capacity=stronger(self.capacity, own.capacity),
            schema=stronger(self.schema, own.schema),
            returned=stronger(self.returned, own.returned),
            gitops=own.gitops if own.gitops is OwnerRule.REFUSE else self.gitops,
        )
