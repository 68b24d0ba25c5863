"""What the OpenAPI schema of a CustomResourceDefinition does to its objects.

Unknown fields are pruned, defaults filled in, and what does not fit is refused, in the words of the
API server. Rules in CEL (`x-kubernetes-validations`) are not evaluated: there is no CEL here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .metadata import JsonObject

Cause = tuple[str, str]

_UNTYPED = ("apiVersion", "kind", "metadata")
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def fit_to_schema(schema: JsonObject, obj: JsonObject) -> None:
    """Prune a custom object and fill in its defaults, in place."""
    typed = {key: obj.pop(key) for key in _UNTYPED if key in obj}
    _fit(schema, obj)
    obj.update({**typed, **{key: obj.pop(key) for key in list(obj)}})


def _fit(schema: JsonObject, value: Any) -> None:  # noqa: ANN401  any JSON value
    if isinstance(value, list):
        for item in value:
            _fit(schema.get("items") or {}, item)
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    keeps_unknown = schema.get("x-kubernetes-preserve-unknown-fields") or others
    for key in list(value):
        known = properties.get(key)
        if (known is None and not keeps_unknown) or (
            known is not None and value[key] is None and _may_go(known)
        ):
            del value[key]
    for key, known in properties.items():
        if "default" in known and key not in value:
            value[key] = json.loads(json.dumps(known["default"]))
    for key, inner in value.items():
        known = properties.get(key, others)
        if isinstance(known, dict):  # what is kept although it is unknown is kept whole
            _fit(known, inner)


def _may_go(schema: JsonObject) -> bool:
    """Say whether a null stands for the default."""
    return "default" in schema and not schema.get("nullable")


def schema_causes(schema: JsonObject, obj: JsonObject) -> list[Cause]:
    """Return everything about a custom object that its schema refuses."""
    return list(_object(schema, {k: v for k, v in obj.items() if k not in _UNTYPED}, ""))


def _causes(schema: JsonObject, value: Any, path: str) -> Iterator[Cause]:  # noqa: ANN401
    if value is None:
        if not schema.get("nullable"):
            kind = schema.get("type", "object")
            yield path, f'Invalid value: "null": {path} in body must be of type {kind}: "null"'
        return
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield path, f"Invalid value: {_shown(value)}: must be an integer or a string"
        return
    expected = schema.get("type")
    if expected is not None:
        is_misread = isinstance(value, bool) and expected != "boolean"
        if is_misread or not isinstance(value, _TYPES[expected]):
            was = _type_name(value)
            yield (
                path,
                f'Invalid value: "{was}": {path} in body must be of type {expected}: "{was}"',
            )
            return
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{each}"' for each in schema["enum"])
        yield path, f"Unsupported value: {_shown(value)}: supported values: {supported}"
    match value:
        case str():
            yield from _text(schema, value, path)
        case dict():
            yield from _object(schema, value, path)
        case list():
            yield from _list(schema, value, path)
        case int() | float() if not isinstance(value, bool):
            yield from _number(schema, value, path)


def _text(schema: JsonObject, value: str, path: str) -> Iterator[Cause]:
    pattern = schema.get("pattern")
    said = f"Invalid value: {_shown(value)}: {path} in body should"
    if pattern is not None and not re.search(pattern, value):
        yield path, f"{said} match '{pattern}'"
    if len(value) < schema.get("minLength", 0):
        yield path, f"{said} be at least {schema['minLength']} chars long"
    if len(value) > schema.get("maxLength", len(value)):
        yield path, f"Too long: may not be more than {schema['maxLength']} bytes"


def _number(schema: JsonObject, value: float, path: str) -> Iterator[Cause]:
    said = f"Invalid value: {value}: {path} in body should be"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and schema.get("exclusiveMinimum") and value <= least:
        yield path, f"{said} greater than {least}"
    elif least is not None and value < least:
        yield path, f"{said} greater than or equal to {least}"
    if most is not None and value > most:
        yield path, f"{said} less than or equal to {most}"


def _object(schema: JsonObject, value: JsonObject, path: str) -> Iterator[Cause]:
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for key in schema.get("required") or ():
        if key not in value:
            yield _inside(path, key), "Required value"
    for key, inner in value.items():
        known = properties.get(key, others)
        if isinstance(known, dict):
            yield from _causes(known, inner, _inside(path, key))


def _list(schema: JsonObject, value: list[Any], path: str) -> Iterator[Cause]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
    said = f"Invalid value: {len(value)}: {path} in body should have at"
    if len(value) < least:
        yield path, f"{said} least {least} items"
    if len(value) > most:
        yield path, f"Too many: {len(value)}: must have at most {most} items"
    for place, item in enumerate(value):
        yield from _causes(schema.get("items") or {}, item, f"{path}[{place}]")
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys is None and schema.get("x-kubernetes-list-type") != "set":
        return
    seen: list[Any] = []
    for place, item in enumerate(value):
        what = {k: item.get(k) for k in keys} if keys and isinstance(item, dict) else item
        if what in seen:
            yield f"{path}[{place}]", f"Duplicate value: {_shown(what)}"
        seen.append(what)


def _inside(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: object) -> str:
    return json.dumps(value)


def _type_name(value: object) -> str:
    for name, types in _TYPES.items():
        if isinstance(value, types) and not (isinstance(value, bool) and name != "boolean"):
            return name
    return "null"
