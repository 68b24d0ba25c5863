"""Rollouts of Argo: its own objects say which revision is stable and which one is coming. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from actions.argo_abort import KIND
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.rollouts.annotations import said
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.objects import (
    MODE,
    POLICY,
    PROGRESS_DEADLINE_S,
    Pod,
    ReplicaSet,
    stalled_of,
)


@dataclass(frozen=True, slots=True)
class ArgoRollout:
    """A ``Rollout`` of Argo.

    Attributes:
        replicas: wanted. stable, current: hashes of the ReplicaSets that its controller calls so.
        is_aborted: it goes, or went, back to the stable one.
        stalled: what the controller says of a rollout that passed its progress deadline, or "".
        ready_within_s: that deadline.
    """

    uid: str
    namespace: str
    name: str
    replicas: int
    stable: str
    current: str
    is_aborted: bool
    is_deleting: bool
    policy: str | None
    mode: str | None
    labels: Mapping[str, str]
    said: Mapping[str, str]
    stalled: str
    ready_within_s: float


def argo_rollout_of(raw: Mapping[str, Any]) -> ArgoRollout:
    """Return what is kept of a Rollout."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    annotations = metadata.get("annotations") or {}
    # Argo writes the generation that it has seen as text.
    is_observed = str(status.get("observedGeneration", "")) == str(metadata.get("generation", ""))
    return ArgoRollout(
        uid=metadata["uid"],
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        replicas=spec.get("replicas", 1),
        stable=str(status.get("stableRS") or ""),
        # Until it has seen the newest template, its word is about the one before.
        current=str(status.get("currentPodHash") or "") if is_observed else "",
        is_aborted=bool(status.get("abort")),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        policy=annotations.get(POLICY) or None,
        mode=annotations.get(MODE) or None,
        labels=dict(metadata.get("labels") or {}),
        said=said(annotations),
        stalled=stalled_of(status) if is_observed else "",
        ready_within_s=float(spec.get("progressDeadlineSeconds") or PROGRESS_DEADLINE_S),
    )


def argo_rollouts(
    found: Iterable[ArgoRollout],
    replica_sets: Iterable[ReplicaSet],
    pods: Iterable[Pod],
    reading: Reading,
) -> list[Rollout]:
    """Return what Argo is rolling out: neither promoted nor aborted yet."""
    under_way = [one for one in found if _is_under_way(one)]
    if not under_way:
        return []
    uids = {one.uid for one in under_way}
    by_hash = {(r.deployment, r.hash): r for r in replica_sets if r.deployment in uids}
    pods_of: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        pods_of[pod.replica_set].append(pod)
    rollouts = []
    for one in sorted(under_way, key=lambda r: (r.namespace, r.name)):
        canary, baseline = by_hash.get((one.uid, one.current)), by_hash.get((one.uid, one.stable))
        if canary is None:
            continue
        rollouts.append(
            Rollout(
                workload=Workload(reading.cluster, one.namespace, KIND, one.name),
                canary=Revision(canary.uid, canary.hash),
                baseline=Revision(baseline.uid, baseline.hash) if baseline else None,
                canary_instances=reading.of(pods_of[canary.uid]),
                baseline_instances=reading.of(pods_of[baseline.uid]) if baseline else (),
                id_labels=reading.id_labels,
                started_at=canary.created_at,
                ordinal=canary.revision,
                policy=one.policy,
                mode=one.mode,
                labels=one.labels,
                annotations=one.said,
                stalled=one.stalled,
                ready_within_s=one.ready_within_s,
            )
        )
    return rollouts


def _is_under_way(one: ArgoRollout) -> bool:
    return bool(
        one.stable
        and one.current
        and one.current != one.stable
        and one.replicas > 0
        and not one.is_aborted
        and not one.is_deleting
    )
