"""The few fields of Deployments, ReplicaSets and pods that rollouts are derived from.

A cluster has thousands of these objects, of some 10 kB each as JSON: only these fields are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any

from actions.cluster import (
    HASH_LABEL,
    ROLLED_BACK_FROM,
    ROLLED_BACK_TO,
    controller_uid,
    template_digest,
    template_of,
)
from actions.marks import HELD_BY
from analyzer.rollout import Vitals
from rollbackd.rollouts.annotations import said
from rollbackd.rollouts.vitals import vitals_of

POLICY = "rollbackd.io/policy"
"""Annotation of a workload: name of the policy it asks for."""

MODE = "rollbackd.io/mode"
"""Annotation of a workload: how far the daemon may go with it, at most; "off": not watched."""

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
"""Annotation of a ReplicaSet that was current before: the numbers it had then."""

PROGRESS_DEADLINE_S = 600.0
"""Kubernetes' own default of a Deployment's ``progressDeadlineSeconds``."""

ARGO_HASH = "rollouts-pod-template-hash"
ARGO_REVISION = "rollout.argoproj.io/revision"
"""What Argo calls ``pod-template-hash`` and the number of a revision."""

POD_REVISION = "controller-revision-hash"
"""Label of the pods of StatefulSets and DaemonSets: name or hash of their ControllerRevision."""

DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Deployment, or a StatefulSet or DaemonSet, which are read in the same terms.

    Attributes:
        kind: which of them. policy, mode: what it asks for itself.
        replicas: wanted. template: digest of its pod template.
        revision: number of the current revision, 0 when the controller has not said.
        is_observed: the controller has seen the latest change of the specification.
        said: what it says of its newest change, see ``annotations.said``.
        rolled_back_from, rolled_back_to: hashes of the revisions of our last rollback, or "".
        stalled: what the controller says of a rollout that passed its progress deadline, or "".
        ready_within_s: that deadline.
        held_by: the watch that paused it, by our mark, or "".
        pod_labels: those of its pod template.
    """

    uid: str
    namespace: str
    name: str
    replicas: int
    template: str
    revision: int
    is_observed: bool
    is_paused: bool
    is_deleting: bool
    policy: str | None
    labels: Mapping[str, str]
    said: Mapping[str, str]
    rolled_back_from: str
    rolled_back_to: str
    kind: str = "Deployment"
    mode: str | None = None
    stalled: str = ""
    ready_within_s: float = PROGRESS_DEADLINE_S
    held_by: str = ""
    pod_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """One revision of a Deployment, or a ControllerRevision of another set.

    Attributes:
        deployment: UID of the Deployment. hash: its ``pod-template-hash``.
        replicas: wanted. template: digest of its pod template, without the hash.
        revision: the newest number it had, 0 when the controller has not said.
        was_current_before: it got a new number at least once: somebody went back to it.
        created_at: seconds since the epoch. ready: pods that are, as its status says.
    """

    uid: str
    deployment: str
    hash: str
    replicas: int
    template: str
    revision: int
    was_current_before: bool
    created_at: float
    rolled_back_from: str
    rolled_back_to: str
    ready: int = 0


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has not ended.

    Attributes:
        replica_set: UID of its ReplicaSet, or of the StatefulSet or DaemonSet itself.
        revision: the hash of its revision, for pods of the latter two; else "".
        created_at, started_at: seconds since the epoch.
        vitals: what its node says of its containers, None while it has said nothing.
    """

    replica_set: str
    namespace: str
    name: str
    created_at: float
    started_at: float
    is_ready: bool
    is_terminating: bool
    vitals: Vitals | None = None
    revision: str = ""


def deployment_of(raw: Mapping[str, Any]) -> Deployment:
    """Return what is kept of a Deployment."""
    metadata, spec = raw["metadata"], raw["spec"]
    annotations = metadata.get("annotations") or {}
    status = raw.get("status") or {}
    is_observed = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    return Deployment(
        uid=metadata["uid"],
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        replicas=spec.get("replicas", 1),
        template=template_digest(raw),
        revision=number_of(annotations.get(REVISION)),
        is_observed=is_observed,
        is_paused=bool(spec.get("paused")),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        policy=annotations.get(POLICY) or None,
        mode=annotations.get(MODE) or None,
        labels=dict(metadata.get("labels") or {}),
        said=said(annotations),
        rolled_back_from=annotations.get(ROLLED_BACK_FROM, ""),
        rolled_back_to=annotations.get(ROLLED_BACK_TO, ""),
        # Until the controller has seen the newest template, its word is about the one before.
        stalled=stalled_of(status) if is_observed else "",
        ready_within_s=float(spec.get("progressDeadlineSeconds") or PROGRESS_DEADLINE_S),
        held_by=annotations.get(HELD_BY, ""),
        pod_labels=dict(template_of(raw)["metadata"].get("labels") or {}),
    )


def stalled_of(status: Mapping[str, Any]) -> str:
    """Return the reason by which a controller says that a rollout stands still, or ""."""
    for condition in status.get("conditions") or []:
        if condition.get("reason") == DEADLINE_EXCEEDED and condition.get("status") == "False":
            return DEADLINE_EXCEEDED
    return ""


def replica_set_of(raw: Mapping[str, Any]) -> ReplicaSet | None:
    """Return what is kept of a ReplicaSet; None when neither a Deployment nor Argo made it."""
    metadata, spec = raw["metadata"], raw["spec"]
    owner = controller_uid(raw)
    labels = metadata.get("labels") or {}
    template_hash = labels.get(HASH_LABEL) or labels.get(ARGO_HASH)
    if owner is None or not template_hash:
        return None
    annotations = metadata.get("annotations") or {}
    return ReplicaSet(
        uid=intern(metadata["uid"]),
        deployment=intern(owner),
        hash=template_hash,
        replicas=spec.get("replicas", 1),
        template=template_digest(raw),
        revision=number_of(annotations.get(REVISION) or annotations.get(ARGO_REVISION)),
        was_current_before=bool(annotations.get(REVISION_HISTORY)),
        created_at=seconds_of(metadata["creationTimestamp"]),
        rolled_back_from=annotations.get(ROLLED_BACK_FROM, ""),
        rolled_back_to=annotations.get(ROLLED_BACK_TO, ""),
        ready=(raw.get("status") or {}).get("readyReplicas", 0),
    )


def pod_of(raw: Mapping[str, Any]) -> Pod | None:
    """Return what is kept of a pod; None when nothing manages it or when it has ended.

    Evicted and completed pods stay in the API for a long time; they are no instances any more.
    """
    metadata, status = raw["metadata"], raw.get("status") or {}
    owner = controller_uid(raw)
    revision = (metadata.get("labels") or {}).get(POD_REVISION, "")
    if owner is None or status.get("phase") in {"Succeeded", "Failed"}:
        return None
    created_at = seconds_of(metadata["creationTimestamp"])
    return Pod(
        replica_set=intern(owner),
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        created_at=created_at,
        started_at=_started_at(status, created_at),
        is_ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or []
        ),
        is_terminating=bool(metadata.get("deletionTimestamp")),
        vitals=vitals_of(raw),
        revision=intern(revision_hash(revision, raw)) if revision else "",
    )


def revision_hash(name: str, owned: Mapping[str, Any]) -> str:
    """Return the hash in the name of a ControllerRevision, given something of the same owner."""
    for owner in owned["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return name.removeprefix(f"{owner.get('name', '')}-")
    return name


def _started_at(status: Mapping[str, Any], created_at: float) -> float:
    """Return when the pod began to run: the latest start of its containers.

    A restarted container does not make the pod young again: a crash loop would hide in the
    warm-up for ever. Then the start of the pod counts.
    """
    containers = status.get("containerStatuses") or []
    starts = [(item.get("state") or {}).get("running", {}).get("startedAt") for item in containers]
    has_restarted = any(item.get("restartCount", 0) for item in containers)
    if starts and all(starts) and not has_restarted:
        return max(map(seconds_of, starts))
    start = status.get("startTime")
    return seconds_of(start) if start else created_at


def seconds_of(stamp: str) -> float:
    """Return a time of the API in seconds since the epoch."""
    return datetime.fromisoformat(stamp).timestamp()


def number_of(text: str | None) -> int:
    """Return the number that an annotation holds, 0 when it holds none."""
    return int(text) if text and text.isdecimal() else 0
