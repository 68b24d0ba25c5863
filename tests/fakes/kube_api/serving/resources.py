"""The verbs on objects: get, list, create, update, patch, delete. (`watches` has the streams.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.kube_api.objects.errors import (
    ApiError,
    bad_request,
    expired,
    unsupported_media_type,
)
from tests.fakes.kube_api.objects.json_patches import json_patched, merge_patched
from tests.fakes.kube_api.objects.metadata import ObjectName, name_of
from tests.fakes.kube_api.objects.registry import DeleteOptions, WriteOptions
from tests.fakes.kube_api.objects.scale import scale_of, scaled
from tests.fakes.kube_api.objects.selectors import Selection, selection
from tests.fakes.kube_api.objects.strategic_merge import strategic_merged
from tests.fakes.kube_api.objects.versions import as_served, as_stored

from .representations import (
    continue_token,
    deleted_status,
    parse_body,
    parse_continue_token,
    parse_count,
    require_body_type,
    shown,
    shown_list,
    wants_metadata_only,
)
from .watches import LONGEST_WATCH_SECONDS, WatchRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kube_api.cluster import Cluster
    from tests.fakes.kube_api.objects.metadata import JsonObject

    from .request_info import RequestInfo

APPLY_TYPES = ("application/apply-patch+yaml", "application/apply-patch+json")


@dataclass(frozen=True, slots=True)
class Call:
    """One request on a resource, read but not yet carried out."""

    info: RequestInfo
    body: Any
    content_type: str
    accept: str
    user_agent: str

    @property
    def metadata_only(self) -> bool:
        """Say whether the client asks for PartialObjectMetadata."""
        return wants_metadata_only(self.accept)

    @property
    def selected(self) -> Selection:
        """Return which objects the request selects."""
        query = self.info.query
        fields = query.get("fieldSelector", "")
        if self.info.name:
            fields = f"metadata.name={self.info.name},{fields}"
        return selection(self.info.kind, query.get("labelSelector", ""), fields)

    @property
    def write_options(self) -> WriteOptions:
        """Return how a write is to be done."""
        query = self.info.query
        manager = query.get("fieldManager") or self.user_agent.partition("/")[0] or "unknown"
        return WriteOptions(
            manager=manager,
            subresource=self.info.subresource,
            dry_run=self.info.is_dry_run,
            force=query.get("force") == "true",
        )


def carry_out(cluster: Cluster, call: Call) -> tuple[int, JsonObject]:
    """Do what a request asks for; return the HTTP status and the answer.

    Raises:
        ApiError: the request is refused.
    """
    match call.info.verb:
        case "get":
            return 200, _shown_object(call, cluster.registry.get(call.info.kind, _name(call)))
        case "list":
            return 200, _listed(cluster, call)
        case "create":
            return _create(cluster, call)
        case "update":
            return _update(cluster, call)
        case "patch":
            return _patch(cluster, call)
        case "delete":
            return 200, _delete(cluster, call, _name(call))
        case _:
            return 200, _delete_collection(cluster, call)


def watch_request(cluster: Cluster, call: Call) -> WatchRequest:
    """Read the parameters of a watch.

    Raises:
        ApiError: 400 for parameters that cannot be read; 410 for a revision which is too old,
            when the cluster is told to answer that by HTTP.
    """
    info, query = call.info, call.info.query
    text = query.get("resourceVersion", "")
    sends_initial = query.get("sendInitialEvents") == "true"
    revision = (
        None if sends_initial or text in ("", "0") else parse_count(query, "resourceVersion")
    )
    if revision is not None and cluster.too_old_answers_http:
        cluster.store.changes_after(revision, info.kind.storage)
    timeout = parse_count(query, "timeoutSeconds")
    return WatchRequest(
        kind=info.kind,
        namespace=info.namespace,
        selected=call.selected,
        revision=revision,
        marks_initial_end=sends_initial,
        bookmarks=query.get("allowWatchBookmarks") in ("1", "true"),
        timeout_seconds=min(timeout or LONGEST_WATCH_SECONDS, LONGEST_WATCH_SECONDS),
        metadata_only=call.metadata_only,
    )


def _name(call: Call) -> ObjectName:
    return call.info.object_name


def _shown_object(call: Call, stored: JsonObject) -> JsonObject:
    if call.info.subresource == "scale":
        return scale_of(call.info.kind, stored)
    return shown(call.info.kind, stored, metadata_only=call.metadata_only)


def _listed(cluster: Cluster, call: Call) -> JsonObject:
    info, query, store = call.info, call.info.query, cluster.store
    limit = parse_count(query, "limit") or 0
    after, revision = None, store.revision
    if query.get("continue"):
        revision, after = parse_continue_token(query["continue"])
    elif query.get("resourceVersionMatch") == "Exact":
        revision = parse_count(query, "resourceVersion") or revision
    if revision > store.revision:
        raise ApiError(504, "Timeout", f"Too large resource version: {revision}")
    try:
        objects = store.snapshot(info.kind.storage, info.namespace, revision)
    except ApiError as error:
        raise expired("The provided continue parameter is too old") from error
    selected = call.selected
    left = [obj for obj in objects if selected(obj) and (after is None or name_of(obj) > after)]
    page = left[:limit] if limit else left
    metadata: JsonObject = {"resourceVersion": str(revision)}
    if len(page) < len(left):
        metadata["continue"] = continue_token(revision, name_of(page[-1]))
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = len(left) - len(page)
    return shown_list(info.kind, page, metadata, metadata_only=call.metadata_only)


def _received_object(call: Call) -> JsonObject:
    require_body_type(call.content_type)
    return _of_kind(call, call.body)


def _of_kind(call: Call, body: object) -> JsonObject:
    kind = call.info.kind
    if not isinstance(body, dict):
        raise bad_request("the body is not a JSON object")
    for field, expected in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        given = body.get(field)
        if given and given != expected:
            raise bad_request(
                f"the {field} in the data ({given}) does not match the expected one ({expected})"
            )
    return as_stored(kind, body)


def _create(cluster: Cluster, call: Call) -> tuple[int, JsonObject]:
    info = call.info
    if info.kind.verbs == ("create",):
        return 201, cluster.access.review(info.kind, _received_object(call))
    stored = cluster.registry.create(
        info.kind, info.namespace, _received_object(call), call.write_options
    )
    return 201, _shown_object(call, stored)


def _update(cluster: Cluster, call: Call) -> tuple[int, JsonObject]:
    kind, registry = call.info.kind, cluster.registry
    if call.info.subresource == "scale":
        if not isinstance(call.body, dict):
            raise bad_request("the body is not a Scale")
        stored = registry.patch(
            kind, _name(call), lambda obj: scaled(kind, obj, call.body), call.write_options
        )
        return 200, _shown_object(call, stored)
    stored, was_created = registry.update(
        kind, _name(call), _received_object(call), call.write_options
    )
    return (201 if was_created else 200), _shown_object(call, stored)


def _patch(cluster: Cluster, call: Call) -> tuple[int, JsonObject]:
    kind, registry = call.info.kind, cluster.registry
    if call.content_type in APPLY_TYPES:
        return _apply(cluster, call)
    change = _change(call)

    def patched(stored: JsonObject) -> JsonObject:
        if call.info.subresource == "scale":
            return scaled(kind, stored, change(scale_of(kind, stored)))
        return as_stored(kind, change(as_served(kind, stored)))

    stored = registry.patch(kind, _name(call), patched, call.write_options)
    return 200, _shown_object(call, stored)


def _change(call: Call) -> Callable[[JsonObject], JsonObject]:
    """Return what a patch of the request's content type does to an object."""
    body = call.body
    match call.content_type:
        case "application/json-patch+json":
            if not isinstance(body, list):
                raise bad_request("a JSON patch is a list of operations")
            return lambda obj: json_patched(obj, body)
        case "application/merge-patch+json":
            combine = merge_patched
        case "application/strategic-merge-patch+json" if not call.info.kind.is_custom:
            combine = strategic_merged
        case other:
            raise unsupported_media_type(other)
    if not isinstance(body, dict):
        raise bad_request("a merge patch is an object")
    return lambda obj: combine(obj, body)


def _apply(cluster: Cluster, call: Call) -> tuple[int, JsonObject]:
    if not call.info.query.get("fieldManager"):
        raise bad_request(
            "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: "
            "is required for apply patch"
        )
    config = _of_kind(call, call.body)
    if not call.body.get("apiVersion") or not call.body.get("kind"):
        raise bad_request("apiVersion and kind must be set in an apply")
    stored, was_created = cluster.registry.apply(
        call.info.kind, _name(call), config, call.write_options
    )
    return (201 if was_created else 200), _shown_object(call, stored)


def _delete(cluster: Cluster, call: Call, name: ObjectName) -> JsonObject:
    options = _delete_options(call)
    kind = call.info.kind
    if options.propagation == "Orphan" and not options.dry_run:
        uid = cluster.registry.get(kind, name)["metadata"]["uid"]
        cluster.control_loop.garbage.orphan_dependents(uid)
    last, is_gone = cluster.registry.delete(kind, name, options)
    return deleted_status(kind, last) if is_gone else _shown_object(call, last)


def _delete_collection(cluster: Cluster, call: Call) -> JsonObject:
    info = call.info
    selected = call.selected
    objects = [
        obj
        for obj in cluster.store.list_objects(info.kind.storage, info.namespace)
        if selected(obj)
    ]
    for obj in objects:
        _delete(cluster, call, name_of(obj))
    metadata = {"resourceVersion": str(cluster.store.revision)}
    return shown_list(info.kind, objects, metadata, metadata_only=False)


def _delete_options(call: Call) -> DeleteOptions:
    body = call.body if isinstance(call.body, dict) else {}
    query = call.info.query
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = parse_count(query, "gracePeriodSeconds")
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    if propagation not in ("Background", "Foreground", "Orphan"):
        raise bad_request(f"invalid propagationPolicy: {propagation!r}")
    return DeleteOptions(
        propagation=propagation,
        grace_seconds=grace,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        dry_run=call.info.is_dry_run or "All" in (body.get("dryRun") or ()),
    )


def parse_call(info: RequestInfo, raw: bytes, headers: dict[str, str]) -> Call:
    """Read a request's body and headers.

    Args:
        info: what the URL asks for.
        raw: the body.
        headers: by lower-case name.

    Raises:
        ApiError: 400 for a body which cannot be read.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip()
    body = parse_body(raw, content_type)
    return Call(info, body, content_type, headers.get("accept", ""), headers.get("user-agent", ""))
