"""How objects and lists look on the wire, and how request bodies are read."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.fakes.kube_api.objects.errors import ApiError, bad_request, unsupported_media_type
from tests.fakes.kube_api.objects.metadata import ObjectName
from tests.fakes.kube_api.objects.versions import as_served

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.kinds import ResourceKind
    from tests.fakes.kube_api.objects.metadata import JsonObject

_BODY_TYPES = frozenset({"", "application/json", "application/yaml", "application/octet-stream"})


def parse_body(raw: bytes, content_type: str) -> Any:  # noqa: ANN401  any JSON value
    """Read a request body as JSON, or as YAML when its type says so.

    Raises:
        ApiError: 400 when it cannot be read.
    """
    if not raw.strip():
        return None
    try:
        if "yaml" in content_type:
            return yaml.safe_load(raw)
        return json.loads(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"error decoding the body: {error}") from error


def require_body_type(content_type: str) -> None:
    """Refuse a create or update in a format which is not JSON or YAML (as protobuf) with 415."""
    if content_type not in _BODY_TYPES:
        raise unsupported_media_type(content_type)


def wants_metadata_only(accept: str) -> bool:
    """Say whether the first form that the client accepts is PartialObjectMetadata."""
    for clause in accept.split(","):
        if "as=PartialObjectMetadata" in clause:
            return True
        if ";as=" not in clause.replace(" ", "") and "json" in clause:
            return False
    return False


def shown(kind: ResourceKind, stored: JsonObject, *, metadata_only: bool) -> JsonObject:
    """Return one object as it is sent."""
    if metadata_only:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": stored["metadata"],
        }
    return as_served(kind, stored)


def shown_list(
    kind: ResourceKind, items: list[JsonObject], metadata: JsonObject, *, metadata_only: bool
) -> JsonObject:
    """Return a list as it is sent; items of built-in kinds do not repeat kind and apiVersion."""
    objects = [shown(kind, item, metadata_only=metadata_only) for item in items]
    if metadata_only:
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects,
        }
    if not kind.is_custom:
        objects = [
            {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
            for obj in objects
        ]
    return {
        "kind": f"{kind.kind}List",
        "apiVersion": kind.api_version,
        "metadata": metadata,
        "items": objects,
    }


def deleted_status(kind: ResourceKind, obj: JsonObject) -> JsonObject:
    """Return the answer to a delete which is done."""
    details = {
        "name": obj["metadata"]["name"],
        "group": kind.group,
        "kind": kind.plural,
        "uid": obj["metadata"]["uid"],
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def continue_token(revision: int, last: ObjectName) -> str:
    """Write where the next page of a list starts, and at which revision."""
    content = json.dumps({"rv": revision, "after": [last.namespace, last.name]})
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def parse_continue_token(token: str) -> tuple[int, ObjectName]:
    """Read what `continue_token` wrote.

    Raises:
        ApiError: 400 for anything else.
    """
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["after"]
        return int(content["rv"]), ObjectName(str(namespace), str(name))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise bad_request("continue key is not valid") from error


def parse_count(query: dict[str, str], name: str) -> int | None:
    """Read a whole-number parameter; `None` when it is not given.

    Raises:
        ApiError: 400 when it is not a number.
    """
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise ApiError(400, "BadRequest", f"invalid {name}: {text!r}")
    return int(text)
