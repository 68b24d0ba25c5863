"""What happens between a write request and the store: the rules all kinds share.

Names, uids, generations, preconditions, defaults, validation, field ownership and finalizers live
here. Clients and controllers write through the same methods.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .defaults import set_defaults
from .errors import (
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from .field_ownership import FieldManager, applied, track_update
from .kinds import NAMESPACES, PODS, KindCatalogue, ResourceKind
from .metadata import ObjectName, annotations_of, copied, generated_name, rfc3339
from .shapes import shaped
from .validation import require_valid

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kube_api.clock import Clock

    from .metadata import JsonObject
    from .store import Store

_FIXED_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_CREATED_BY_UPDATE = frozenset({"Lease", "Event"})
_NEEDS_RESOURCE_VERSION = frozenset({"Lease"})
_GENERATE_NAME_ATTEMPTS = 8
_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
FOREGROUND_FINALIZER = "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is to be done: by whom, through which subresource, and whether for real."""

    manager: str = "unknown"
    subresource: str = ""
    dry_run: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The parts of `DeleteOptions` which the fake honours."""

    propagation: str = "Background"
    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


class Registry:
    """Creates, updates and deletes objects by the rules of the API server."""

    def __init__(self, store: Store, kinds: KindCatalogue, clock: Clock) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock

    def get(self, kind: ResourceKind, name: ObjectName) -> JsonObject:
        """Return the stored object, or refuse with 404. It must not be changed in place."""
        found = self._store.get(kind.storage, name)
        if found is None:
            raise not_found(kind.group_resource, name.name)
        return found

    def create(
        self, kind: ResourceKind, namespace: str, body: JsonObject, options: WriteOptions
    ) -> JsonObject:
        """Store a new object and return it."""
        return self._create(kind, namespace, body, options)

    def _create(
        self,
        kind: ResourceKind,
        namespace: str,
        body: JsonObject,
        options: WriteOptions,
        *,
        is_tracked: bool = False,
    ) -> JsonObject:
        obj = copied(shaped(kind, body))
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        self._place(kind, namespace, metadata)
        name = ObjectName(namespace, self._settled_name(kind, namespace, metadata))
        self._require_namespace(kind, namespace, name.name)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = rfc3339(self._clock.now())
        metadata.pop("deletionTimestamp", None)
        if kind.has_status:
            obj.pop("status", None)
        set_defaults(kind, obj)
        if _has_generation(kind, obj):
            metadata["generation"] = 1
        require_valid(kind, obj, None)
        if self._store.get(kind.storage, name) is not None:
            raise already_exists(kind.group_resource, name.name)
        if not is_tracked:
            metadata.pop("managedFields", None)
            self._track(None, obj, options)
        return obj if options.dry_run else self._commit(kind, name, obj)

    def update(
        self, kind: ResourceKind, name: ObjectName, body: JsonObject, options: WriteOptions
    ) -> tuple[JsonObject, bool]:
        """Replace an object; return it and whether the replace created it."""
        body = shaped(kind, body)
        if self._store.get(kind.storage, name) is None and kind.kind in _CREATED_BY_UPDATE:
            return self.create(kind, name.namespace, body, options), True
        old = self.get(kind, name)
        sent = body["metadata"].get("resourceVersion")
        if not sent and (kind.is_custom or kind.kind in _NEEDS_RESOURCE_VERSION):
            cause = ("metadata.resourceVersion", "Invalid value: 0: must be specified")
            raise invalid(kind.kind, name.name, [cause])
        return self._replace(kind, name, old, copied(body), options), False

    def patch(
        self,
        kind: ResourceKind,
        name: ObjectName,
        change: Callable[[JsonObject], JsonObject],
        options: WriteOptions,
    ) -> JsonObject:
        """Replace an object by what `change` makes of it."""
        old = self.get(kind, name)
        body = shaped(kind, change(copied(old)))
        return self._replace(kind, name, old, copied(body), options)

    def apply(
        self, kind: ResourceKind, name: ObjectName, config: JsonObject, options: WriteOptions
    ) -> tuple[JsonObject, bool]:
        """Server-side apply; return the object and whether it was created."""
        config = shaped(kind, config)
        if config["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        manager = FieldManager(options.manager, "Apply", options.subresource)
        now = rfc3339(self._clock.now())
        live = self._store.get(kind.storage, name)
        merged = applied(live, config, manager, now, force=options.force)
        if live is None:
            merged["metadata"]["name"] = name.name
            return self._create(kind, name.namespace, merged, options, is_tracked=True), True
        merged = shaped(kind, merged)
        return self._replace(kind, name, live, merged, options, is_tracked=True), False

    def delete(
        self, kind: ResourceKind, name: ObjectName, options: DeleteOptions
    ) -> tuple[JsonObject, bool]:
        """Delete an object; return its last state and whether it is gone already."""
        obj = self.get(kind, name)
        metadata = obj["metadata"]
        for wanted, actual in (
            (options.uid, metadata["uid"]),
            (options.resource_version, metadata["resourceVersion"]),
        ):
            if wanted is not None and wanted != actual:
                why = f"Precondition failed: {wanted} is not {actual}"
                raise conflict(kind.group_resource, name.name, why)
        if options.dry_run:
            return obj, True
        marked = self._marked_for_deletion(kind, obj, options)
        if marked is None:
            return self.remove(kind, name), True
        if marked == obj:
            return obj, False
        return self._store.write(kind.storage, name, marked), False

    def remove(self, kind: ResourceKind, name: ObjectName) -> JsonObject:
        """Take an object out of the store at once, whatever holds it."""
        if kind.kind == "CustomResourceDefinition":
            self._forget_custom_kind(self.get(kind, name))
        return self._store.remove(kind.storage, name)

    def _replace(
        self,
        kind: ResourceKind,
        name: ObjectName,
        old: JsonObject,
        new: JsonObject,
        options: WriteOptions,
        *,
        is_tracked: bool = False,
    ) -> JsonObject:
        metadata = new["metadata"]
        self._require_current(kind, name, old, metadata)
        self._place(kind, name.namespace, metadata)
        if metadata.setdefault("name", name.name) != name.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match "
                f"the name on the URL ({name.name})"
            )
        _restore_fixed_parts(kind, old, new, options.subresource, is_tracked=is_tracked)
        set_defaults(kind, new)
        if options.subresource != "status" and _bumps_generation(kind, old, new):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        require_valid(kind, new, old)
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        if not is_tracked:
            self._track(old, new, options)
        if options.dry_run or _is_same(old, new):
            # A write which changes nothing makes no revision and no event.
            return new if options.dry_run else old
        is_released = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        if is_released and kind not in (PODS, NAMESPACES):
            self._store.write(kind.storage, name, new)
            return self.remove(kind, name)
        return self._commit(kind, name, new)

    def _require_current(
        self, kind: ResourceKind, name: ObjectName, old: JsonObject, sent: JsonObject
    ) -> None:
        current = old["metadata"]
        if sent.get("resourceVersion", current["resourceVersion"]) != current["resourceVersion"]:
            raise conflict(kind.group_resource, name.name, _MODIFIED)
        if sent.get("uid", current["uid"]) != current["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {sent['uid']}, "
                f"UID in object meta: {current['uid']}"
            )
            raise conflict(kind.group_resource, name.name, why)

    def _place(self, kind: ResourceKind, namespace: str, metadata: JsonObject) -> None:
        if not kind.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request(
                f"the namespace of the provided object does not match the namespace "
                f"sent on the request: {metadata['namespace']} is not {namespace}"
            )
        metadata["namespace"] = namespace

    def _settled_name(self, kind: ResourceKind, namespace: str, metadata: JsonObject) -> str:
        if not metadata.get("name"):
            prefix = metadata.get("generateName")
            if not prefix:
                cause = ("metadata.name", "Required value: name or generateName is required")
                raise invalid(kind.kind, "", [cause])
            metadata["name"] = generated_name(prefix)
            for _ in range(_GENERATE_NAME_ATTEMPTS):
                if not self._store.get(kind.storage, ObjectName(namespace, metadata["name"])):
                    break
                metadata["name"] = generated_name(prefix)
        return str(metadata["name"])

    def _require_namespace(self, kind: ResourceKind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        home = self._store.get(NAMESPACES.storage, ObjectName("", namespace))
        if home is None:
            raise not_found(NAMESPACES.group_resource, namespace)
        if home["metadata"].get("deletionTimestamp"):
            why = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            raise forbidden(kind.group_resource, name, why)

    def _track(self, old: JsonObject | None, new: JsonObject, options: WriteOptions) -> None:
        manager = FieldManager(options.manager, "Update", options.subresource)
        track_update(old, new, manager, rfc3339(self._clock.now()))

    def _commit(self, kind: ResourceKind, name: ObjectName, obj: JsonObject) -> JsonObject:
        if kind.kind == "CustomResourceDefinition":
            _establish(obj)
            self._kinds.register(obj)
        return self._store.write(kind.storage, name, obj)

    def _marked_for_deletion(
        self, kind: ResourceKind, obj: JsonObject, options: DeleteOptions
    ) -> JsonObject | None:
        """Return the object with its deletion begun; `None` when nothing holds it back."""
        metadata = copied(obj["metadata"])
        if options.propagation == "Foreground":
            finalizers = metadata.setdefault("finalizers", [])
            if FOREGROUND_FINALIZER not in finalizers:
                finalizers.append(FOREGROUND_FINALIZER)
        grace = 0
        if kind == PODS:
            usual = obj["spec"].get("terminationGracePeriodSeconds", 30)
            grace = usual if options.grace_seconds is None else options.grace_seconds
        is_held = bool(metadata.get("finalizers")) or grace > 0 or kind == NAMESPACES
        if not is_held:
            return None
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = rfc3339(self._clock.now() + grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        marked = {**obj, "metadata": metadata}
        if kind == NAMESPACES:
            marked["status"] = {**obj["status"], "phase": "Terminating"}
        return marked

    def _forget_custom_kind(self, definition: JsonObject) -> None:
        spec = definition["spec"]
        storage = f"{spec['group']}/{spec['names']['plural']}"
        for orphan in self._store.list_objects(storage):
            metadata = orphan["metadata"]
            self._store.remove(
                storage, ObjectName(metadata.get("namespace", ""), metadata["name"])
            )
        self._kinds.unregister(definition)


def _restore_fixed_parts(
    kind: ResourceKind, old: JsonObject, new: JsonObject, subresource: str, *, is_tracked: bool
) -> None:
    """Undo what this kind of write may not change."""
    metadata = new["metadata"]
    for key in _FIXED_METADATA:
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
        else:
            metadata.pop(key, None)
    metadata.pop("generation", None)
    if "generation" in old["metadata"]:
        metadata["generation"] = old["metadata"]["generation"]
    if not is_tracked:
        metadata.pop("managedFields", None)
        if "managedFields" in old["metadata"]:
            metadata["managedFields"] = copied(old["metadata"]["managedFields"])
    if subresource == "status":
        # As in the real strategies: annotations may ride along with status, labels may not.
        # That is how the Deployment controller sets the revision without a new generation.
        for part in [part for part in new if part not in ("metadata", "status")]:
            del new[part]
        new.update({k: v for k, v in old.items() if k not in ("metadata", "status")})
        metadata.pop("labels", None)
        if "labels" in old["metadata"]:
            metadata["labels"] = old["metadata"]["labels"]
    elif kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]


def _has_generation(kind: ResourceKind, obj: JsonObject) -> bool:
    return kind.is_custom or ("spec" in obj and kind.kind not in ("Namespace", "Service", "Lease"))


def _bumps_generation(kind: ResourceKind, old: JsonObject, new: JsonObject) -> bool:
    if not _has_generation(kind, old):
        return False
    if kind.is_custom:
        ignored = {"metadata", "status"} if kind.has_status else {"metadata"}
        return {k: v for k, v in old.items() if k not in ignored} != {
            k: v for k, v in new.items() if k not in ignored
        }
    if old.get("spec") != new.get("spec"):
        return True
    return kind.kind == "Deployment" and annotations_of(old) != annotations_of(new)


def _is_same(old: JsonObject, new: JsonObject) -> bool:
    def observable(obj: JsonObject) -> JsonObject:
        metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
        return {**obj, "metadata": metadata}

    before = old["metadata"].get("managedFields") or []
    after = new["metadata"].get("managedFields") or []
    same_fields = [entry.get("fieldsV1") for entry in before] == [
        entry.get("fieldsV1") for entry in after
    ]
    return same_fields and observable(old) == observable(new)


def _establish(definition: JsonObject) -> None:
    spec = definition["spec"]
    definition["status"] = {
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
        ],
        "acceptedNames": spec["names"],
        "storedVersions": [v["name"] for v in spec["versions"] if v.get("storage")],
    }
