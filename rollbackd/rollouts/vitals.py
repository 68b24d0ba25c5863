"""What a pod's status says of its containers, in the few words that are kept. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from sys import intern
from typing import Any

from analyzer.rollout import Vitals

STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of waiting that the kubelet gives for a container that it cannot run.

All others (``ContainerCreating``, ``PodInitializing``, ``RegistryUnavailable``) are waiting for
somebody else than the revision.
"""

WELL = Vitals()
"""Shared by the many pods of which there is nothing to tell."""


def vitals_of(raw: Mapping[str, Any]) -> Vitals | None:
    """Return what the kubelet says of a pod's containers; None while it has said nothing.

    A node that is out of touch says nothing new: the control plane then calls the pod unready,
    but not its containers, whose last word from the kubelet stays. A pod that no node has taken
    yet has no containers at all. Neither is the revision's fault.
    """
    status = raw.get("status") or {}
    containers = list(_containers(status))
    if not containers:
        return None
    stuck = next((reason for c in containers if (reason := _waiting(c)) in STUCK), "")
    restarts = max(int(c.get("restartCount") or 0) for c in containers)
    last_exit = next((reason for c in containers if (reason := _ended(c))), "")
    unready_since = _unready_since(status)
    if not (stuck or restarts or last_exit) and unready_since is None:
        return WELL
    return Vitals(intern(stuck), restarts, intern(last_exit), unready_since)


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _waiting(container: Mapping[str, Any]) -> str:
    state = container.get("state") or {}
    return str((state.get("waiting") or {}).get("reason") or "")


def _ended(container: Mapping[str, Any]) -> str:
    """Return why a container ended that had to be started again, "" when none had to."""
    if not container.get("restartCount"):
        return ""
    last = container.get("lastState") or {}
    return str((last.get("terminated") or {}).get("reason") or "")


def _unready_since(status: Mapping[str, Any]) -> float | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "ContainersReady" and condition.get("status") == "False":
            stamp = condition.get("lastTransitionTime")
            return datetime.fromisoformat(stamp).timestamp() if stamp else None
    return None
