"""The types of the fields which the fake reads, and the refusal (400) of anything else.

The real server decodes into Go structs: a field of the wrong type is an error, null is the same as
leaving the field out. Fields which are not listed here may hold anything and are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import bad_request

if TYPE_CHECKING:
    from .kinds import ResourceKind
    from .metadata import JsonObject


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any keys and values of one shape."""

    value: Shape


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list with items of one shape."""

    item: Shape


# A dict lists the known fields of an object; a tuple lists alternatives.
Shape: TypeAlias = "type | tuple[type, ...] | MapOf | ListOf | dict[str, Shape]"

_TEXTS = MapOf(str)
_COUNT_OR_SHARE = (int, str)
_METADATA: Shape = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "finalizers": ListOf(str),
    "ownerReferences": ListOf({"uid": str, "name": str, "kind": str, "controller": bool}),
    "managedFields": ListOf({"manager": str, "operation": str, "fieldsV1": MapOf(dict)}),
}
_SELECTOR: Shape = {
    "matchLabels": _TEXTS,
    "matchExpressions": ListOf({"key": str, "operator": str, "values": ListOf(str)}),
}
_PROBE: Shape = {"httpGet": {"port": _COUNT_OR_SHARE}}
_CONTAINER: Shape = {
    "name": str,
    "image": str,
    "ports": ListOf({"containerPort": int, "protocol": str}),
    "env": ListOf({"name": str, "value": str, "valueFrom": {"fieldRef": {"fieldPath": str}}}),
    "volumeMounts": ListOf({"name": str, "mountPath": str}),
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "startupProbe": _PROBE,
    "resources": {},
}
_VOLUME: Shape = {
    "name": str,
    "configMap": {},
    "secret": {},
    "downwardAPI": {},
    "projected": {},
}
_POD_SPEC: Shape = {
    "containers": ListOf(_CONTAINER),
    "initContainers": ListOf(_CONTAINER),
    "volumes": ListOf(_VOLUME),
    "restartPolicy": str,
    "nodeName": str,
    "securityContext": {},
    "terminationGracePeriodSeconds": int,
}
_WORKLOAD: dict[str, Shape] = {
    "replicas": int,
    "selector": _SELECTOR,
    "template": {"metadata": _METADATA, "spec": _POD_SPEC},
    "minReadySeconds": int,
    "revisionHistoryLimit": int,
}
_CONDITIONS = ListOf({"type": str, "status": str, "reason": str})
_SPECS: dict[str, Shape] = {
    "Pod": _POD_SPEC,
    "Deployment": {
        **_WORKLOAD,
        "progressDeadlineSeconds": int,
        "paused": bool,
        "strategy": {
            "type": str,
            "rollingUpdate": {"maxSurge": _COUNT_OR_SHARE, "maxUnavailable": _COUNT_OR_SHARE},
        },
    },
    "ReplicaSet": _WORKLOAD,
    "StatefulSet": _WORKLOAD,
    "DaemonSet": _WORKLOAD,
    "Service": {"ports": ListOf({"port": int}), "selector": _TEXTS, "type": str},
    "HorizontalPodAutoscaler": {"minReplicas": int, "maxReplicas": int},
    "CustomResourceDefinition": {
        "group": str,
        "scope": str,
        "names": {"plural": str, "kind": str, "shortNames": ListOf(str)},
        "versions": ListOf(
            {"name": str, "served": bool, "subresources": {"scale": {"specReplicasPath": str}}}
        ),
    },
    "Namespace": {"finalizers": ListOf(str)},
}
_STATUS: Shape = {
    "conditions": _CONDITIONS,
    "collisionCount": int,
    "replicas": int,
    "phase": str,
    "containerStatuses": ListOf({"name": str, "ready": bool}),
}
# What the fake's own defaults and rules index into.
_NEVER_ABSENT: dict[str, tuple[str, ...]] = {
    "Deployment": ("template",),
    "ReplicaSet": ("template",),
    "StatefulSet": ("template",),
    "DaemonSet": ("template",),
}


def shaped(kind: ResourceKind, obj: object) -> JsonObject:
    """Return a copy of an object as the server's types would hold it.

    Raises:
        ApiError: 400 for the first field with the wrong type.
    """
    shape: Shape = {"metadata": _METADATA}
    if not kind.is_custom and kind.kind in _SPECS:
        shape = {"metadata": _METADATA, "spec": _SPECS[kind.kind], "status": _STATUS}
    fitted = _fitted(obj, shape, kind.kind)
    if not isinstance(fitted, dict):
        raise bad_request("the body is not a JSON object")
    fitted.setdefault("metadata", {})
    if not kind.is_custom and kind.kind in _SPECS:
        spec = fitted.setdefault("spec", {})
        for field in _NEVER_ABSENT.get(kind.kind, ()):
            spec.setdefault(field, {})
    return fitted


def _fitted(value: object, shape: Shape, where: str) -> Any:  # noqa: ANN401  any JSON value
    match shape:
        case MapOf(inner):
            known = _of_type(value, dict, where)
            return {key: _fitted(item, inner, f"{where}.{key}") for key, item in known.items()}
        case ListOf(inner):
            items = _of_type(value, list, where)
            return [_fitted(item, inner, f"{where}[{i}]") for i, item in enumerate(items)]
        case dict():
            known = _of_type(value, dict, where)
            return {
                key: _fitted(item, shape[key], f"{where}.{key}") if key in shape else item
                for key, item in known.items()
                if item is not None or key not in shape
            }
        case _:
            return _of_type(value, shape, where)


def _of_type(value: Any, expected: type | tuple[type, ...], where: str) -> Any:  # noqa: ANN401
    is_misread_bool = isinstance(value, bool) and expected is not bool
    if is_misread_bool or not isinstance(value, expected):
        raise bad_request(
            f"json: cannot unmarshal {type(value).__name__} into Go struct field {where}"
        )
    return value
