"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ApiError, bad_request
from .metadata import copied

if TYPE_CHECKING:
    from .metadata import JsonObject

MAX_OPERATIONS = 10_000  # as in apiserver/pkg/endpoints/handlers/patch.go

_REQUIRED_MEMBERS = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": (),
}


def merge_patched(target: JsonObject, patch: JsonObject) -> JsonObject:
    """Return `target` with a JSON merge patch applied: null removes, objects merge."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            merged[key] = merge_patched(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = copied(value)
    return merged


def json_patched(target: JsonObject, operations: list[JsonObject]) -> JsonObject:
    """Return `target` with a JSON patch applied, all operations or none.

    Raises:
        ApiError: 400 for a patch which is not one; 422 for an operation which does not apply
            (a failed `test`, a path which is not there), as the real server answers.
    """
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(413, "RequestEntityTooLarge", "too many JSON patch operations")
    document: object = copied(target)
    for operation in operations:
        document = _operated(document, _checked(operation))
    if not isinstance(document, dict):
        raise bad_request("a JSON patch must leave an object")
    return document


def _checked(operation: object) -> JsonObject:
    if not isinstance(operation, dict) or operation.get("op") not in _REQUIRED_MEMBERS:
        raise bad_request(f"not a JSON patch operation: {operation!r}")
    for member in ("path", *_REQUIRED_MEMBERS[operation["op"]]):
        if member not in operation:
            raise bad_request(f"JSON patch operation without {member!r}: {operation!r}")
    return operation


def _operated(document: object, operation: JsonObject) -> object:
    path = _tokens(operation["path"])
    match operation["op"]:
        case "test":
            if _value_at(document, path) != operation.get("value"):
                raise _does_not_apply(f"testing value {operation['path']} failed")
            return document
        case "remove":
            _take(document, path)
            return document
        case "add":
            return _put(document, path, copied(operation["value"]))
        case "replace":
            _value_at(document, path)
            return _put(document, path, copied(operation["value"]), replaces=True)
        case "copy":
            value = copied(_value_at(document, _tokens(operation["from"])))
            return _put(document, path, value)
        case _:
            return _put(document, path, _take(document, _tokens(operation["from"])))


def _tokens(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise bad_request(f"not a JSON pointer: {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _value_at(document: object, path: list[str]) -> object:
    for token in path:
        match document:
            case dict() if token in document:
                document = document[token]
            case list():
                document = document[_index(token, len(document) - 1)]
            case _:
                raise _does_not_apply(f"key {token} is missing")
    return document


def _put(document: object, path: list[str], value: object, *, replaces: bool = False) -> object:
    if not path:
        return value
    parent, last = _value_at(document, path[:-1]), path[-1]
    match parent:
        case dict():
            parent[last] = value
        case list() if replaces:
            parent[_index(last, len(parent) - 1)] = value
        case list():
            parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
        case _:
            raise _does_not_apply(f"{last} has no place to go")
    return document


def _take(document: object, path: list[str]) -> object:
    value = _value_at(document, path)
    parent = _value_at(document, path[:-1])
    match parent:
        case dict() if path:
            del parent[path[-1]]
        case list():
            del parent[_index(path[-1], len(parent) - 1)]
        case _:
            raise _does_not_apply("the whole document cannot be removed")
    return value


def _index(token: str, highest: int) -> int:
    if not token.isdecimal() or int(token) > highest:
        raise _does_not_apply(f"invalid index {token}")
    return int(token)


def _does_not_apply(why: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error: {why}")
