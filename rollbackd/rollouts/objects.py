"""The few fields of Deployments, ReplicaSets and pods that rollouts are derived from.

A cluster has thousands of these objects, of some 10 kB each as JSON: only these fields are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any

from actions.kubernetes_capacity import HASH_LABEL
from actions.kubernetes_rollback import (
    ROLLED_BACK_FROM,
    ROLLED_BACK_TO,
    controller_uid,
    template_digest,
)
from actions.marks import HELD_BY
from rollbackd.rollouts.annotations import said

POLICY = "rollbackd.io/policy"
"""Annotation of a workload: name of the policy it asks for."""

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
"""Annotation of a ReplicaSet that was current before: the numbers it had then."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Deployment.

    Attributes:
        replicas: wanted. template: digest of its pod template.
        revision: number of the current revision, 0 when the controller has not said.
        is_observed: the controller has seen the latest change of the specification.
        said: what it says of its newest change, see ``annotations.said``.
        rolled_back_from, rolled_back_to: hashes of the revisions of our last rollback, or "".
        held_by: the watch that paused it, by our mark, or "".
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
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """One revision of a Deployment.

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
        replica_set: UID of its ReplicaSet.
        created_at, started_at: seconds since the epoch.
    """

    replica_set: str
    namespace: str
    name: str
    created_at: float
    started_at: float
    is_ready: bool
    is_terminating: bool


def deployment_of(raw: Mapping[str, Any]) -> Deployment:
    """Return what is kept of a Deployment."""
    metadata, spec = raw["metadata"], raw["spec"]
    annotations = metadata.get("annotations") or {}
    observed = (raw.get("status") or {}).get("observedGeneration", 0)
    return Deployment(
        uid=metadata["uid"],
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        replicas=spec.get("replicas", 1),
        template=template_digest(raw),
        revision=_number(annotations.get(REVISION)),
        is_observed=observed >= metadata.get("generation", 0),
        is_paused=bool(spec.get("paused")),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        policy=annotations.get(POLICY) or None,
        labels=dict(metadata.get("labels") or {}),
        said=said(annotations),
        rolled_back_from=annotations.get(ROLLED_BACK_FROM, ""),
        rolled_back_to=annotations.get(ROLLED_BACK_TO, ""),
        held_by=annotations.get(HELD_BY, ""),
    )


def replica_set_of(raw: Mapping[str, Any]) -> ReplicaSet | None:
    """Return what is kept of a ReplicaSet; None when no Deployment made it."""
    metadata, spec = raw["metadata"], raw["spec"]
    owner = controller_uid(raw)
    template_hash = (metadata.get("labels") or {}).get(HASH_LABEL)
    if owner is None or not template_hash:
        return None
    annotations = metadata.get("annotations") or {}
    return ReplicaSet(
        uid=intern(metadata["uid"]),
        deployment=intern(owner),
        hash=template_hash,
        replicas=spec.get("replicas", 1),
        template=template_digest(raw),
        revision=_number(annotations.get(REVISION)),
        was_current_before=bool(annotations.get(REVISION_HISTORY)),
        created_at=_seconds(metadata["creationTimestamp"]),
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
    if owner is None or status.get("phase") in {"Succeeded", "Failed"}:
        return None
    created_at = _seconds(metadata["creationTimestamp"])
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
    )


def _started_at(status: Mapping[str, Any], created_at: float) -> float:
    """Return when the pod began to run: the latest start of its containers.

    A restarted container does not make the pod young again: a crash loop would hide in the
    warm-up for ever. Then the start of the pod counts.
    """
    containers = status.get("containerStatuses") or []
    starts = [(item.get("state") or {}).get("running", {}).get("startedAt") for item in containers]
    has_restarted = any(item.get("restartCount", 0) for item in containers)
    if starts and all(starts) and not has_restarted:
        return max(map(_seconds, starts))
    start = status.get("startTime")
    return _seconds(start) if start else created_at


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
