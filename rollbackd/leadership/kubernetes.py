"""A lease kept as a ``coordination.k8s.io/v1`` Lease, with the fields that client-go writes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rollbackd.kubernetes.connection import Connection, JsonObject
from rollbackd.leadership.lease import Lease

MERGE_PATCH = "application/merge-patch+json"


class KubernetesLease:
    """Implements ``LeaseStore``. Every write is guarded by the version that was seen.

    Args:
        connection: to the API server; its time-out must be below the election's.
        namespace, name: of the Lease.
        now: seconds since the epoch, for the times that people read in it; nothing is decided
            by them.
    """

    def __init__(
        self, connection: Connection, namespace: str, name: str, now: Callable[[], float]
    ) -> None:
        self._api = connection
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._now = now

    def read(self) -> Lease | None:
        """Return the Lease, or None when there is none."""
        found = self._api.get(f"{self._collection}/{self._name}")
        return None if found is None else _lease(found)

    def write(self, lease: Lease, seen: Lease | None) -> Lease:
        """Create or change the Lease. Raises Conflict when it is not as it was seen."""
        now = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": max(1, round(lease.duration_s)),
            "leaseTransitions": lease.transitions,
            "renewTime": now,
        }
        if seen is None or seen.holder != lease.holder:
            spec["acquireTime"] = now
        if seen is None:
            made = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": spec,
            }
            return _lease(self._api.request("POST", self._collection, body=made))
        change = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
        path = f"{self._collection}/{self._name}"
        return _lease(self._api.request("PATCH", path, body=change, content_type=MERGE_PATCH))


def _lease(raw: JsonObject) -> Lease:
    spec = raw.get("spec") or {}
    return Lease(
        holder=str(spec.get("holderIdentity") or ""),
        duration_s=float(spec.get("leaseDurationSeconds") or 0.0),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=str(raw["metadata"]["resourceVersion"]),
    )
