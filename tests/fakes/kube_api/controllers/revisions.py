"""A Deployment's revisions: which ReplicaSet holds which template, and how they are numbered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import DEPLOYMENTS, REPLICA_SETS
from tests.fakes.kube_api.objects.metadata import SAFE_ALPHABET, annotations_of, copied, owned_by

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"

_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)
_FNV_OFFSET, _FNV_PRIME, _FNV_MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def template_hash(template: JsonObject, collision_count: int) -> str:
    """Return the value of the `pod-template-hash` label: stable, short, safe in names."""
    written = json.dumps(template, sort_keys=True) + (str(collision_count or ""))
    value = _FNV_OFFSET
    for byte in written.encode():
        value = ((value ^ byte) * _FNV_PRIME) & _FNV_MASK
    return "".join(SAFE_ALPHABET[ord(digit) % len(SAFE_ALPHABET)] for digit in str(value))


def without_hash(template: JsonObject) -> JsonObject:
    """Return a ReplicaSet's template as its Deployment would write it."""
    bare = copied(template)
    bare.setdefault("metadata", {}).setdefault("labels", {}).pop(HASH_LABEL, None)
    return bare


def current_replica_set(
    deployment: JsonObject, replica_sets: list[JsonObject]
) -> JsonObject | None:
    """Return the oldest ReplicaSet which holds the Deployment's template, if there is one."""
    wanted = without_hash(deployment["spec"]["template"])
    for replica_set in oldest_first(replica_sets):
        if without_hash(replica_set["spec"]["template"]) == wanted:
            return replica_set
    return None


def oldest_first(objects: list[JsonObject]) -> list[JsonObject]:
    """Sort objects by age; names break the ties within a second."""
    return sorted(
        objects, key=lambda obj: (obj["metadata"]["creationTimestamp"], obj["metadata"]["name"])
    )


def revision_of(obj: JsonObject) -> int:
    """Return the revision number an object is annotated with; 0 when it has none."""
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def next_revision(old_replica_sets: list[JsonObject]) -> int:
    """Return the number for the current ReplicaSet: one more than all the others have."""
    return max((revision_of(replica_set) for replica_set in old_replica_sets), default=0) + 1


def replica_set_annotations(
    deployment: JsonObject, replica_set: JsonObject | None, revision: int
) -> dict[str, str]:
    """Return the annotations of the current ReplicaSet.

    A re-used ReplicaSet takes a new number and remembers its earlier ones.
    """
    before = dict(annotations_of(replica_set)) if replica_set else {}
    copied = {k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED}
    after = {**before, **copied}
    earlier = before.get(REVISION)
    if earlier is None or int(earlier) < revision:
        after[REVISION] = str(revision)
        if earlier is not None:
            history = [past for past in before.get(REVISION_HISTORY, "").split(",") if past]
            after[REVISION_HISTORY] = ",".join([*history, earlier])
    return after


def new_replica_set(
    deployment: JsonObject, replicas: int, annotations: dict[str, str]
) -> JsonObject:
    """Build the ReplicaSet for the Deployment's current template."""
    spec = deployment["spec"]
    collisions = (deployment.get("status") or {}).get("collisionCount", 0)
    digest = template_hash(spec["template"], collisions)
    template = copied(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = digest
    selector = copied(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    replica_set: JsonObject = {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{digest}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": annotations,
            "ownerReferences": [owned_by(deployment, DEPLOYMENTS.api_version, DEPLOYMENTS.kind)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        replica_set["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return replica_set
