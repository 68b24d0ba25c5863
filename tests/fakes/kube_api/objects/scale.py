"""The Scale subresource: one object's replica count behind a common form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import bad_request
from .selectors import as_query_text

if TYPE_CHECKING:
    from .kinds import ResourceKind
    from .metadata import JsonObject


def scale_of(kind: ResourceKind, obj: JsonObject) -> JsonObject:
    """Show an object as a Scale."""
    metadata = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status = obj.get("status") or {}
    selector = obj["spec"].get("selector") or {}
    scale: JsonObject = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": {"replicas": _replicas(kind, obj)},
        "status": {"replicas": status.get("replicas", 0)},
    }
    if isinstance(selector, dict) and selector:
        scale["status"]["selector"] = as_query_text(selector)
    return scale


def scaled(kind: ResourceKind, obj: JsonObject, scale: JsonObject) -> JsonObject:
    """Return an object with the replica count (and the precondition) of a Scale.

    Raises:
        ApiError: 400 when the Scale has no usable replica count.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int):
        raise bad_request("json: cannot unmarshal spec.replicas into an int32")
    metadata = dict(obj["metadata"])
    sent = (scale.get("metadata") or {}).get("resourceVersion")
    if sent:
        metadata["resourceVersion"] = sent
    return _with_replicas(kind, {**obj, "metadata": metadata}, replicas)


def _steps(kind: ResourceKind) -> list[str]:
    return kind.scale_replicas_path.removeprefix(".").split(".")


def _replicas(kind: ResourceKind, obj: JsonObject) -> int:
    value: object = obj
    for step in _steps(kind):
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, int) else 0


def _with_replicas(kind: ResourceKind, obj: JsonObject, replicas: int) -> JsonObject:
    *holders, last = _steps(kind)
    changed = dict(obj)
    place = changed
    for holder in holders:
        place[holder] = dict(place.get(holder) or {})
        place = place[holder]
    place[last] = replicas
    return changed
