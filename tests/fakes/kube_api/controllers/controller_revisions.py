"""The revisions of StatefulSets and DaemonSets: a ControllerRevision for each template."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import CONTROLLER_REVISIONS, PODS
from tests.fakes.kube_api.objects.metadata import (
    annotations_of,
    copied,
    labels_of,
    name_of,
    owned_by,
)
from tests.fakes.kube_api.objects.registry import WriteOptions

from .revisions import template_hash

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.kinds import ResourceKind
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry

REVISION_LABEL = "controller-revision-hash"
WRITE = WriteOptions(manager="kube-controller-manager")
STATUS_WRITE = WriteOptions(manager="kube-controller-manager", subresource="status")


def settled_revision(
    registry: Registry, kind: ResourceKind, owner: JsonObject, revisions: list[JsonObject]
) -> JsonObject:
    """Return the revision of a set's template: made when it is new, renumbered when it is not."""
    newest = max((one["revision"] for one in revisions), default=0)
    data = {"spec": {"template": {**copied(owner["spec"]["template"]), "$patch": "replace"}}}
    for found in revisions:
        if found["data"] == data:
            if found["revision"] == newest:
                return found
            renumbered = {**copied(found), "revision": newest + 1}
            return registry.patch(
                CONTROLLER_REVISIONS, name_of(found), partial(_replaced, renumbered), WRITE
            )
    metadata = owner["metadata"]
    digest = template_hash(owner["spec"]["template"], 0)
    labels = {**labels_of(owner), REVISION_LABEL: digest}
    made: JsonObject = {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "labels": labels,
            "annotations": dict(annotations_of(owner)),
            "ownerReferences": [owned_by(owner, kind.api_version, kind.kind)],
        },
        "data": data,
        "revision": newest + 1,
    }
    return registry.create(CONTROLLER_REVISIONS, metadata["namespace"], made, WRITE)


def template_of_revision(revision: JsonObject) -> JsonObject:
    """Return the pod template that a revision holds."""
    template: JsonObject = copied(revision["data"]["spec"]["template"])
    del template["$patch"]
    return template


def _replaced(by: JsonObject, _: JsonObject) -> JsonObject:
    return by


def revision_pod(
    registry: Registry,
    kind: ResourceKind,
    owner: JsonObject,
    revision: JsonObject,
    *,
    name: dict[str, str],
    label: str,
    node: str = "",
) -> JsonObject:
    """Create a pod of one revision of a set; ``name``: its ``name`` or ``generateName``."""
    template = template_of_revision(revision)
    metadata = template.get("metadata", {})
    pod = {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {
            **metadata,
            **name,
            "labels": {**metadata.get("labels", {}), REVISION_LABEL: label},
            "ownerReferences": [owned_by(owner, kind.api_version, kind.kind)],
        },
        "spec": {**template["spec"], **({"nodeName": node} if node else {})},
    }
    return registry.create(PODS, owner["metadata"]["namespace"], pod, WRITE)


def revision_label(pod: JsonObject) -> str:
    """Return the label that names a pod's revision."""
    return labels_of(pod).get(REVISION_LABEL, "")
