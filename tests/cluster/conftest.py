"""The cluster under test: the fake, or the one that ``KUBECONFIG`` leads to."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from tests.fakes.kube_api import FakeKubeApi

T = TypeVar("T")

REAL = os.environ.get("ROLLBACKD_TEST_CLUSTER") == "1"
"""Set by ``make test-cluster``; a KUBECONFIG alone must not let tests write into its cluster."""

WAIT_S = 90.0
GOOD, BAD = "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10"
LABELS = {"app": "shop"}


@dataclass
class Place:
    """A namespace of one's own, and the connection to its cluster.

    ``controlled``: whether a Deployment controller runs. A bare control plane has none, and then
    the tests make the ReplicaSets that it would have made.
    """

    connection: Connection
    kubeconfig: Path
    namespace: str
    controlled: bool = True

    @property
    def deployments(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments"

    @property
    def replica_sets(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"

    def until(self, holds: Callable[[], T | None], seconds: float = WAIT_S) -> T | None:
        """Ask until the answer is true; return it, or None when the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := holds():
                return answer
            time.sleep(0.2)
        return None

    def deployment(self) -> dict[str, Any]:
        found = self.connection.get(f"{self.deployments}/shop")
        assert found is not None
        return found

    def replica_set(self, image: str) -> dict[str, Any] | None:
        for found in self.connection.items(self.replica_sets):
            if found["spec"]["template"]["spec"]["containers"][0]["image"] == image:
                return found
        return None

    def release(self, image: str) -> dict[str, Any]:
        """Roll an image out; return its ReplicaSet."""
        if self.connection.get(f"{self.deployments}/shop") is None:
            self.connection.request("POST", self.deployments, body=_deployment(image))
        else:
            container = {"name": "app", "image": image}
            change = {"spec": {"template": {"spec": {"containers": [container]}}}}
            kind = "application/strategic-merge-patch+json"
            path = f"{self.deployments}/shop"
            self.connection.request("PATCH", path, body=change, content_type=kind)
        seconds = WAIT_S if self.controlled else 0.1
        made = self.until(lambda: self.replica_set(image), min(seconds, 20.0))
        if made is None:
            self.controlled = False
            made = self._make_replica_set(image)
        return made

    def _make_replica_set(self, image: str) -> dict[str, Any]:
        """Make the ReplicaSet of the Deployment's template, as its controller would."""
        owner = self.deployment()
        hashed = f"{abs(hash(image)) % 10**8:08d}"
        labels = {**LABELS, "pod-template-hash": hashed}
        template = owner["spec"]["template"]
        template["metadata"] = {**template.get("metadata", {}), "labels": labels}
        body = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"shop-{hashed}",
                "labels": labels,
                "annotations": {
                    "deployment.kubernetes.io/revision": "1" if image == GOOD else "2"
                },
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": "shop",
                        "uid": owner["metadata"]["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }
        return self.connection.request("POST", self.replica_sets, body=body)


def _deployment(image: str) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": image,
        "resources": {"requests": {"cpu": "1m"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": LABELS},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS, "annotations": {"note": "ünïcode"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """Return the kubeconfig of the cluster under test."""
    if REAL:
        given = os.environ.get("KUBECONFIG", "")
        assert given, "make test-cluster needs KUBECONFIG"
        yield Path(given)
        return
    with FakeKubeApi() as api:
        yield api.write_kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def place(kubeconfig: Path) -> Iterator[Place]:
    """Make a namespace for one test, and delete it afterwards."""
    connection = Connection(ClusterAccess(kubeconfig=kubeconfig))
    name = f"rollbackd-test-{secrets.token_hex(4)}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    connection.request("POST", "/api/v1/namespaces", body=made)
    try:
        yield Place(connection, kubeconfig, name)
    finally:
        connection.request("DELETE", f"/api/v1/namespaces/{name}")
        connection.close()
