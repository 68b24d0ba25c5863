"""Setting a pod's status by hand, for tests that play the kubelet themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .objects.json_patches import merge_patched
from .objects.kinds import PODS
from .objects.registry import WriteOptions

if TYPE_CHECKING:
    from .cluster import Cluster
    from .objects.metadata import JsonObject, ObjectName

_WRITE = WriteOptions(manager="kubelet", subresource="status")


def set_pod_status(
    cluster: Cluster,
    name: ObjectName,
    *,
    is_ready: bool | None = None,
    status: JsonObject | None = None,
) -> JsonObject:
    """Merge into a pod's status and hold its readiness; return the pod as stored.

    Args:
        cluster: where the pod is.
        name: which pod.
        is_ready: hold the pod ready or not ready from now on; `None` leaves it to its rule.
        status: merged into the status as a JSON merge patch.
    """
    if is_ready is not None:
        cluster.pods.pin_readiness(name, is_ready=is_ready)
        cluster.control_loop.wake()
    return cluster.registry.patch(
        PODS, name, lambda pod: merge_patched(pod, {"status": status or {}}), _WRITE
    )
