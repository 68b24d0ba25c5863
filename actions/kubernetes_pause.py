"""Pauses a Deployment with our mark on it, and lets go of exactly such a one."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from actions.cluster import still_there, template_digest
from actions.holding import Standing
from actions.marks import HELD_BY
from actions.ports import Conflict

ATTEMPTS = 4
"""Writes tried when only the status changes under us; a busy rollout reports every few 100 ms."""

JsonObject = dict[str, Any]


class DeploymentApi(Protocol):
    """The calls to the API server that this needs, in raw JSON. All raise ActionErrors."""

    def get(self, path: str) -> JsonObject | None:
        """Return one object, or None when there is no such object."""

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> JsonObject:
        """Apply a JSON patch; raise Conflict when a ``test`` in it fails."""


class KubernetesPause:
    """Holds Deployments back. Both calls are idempotent and guarded by the resource version.

    Args:
        api: the calls to the cluster that the rollouts come from.
    """

    def __init__(self, api: DeploymentApi) -> None:
        self._api = api

    def pause(self, seen: Standing, watch_id: str) -> None:
        """Pause a Deployment and mark it with the watch, in one write.

        Raises:
            Conflict: it is paused by somebody else, is to run something else than was seen, or is
                gone; nothing was written.
            Transient: unknown whether it was written. Permanent: it may not be written.
        """
        for _ in range(ATTEMPTS):
            found = self._found(seen)
            if found is None:
                raise Conflict(f"Deployment {seen.workload} is gone")
            if _held_by(found) == watch_id and found["spec"].get("paused"):
                return
            if found["spec"].get("paused"):
                raise Conflict(f"Deployment {seen.workload} is paused by somebody else")
            if template_digest(found) != seen.template:
                raise Conflict(f"Deployment {seen.workload} is to run something else now")
            annotations = {**(found["metadata"].get("annotations") or {}), HELD_BY: watch_id}
            paused = {"op": "add", "path": "/spec/paused", "value": True}
            if self._write(seen, found, annotations, [paused]):
                return
        raise Conflict(f"Deployment {seen.workload} changes too often: {ATTEMPTS} tries failed")

    def let_go(self, seen: Standing, watch_id: str) -> bool:
        """Resume a Deployment that this watch holds; return whether it did hold it.

        Somebody else's pause, without our mark or with another watch's, is never undone.

        Raises:
            Conflict, Transient or Permanent, as ``pause``; then it is held as before.
        """
        for _ in range(ATTEMPTS):
            found = self._found(seen)
            if found is None or _held_by(found) != watch_id:
                return False
            annotations = dict(found["metadata"].get("annotations") or {})
            del annotations[HELD_BY]
            paused = "paused" in found["spec"]
            operations = [{"op": "remove", "path": "/spec/paused"}] if paused else []
            if self._write(seen, found, annotations, operations):
                return True
        raise Conflict(f"Deployment {seen.workload} changes too often: {ATTEMPTS} tries failed")

    def _write(
        self,
        seen: Standing,
        found: JsonObject,
        annotations: Mapping[str, str],
        operations: Sequence[JsonObject],
    ) -> bool:
        """Write the annotations and more; return False when it was changed since it was read."""
        version = found["metadata"]["resourceVersion"]
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        marked = {"op": "add", "path": "/metadata/annotations", "value": dict(annotations)}
        try:
            self._api.patch(_path(seen), [guard, marked, *operations])
        except Conflict:
            return False
        return True

    def _found(self, seen: Standing) -> JsonObject | None:
        """Return the Deployment, None when it was deleted or made anew."""
        return still_there(self._api.get(_path(seen)), seen.uid)


def _held_by(found: JsonObject) -> str | None:
    held_by: str | None = (found["metadata"].get("annotations") or {}).get(HELD_BY)
    return held_by


def _path(seen: Standing) -> str:
    namespace, name = quote(seen.workload.namespace), quote(seen.workload.name)
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
