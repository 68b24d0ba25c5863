"""The StatefulSet controller: numbered pods, in order, replaced from the highest number down.

Follows `statefulset/stateful_set_control.go` of Kubernetes, with its trap: with OrderedReady a pod
that does not become ready is waited for, even when its revision is no longer wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import PODS, STATEFUL_SETS
from tests.fakes.kube_api.objects.metadata import name_of
from tests.fakes.kube_api.objects.registry import DeleteOptions

from .controller_revisions import STATUS_WRITE, revision_label, revision_pod, settled_revision
from .pod_conditions import is_ready

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry


class StatefulSetController:
    """Moves each StatefulSet one step towards its spec per pass."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(
        self, stateful_set: JsonObject, revisions: list[JsonObject], pods: list[JsonObject]
    ) -> None:
        """Make one step: create, remove or replace one pod; then write the status."""
        if stateful_set["metadata"].get("deletionTimestamp"):
            return
        update = settled_revision(self._registry, STATEFUL_SETS, stateful_set, revisions)
        status = stateful_set.get("status") or {}
        known = {one["metadata"]["name"]: one for one in [*revisions, update]}
        current = known.get(status.get("currentRevision", ""), update)
        by_name = {pod["metadata"]["name"]: pod for pod in pods}
        if self._fill(stateful_set, current, update, by_name):
            self._replace(stateful_set, update, by_name)
        self._write_status(stateful_set, current, update, pods)

    def _fill(
        self,
        stateful_set: JsonObject,
        current: JsonObject,
        update: JsonObject,
        by_name: dict[str, JsonObject],
    ) -> bool:
        """Create what is missing and remove what is too much; say whether all is in place."""
        spec, name = stateful_set["spec"], stateful_set["metadata"]["name"]
        in_order = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for ordinal in range(spec["replicas"]):
            pod_name = f"{name}-{ordinal}"
            pod = by_name.get(pod_name)
            if pod is None:
                revision = current if ordinal < _partition(stateful_set) else update
                revision_pod(
                    self._registry,
                    STATEFUL_SETS,
                    stateful_set,
                    revision,
                    name={"name": pod_name},
                    label=revision["metadata"]["name"],
                )
            if in_order and (pod is None or not _is_healthy(pod)):
                return False
        wanted = {f"{name}-{ordinal}" for ordinal in range(spec["replicas"])}
        for doomed in sorted(by_name.keys() - wanted, reverse=True):
            if not by_name[doomed]["metadata"].get("deletionTimestamp"):
                self._registry.delete(PODS, name_of(by_name[doomed]), DeleteOptions())
            if in_order:
                return False
        return wanted <= by_name.keys()

    def _replace(
        self, stateful_set: JsonObject, update: JsonObject, by_name: dict[str, JsonObject]
    ) -> None:
        spec, name = stateful_set["spec"], stateful_set["metadata"]["name"]
        if spec["updateStrategy"]["type"] != "RollingUpdate":
            return
        for ordinal in reversed(range(_partition(stateful_set), spec["replicas"])):
            pod = by_name[f"{name}-{ordinal}"]
            is_going = bool(pod["metadata"].get("deletionTimestamp"))
            if revision_label(pod) != update["metadata"]["name"] and not is_going:
                self._registry.delete(PODS, name_of(pod), DeleteOptions())
                return
            if not _is_healthy(pod):
                return

    def _write_status(
        self,
        stateful_set: JsonObject,
        current: JsonObject,
        update: JsonObject,
        pods: list[JsonObject],
    ) -> None:
        current_name, update_name = current["metadata"]["name"], update["metadata"]["name"]
        updated = sum(revision_label(pod) == update_name for pod in pods)
        ready = sum(is_ready(pod) for pod in pods)
        replicas = stateful_set["spec"]["replicas"]
        if updated == ready == len(pods) == replicas:
            current_name = update_name
        status = {
            "observedGeneration": stateful_set["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": sum(revision_label(pod) == current_name for pod in pods),
            "updatedReplicas": updated,
            "currentRevision": current_name,
            "updateRevision": update_name,
            "collisionCount": 0,
        }
        if status != stateful_set.get("status"):
            self._registry.patch(
                STATEFUL_SETS,
                name_of(stateful_set),
                lambda now: {**now, "status": status},
                STATUS_WRITE,
            )


def _partition(stateful_set: JsonObject) -> int:
    rolling = stateful_set["spec"]["updateStrategy"].get("rollingUpdate") or {}
    return int(rolling.get("partition", 0))


def _is_healthy(pod: JsonObject) -> bool:
    return is_ready(pod) and not pod["metadata"].get("deletionTimestamp")
