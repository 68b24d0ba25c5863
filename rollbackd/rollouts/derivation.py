"""Tells from Deployments, ReplicaSets and pods what is being rolled out. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from analyzer.rollout import Instance, Revision, Rollout, Workload
from rollbackd.rollouts.objects import Pod, ReplicaSet
from rollbackd.rollouts.revisions import (
    Family,
    baseline_of,
    current_of,
    is_restored_by_us,
    was_current_before,
)

SETTLED_REMEMBERED = 3
"""Revisions remembered for each Deployment: the current one, the one before, one to spare."""

KnownGood = Callable[[Workload], tuple[str, ...]]
"""Returns the UIDs of the revisions whose watch ended healthy, the best to go back to first."""


def nothing_known(_: Workload) -> tuple[str, ...]:
    """Stand for an empty ledger of good revisions."""
    return ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How observations are read.

    Attributes:
        cluster: name of the cluster in workloads.
        id_labels: names of the metric labels that hold a pod's namespace and name, in this
            order; a single one holds the name.
        follow_for_s: a rollout that settled is followed until its canary is this old, in
            seconds; at least the longest observation that a policy asks for.
        known_good: the ledger of good revisions.
        longest_s: returns how long rollouts of a namespace must be followed for what policies of
            the cluster ask now, by namespace.
    """

    cluster: str = "default"
    id_labels: tuple[str, ...] = ("namespace", "pod")
    follow_for_s: float = 600.0
    known_good: KnownGood = nothing_known
    longest_s: Callable[[], Mapping[str, float]] = dict

    def __post_init__(self) -> None:
        """Refuse labels that we have no values for."""
        if len(self.id_labels) not in {1, 2}:
            raise ValueError(f"id_labels must be one or two, not {self.id_labels}")

    def workload(self, family: Family) -> Workload:
        """Return the workload that a Deployment is."""
        owner = family.deployment
        return Workload(self.cluster, owner.namespace, owner.kind, owner.name)

    def instances(self, family: Family, replica_set: str) -> tuple[Instance, ...]:
        """Return the instances of one ReplicaSet, by its UID."""
        return self.of(family.pods.get(replica_set, ()))

    def of(self, pods: Iterable[Pod]) -> tuple[Instance, ...]:
        """Return pods as instances."""
        count = len(self.id_labels)
        return tuple(
            Instance(
                (p.namespace, p.name)[-count:],
                p.started_at,
                p.is_ready,
                p.is_terminating,
                p.vitals,
            )
            for p in pods
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """What is remembered of one Deployment, because the cluster does not show it.

    Attributes:
        current: UID of the current ReplicaSet at the last look.
        since: when it was seen to become current; None when it was so at the first look.
        baseline: UID of the baseline chosen in this rollout; it stays the same to the end.
        settled: UIDs of the ReplicaSets it was seen settled on, the newest first.
    """

    current: str
    since: float | None = None
    baseline: str | None = None
    settled: tuple[str, ...] = ()


Memory = Mapping[str, Trace]
"""What is remembered, by the Deployment's UID."""

NO_MEMORY: Memory = MappingProxyType({})


def derive(
    seen: Iterable[Family], reading: Reading, memory: Memory, now: float
) -> tuple[tuple[Rollout, ...], Memory]:
    """Return the rollouts that are under way or just over, and what to remember for next time.

    A Deployment has no rollout when it is scaled to zero or being deleted, when its template has
    no ReplicaSet yet, in its first revision, once it settled long ago, and after a return to a
    revision that is known to be good, by us or by somebody else.

    Args:
        seen: every Deployment with what belongs to it, at one moment.
        reading: how to read them.
        memory: as returned by the last call; ``NO_MEMORY`` for the first.
        now: seconds since the epoch.
    """
    rollouts, traces = [], {}
    longest_s = reading.longest_s()
    for family in seen:
        uid = family.deployment.uid
        current = current_of(family)
        if current is None:
            if uid in memory:
                traces[uid] = memory[uid]
            continue
        trace = _traced(family, current, memory.get(uid), now)
        own, asked_s = reading, longest_s.get(family.deployment.namespace, 0.0)
        if asked_s > reading.follow_for_s:
            own = replace(reading, follow_for_s=asked_s)
        rollout = _rollout(family, current, own, trace, now)
        if rollout is not None:
            rollouts.append(rollout)
            trace = replace(trace, baseline=rollout.baseline.id if rollout.baseline else None)
        traces[uid] = trace
    return tuple(rollouts), traces


def _rollout(
    family: Family, current: ReplicaSet, reading: Reading, trace: Trace, now: float
) -> Rollout | None:
    deployment, workload = family.deployment, reading.workload(family)
    known_good = reading.known_good(workload)
    is_complete = not any(map(family.is_active, family.others(current)))
    started_at = _started_at(family, current, trace, now, is_complete=is_complete)
    if (
        deployment.is_deleting
        or deployment.replicas == 0
        or _is_first(family, current)
        or (is_complete and now - started_at >= reading.follow_for_s)
        or _is_restored(family, current, known_good)
    ):
        return None
    baseline = baseline_of(family, current, known_good, trace.baseline, trace.settled)
    return Rollout(
        workload=workload,
        canary=Revision(current.uid, current.hash),
        baseline=Revision(baseline.uid, baseline.hash) if baseline else None,
        canary_instances=reading.instances(family, current.uid),
        baseline_instances=reading.instances(family, baseline.uid) if baseline else (),
        id_labels=reading.id_labels,
        started_at=started_at,
        ordinal=current.revision,
        complete=is_complete,
        policy=deployment.policy,
        mode=deployment.mode,
        labels=deployment.labels,
        stalled=deployment.stalled,
        ready_within_s=deployment.ready_within_s,
        annotations=deployment.said,
    )


def _is_first(family: Family, current: ReplicaSet) -> bool:
    """Tell whether nothing ran before: a new Deployment takes nothing over from anything."""
    return current.revision <= 1 and not family.others(current)


def _is_restored(family: Family, current: ReplicaSet, known_good: tuple[str, ...]) -> bool:
    """Tell whether this is a way back, which is not judged as if it were something new."""
    is_best_known = known_good[:1] == (current.uid,) and was_current_before(family, current)
    return is_best_known or is_restored_by_us(family, current)


def _started_at(
    family: Family, current: ReplicaSet, trace: Trace, now: float, *, is_complete: bool
) -> float:
    """Return when the current revision became so, as well as it can be known.

    A ReplicaSet that is used again is older than its rollout. Unless we saw it become current,
    the oldest of its pods tells while it is being rolled out; later, when pods have come and
    gone, nothing does, and the rollout counts as long past.
    """
    if not was_current_before(family, current):
        return current.created_at
    if trace.since is not None:
        return trace.since
    if is_complete:
        return current.created_at
    return min((pod.created_at for pod in family.staying(current)), default=now)


def _traced(family: Family, current: ReplicaSet, before: Trace | None, now: float) -> Trace:
    """Return the trace of a Deployment after this look, its baseline not yet chosen."""
    if before is None:
        trace = Trace(current.uid)
    elif before.current == current.uid:
        trace = before
    else:
        trace = Trace(current.uid, since=now, settled=before.settled)
    if not _is_settled(family, current) or trace.settled[:1] == (current.uid,):
        return trace
    earlier = tuple(uid for uid in trace.settled if uid != current.uid)
    return replace(trace, settled=(current.uid, *earlier)[:SETTLED_REMEMBERED])


def _is_settled(family: Family, current: ReplicaSet) -> bool:
    wanted = family.deployment.replicas
    return 0 < wanted <= family.ready(current) and not any(
        map(family.is_active, family.others(current))
    )
