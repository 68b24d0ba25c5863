"""The Deployment that tests roll out, and what they do to it on the fake API server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from tests.fakes.kube_api import ClusterSettings, FakeKubeApi

DEPLOYMENTS = "/apis/apps/v1/deployments"
OUR_OWN = (
    "/apis/coordination.k8s.io/",
    "/apis/authorization.k8s.io/",
    "/apis/authentication.k8s.io/",
)
"""What a daemon writes for itself."""


@contextmanager
def cluster(settings: ClusterSettings | None = None) -> Iterator[tuple[FakeKubeApi, Connection]]:
    """Run an empty cluster; yield it and a connection to it."""
    with FakeKubeApi(settings) as api:
        connection = Connection(ClusterAccess(server=api.url))
        yield api, connection
        connection.close()


def manifest(image: str = "shop:1", name: str = "shop", **spec: object) -> dict[str, Any]:
    """Return a Deployment of three pods; ``spec`` overrides fields of its specification."""
    labels = {"app": name}
    container = {"name": "app", "image": image, "fieldOfTomorrow": {"keep": ["me", None, 0]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"note": "ünïcode"}},
                "spec": {"containers": [container], "anotherField": {"": [1.5, "2"]}},
            },
            **spec,
        },
    }


def beside(api: FakeKubeApi, canary: str = "shop:2") -> None:
    """Deploy shop:1, and a canary Deployment of another image beside it; wait for both."""
    for name, image, track in (("shop", "shop:1", "stable"), ("shop-canary", canary, "canary")):
        made = manifest(image, name)
        made["metadata"]["labels"] = {"app": "shop", "rollbackd.io/track": track}
        api.create(made)
    settle(api, "shop")
    settle(api, "shop-canary")


def deployment(api: FakeKubeApi, name: str = "shop", namespace: str = "default") -> dict[str, Any]:
    """Return the Deployment as it is now."""
    return api.get("apps/v1", "Deployment", name, namespace)


def patch(api: FakeKubeApi, name: str = "shop", **parts: object) -> dict[str, Any]:
    """Merge parts (``metadata``, ``spec``) into the Deployment."""
    return api.patch("apps/v1", "Deployment", name, parts)


def deploy(api: FakeKubeApi, image: str, name: str = "shop") -> None:
    """Change the image, as a new release does."""
    container = {"name": "app", "image": image, "fieldOfTomorrow": {"keep": ["me", None, 0]}}
    patch(api, name, spec={"template": {"spec": {"containers": [container]}}})


def image(api: FakeKubeApi, name: str = "shop") -> str:
    """Return the image that the Deployment asks for."""
    containers = deployment(api, name)["spec"]["template"]["spec"]["containers"]
    return str(containers[0]["image"])


def replica_set(api: FakeKubeApi, image: str) -> dict[str, Any] | None:
    """Return the ReplicaSet that runs an image, None while there is none."""
    for found in api.list_objects("apps/v1", "ReplicaSet"):
        if found["spec"]["template"]["spec"]["containers"][0]["image"] == image:
            return found
    return None


def revision(api: FakeKubeApi, image: str) -> Revision:
    """Return the revision that runs an image."""
    found = replica_set(api, image)
    assert found is not None
    return Revision(found["metadata"]["uid"], found["metadata"]["labels"]["pod-template-hash"])


def rollout(api: FakeKubeApi, canary: str = "shop:2", baseline: str = "shop:1") -> Rollout:
    """Return the rollout from one image to another."""
    return Rollout(
        workload=Workload("test", "default", "Deployment", "shop"),
        canary=revision(api, canary),
        baseline=revision(api, baseline),
        canary_instances=(),
        baseline_instances=(),
        id_labels=("namespace", "pod"),
        started_at=0.0,
    )


def settle(api: FakeKubeApi, name: str = "shop", namespace: str = "default") -> None:
    """Wait until the Deployment has finished its rollout."""

    def is_settled(_: FakeKubeApi) -> bool:
        found = deployment(api, name, namespace)
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = {status.get(c, 0) for c in ("replicas", "updatedReplicas", "availableReplicas")}
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(seen and counts == {wanted})

    api.wait_until(is_settled, what=f"{name} settled")


def writes(api: FakeKubeApi) -> int:
    """Count the changes that were written over HTTP so far, besides leases and access reviews."""
    return sum(
        request.method not in {"GET", "HEAD"}
        and not request.path.startswith(OUR_OWN)
        and (request.status or 500) < 300
        for request in api.requests()
    )
