"""A pod's status as the kubelet writes it, and what readiness and availability mean in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.metadata import condition_of, copied, rfc3339, seconds_of

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject

READY = "Ready"
_CONTAINERS_READY = "ContainersReady"
_NOT_READY_REASON = "ContainersNotReady"


def with_condition(status: JsonObject, condition: JsonObject, now: float) -> JsonObject:
    """Return a status with one condition set; the transition time moves only with the status."""
    conditions = [dict(old) for old in status.get("conditions") or []]
    stamped = {"lastProbeTime": None, "lastTransitionTime": rfc3339(now), **condition}
    for place, old in enumerate(conditions):
        if old["type"] == condition["type"]:
            if old["status"] == condition["status"]:
                stamped["lastTransitionTime"] = old.get("lastTransitionTime", rfc3339(now))
            conditions[place] = stamped
            break
    else:
        conditions.append(stamped)
    return {**status, "conditions": conditions}


def scheduled_status(pod: JsonObject, now: float) -> JsonObject:
    """Return the status of a pod which has a node but no running container yet."""
    status = {**(pod.get("status") or {}), "phase": "Pending", "qosClass": "BestEffort"}
    status["containerStatuses"] = [
        _container_status(container, {"waiting": {"reason": "ContainerCreating"}}, is_ready=False)
        for container in pod["spec"]["containers"]
    ]
    return with_condition(status, {"type": "PodScheduled", "status": "True"}, now)


def running_status(pod: JsonObject, pod_ip: str, now: float) -> JsonObject:
    """Return the status of a pod whose containers run; it is not ready yet."""
    status = {
        **(pod.get("status") or {}),
        "phase": "Running",
        "startTime": rfc3339(now),
        "hostIP": "127.0.0.1",
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "containerStatuses": [
            _container_status(container, {"running": {"startedAt": rfc3339(now)}}, is_ready=False)
            for container in pod["spec"]["containers"]
        ],
    }
    status = with_condition(status, {"type": "Initialized", "status": "True"}, now)
    return with_readiness(pod, status, is_ready=False, now=now)


def failed_start_status(pod: JsonObject, message: str, now: float) -> JsonObject:
    """Return the status of a pod whose containers cannot be started."""
    waiting = {"waiting": {"reason": "RunContainerError", "message": message}}
    status = {
        **(pod.get("status") or {}),
        "containerStatuses": [
            _container_status(container, waiting, is_ready=False)
            for container in pod["spec"]["containers"]
        ],
    }
    return with_readiness(pod, status, is_ready=False, now=now)


def with_readiness(
    pod: JsonObject, status: JsonObject, *, is_ready: bool, now: float
) -> JsonObject:
    """Return a status whose containers and conditions are ready, or are not."""
    changed = copied(status)
    for container in changed.get("containerStatuses") or []:
        container["ready"] = is_ready
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    for condition_type in (_CONTAINERS_READY, READY):
        condition: JsonObject = {"type": condition_type, "status": "True" if is_ready else "False"}
        if not is_ready:
            condition["reason"] = _NOT_READY_REASON
            condition["message"] = f"containers with unready status: [{names}]"
        changed = with_condition(changed, condition, now)
    return changed


def is_active(pod: JsonObject) -> bool:
    """Say whether a pod counts towards its ReplicaSet: not finished and not being deleted."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")


def is_ready(pod: JsonObject) -> bool:
    """Say whether the pod's Ready condition is true."""
    ready = condition_of(pod, READY)
    return ready is not None and ready["status"] == "True"


def available_at(pod: JsonObject, min_ready_seconds: int) -> float | None:
    """Return when a ready pod counts as available; `None` while it is not ready."""
    ready = condition_of(pod, READY)
    if ready is None or ready["status"] != "True":
        return None
    if min_ready_seconds == 0:
        return 0.0
    return seconds_of(ready["lastTransitionTime"]) + min_ready_seconds


def _container_status(container: JsonObject, state: JsonObject, *, is_ready: bool) -> JsonObject:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": is_ready,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    }
