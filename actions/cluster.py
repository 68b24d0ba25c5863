"""What actuators of a cluster share: its calls, guarded writes, pod templates and annotations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from actions.plan import Step, checksum
from actions.ports import Conflict

ATTEMPTS = 4
"""Writes tried when only the status changes under us; a busy rollout reports every few 100 ms."""

JsonObject = dict[str, Any]

HASH_LABEL = "pod-template-hash"
"""Label that the Deployment controller puts on a ReplicaSet, its template and its pods."""

ROLLED_BACK_FROM = "rollbackd.io/rolled-back-from"
"""Annotation: hash of the revision that our last rollback left."""

ROLLED_BACK_TO = "rollbackd.io/rolled-back-to"
"""Annotation: hash of the revision that our last rollback restored."""

PLAN = "rollbackd.io/plan"
"""Annotation: key of the step that our last rollback carried out."""

CHANGE_CAUSE = "kubernetes.io/change-cause"
"""Annotation that ``kubectl rollout history`` shows."""


class ClusterApi(Protocol):
    """The calls to the API server that actuators need, in raw JSON. All raise ActionErrors."""

    def get(self, path: str) -> JsonObject | None:
        """Return one object, or None when there is no such object."""

    def items(self, path: str, label_selector: str) -> Sequence[JsonObject]:
        """Return the objects of a collection that the selector matches."""

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> JsonObject:
        """Apply a JSON patch; raise Conflict when a ``test`` in it fails."""


def write_guarded(
    api: ClusterApi,
    path: str,
    named: str,
    look: Callable[[], JsonObject | None],
    change: Callable[[JsonObject], Sequence[Mapping[str, Any]] | None],
) -> None:
    """Write a change to one object, guarded by the version of it that was just read.

    A write whose answer was lost is found done by the next call, or by the guard.

    Args:
        api: the calls to the cluster.
        path: of the object, or of its subresource.
        named: the object, for people.
        look: returns the object as it is now, None when it is not the one planned for.
        change: returns the patch, None when there is nothing left to change; raises Conflict when
            the world is not as the plan expected it.

    Raises:
        Conflict: nothing was written. Transient: it may have been. Permanent.
    """
    generation: object = None
    for _ in range(ATTEMPTS):
        found = look()
        if found is None:
            raise Conflict(f"{named} is no longer the one that was planned for")
        operations = change(found)
        if operations is None:
            return
        metadata = found["metadata"]
        if generation is not None and metadata.get("generation") != generation:
            raise Conflict(f"{named} was changed by somebody else meanwhile")
        generation = metadata.get("generation")
        guard = {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": metadata["resourceVersion"],
        }
        try:
            api.patch(path, [guard, *operations])
        except Conflict:
            # Either our own earlier write took effect, or the controller reported progress,
            # or somebody else was faster: the next look tells which.
            continue
        return
    raise Conflict(f"{named} changes too often to be written: {ATTEMPTS} tries failed")


def still_there(found: JsonObject | None, uid: str) -> JsonObject | None:
    """Return an object if it is the one with this UID; None when it was deleted or made anew."""
    if found is None or found["metadata"]["uid"] != uid:
        return None
    return None if found["metadata"].get("deletionTimestamp") else found


def replica_set(api: ClusterApi, namespace: str, label: str, uid: str) -> JsonObject | None:
    """Return the ReplicaSet of a revision, None when it is gone. Raises as the calls.

    Args:
        api: the calls to the cluster.
        namespace: where it is.
        label: the revision's hash.
        uid: tells it from one that was made anew.
    """
    path = f"/apis/apps/v1/namespaces/{quote(namespace)}/replicasets"
    found = api.items(path, f"{HASH_LABEL}={label}")
    return next((item for item in found if item["metadata"]["uid"] == uid), None)


def rollback_annotations(step: Step, owner: JsonObject) -> JsonObject:
    """Return an object's annotations with those that tell people of a rollback."""
    bad, good = step.expected["revision"], step.desired["revision"]
    return {
        **(owner["metadata"].get("annotations") or {}),
        CHANGE_CAUSE: f"rollbackd: rolled back from {bad} to {good}",
        ROLLED_BACK_FROM: bad,
        ROLLED_BACK_TO: good,
        PLAN: step.key,
    }


def template_digest(owner: Mapping[str, Any]) -> str:
    """Return a checksum of a Deployment's or ReplicaSet's template.

    Equal for a Deployment and the ReplicaSet made from it: the hash label, which only the latter
    has, does not count.
    """
    return checksum(template_of(owner))


def template_of(owner: Mapping[str, Any]) -> JsonObject:
    """Return the pod template as the user wrote it: without the controller's hash label."""
    template = dict((owner.get("spec") or {}).get("template") or {})
    metadata = dict(template.get("metadata") or {})
    # Some servers spell out that a template was never created; that is no part of it.
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]
    labels = dict(metadata.get("labels") or {})
    labels.pop(HASH_LABEL, None)
    if labels:
        metadata["labels"] = labels
    else:
        metadata.pop("labels", None)
    return {**template, "metadata": metadata}


def revision_template(revision: Mapping[str, Any]) -> JsonObject:
    """Return what a ControllerRevision holds, in the shape of an owner with its template."""
    template = dict((((revision.get("data") or {}).get("spec") or {}).get("template")) or {})
    # A ControllerRevision is a strategic merge patch that replaces the template.
    template.pop("$patch", None)
    return {"spec": {"template": template}}


def owner_refusals(named: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why an object that another one manages is not ours to change.

    An operator or Flagger would undo what we do to what it makes, or be misled by it.
    """
    for owner in found["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).partition("/")[0]
            owner_name = f"{owner.get('kind')} {owner.get('name')} ({group})"
            reason = f"{named} is managed by {owner_name}, which would undo or misread our change"
            return (f"{reason}: change that one instead",)
    return ()


def controller_uid(item: Mapping[str, Any]) -> str | None:
    """Return the UID of the object that manages this one, or None."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def images_of(owner: JsonObject) -> str:
    """Return the images of a template, for people."""
    containers = template_of(owner).get("spec", {}).get("containers") or []
    return ", ".join(str(container.get("image", "?")) for container in containers)
