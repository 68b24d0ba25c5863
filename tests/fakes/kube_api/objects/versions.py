"""One stored object, shown in each version that is served.

Custom versions differ by `apiVersion` only (conversion strategy None). Events are the one built-in
kind with two forms: core/v1 is what is stored, events.k8s.io/v1 renames its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .kinds import ResourceKind
    from .metadata import JsonObject

_EVENTS_GROUP = "events.k8s.io"
# core/v1 name -> events.k8s.io/v1 name
_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_CORE_EVENT_FIELDS = {new: old for old, new in _EVENT_FIELDS.items()}


def as_served(kind: ResourceKind, stored: JsonObject) -> JsonObject:
    """Return a stored object in the form of the version it was asked for in."""
    if kind.group == _EVENTS_GROUP:
        stored = {_EVENT_FIELDS.get(key, key): value for key, value in stored.items()}
    return {**stored, "apiVersion": kind.api_version, "kind": kind.kind}


def as_stored(kind: ResourceKind, received: JsonObject) -> JsonObject:
    """Return a received object in the form in which it is stored."""
    if kind.group == _EVENTS_GROUP:
        received = {_CORE_EVENT_FIELDS.get(key, key): value for key, value in received.items()}
        return {**received, "apiVersion": "v1", "kind": kind.kind}
    return {**received, "apiVersion": kind.api_version, "kind": kind.kind}
