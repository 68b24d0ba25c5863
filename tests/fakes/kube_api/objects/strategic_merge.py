"""Strategic merge patch: a merge patch that knows which lists are keyed.

The real server reads merge keys from the Go types. The fake knows them by field name, which is
enough for pod templates, services and conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import bad_request
from .metadata import copied

if TYPE_CHECKING:
    from .metadata import JsonObject

# Several keys: the first one which an item carries is the key (container and service ports).
MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "port"),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "secrets": ("name",),
    "podIPs": ("ip",),
}
# Lists of plain values which are merged as sets.
MERGED_SETS = frozenset({"finalizers"})

_DIRECTIVE = "$patch"
_ORDER_PREFIX = "$setElementOrder/"
_DELETE_PREFIX = "$deleteFromPrimitiveList/"
_RETAIN_KEYS = "$retainKeys"


def merge_key(field_name: str, items: list[Any]) -> str | None:
    """Return the key by which a list field's items are merged; `None` for an atomic list."""
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    for key in MERGE_KEYS.get(field_name, ()):
        if all(isinstance(item.get(key), str | int) for item in items):
            return key
    return None


def strategic_merged(target: JsonObject, patch: JsonObject) -> JsonObject:
    """Return `target` with a strategic merge patch applied.

    Raises:
        ApiError: 400 for an unknown `$patch` directive.
    """
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: _without_directives(v) for key, v in patch.items() if key[:1] != "$"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type: {directive}")
    merged = copied(target)
    if _RETAIN_KEYS in patch:
        retained = _listed(patch, _RETAIN_KEYS)
        merged = {key: merged[key] for key in merged if key in retained}
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(merged, key, value)
    _apply_list_directives(merged, patch)
    return merged


def _merge_field(merged: JsonObject, key: str, value: object) -> None:
    match value:
        case None:
            merged.pop(key, None)
        case {"$patch": "delete"}:
            merged.pop(key, None)
        case dict():
            before = merged.get(key)
            merged[key] = strategic_merged(before if isinstance(before, dict) else {}, value)
        case list():
            before = merged.get(key)
            merged[key] = _merged_list(key, before if isinstance(before, list) else [], value)
        case _:
            merged[key] = value


def _merged_list(field_name: str, before: list[Any], patch: list[Any]) -> list[Any]:
    if field_name in MERGED_SETS:
        return [*before, *(item for item in patch if item not in before)]
    if {_DIRECTIVE: "replace"} in patch:
        return [_without_directives(item) for item in patch if item != {_DIRECTIVE: "replace"}]
    key = merge_key(field_name, [*before, *patch])
    if key is None:
        if merge_key(field_name, before) is not None:
            raise bad_request(f"an item of {field_name!r} does not contain its merge key")
        return copied(patch)
    merged = list(before)
    for item in patch:
        _merge_item(merged, key, item)
    return merged


def _merge_item(merged: list[Any], key: str, item: JsonObject) -> None:
    place = next((i for i, old in enumerate(merged) if old.get(key) == item[key]), None)
    match item.get(_DIRECTIVE):
        case "delete":
            if place is not None:
                del merged[place]
        case "replace" if place is not None:
            merged[place] = _without_directives(item)
        case _:
            new = strategic_merged({} if place is None else merged[place], item)
            if place is None:
                merged.append(new)
            else:
                merged[place] = new


def _apply_list_directives(merged: JsonObject, patch: JsonObject) -> None:
    for directive in patch:
        if directive.startswith(_DELETE_PREFIX):
            field_name = directive.removeprefix(_DELETE_PREFIX)
            deleted = _listed(patch, directive)
            kept = [item for item in _listed(merged, field_name) if item not in deleted]
            merged[field_name] = kept
        elif directive.startswith(_ORDER_PREFIX):
            field_name = directive.removeprefix(_ORDER_PREFIX)
            order = _listed(patch, directive)
            merged[field_name] = _ordered(field_name, _listed(merged, field_name), order)


def _listed(holder: JsonObject, field_name: str) -> list[Any]:
    value = holder.get(field_name) or []
    if not isinstance(value, list):
        raise bad_request(f"{field_name!r} is not a list")
    return value


def _ordered(field_name: str, items: list[Any], order: list[Any]) -> list[Any]:
    key = merge_key(field_name, items)

    def name_of(item: object) -> object:
        return item.get(key) if key and isinstance(item, dict) else item

    names = [name_of(entry) for entry in order]

    def place_of(item: object) -> int:
        name = name_of(item)
        return names.index(name) if name in names else len(names)

    return sorted(items, key=place_of)


def _without_directives(value: Any) -> Any:  # noqa: ANN401  any JSON value
    match value:
        case dict():
            return {k: _without_directives(v) for k, v in value.items() if not k.startswith("$")}
        case list():
            return [_without_directives(item) for item in value]
        case _:
            return value
