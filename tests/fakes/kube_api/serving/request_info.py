"""What a request asks for: verb, kind, namespace, name and subresource out of its URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.errors import bad_request, method_not_allowed, unknown_resource
from tests.fakes.kube_api.objects.metadata import ObjectName

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.kinds import KindCatalogue, ResourceKind

_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCE_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch"}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request on one resource."""

    verb: str
    kind: ResourceKind
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]

    @property
    def object_name(self) -> ObjectName:
        """Return the name under which the object is stored."""
        return ObjectName(self.namespace, self.name)

    @property
    def is_dry_run(self) -> bool:
        """Say whether nothing may be stored.

        Raises:
            ApiError: 400 for a dry-run directive which does not exist.
        """
        directive = self.query.get("dryRun")
        if directive not in (None, "", "All"):
            raise bad_request(f'Invalid value: dryRun: Unsupported value: "{directive}"')
        return directive == "All"


def asks_for_resource(path: str) -> bool:
    """Say whether a path leads to objects, and not to discovery or health."""
    parts = [part for part in path.split("/") if part]
    return (parts[:1] == ["api"] and len(parts) > 2) or (parts[:1] == ["apis"] and len(parts) > 3)


def parse_request(
    kinds: KindCatalogue, method: str, path: str, query: dict[str, str]
) -> RequestInfo:
    """Read a request on a resource.

    Raises:
        ApiError: 404 for a kind or subresource which is not served, 405 for a method it lacks.
    """
    parts = [part for part in path.split("/") if part]
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = ""
    is_inside = rest[0] == "namespaces" and len(rest) > 2
    if is_inside and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    is_misplaced = bool(namespace) and not kind.namespaced
    if is_misplaced or len(rest) > 3 or (subresource and subresource not in kind.subresources):
        raise unknown_resource()
    if kind.namespaced and name and not namespace:
        raise unknown_resource()
    verb = _verb(method, query, name, subresource)
    if verb not in kind.verbs:
        raise method_not_allowed()
    return RequestInfo(verb, kind, namespace, name, subresource, query)


def _verb(method: str, query: dict[str, str], name: str, subresource: str) -> str:
    if method == "GET" and query.get("watch") in ("1", "true") and not subresource:
        return "watch"
    verbs = _SUBRESOURCE_VERBS if subresource else _OBJECT_VERBS if name else _COLLECTION_VERBS
    if method not in verbs:
        raise method_not_allowed()
    return verbs[method]
