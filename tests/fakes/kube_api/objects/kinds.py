"""Which kinds are served: the built-in ones and those registered by CustomResourceDefinitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import unknown_resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .metadata import JsonObject

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
REVIEW_VERBS = ("create",)


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """One kind in one version, as discovery shows it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    is_custom: bool = False
    # Events of both groups are the same stored objects, so storage has a name of its own.
    storage_group: str | None = None
    scale_replicas_path: str = ".spec.replicas"
    # Of a custom kind: the OpenAPI schema of its definition.
    schema: JsonObject | None = field(default=None, compare=False)

    @property
    def api_version(self) -> str:
        """Return `group/version`, or just the version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """Return `plural.group`, the form which messages use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage(self) -> str:
        """Return the key under which all versions of this kind are stored together."""
        group = self.group if self.storage_group is None else self.storage_group
        return f"{group}/{self.plural}"

    @property
    def has_status(self) -> bool:
        """Say whether status is written through its own subresource."""
        return "status" in self.subresources


_STATUS = ("status",)
_STATUS_SCALE = ("status", "scale")

NAMESPACES = ResourceKind(
    "",
    "v1",
    "namespaces",
    "Namespace",
    namespaced=False,
    subresources=_STATUS,
    short_names=("ns",),
)
PODS = ResourceKind("", "v1", "pods", "Pod", subresources=_STATUS, short_names=("po",))
DEPLOYMENTS = ResourceKind(
    "apps", "v1", "deployments", "Deployment", subresources=_STATUS_SCALE, short_names=("deploy",)
)
REPLICA_SETS = ResourceKind(
    "apps", "v1", "replicasets", "ReplicaSet", subresources=_STATUS_SCALE, short_names=("rs",)
)
STATEFUL_SETS = ResourceKind(
    "apps", "v1", "statefulsets", "StatefulSet", subresources=_STATUS_SCALE, short_names=("sts",)
)
DAEMON_SETS = ResourceKind(
    "apps", "v1", "daemonsets", "DaemonSet", subresources=_STATUS, short_names=("ds",)
)
CONTROLLER_REVISIONS = ResourceKind("apps", "v1", "controllerrevisions", "ControllerRevision")
NODES = ResourceKind("", "v1", "nodes", "Node", namespaced=False, subresources=_STATUS)
CUSTOM_RESOURCE_DEFINITIONS = ResourceKind(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    subresources=_STATUS,
    short_names=("crd", "crds"),
)


def _review(group: str, plural: str, kind: str) -> ResourceKind:
    return ResourceKind(group, "v1", plural, kind, namespaced=False, verbs=REVIEW_VERBS)


BUILT_IN_KINDS = (
    NAMESPACES,
    PODS,
    ResourceKind("", "v1", "services", "Service", subresources=_STATUS, short_names=("svc",)),
    ResourceKind("", "v1", "configmaps", "ConfigMap", short_names=("cm",)),
    ResourceKind("", "v1", "secrets", "Secret"),
    ResourceKind("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",)),
    ResourceKind("", "v1", "events", "Event", short_names=("ev",)),
    NODES,
    ResourceKind(
        "", "v1", "resourcequotas", "ResourceQuota", subresources=_STATUS, short_names=("quota",)
    ),
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    CONTROLLER_REVISIONS,
    ResourceKind("events.k8s.io", "v1", "events", "Event", short_names=("ev",), storage_group=""),
    ResourceKind("coordination.k8s.io", "v1", "leases", "Lease"),
    ResourceKind(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        subresources=_STATUS,
        short_names=("hpa",),
    ),
    ResourceKind(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        subresources=_STATUS,
        short_names=("pdb",),
    ),
    ResourceKind(
        "networking.k8s.io",
        "v1",
        "ingresses",
        "Ingress",
        subresources=_STATUS,
        short_names=("ing",),
    ),
    CUSTOM_RESOURCE_DEFINITIONS,
    _review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    _review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    _review("authentication.k8s.io", "tokenreviews", "TokenReview"),
)


class KindCatalogue:
    """The kinds served right now; custom ones come and go with their definitions."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], ResourceKind] = {
            (kind.group, kind.version, kind.plural): kind for kind in BUILT_IN_KINDS
        }

    def __iter__(self) -> Iterator[ResourceKind]:
        return iter(tuple(self._kinds.values()))

    def find(self, group: str, version: str, plural: str) -> ResourceKind:
        """Return the kind behind a URL, or refuse with 404."""
        kind = self._kinds.get((group, version, plural))
        if kind is None:
            raise unknown_resource()
        return kind

    def of_object(self, obj: JsonObject) -> ResourceKind:
        """Return the kind an object says it is, or refuse with 404."""
        for kind in self._kinds.values():
            if kind.api_version == obj.get("apiVersion") and kind.kind == obj.get("kind"):
                return kind
        raise unknown_resource()

    def groups(self) -> dict[str, list[str]]:
        """Return the versions of each named group, in the order of registration."""
        found: dict[str, list[str]] = {}
        for kind in self._kinds.values():
            if kind.group and kind.version not in found.setdefault(kind.group, []):
                found[kind.group].append(kind.version)
        return found

    def register(self, definition: JsonObject) -> None:
        """Serve the kinds of a CustomResourceDefinition from now on."""
        self.unregister(definition)
        for kind in custom_kinds(definition):
            self._kinds[kind.group, kind.version, kind.plural] = kind

    def unregister(self, definition: JsonObject) -> None:
        """Serve the kinds of a CustomResourceDefinition no more."""
        spec = definition["spec"]
        for key in list(self._kinds):
            if key[0] == spec["group"] and key[2] == spec["names"]["plural"]:
                del self._kinds[key]


def custom_kinds(definition: JsonObject) -> list[ResourceKind]:
    """Read the served versions out of a CustomResourceDefinition."""
    spec = definition["spec"]
    names = spec["names"]
    kinds = []
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        subresources = version.get("subresources") or {}
        scale = subresources.get("scale") or {}
        kinds.append(
            ResourceKind(
                spec["group"],
                version["name"],
                names["plural"],
                names["kind"],
                namespaced=spec.get("scope", "Namespaced") == "Namespaced",
                subresources=tuple(part for part in ("status", "scale") if part in subresources),
                short_names=tuple(names.get("shortNames") or ()),
                is_custom=True,
                scale_replicas_path=scale.get("specReplicasPath", ".spec.replicas"),
                schema=(version.get("schema") or {}).get("openAPIV3Schema"),
            )
        )
    return kinds
