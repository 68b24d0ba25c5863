"""StatefulSets and DaemonSets in the terms of Deployments: a ControllerRevision is a revision. Pure.

Their pods belong to the set itself and name their revision by a label. A revision that is used
again gets the highest number, as a ReplicaSet does, but keeps no history of its numbers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from sys import intern
from typing import Any

from actions.cluster import (
    ROLLED_BACK_FROM,
    ROLLED_BACK_TO,
    controller_uid,
    revision_template,
    template_digest,
)
from rollbackd.rollouts.annotations import said
from rollbackd.rollouts.objects import (
    MODE,
    POLICY,
    Deployment,
    Pod,
    ReplicaSet,
    revision_hash,
    seconds_of,
)
from rollbackd.rollouts.revisions import Family, families

STATEFUL_SET = "StatefulSet"
DAEMON_SET = "DaemonSet"


def stateful_set_of(raw: Mapping[str, Any]) -> Deployment:
    """Return what is kept of a StatefulSet."""
    return _set_of(raw, STATEFUL_SET, raw["spec"].get("replicas", 1))


def daemon_set_of(raw: Mapping[str, Any]) -> Deployment:
    """Return what is kept of a DaemonSet: it wants as many pods as there are nodes for it."""
    wanted = (raw.get("status") or {}).get("desiredNumberScheduled", 0)
    return _set_of(raw, DAEMON_SET, wanted)


def _set_of(raw: Mapping[str, Any], kind: str, replicas: int) -> Deployment:
    metadata, status = raw["metadata"], raw.get("status") or {}
    annotations = metadata.get("annotations") or {}
    return Deployment(
        uid=metadata["uid"],
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        replicas=replicas,
        template=template_digest(raw),
        revision=0,
        is_observed=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        is_paused=False,
        is_deleting=bool(metadata.get("deletionTimestamp")),
        policy=annotations.get(POLICY) or None,
        mode=annotations.get(MODE) or None,
        labels=dict(metadata.get("labels") or {}),
        said=said(annotations),
        rolled_back_from=annotations.get(ROLLED_BACK_FROM, ""),
        rolled_back_to=annotations.get(ROLLED_BACK_TO, ""),
        kind=kind,
    )


def controller_revision_of(raw: Mapping[str, Any]) -> ReplicaSet | None:
    """Return what is kept of a ControllerRevision; None when nothing manages it."""
    metadata = raw["metadata"]
    owner = controller_uid(raw)
    if owner is None:
        return None
    annotations = metadata.get("annotations") or {}
    return ReplicaSet(
        uid=intern(metadata["uid"]),
        deployment=intern(owner),
        hash=revision_hash(metadata["name"], raw),
        replicas=0,
        template=template_digest(revision_template(raw)),
        revision=int(raw.get("revision") or 0),
        was_current_before=False,
        created_at=seconds_of(metadata["creationTimestamp"]),
        rolled_back_from=annotations.get(ROLLED_BACK_FROM, ""),
        rolled_back_to=annotations.get(ROLLED_BACK_TO, ""),
    )


def set_families(
    sets: Iterable[Deployment], revisions: Iterable[ReplicaSet], pods: Iterable[Pod]
) -> list[Family]:
    """Return each set with its revisions, and the pods of each by the revision's UID."""
    revisions_of: defaultdict[str, list[ReplicaSet]] = defaultdict(list)
    for revision in revisions:
        revisions_of[revision.deployment].append(revision)
    known = {(r.deployment, r.hash): r.uid for own in revisions_of.values() for r in own}
    own_pods = [
        replace(pod, replica_set=known[pod.replica_set, pod.revision])
        for pod in pods
        if (pod.replica_set, pod.revision) in known
    ]
    marked = [_marked(r, own) for own in revisions_of.values() for r in own]
    numbered = [_numbered(one, revisions_of[one.uid]) for one in sets]
    return families(numbered, marked, own_pods)


def _marked(revision: ReplicaSet, own: list[ReplicaSet]) -> ReplicaSet:
    """Return a revision that knows whether somebody went back to it: others are younger."""
    newer = any(o.created_at > revision.created_at and o.revision < revision.revision for o in own)
    return replace(revision, was_current_before=newer)


def _numbered(one: Deployment, own: list[ReplicaSet]) -> Deployment:
    """Return a set with the number of its current revision.

    That is the one of its template. While defaults of a newer server make no two templates equal,
    it is the highest once the controller has seen the set.
    """
    same = [r.revision for r in own if r.template == one.template]
    if not same and one.is_observed:
        same = [r.revision for r in own]
    return replace(one, revision=max(same, default=0))
