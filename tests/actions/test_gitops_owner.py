"""Who owns a workload, as its metadata tells."""

from typing import Any

import pytest

from actions.gitops_owner import Owner, OwnerKind, is_active, owners_of, undone_by

ARGO, KUSTOMIZATION, RELEASE, HELM = OwnerKind
TRACKING = "argocd.argoproj.io/tracking-id"


def deployment(
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    managers: tuple[str, ...] = (),
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "shop",
            "namespace": "default",
            "labels": labels,
            "annotations": annotations,
            "managedFields": [{"manager": manager} for manager in managers],
        },
    }


CASES: list[tuple[str, dict[str, Any], list[Owner]]] = [
    ("nobody", deployment(), []),
    ("kubectl", deployment(managers=("kubectl-client-side-apply",)), []),
    (
        "argo tracking id",
        deployment(annotations={TRACKING: "store:apps/Deployment:default/shop"}),
        [Owner(ARGO, "argocd", "store")],
    ),
    (
        "argo in any namespace",
        deployment(annotations={TRACKING: "teams_store:apps/Deployment:default/shop"}),
        [Owner(ARGO, "teams", "store")],
    ),
    (
        "a tracking id that was copied from another object",
        deployment(annotations={TRACKING: "store:apps/Deployment:default/other"}),
        [],
    ),
    (
        "argo instance label",
        deployment(labels={"argocd.argoproj.io/instance": "store"}),
        [Owner(ARGO, "argocd", "store")],
    ),
    (
        "the usual instance label, written by Argo CD",
        deployment({"app.kubernetes.io/instance": "store"}, None, ("argocd-controller",)),
        [Owner(ARGO, "argocd", "store")],
    ),
    ("the usual instance label alone", deployment({"app.kubernetes.io/instance": "store"}), []),
    (
        "argo that does not say which",
        deployment(managers=("argocd-application-controller",)),
        [Owner(ARGO, "argocd", "")],
    ),
    (
        "flux",
        deployment(
            {
                "kustomize.toolkit.fluxcd.io/name": "apps",
                "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            }
        ),
        [Owner(KUSTOMIZATION, "flux-system", "apps")],
    ),
    (
        "a release of Flux is no plain Helm release",
        deployment(
            {
                "helm.toolkit.fluxcd.io/name": "shop",
                "helm.toolkit.fluxcd.io/namespace": "shops",
                "app.kubernetes.io/managed-by": "Helm",
            },
            {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "default"},
        ),
        [Owner(RELEASE, "shops", "shop")],
    ),
    (
        "helm",
        deployment(None, {"meta.helm.sh/release-name": "web"}),
        [Owner(HELM, "default", "web")],
    ),
]


@pytest.mark.parametrize(
    ("found", "owners"), [pytest.param(found, owners, id=name) for name, found, owners in CASES]
)
def test_owners(found: dict[str, Any], owners: list[Owner]) -> None:
    assert list(owners_of(found, "argocd")) == owners


def test_owners_have_names_and_places() -> None:
    owner = Owner(ARGO, "argocd", "store")
    assert str(owner) == "Argo CD Application argocd/store"
    assert owner.path == "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/store"
    assert str(Owner(ARGO, "argocd", "")) == "an Argo CD Application"
    assert Owner(ARGO, "argocd", "").path is None
    assert Owner(HELM, "default", "web").path is None


@pytest.mark.parametrize(
    ("kind", "sync", "active"),
    [
        (ARGO, {"selfHeal": True}, True),
        (ARGO, {}, True),
        (ARGO, {"enabled": False}, False),
        (ARGO, None, False),
        (KUSTOMIZATION, None, True),
        (KUSTOMIZATION, False, True),
        (RELEASE, True, False),
    ],
)
def test_who_applies_by_itself(kind: OwnerKind, sync: object, active: bool) -> None:
    assert is_active(Owner(kind, "n", "x"), sync) is active


def test_what_would_undo_a_hold() -> None:
    owner = Owner(ARGO, "argocd", "shop")
    alone: dict[str, Any] = {"metadata": {"name": "shop", "namespace": "argocd"}}
    assert undone_by(alone, owner, "argocd") is None
    reference = {"kind": "ApplicationSet", "name": "shops"}
    made = {"metadata": {**alone["metadata"], "ownerReferences": [reference]}}
    assert undone_by(made, owner, "argocd") == "ApplicationSet shops"
    labels = {"argocd.argoproj.io/instance": "root"}
    child = {"metadata": {**alone["metadata"], "labels": labels}}
    assert undone_by(child, owner, "argocd") == "Argo CD Application argocd/root"
    flux = Owner(KUSTOMIZATION, "flux-system", "apps")
    assert undone_by(child, flux, "argocd") is None
