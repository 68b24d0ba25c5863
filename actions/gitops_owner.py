"""Who applies a workload from somewhere else, and would put back what we changed. Pure.

Told by labels and annotations that the tools write, and by managed fields where those do not name
the owner. A Helm release applies nothing by itself; the others reconcile on their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

JsonObject = Mapping[str, Any]

ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
ARGO_INSTANCE = "argocd.argoproj.io/instance"
INSTANCE = "app.kubernetes.io/instance"
"""Argo CD's label for tracking unless it is told otherwise; others use it, too."""
FLUX_KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
FLUX_HELM = "helm.toolkit.fluxcd.io"
HELM_RELEASE = "meta.helm.sh/release-name"
HELM_NAMESPACE = "meta.helm.sh/release-namespace"

ARGO_MANAGERS = frozenset({"argocd-controller", "argocd-application-controller"})


class OwnerKind(StrEnum):
    """The kinds of owners that are known."""

    ARGO_CD = "Argo CD Application"
    KUSTOMIZATION = "Flux Kustomization"
    HELM_RELEASE = "Flux HelmRelease"
    HELM = "Helm release"


_COLLECTIONS = {
    OwnerKind.ARGO_CD: ("/apis/argoproj.io/v1alpha1", "applications"),
    OwnerKind.KUSTOMIZATION: ("/apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    OwnerKind.HELM_RELEASE: ("/apis/helm.toolkit.fluxcd.io/v2", "helmreleases"),
}


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner; ``name`` is "" when there is one that does not say which."""

    kind: OwnerKind
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return what people call it: ``Argo CD Application argocd/shop``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.name else f"an {self.kind}"

    @property
    def path(self) -> str | None:
        """Where the API server keeps it; None for a Helm release and for one without a name."""
        if self.kind not in _COLLECTIONS or not self.name:
            return None
        root, plural = _COLLECTIONS[self.kind]
        return f"{root}/namespaces/{quote(self.namespace)}/{plural}/{quote(self.name)}"


def owners_of(found: JsonObject, argocd_namespace: str) -> tuple[Owner, ...]:
    """Return who applies an object, as its metadata tells.

    Args:
        found: the object, raw, with its managed fields.
        argocd_namespace: where Argo CD's Applications are unless they say otherwise.
    """
    metadata = found["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    owners = []
    argo = _argo(found, argocd_namespace)
    if argo is not None:
        owners.append(argo)
    for prefix, kind in (
        (FLUX_KUSTOMIZE, OwnerKind.KUSTOMIZATION),
        (FLUX_HELM, OwnerKind.HELM_RELEASE),
    ):
        name, namespace = labels.get(f"{prefix}/name"), labels.get(f"{prefix}/namespace")
        if name and namespace:
            owners.append(Owner(kind, namespace, name))
    by_flux = any(owner.kind is OwnerKind.HELM_RELEASE for owner in owners)
    release = annotations.get(HELM_RELEASE)
    if release and not by_flux:
        home = annotations.get(HELM_NAMESPACE) or metadata.get("namespace", "")
        owners.append(Owner(OwnerKind.HELM, home, release))
    return tuple(owners)


def _argo(found: JsonObject, home: str) -> Owner | None:
    """Return the Application of an object; its tracking id counts only when it is of this object.

    Controllers copy annotations from an object to those they make of it.
    """
    metadata = found["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    application, _, of = annotations.get(ARGO_TRACKING, "").partition(":")
    group = str(found.get("apiVersion", "")).rpartition("/")[0]
    own = f"{group}/{found.get('kind')}:{metadata.get('namespace', '')}/{metadata['name']}"
    if application and of == own:
        namespace, _, name = application.rpartition("_")
        return Owner(OwnerKind.ARGO_CD, namespace or home, name)
    if labels.get(ARGO_INSTANCE):
        return Owner(OwnerKind.ARGO_CD, home, labels[ARGO_INSTANCE])
    if ARGO_MANAGERS.isdisjoint(_managers(metadata)):
        return None
    return Owner(OwnerKind.ARGO_CD, home, labels.get(INSTANCE, ""))


def _managers(metadata: Mapping[str, Any]) -> Iterable[str]:
    return (str(field.get("manager")) for field in metadata.get("managedFields") or [])


# What an owner does by itself, and how it is told to stop: one value of its specification


def sync_of(owner: Owner, found: JsonObject) -> object:
    """Return the value that says whether an owner applies by itself; None when it is absent."""
    spec = found.get("spec") or {}
    if owner.kind is OwnerKind.ARGO_CD:
        return (spec.get("syncPolicy") or {}).get("automated")
    return spec.get("suspend")


def is_active(owner: Owner, sync: object) -> bool:
    """Tell from that value whether the owner applies by itself."""
    if owner.kind is OwnerKind.ARGO_CD:
        return isinstance(sync, Mapping) and sync.get("enabled") is not False
    return sync is not True


def held_sync(owner: Owner) -> object:
    """Return the value with which an owner applies nothing by itself."""
    return None if owner.kind is OwnerKind.ARGO_CD else True


def sync_operations(owner: Owner, found: JsonObject, sync: object) -> list[dict[str, Any]]:
    """Return the JSON patch that sets that value; None takes it away."""
    spec = found.get("spec") or {}
    before = sync_of(owner, found)
    path = "/spec/suspend"
    operations: list[dict[str, Any]] = []
    if owner.kind is OwnerKind.ARGO_CD:
        path = "/spec/syncPolicy/automated"
        if sync is not None and not isinstance(spec.get("syncPolicy"), Mapping):
            operations.append({"op": "add", "path": "/spec/syncPolicy", "value": {}})
    if sync is not None:
        operations.append({"op": "add", "path": path, "value": sync})
    elif before is not None:
        operations.append({"op": "remove", "path": path})
    return operations


def undone_by(found: JsonObject, owner: Owner, argocd_namespace: str) -> str | None:
    """Return who would undo a hold of an owner because it makes the owner itself, or None.

    Flux leaves ``suspend`` alone unless the parent's manifest sets it; Argo CD's parents do not
    leave ``automated`` alone.
    """
    if owner.kind is not OwnerKind.ARGO_CD:
        return None
    for reference in found["metadata"].get("ownerReferences") or []:
        if reference.get("kind") == "ApplicationSet":
            return f"ApplicationSet {reference.get('name')}"
    parents = owners_of(found, argocd_namespace)
    return next((str(p) for p in parents if p.kind is OwnerKind.ARGO_CD and p != owner), None)
