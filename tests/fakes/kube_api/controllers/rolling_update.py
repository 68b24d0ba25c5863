"""The arithmetic of a rolling update, as pure functions of replica counts.

Follows `deployment/rolling.go` and `deployment/util/deployment_util.go` of Kubernetes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.metadata import annotations_of

from .revisions import MAX_REPLICAS, oldest_first

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a rollout may stray from the wanted number of pods."""

    replicas: int
    max_surge: int
    max_unavailable: int

    @property
    def most_pods(self) -> int:
        """Return how many pods there may be at once."""
        return self.replicas + self.max_surge if self.replicas else 0

    @property
    def fewest_available(self) -> int:
        """Return how many pods must stay available."""
        return self.replicas - self.max_unavailable


def bounds_of(deployment: JsonObject) -> Bounds:
    """Resolve `maxSurge` (rounded up) and `maxUnavailable` (rounded down)."""
    spec = deployment["spec"]
    replicas = spec["replicas"]
    if spec["strategy"]["type"] != "RollingUpdate":
        return Bounds(replicas, 0, 0)
    rolling = spec["strategy"]["rollingUpdate"]
    surge = math.ceil(_share(rolling["maxSurge"], replicas))
    unavailable = math.floor(_share(rolling["maxUnavailable"], replicas))
    if surge == 0 and unavailable == 0:
        # Both percentages rounded to nothing: without one of them no rollout could move.
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def _share(bound: int | str, replicas: int) -> float:
    if isinstance(bound, str):
        return int(bound.removesuffix("%")) * replicas / 100
    return bound


def wanted(replica_set: JsonObject) -> int:
    """Return how many pods a ReplicaSet is asked to have."""
    return int(replica_set["spec"]["replicas"])


def counted(replica_set: JsonObject, field: str) -> int:
    """Return a count of a ReplicaSet's status; the API leaves zeros out."""
    return int((replica_set.get("status") or {}).get(field, 0))


def new_size(new: JsonObject, everything: list[JsonObject], bounds: Bounds) -> int:
    """Return the size to which the new ReplicaSet may grow (or must shrink) now."""
    if wanted(new) >= bounds.replicas:
        return bounds.replicas
    room = bounds.most_pods - sum(wanted(replica_set) for replica_set in everything)
    return wanted(new) + max(0, min(room, bounds.replicas - wanted(new)))


def old_sizes(new: JsonObject, old: list[JsonObject], bounds: Bounds) -> dict[str, int]:
    """Return the sizes to which the old ReplicaSets must shrink now, by name.

    Pods which are not available go first; then available ones, oldest ReplicaSet first, while
    enough remain.
    """
    sizes = {replica_set["metadata"]["name"]: wanted(replica_set) for replica_set in old}
    new_unavailable = wanted(new) - counted(new, "availableReplicas")
    total = sum(sizes.values()) + wanted(new)
    budget = total - bounds.fewest_available - new_unavailable
    if budget <= 0:
        return sizes
    for replica_set in oldest_first(old):
        unhealthy = wanted(replica_set) - counted(replica_set, "availableReplicas")
        taken = max(0, min(budget, unhealthy))
        sizes[replica_set["metadata"]["name"]] -= taken
        budget -= taken
    available = sum(counted(replica_set, "availableReplicas") for replica_set in [new, *old])
    spare = available - bounds.fewest_available
    for replica_set in oldest_first(old):
        name = replica_set["metadata"]["name"]
        taken = max(0, min(spare, sizes[name]))
        sizes[name] -= taken
        spare -= taken
    return sizes


def proportional_sizes(active: list[JsonObject], bounds: Bounds) -> dict[str, int]:
    """Return the sizes of ReplicaSets after the Deployment was scaled in mid-rollout, by name.

    Each takes part in the growth (or shrinking) by its share; the largest takes the rest.
    """
    sizes = {replica_set["metadata"]["name"]: wanted(replica_set) for replica_set in active}
    to_add = bounds.most_pods - sum(sizes.values())
    left = to_add
    largest_first = sorted(active, key=wanted, reverse=True)
    for replica_set in largest_first:
        name = replica_set["metadata"]["name"]
        before = int(annotations_of(replica_set).get(MAX_REPLICAS, bounds.most_pods)) or 1
        share = round(wanted(replica_set) * bounds.most_pods / before) - wanted(replica_set)
        share = min(max(share, 0), left) if to_add > 0 else max(min(share, 0), left)
        sizes[name] += share
        left -= share
    if largest_first:
        first = largest_first[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + left)
    return sizes
