"""The ReplicaSet controller: as many pods as asked for, and counts of what became of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import PODS, REPLICA_SETS
from tests.fakes.kube_api.objects.metadata import copied, labels_of, name_of, owned_by
from tests.fakes.kube_api.objects.registry import DeleteOptions, WriteOptions

from .pod_conditions import available_at, is_active, is_ready

if TYPE_CHECKING:
    from tests.fakes.kube_api.clock import Clock
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry

MOST_PODS_AT_ONCE = 500  # pods one pass may create, as burstReplicas in the real controller
_SPEC_WRITE = WriteOptions(manager="kube-controller-manager")
_STATUS_WRITE = WriteOptions(manager="kube-controller-manager", subresource="status")


class ReplicaSetController:
    """Keeps each ReplicaSet's pods at the wanted number."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def reconcile(self, replica_set: JsonObject, pods: list[JsonObject]) -> float:
        """Create or delete pods and write the status.

        Args:
            replica_set: the stored ReplicaSet.
            pods: the pods it controls.

        Returns:
            Seconds until time alone will change something; infinity when nothing is due.
        """
        active = [pod for pod in pods if is_active(pod)]
        if not replica_set["metadata"].get("deletionTimestamp"):
            missing = replica_set["spec"]["replicas"] - len(active)
            wanted_now = min(missing, MOST_PODS_AT_ONCE)
            active += [self._create_pod(replica_set) for _ in range(wanted_now)]
            if missing < 0:
                doomed = sorted(active, key=_usefulness)[:-missing]
                for pod in doomed:
                    self._registry.delete(PODS, name_of(pod), DeleteOptions())
                active = [pod for pod in active if pod not in doomed]
        return self._write_status(replica_set, active)

    def _create_pod(self, replica_set: JsonObject) -> JsonObject:
        metadata = replica_set["metadata"]
        template = copied(replica_set["spec"]["template"])
        pod = {
            "apiVersion": PODS.api_version,
            "kind": PODS.kind,
            "metadata": {
                **template.get("metadata", {}),
                "generateName": f"{metadata['name']}-",
                "ownerReferences": [
                    owned_by(replica_set, REPLICA_SETS.api_version, REPLICA_SETS.kind)
                ],
            },
            "spec": template["spec"],
        }
        return self._registry.create(PODS, metadata["namespace"], pod, _SPEC_WRITE)

    def _write_status(self, replica_set: JsonObject, active: list[JsonObject]) -> float:
        now = self._clock.now()
        min_ready = replica_set["spec"].get("minReadySeconds", 0)
        template_labels = replica_set["spec"]["template"]["metadata"].get("labels") or {}
        ready = [pod for pod in active if is_ready(pod)]
        moments = [moment for pod in ready if (moment := available_at(pod, min_ready)) is not None]
        counts = {
            "fullyLabeledReplicas": sum(
                template_labels.items() <= labels_of(pod).items() for pod in active
            ),
            "readyReplicas": len(ready),
            "availableReplicas": sum(moment <= now for moment in moments),
        }
        status = {
            **{k: v for k, v in replica_set.get("status", {}).items() if k not in counts},
            "replicas": len(active),
            # The API leaves these out when they are zero.
            **{key: count for key, count in counts.items() if count},
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        self._registry.patch(
            REPLICA_SETS,
            name_of(replica_set),
            lambda current: {**current, "status": status},
            _STATUS_WRITE,
        )
        return min((moment - now for moment in moments if moment > now), default=math.inf)


def _usefulness(pod: JsonObject) -> tuple[bool, bool, float]:
    """Order pods for scaling down: not running, then not ready, then the newest first."""
    phase = (pod.get("status") or {}).get("phase")
    return (
        phase == "Running",
        is_ready(pod),
        -int(pod["metadata"]["resourceVersion"]),
    )
