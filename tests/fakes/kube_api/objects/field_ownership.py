"""Who manages which field: `metadata.managedFields` and server-side apply.

A path is a tuple of `fieldsV1` steps (`f:spec`, `k:{"name":"app"}`, …). Keyed lists are those of
`strategic_merge`; any other list is one atomic value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .errors import apply_conflict
from .metadata import copied
from .strategic_merge import merge_key, strategic_merged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .metadata import JsonObject

Path: TypeAlias = tuple[str, ...]
Operation: TypeAlias = Literal["Apply", "Update"]

# "." is the step which owns a list item or map as such, apart from what is inside.
ITSELF = "."
_UNOWNED_TOP_FIELDS = frozenset({"apiVersion", "kind"})
_UNOWNED_METADATA = frozenset(
    {
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)


@dataclass(frozen=True, slots=True)
class FieldManager:
    """Who writes, how, and through which subresource."""

    name: str
    operation: Operation = "Update"
    subresource: str = ""


def owned_leaves(obj: JsonObject) -> dict[Path, Any]:
    """Return every path of an object that a manager can own, with the value found there."""
    leaves: dict[Path, Any] = {}
    for key, value in obj.items():
        if key == "metadata":
            owned = {k: v for k, v in value.items() if k not in _UNOWNED_METADATA}
            leaves.update(_leaves(owned, ("f:metadata",)))
        elif key not in _UNOWNED_TOP_FIELDS:
            leaves.update(_leaves(value, (f"f:{key}",), key))
    leaves.pop(("f:metadata",), None)
    return leaves


def _leaves(value: object, path: Path, field_name: str = "") -> Iterator[tuple[Path, Any]]:
    match value:
        case dict() if value:
            for key, inner in value.items():
                yield from _leaves(inner, (*path, f"f:{key}"), key)
        case list() if (item_key := merge_key(field_name, value)) is not None:
            for item in value:
                step = "k:" + json.dumps({item_key: item[item_key]}, separators=(",", ":"))
                yield (*path, step, ITSELF), item[item_key]
                yield from _leaves(item, (*path, step))
        case _:
            yield path, value


def track_update(
    before: JsonObject | None, after: JsonObject, manager: FieldManager, now: str
) -> None:
    """Give the fields that a write changed to its manager, in place."""
    old = owned_leaves(before) if before else {}
    new = owned_leaves(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    gone = old.keys() - new.keys()
    if not changed and not gone:
        return
    sets = _ownership(after)
    for paths in sets.values():
        paths.difference_update(changed | gone)
    if changed:
        sets.setdefault(manager, set()).update(changed)
    _record(after, sets, {manager: now} if changed else {})


def applied(
    live: JsonObject | None, config: JsonObject, manager: FieldManager, now: str, *, force: bool
) -> JsonObject:
    """Return the live object with a server-side apply merged into it.

    Args:
        live: the stored object, or `None` when the apply creates it.
        config: the manager's whole intent; what it owned before and leaves out now is removed.
        manager: who applies.
        now: the time written into `managedFields`.
        force: take fields over from other managers instead of refusing.

    Raises:
        ApiError: 409 naming each field which another manager holds with another value.
    """
    intent = owned_leaves(config)
    base = copied(live) if live else {"metadata": {}}
    values = owned_leaves(base)
    sets = _ownership(base)
    causes = []
    for holder, paths in sets.items():
        if holder == manager:
            continue
        disputed = {p for p in paths & intent.keys() if values.get(p) != intent[p]}
        if disputed and not force:
            causes += [_conflict_cause(holder, path) for path in sorted(disputed)]
        paths.difference_update(disputed)
    if causes:
        raise apply_conflict(causes)
    given_up = sets.get(manager, set()) - intent.keys()
    kept_by_others = {p for who, paths in sets.items() if who != manager for p in paths}
    for path in given_up - kept_by_others:
        if not _is_shared_item(path, kept_by_others):
            _remove(base, path)
    merged = strategic_merged(base, config)
    sets[manager] = set(intent)
    _record(merged, sets, {manager: now})
    return merged


def _is_shared_item(path: Path, kept: set[Path]) -> bool:
    if path[-1] != ITSELF:
        return False
    item = path[:-1]
    return any(other[: len(item)] == item for other in kept)


def _conflict_cause(holder: FieldManager, path: Path) -> JsonObject:
    how = f'conflict with "{holder.name}"'
    if holder.operation == "Update":
        how += " using Update"
    field = "".join(
        step.replace("f:", ".", 1) if step.startswith("f:") else f"[{step[2:]}]"
        for step in path
        if step != ITSELF
    )
    return {"reason": "FieldManagerConflict", "message": f"{how}: {field}", "field": field}


def _remove(obj: JsonObject, path: Path) -> None:
    if path[-1] == ITSELF:
        holder, last = _value_at(obj, path[:-2]), path[-2]
    else:
        holder, last = _value_at(obj, path[:-1]), path[-1]
    match holder:
        case dict():
            holder.pop(last[2:], None)
        case list():
            wanted = json.loads(last[2:])
            holder[:] = [item for item in holder if not wanted.items() <= item.items()]
        case _:
            pass


def _value_at(value: object, path: Path) -> object:
    for step in path:
        match value:
            case list():
                wanted = json.loads(step[2:])
                value = next((item for item in value if wanted.items() <= item.items()), None)
            case dict():
                value = value.get(step[2:])
            case _:
                return None
    return value


def _ownership(obj: JsonObject) -> dict[FieldManager, set[Path]]:
    return {
        FieldManager(entry["manager"], entry["operation"], entry.get("subresource", "")): set(
            _paths(entry.get("fieldsV1") or {})
        )
        for entry in obj["metadata"].get("managedFields") or []
    }


def _paths(fields: JsonObject, path: Path = ()) -> Iterator[Path]:
    for step, inner in fields.items():
        if inner:
            yield from _paths(inner, (*path, step))
        else:
            yield (*path, step)


def _record(
    obj: JsonObject, sets: dict[FieldManager, set[Path]], touched: dict[FieldManager, str]
) -> None:
    times = {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry.get("time")
        for entry in obj["metadata"].get("managedFields") or []
    }
    entries = []
    for manager, paths in sets.items():
        if not paths:
            continue
        key = (manager.name, manager.operation, manager.subresource)
        entry = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": obj.get("apiVersion"),
            "time": touched.get(manager, times.get(key)),
            "fieldsType": "FieldsV1",
            "fieldsV1": _nested(paths),
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _nested(paths: set[Path]) -> JsonObject:
    fields: JsonObject = {}
    for path in sorted(paths):
        place = fields
        for step in path:
            place = place.setdefault(step, {})
    return fields
