"""The DaemonSet controller: one pod on each Node object, replaced one node at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import DAEMON_SETS, PODS
from tests.fakes.kube_api.objects.metadata import labels_of, name_of
from tests.fakes.kube_api.objects.registry import DeleteOptions

from .controller_revisions import (
    REVISION_LABEL,
    STATUS_WRITE,
    revision_label,
    revision_pod,
    settled_revision,
)
from .pod_conditions import is_ready

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry


class DaemonSetController:
    """Moves each DaemonSet one step towards its spec per pass."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(
        self,
        daemon_set: JsonObject,
        revisions: list[JsonObject],
        pods: list[JsonObject],
        nodes: list[str],
    ) -> None:
        """Fill the nodes that have no pod, replace at most one pod; then write the status."""
        if daemon_set["metadata"].get("deletionTimestamp"):
            return
        update = settled_revision(self._registry, DAEMON_SETS, daemon_set, revisions)
        label = labels_of(update)[REVISION_LABEL]
        on_node = {pod["spec"].get("nodeName", ""): pod for pod in pods}
        for node in nodes:
            if node not in on_node:
                revision_pod(
                    self._registry,
                    DAEMON_SETS,
                    daemon_set,
                    update,
                    name={"generateName": f"{daemon_set['metadata']['name']}-"},
                    label=label,
                    node=node,
                )
        if daemon_set["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._replace(label, on_node, nodes)
        self._write_status(daemon_set, label, pods, nodes)

    def _replace(self, label: str, on_node: dict[str, JsonObject], nodes: list[str]) -> None:
        """Remove old pods: those that are of no use at once, others while all else is ready."""
        staying = [p for p in on_node.values() if not p["metadata"].get("deletionTimestamp")]
        old = [pod for pod in staying if revision_label(pod) != label]
        useless = [pod for pod in old if not is_ready(pod)]
        all_ready = len(staying) == len(nodes) and all(map(is_ready, staying))
        for pod in useless or (old[:1] if all_ready else []):
            self._registry.delete(PODS, name_of(pod), DeleteOptions())

    def _write_status(
        self, daemon_set: JsonObject, label: str, pods: list[JsonObject], nodes: list[str]
    ) -> None:
        ready = sum(is_ready(pod) for pod in pods)
        status = {
            "observedGeneration": daemon_set["metadata"]["generation"],
            "desiredNumberScheduled": len(nodes),
            "currentNumberScheduled": len(pods),
            "updatedNumberScheduled": sum(revision_label(pod) == label for pod in pods),
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": len(nodes) - ready,
            "numberMisscheduled": 0,
        }
        if status != daemon_set.get("status"):
            self._registry.patch(
                DAEMON_SETS,
                name_of(daemon_set),
                lambda now: {**now, "status": status},
                STATUS_WRITE,
            )
