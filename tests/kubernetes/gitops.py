"""The owners that tests give the shop's Deployment: Argo CD's and Flux's objects, as they are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.manifests import custom_kind

AUTOMATED = {"prune": True, "selfHeal": True}
TRACKING = "argocd.argoproj.io/tracking-id"


@dataclass(frozen=True)
class Sample:
    """An owner, and the marks that it leaves on the Deployment ``default/shop``.

    ``by_hand``: a change of its sync by somebody, to neither what it was nor what a hold makes.
    """

    manifest: Mapping[str, Any]
    plural: str
    marks: Mapping[str, Any]
    by_hand: Callable[[FakeKubeApi, "Sample"], object]

    def create(self, api: FakeKubeApi) -> None:
        """Create the owner, and its kind and namespace before it."""
        group, version = str(self.manifest["apiVersion"]).split("/")
        api.create(custom_kind(group, version, self.plural, str(self.manifest["kind"])))
        namespace = {"name": self.manifest["metadata"]["namespace"]}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
        api.create(dict(self.manifest))

    def now(self, api: FakeKubeApi) -> dict[str, Any]:
        """Return the owner as it is."""
        metadata = self.manifest["metadata"]
        where = (metadata["name"], metadata["namespace"])
        return api.get(self.manifest["apiVersion"], self.manifest["kind"], *where)

    def patch(self, api: FakeKubeApi, change: dict[str, Any]) -> None:
        """Merge a change into the owner."""
        metadata = self.manifest["metadata"]
        where = (metadata["name"], change, metadata["namespace"])
        api.patch(self.manifest["apiVersion"], self.manifest["kind"], *where)

    def change_by_hand(self, api: FakeKubeApi) -> None:
        """Change the sync as somebody else."""
        self.by_hand(api, self)


def argo_application(automated: object = AUTOMATED, **metadata: object) -> Sample:
    """Return the Application ``argocd/shop``, which syncs by itself."""
    policy = {"syncOptions": ["CreateNamespace=true"]}
    if automated is not None:
        policy["automated"] = automated  # type: ignore[assignment]
    manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd", **metadata},
        "spec": {"project": "default", "syncPolicy": policy, "fieldOfTomorrow": [1]},
    }
    other = {"spec": {"syncPolicy": {"automated": {"prune": None, "selfHeal": None, "x": True}}}}
    marks = {"annotations": {TRACKING: "shop:apps/Deployment:default/shop"}}
    return Sample(manifest, "applications", marks, lambda api, sample: sample.patch(api, other))


def kustomization(**spec: object) -> Sample:
    """Return the Kustomization ``flux-system/shop``, which applies every ten minutes."""
    return _flux("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "flux-system", spec)


def helm_release(**spec: object) -> Sample:
    """Return the HelmRelease ``shops/shop``."""
    return _flux("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "shops", spec)


def _flux(
    group: str, version: str, kind: str, namespace: str, spec: Mapping[str, object]
) -> Sample:
    manifest = {
        "apiVersion": f"{group}/{version}",
        "kind": kind,
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {"interval": "10m", **spec},
    }
    marks = {"labels": {f"{group}/name": "shop", f"{group}/namespace": namespace}}
    # suspended by a person: the same sync, and nobody's mark
    somebody = {
        "spec": {"suspend": True},
        "metadata": {"annotations": {"rollbackd.io/held-by": "somebody"}},
    }
    return Sample(
        manifest, f"{kind.lower()}s", marks, lambda api, sample: sample.patch(api, somebody)
    )
