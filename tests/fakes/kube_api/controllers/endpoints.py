"""The EndpointSlice controller: which pods a Service leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import ENDPOINT_SLICES, PODS, SERVICES
from tests.fakes.kube_api.objects.metadata import ObjectName, labels_of, owned_by
from tests.fakes.kube_api.objects.registry import WriteOptions

from .pod_conditions import is_active, is_ready

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry
    from tests.fakes.kube_api.objects.store import Store

_WRITE = WriteOptions(manager="kube-controller-manager")


class EndpointSliceController:
    """Keeps one EndpointSlice for each Service with a selector."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def reconcile(self) -> None:
        """Bring the slices of all Services up to date."""
        pods = self._store.list_objects(PODS.storage)
        for service in self._store.list_objects(SERVICES.storage):
            selector = (service.get("spec") or {}).get("selector")
            if selector and not service["metadata"].get("deletionTimestamp"):
                own = [pod for pod in pods if _is_selected(pod, service, selector)]
                self._write(service, [_endpoint(pod) for pod in own if is_active(pod)])

    def _write(self, service: JsonObject, endpoints: list[JsonObject]) -> None:
        metadata = service["metadata"]
        name = f"{metadata['name']}-endpoints"
        body = {
            "apiVersion": ENDPOINT_SLICES.api_version,
            "kind": ENDPOINT_SLICES.kind,
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/service-name": metadata["name"]},
                "ownerReferences": [owned_by(service, SERVICES.api_version, SERVICES.kind)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
        }
        at = ObjectName(metadata["namespace"], name)
        known = self._store.get(ENDPOINT_SLICES.storage, at)
        if known is None:
            self._registry.create(ENDPOINT_SLICES, metadata["namespace"], body, _WRITE)
        elif known["endpoints"] != endpoints:
            self._registry.patch(
                ENDPOINT_SLICES, at, lambda current: {**current, "endpoints": endpoints}, _WRITE
            )


def _is_selected(pod: JsonObject, service: JsonObject, selector: dict[str, str]) -> bool:
    same = pod["metadata"]["namespace"] == service["metadata"]["namespace"]
    return same and selector.items() <= labels_of(pod).items()


def _endpoint(pod: JsonObject) -> JsonObject:
    metadata = pod["metadata"]
    address = (pod.get("status") or {}).get("podIP", "")
    return {
        "addresses": [address] if address else [],
        "conditions": {"ready": is_ready(pod) and not metadata.get("deletionTimestamp")},
        "targetRef": {"kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
    }
