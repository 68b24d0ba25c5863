"""The documents by which clients learn what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.errors import unknown_resource

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.kinds import KindCatalogue, ResourceKind
    from tests.fakes.kube_api.objects.metadata import JsonObject

VERSION: JsonObject = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0-fake",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
_EMPTY_OPENAPI: JsonObject = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
    "paths": {},
    "definitions": {},
}
_SUBRESOURCE_VERBS = ["get", "patch", "update"]


def discovery_document(kinds: KindCatalogue, path: str) -> JsonObject | str:
    """Return the document at a path outside the resources; plain text for health checks.

    Raises:
        ApiError: 404 when there is none.
    """
    match [part for part in path.split("/") if part]:
        case []:
            return {"paths": ["/api", "/api/v1", "/apis", "/healthz", "/readyz", "/version"]}
        case ["healthz" | "readyz" | "livez", *_]:
            return "ok"
        case ["version"]:
            return VERSION
        case ["openapi", "v2"]:
            return _EMPTY_OPENAPI
        case ["openapi", "v3"]:
            return {"paths": {}}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["api", "v1"]:
            return _resource_list(kinds, "", "v1")
        case ["apis"]:
            groups = [_group(name, versions) for name, versions in kinds.groups().items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in kinds.groups():
            document = _group(group, kinds.groups()[group])
            return {"kind": "APIGroup", "apiVersion": "v1", **document}
        case ["apis", group, version] if version in kinds.groups().get(group, []):
            return _resource_list(kinds, group, version)
        case _:
            raise unknown_resource()


def _group(name: str, versions: list[str]) -> JsonObject:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(kinds: KindCatalogue, group: str, version: str) -> JsonObject:
    resources = []
    for kind in kinds:
        if (kind.group, kind.version) == (group, version):
            resources += _resources(kind)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _resources(kind: ResourceKind) -> list[JsonObject]:
    main: JsonObject = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    resources = [main]
    for subresource in kind.subresources:
        shown: JsonObject = {
            "name": f"{kind.plural}/{subresource}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": _SUBRESOURCE_VERBS,
        }
        if subresource == "scale":
            shown |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        resources.append(shown)
    return resources
