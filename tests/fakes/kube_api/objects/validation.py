"""The rules of each kind: what is refused with 422, all faults at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .custom_schemas import schema_causes
from .errors import invalid
from .metadata import labels_of
from .selectors import from_label_selector_object, labels_match

if TYPE_CHECKING:
    from .kinds import ResourceKind
    from .metadata import JsonObject

Causes = list[tuple[str, str]]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_MAX_NAME_LENGTH = 253
_MAX_LABEL_LENGTH = 63
_PERCENTAGE = re.compile(r"[0-9]+%")

_WITH_TEMPLATE = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"})
# Everything else of a running pod is fixed.
_MUTABLE_POD_FIELDS = frozenset({"activeDeadlineSeconds", "tolerations", "nodeName"})


def require_valid(kind: ResourceKind, obj: JsonObject, previous: JsonObject | None) -> None:
    """Refuse with 422 an object which breaks its kind's rules, naming every fault."""
    causes = _metadata_causes(obj)
    if kind.schema is not None:
        causes += schema_causes(kind.schema, obj)
    if not kind.is_custom:
        spec = obj.get("spec") or {}
        if kind.kind in _WITH_TEMPLATE:
            causes += _workload_causes(kind, spec, (previous or {}).get("spec"))
        if kind.kind == "Deployment":
            causes += _rollout_causes(spec)
        if kind.kind == "Pod":
            causes += _pod_spec_causes(spec, "spec")
            if previous is not None:
                causes += _fixed_pod_causes(spec, previous["spec"])
    if causes:
        raise invalid(kind.kind, obj["metadata"]["name"], causes)


def _metadata_causes(obj: JsonObject) -> Causes:
    causes: Causes = []
    name = obj["metadata"]["name"]
    if len(name) > _MAX_NAME_LENGTH or not _SUBDOMAIN.fullmatch(name.replace(":", "-")):
        message = (
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.'"
        )
        causes.append(("metadata.name", message))
    for key, value in labels_of(obj).items():
        if len(value) > _MAX_LABEL_LENGTH or not _LABEL_VALUE.fullmatch(value):
            causes.append((f"metadata.labels[{key}]", f'Invalid value: "{value}"'))
    return causes


def _workload_causes(kind: ResourceKind, spec: JsonObject, before: JsonObject | None) -> Causes:
    causes: Causes = []
    if spec.get("replicas", 0) < 0:
        message = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        causes.append(("spec.replicas", message))
    template = spec["template"]
    selector = spec.get("selector")
    template_labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector:
        causes.append(("spec.selector", "Required value"))
    elif not labels_match(from_label_selector_object(selector), template_labels):
        message = f"Invalid value: {template_labels}: `selector` does not match template `labels`"
        causes.append(("spec.template.metadata.labels", message))
    if before is not None and before.get("selector") != selector:
        causes.append(("spec.selector", f"Invalid value: {selector}: field is immutable"))
    if template["spec"].get("restartPolicy") != "Always":
        message = (
            f'Unsupported value: {template["spec"].get("restartPolicy")}: supported: "Always"'
        )
        causes.append(("spec.template.spec.restartPolicy", message))
    return causes + _pod_spec_causes(template["spec"], "spec.template.spec", kind)


def _pod_spec_causes(spec: JsonObject, path: str, kind: ResourceKind | None = None) -> Causes:
    # A ReplicaSet made by hand may have no template of its own to run.
    containers = spec.get("containers") or []
    causes: Causes = []
    if not containers and (kind is None or kind.kind != "ReplicaSet"):
        causes.append((f"{path}.containers", "Required value"))
    seen: set[Any] = set()
    for place, container in enumerate(containers):
        where = f"{path}.containers[{place}]"
        if not container.get("name"):
            causes.append((f"{where}.name", "Required value"))
        elif container["name"] in seen:
            causes.append((f"{where}.name", f'Duplicate value: "{container["name"]}"'))
        if not container.get("image"):
            causes.append((f"{where}.image", "Required value"))
        seen.add(container.get("name"))
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for place, container in enumerate(containers):
        for mount in container.get("volumeMounts") or []:
            if mount.get("name") not in volumes:
                where = f"{path}.containers[{place}].volumeMounts"
                causes.append((where, f'Not found: "{mount.get("name")}"'))
    return causes


def _rollout_causes(spec: JsonObject) -> Causes:
    causes: Causes = []
    strategy = spec["strategy"]
    match strategy["type"]:
        case "Recreate":
            if strategy.get("rollingUpdate"):
                message = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
                causes.append(("spec.strategy.rollingUpdate", message))
        case "RollingUpdate":
            causes += _bound_causes(strategy["rollingUpdate"])
        case other:
            message = f'Unsupported value: "{other}": supported: "Recreate", "RollingUpdate"'
            causes.append(("spec.strategy.type", message))
    if spec["progressDeadlineSeconds"] <= spec.get("minReadySeconds", 0):
        message = (
            f"Invalid value: {spec['progressDeadlineSeconds']}: "
            "must be greater than minReadySeconds"
        )
        causes.append(("spec.progressDeadlineSeconds", message))
    if spec["revisionHistoryLimit"] < 0:
        message = "Invalid value: must be greater than or equal to 0"
        causes.append(("spec.revisionHistoryLimit", message))
    return causes


def _bound_causes(bounds: JsonObject) -> Causes:
    causes: Causes = []
    for name in ("maxSurge", "maxUnavailable"):
        value = bounds[name]
        is_count = isinstance(value, int) and value >= 0
        if not is_count and not (isinstance(value, str) and _PERCENTAGE.fullmatch(value)):
            message = f"Invalid value: {value!r}: a count or a percentage (e.g. '5%') is wanted"
            causes.append((f"spec.strategy.rollingUpdate.{name}", message))
    if all(bounds[name] in (0, "0%") for name in ("maxSurge", "maxUnavailable")):
        message = "Invalid value: 0: may not be 0 when `maxSurge` is 0"
        causes.append(("spec.strategy.rollingUpdate.maxUnavailable", message))
    return causes


def _fixed_pod_causes(spec: JsonObject, before: JsonObject) -> Causes:
    if _fixed_part(spec) == _fixed_part(before):
        return []
    message = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, "
        "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations`"
    )
    return [("spec", message)]


def _fixed_part(spec: JsonObject) -> JsonObject:
    fixed = {key: value for key, value in spec.items() if key not in _MUTABLE_POD_FIELDS}
    for name in ("containers", "initContainers"):
        fixed[name] = [
            {key: value for key, value in container.items() if key != "image"}
            for container in spec.get(name) or []
        ]
    return fixed
