"""Which revision of a Deployment is the canary, and which one it should go back to. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollbackd.rollouts.objects import Deployment, Pod, ReplicaSet


@dataclass(frozen=True, slots=True)
class Family:
    """One Deployment, its ReplicaSets, and the pods of each by the ReplicaSet's UID."""

    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...] = ()
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)

    def staying(self, replica_set: ReplicaSet) -> tuple[Pod, ...]:
        """Return the pods of a ReplicaSet that are not on their way out."""
        return tuple(p for p in self.pods.get(replica_set.uid, ()) if not p.is_terminating)

    def ready(self, replica_set: ReplicaSet) -> int:
        """Count the pods of a ReplicaSet that take traffic."""
        return sum(pod.is_ready for pod in self.staying(replica_set))

    def is_active(self, replica_set: ReplicaSet) -> bool:
        """Tell whether a ReplicaSet has or wants pods."""
        return replica_set.replicas > 0 or bool(self.staying(replica_set))

    def others(self, current: ReplicaSet) -> tuple[ReplicaSet, ...]:
        """Return the ReplicaSets that run something else than the current one."""
        return tuple(r for r in self.replica_sets if r.template != current.template)


def families(
    deployments: Iterable[Deployment], replica_sets: Iterable[ReplicaSet], pods: Iterable[Pod]
) -> list[Family]:
    """Return each Deployment with what belongs to it, ordered whatever order they came in."""
    pods_of: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        pods_of[pod.replica_set].append(pod)
    sets_of: defaultdict[str, list[ReplicaSet]] = defaultdict(list)
    for replica_set in replica_sets:
        sets_of[replica_set.deployment].append(replica_set)
    found = []
    for deployment in sorted(deployments, key=lambda d: (d.namespace, d.name, d.uid)):
        own = tuple(sorted(sets_of.get(deployment.uid, ()), key=lambda r: r.uid))
        own_pods = {
            r.uid: tuple(sorted(pods_of[r.uid], key=lambda p: p.name))
            for r in own
            if r.uid in pods_of
        }
        found.append(Family(deployment, own, own_pods))
    return found


def current_of(family: Family) -> ReplicaSet | None:
    """Return the ReplicaSet of the Deployment's current template; None while there is none.

    None, too, while the ReplicaSets are seen at a later moment than their Deployment, as caches of
    two collections may be: the old template would pass for a release of the old revision.
    """
    deployment = family.deployment
    if deployment.revision and any(r.revision > deployment.revision for r in family.replica_sets):
        return None
    current = [r for r in family.replica_sets if r.template == deployment.template]
    if not current and deployment.is_observed and not deployment.is_paused:
        # Defaults that a newer server fills in make equal templates differ: then the number
        # tells. It does not for a paused Deployment, whose new template has no ReplicaSet.
        number = deployment.revision
        current = [r for r in family.replica_sets if number and r.revision == number]
    return max(current, key=lambda r: (r.revision, -r.created_at, r.uid), default=None)


def was_current_before(family: Family, current: ReplicaSet) -> bool:
    """Tell whether somebody went back to this revision, so that its age says nothing."""
    # The second holds until the controller has given the revision its new number.
    return current.was_current_before or any(
        other.revision > current.revision for other in family.others(current)
    )


def is_restored_by_us(family: Family, current: ReplicaSet) -> bool:
    """Tell whether the current revision is there because we rolled back to it.

    The annotations stay on the Deployment for ever, so the revision before the current one must
    also be the one that we left, or that one must be gone: what came after it is somebody
    else's rollout.
    """
    deployment = family.deployment
    if deployment.rolled_back_to != current.hash:
        return False
    others = family.others(current)
    if deployment.rolled_back_from not in {r.hash for r in others}:
        return True
    before = max(others, key=lambda r: (r.revision, r.created_at, r.uid))
    return before.hash == deployment.rolled_back_from


def left_by_us(family: Family) -> frozenset[str]:
    """Return the hashes of the revisions that we rolled back from and nobody rolled out again.

    The controller copies a Deployment's annotations to its ReplicaSet, so the restored ones tell
    of every rollback. A revision that was rolled out again has a higher number than the one
    that had been restored in its place.
    """
    number = {r.hash: r.revision for r in family.replica_sets}
    tellers: tuple[Deployment | ReplicaSet, ...] = (family.deployment, *family.replica_sets)
    rollbacks = {(teller.rolled_back_from, teller.rolled_back_to) for teller in tellers}
    return frozenset(bad for bad, good in rollbacks if number.get(good, 0) > number.get(bad, 0))


def baseline_of(
    family: Family,
    current: ReplicaSet,
    known_good: tuple[str, ...],
    chosen: str | None,
    settled: tuple[str, ...],
) -> ReplicaSet | None:
    """Return the revision to compare with and to go back to, None when there is none.

    Never simply the previous one. In this order: a revision known to be good; the one chosen
    earlier in this rollout, which must not change when the others are scaled down; the one with
    the most ready pods; the one that the Deployment was last seen settled on; and, when nothing
    runs and nothing is remembered (a restart in the middle of a ``Recreate``), the one that was
    current most recently. The last three never choose a revision that we rolled back from.

    Args:
        family: the Deployment with all its ReplicaSets and their pods.
        current: its current ReplicaSet.
        known_good: UIDs of revisions known to be good, the best first.
        chosen: UID of the baseline chosen earlier in this rollout.
        settled: UIDs of the ReplicaSets it was seen settled on, the newest first.
    """
    others = {r.uid: r for r in family.others(current)}
    for uid in (*known_good, chosen):
        if uid in others:
            return others[uid]
    left = left_by_us(family)
    candidates = {uid: r for uid, r in others.items() if r.hash not in left}
    running = [r for r in candidates.values() if family.ready(r)]
    if running:
        return max(running, key=lambda r: (family.ready(r), r.revision, r.uid))
    for uid in settled:
        if uid in candidates:
            return candidates[uid]
    return max(candidates.values(), key=lambda r: (r.revision, r.created_at, r.uid), default=None)
