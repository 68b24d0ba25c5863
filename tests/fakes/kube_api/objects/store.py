"""The stored objects and the history of their changes, which watches and paged lists read.

Objects in the store are never changed in place: whoever wants another value writes a new object.
That makes a `Change` safe to hold on to, and `snapshot` exact.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from .errors import expired

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metadata import JsonObject, ObjectName

ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]

# A real cluster's first revision is never 1; starting higher finds clients that assume it.
FIRST_REVISION = 1000
HISTORY_LIMIT = 20_000  # changes; older ones are forgotten, as etcd compaction does


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write: what the object was before, and what it is now."""

    revision: int
    type: ChangeType
    storage: str
    name: ObjectName
    object: JsonObject
    previous: JsonObject | None


class Store:
    """All objects of the cluster, each stamped with the global revision of its last write."""

    def __init__(self, history_limit: int = HISTORY_LIMIT) -> None:
        self._objects: dict[str, dict[ObjectName, JsonObject]] = {}
        self._history: deque[Change] = deque()
        self._history_limit = history_limit
        self._revision = FIRST_REVISION
        self._compacted_at = 0
        self._listeners: list[Callable[[Change], None]] = []

    @property
    def revision(self) -> int:
        """Return the revision of the newest write."""
        return self._revision

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after every committed change."""
        self._listeners.append(listener)

    def kinds(self) -> tuple[str, ...]:
        """Return the storage keys which have held an object."""
        return tuple(self._objects)

    def get(self, storage: str, name: ObjectName) -> JsonObject | None:
        """Return the object, or `None` when there is none."""
        return self._objects.get(storage, {}).get(name)

    def list_objects(self, storage: str, namespace: str = "") -> list[JsonObject]:
        """Return the objects of a kind in name order; an empty namespace means all of them."""
        return _in_order(self._objects.get(storage, {}), namespace)

    def write(self, storage: str, name: ObjectName, obj: JsonObject) -> JsonObject:
        """Store the object under the next revision and return it as stored."""
        previous = self.get(storage, name)
        stamped = self._stamped(obj)
        self._objects.setdefault(storage, {})[name] = stamped
        self._commit("MODIFIED" if previous else "ADDED", storage, name, stamped, previous)
        return stamped

    def remove(self, storage: str, name: ObjectName) -> JsonObject:
        """Remove the object and return its last state, stamped with the removal's revision."""
        previous = self._objects[storage].pop(name)
        stamped = self._stamped(previous)
        self._commit("DELETED", storage, name, stamped, previous)
        return stamped

    def changes_after(self, revision: int, storage: str) -> list[Change]:
        """Return the changes of one kind after a revision, oldest first.

        Raises:
            ApiError: 410 when that part of the history has been compacted away.
        """
        self._require_kept(revision)
        found = []
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            if change.storage == storage:
                found.append(change)
        return found[::-1]

    def snapshot(self, storage: str, namespace: str, revision: int) -> list[JsonObject]:
        """Return the objects of a kind as they were at a revision.

        Raises:
            ApiError: 410 when that part of the history has been compacted away.
        """
        objects = dict(self._objects.get(storage, {}))
        for change in reversed(self.changes_after(revision, storage)):
            if change.previous is None:
                objects.pop(change.name, None)
            else:
                objects[change.name] = change.previous
        return _in_order(objects, namespace)

    def compact(self) -> int:
        """Forget the whole history and return the revision it was forgotten up to."""
        # A write of nobody's separates "now" from every revision a client can have seen.
        self._revision += 1
        self._history.clear()
        self._compacted_at = self._revision
        return self._revision

    def _require_kept(self, revision: int) -> None:
        if revision < self._compacted_at:
            raise expired(f"too old resource version: {revision} ({self._compacted_at})")

    def _stamped(self, obj: JsonObject) -> JsonObject:
        self._revision += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._revision)}}

    def _commit(
        self,
        change_type: ChangeType,
        storage: str,
        name: ObjectName,
        obj: JsonObject,
        previous: JsonObject | None,
    ) -> None:
        change = Change(self._revision, change_type, storage, name, obj, previous)
        self._history.append(change)
        if len(self._history) > self._history_limit:
            self._compacted_at = self._history.popleft().revision
        for listener in self._listeners:
            listener(change)


def _in_order(objects: dict[ObjectName, JsonObject], namespace: str) -> list[JsonObject]:
    names = sorted(name for name in objects if not namespace or name.namespace == namespace)
    return [objects[name] for name in names]
