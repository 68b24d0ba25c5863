"""Values which the server fills in when a client leaves them out.

Only what an observer of rollouts can stumble over; a default which is already there is kept.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from .custom_schemas import fit_to_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from .kinds import ResourceKind
    from .metadata import JsonObject

_READABLE_FILE_MODE = 0o644

_POD_SPEC_DEFAULTS: JsonObject = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER_DEFAULTS: JsonObject = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE_DEFAULTS: JsonObject = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}


def set_defaults(kind: ResourceKind, obj: JsonObject) -> None:
    """Fill in the defaults of a kind, in place; of a custom one as its schema says."""
    if kind.schema is not None:
        fit_to_schema(kind.schema, obj)
    fill = _DEFAULTS.get(kind.kind)
    if fill is not None and not kind.is_custom:
        fill(obj)


def _fill(target: JsonObject, defaults: JsonObject) -> None:
    for key, value in defaults.items():
        if target.get(key) is None:
            target[key] = dict(value) if isinstance(value, dict) else value


def _pod_template(template: JsonObject) -> None:
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _pod_spec(spec: JsonObject) -> None:
    _fill(spec, _POD_SPEC_DEFAULTS)
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        _container(container)
    for volume in spec.get("volumes", []):
        for source in ("configMap", "secret", "downwardAPI", "projected"):
            if isinstance(volume.get(source), dict):
                _fill(volume[source], {"defaultMode": _READABLE_FILE_MODE})


def _container(container: JsonObject) -> None:
    image = str(container.get("image", ""))
    last_part = image.rpartition("/")[2]
    is_moving_tag = ":" not in last_part or last_part.endswith(":latest")
    _fill(container, {"imagePullPolicy": "Always" if is_moving_tag else "IfNotPresent"})
    _fill(container, _CONTAINER_DEFAULTS)
    for port in container.get("ports", []):
        _fill(port, {"protocol": "TCP"})
    for variable in container.get("env", []):
        field_ref = (variable.get("valueFrom") or {}).get("fieldRef")
        if field_ref is not None:
            _fill(field_ref, {"apiVersion": "v1"})
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _fill(probe, _PROBE_DEFAULTS)
            if "httpGet" in probe:
                _fill(probe["httpGet"], {"scheme": "HTTP", "path": "/"})


def _pod(obj: JsonObject) -> None:
    _pod_spec(obj["spec"])
    _fill(obj, {"status": {}})
    _fill(obj["status"], {"phase": "Pending"})


def _deployment(obj: JsonObject) -> None:
    spec = obj["spec"]
    _fill(
        spec,
        {
            "replicas": 1,
            "strategy": {},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
    )
    _fill(spec["strategy"], {"type": "RollingUpdate"})
    if spec["strategy"]["type"] == "RollingUpdate":
        _fill(spec["strategy"], {"rollingUpdate": {}})
        _fill(spec["strategy"]["rollingUpdate"], {"maxSurge": "25%", "maxUnavailable": "25%"})
    _pod_template(spec["template"])
    _fill(obj, {"status": {}})


def _replica_set(obj: JsonObject) -> None:
    _fill(obj["spec"], {"replicas": 1})
    _pod_template(obj["spec"].setdefault("template", {}))
    _fill(obj, {"status": {"replicas": 0}})


def _stateful_set(obj: JsonObject) -> None:
    _fill(
        obj["spec"],
        {
            "replicas": 1,
            "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
    )
    _pod_template(obj["spec"]["template"])
    _fill(obj, {"status": {"replicas": 0, "availableReplicas": 0}})


def _daemon_set(obj: JsonObject) -> None:
    _fill(
        obj["spec"],
        {
            "revisionHistoryLimit": 10,
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
        },
    )
    _pod_template(obj["spec"]["template"])
    counts = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled")
    _fill(obj, {"status": {**dict.fromkeys(counts, 0), "numberReady": 0}})


def _service(obj: JsonObject) -> None:
    spec = obj["spec"]
    _fill(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    _fill(spec, {"internalTrafficPolicy": "Cluster"})
    for port in spec.get("ports", []):
        _fill(port, {"protocol": "TCP", "targetPort": port["port"]})
    _fill(obj, {"status": {"loadBalancer": {}}})


def _namespace(obj: JsonObject) -> None:
    labels = obj["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    _fill(obj, {"spec": {"finalizers": ["kubernetes"]}, "status": {}})
    _fill(obj["status"], {"phase": "Active"})


def _secret(obj: JsonObject) -> None:
    _fill(obj, {"type": "Opaque"})
    written = obj.pop("stringData", None) or {}
    if written:
        data = obj.setdefault("data", {})
        for key, text in written.items():
            data[key] = base64.b64encode(text.encode()).decode()


def _horizontal_pod_autoscaler(obj: JsonObject) -> None:
    _fill(obj["spec"], {"minReplicas": 1})
    _fill(obj, {"status": {"desiredReplicas": 0, "currentMetrics": None}})


def _custom_resource_definition(obj: JsonObject) -> None:
    spec = obj["spec"]
    names = spec["names"]
    _fill(names, {"singular": names["kind"].lower(), "listKind": f"{names['kind']}List"})
    _fill(spec, {"scope": "Namespaced", "conversion": {"strategy": "None"}})


_DEFAULTS: dict[str, Callable[[JsonObject], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Service": _service,
    "Namespace": _namespace,
    "Secret": _secret,
    "HorizontalPodAutoscaler": _horizontal_pod_autoscaler,
    "CustomResourceDefinition": _custom_resource_definition,
}
