"""What goes when something else has gone: owned objects, and the contents of namespaces."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import NAMESPACES
from tests.fakes.kube_api.objects.metadata import name_of
from tests.fakes.kube_api.objects.registry import FOREGROUND_FINALIZER, DeleteOptions, WriteOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.kube_api.objects.kinds import KindCatalogue, ResourceKind
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry
    from tests.fakes.kube_api.objects.store import Change, Store

_WRITE = WriteOptions(manager="kube-controller-manager")


class GarbageCollector:
    """Deletes dependents of deleted owners, and empties namespaces that are being deleted."""

    def __init__(self, store: Store, registry: Registry, kinds: KindCatalogue) -> None:
        self._store = store
        self._registry = registry
        self._kinds = kinds
        self._has_work = False
        store.subscribe(self._notice)

    def _notice(self, change: Change) -> None:
        if change.type == "DELETED" or change.object["metadata"].get("deletionTimestamp"):
            self._has_work = True

    def pass_once(self) -> None:
        """Follow up every deletion since the last pass."""
        if not self._has_work:
            return
        self._has_work = False
        self._delete_orphaned()
        self._finish_foreground()
        self._empty_namespaces()

    def orphan_dependents(self, owner_uid: str) -> None:
        """Cut an owner's dependents loose before it goes (propagationPolicy Orphan)."""
        for kind, obj in list(self._everything()):
            if _is_owned(obj, owner_uid):
                change = functools.partial(_without_owner, uid=owner_uid)
                self._registry.patch(kind, name_of(obj), change, _WRITE)

    def _everything(self) -> Iterator[tuple[ResourceKind, JsonObject]]:
        seen = set()
        for kind in self._kinds:
            if kind.storage not in seen:
                seen.add(kind.storage)
                for obj in self._store.list_objects(kind.storage):
                    yield kind, obj

    def _delete_orphaned(self) -> None:
        objects = list(self._everything())
        living = {obj["metadata"]["uid"] for _, obj in objects}
        for kind, obj in objects:
            owners = obj["metadata"].get("ownerReferences") or []
            if owners and not any(owner.get("uid") in living for owner in owners):
                self._registry.delete(kind, name_of(obj), DeleteOptions())

    def _finish_foreground(self) -> None:
        objects = list(self._everything())
        for kind, owner in objects:
            if FOREGROUND_FINALIZER not in (owner["metadata"].get("finalizers") or []):
                continue
            uid = owner["metadata"]["uid"]
            dependents = [(k, o) for k, o in objects if _is_owned(o, uid)]
            for dependent_kind, dependent in dependents:
                options = DeleteOptions(propagation="Foreground")
                self._registry.delete(dependent_kind, name_of(dependent), options)
            if not dependents:
                self._registry.patch(kind, name_of(owner), _without_foreground, _WRITE)

    def _empty_namespaces(self) -> None:
        for namespace in self._store.list_objects(NAMESPACES.storage):
            if not namespace["metadata"].get("deletionTimestamp"):
                continue
            name = namespace["metadata"]["name"]
            inside = [
                (kind, obj)
                for kind, obj in self._everything()
                if kind.namespaced and obj["metadata"]["namespace"] == name
            ]
            for kind, obj in inside:
                self._registry.delete(kind, name_of(obj), DeleteOptions())
            if not inside:
                self._registry.remove(NAMESPACES, name_of(namespace))


def _is_owned(obj: JsonObject, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or [])


def _without_foreground(owner: JsonObject) -> JsonObject:
    finalizers = owner["metadata"].get("finalizers") or []
    owner["metadata"]["finalizers"] = [one for one in finalizers if one != FOREGROUND_FINALIZER]
    return owner


def _without_owner(obj: JsonObject, uid: str) -> JsonObject:
    owners = obj["metadata"].get("ownerReferences") or []
    obj["metadata"]["ownerReferences"] = [owner for owner in owners if owner.get("uid") != uid]
    return obj
