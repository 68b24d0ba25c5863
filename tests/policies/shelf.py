"""RollbackPolicies on the fake API server, and what follows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzer.rollout import Revision, Rollout, Workload
from analyzer.sample import Missing
from rollbackd.config import Config, load
from rollbackd.config.custom_resource import definition
from rollbackd.config.manifests import Limits
from rollbackd.config.models.policy_resource import API_VERSION, KIND
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.reflector import Pace
from rollbackd.policies.book import PolicyBook
from rollbackd.policies.resource import PolicyResource
from rollbackd.policies.source import PolicyResources
from tests.config.files import minimal, write
from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.manifests import custom_kind
from tests.kubernetes.shop import cluster

QUICK = Pace(watch_s=1.0, stale_s=600.0, short_watch_s=0.05, first_wait_s=0.05, longest_wait_s=0.2)
PATIENCE_S = 60.0
DEFINITION = definition()
ANYTHING = custom_kind("rollbackd.io", "v1alpha1", "rollbackpolicies", KIND)
"""A definition whose schema lets anything pass, as one of another version may."""


def policy(name: str = "checkout", namespace: str = "shop", **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a valid RollbackPolicy; ``spec`` adds to what it says."""
    errors = {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"signals": [errors], **spec},
    }


def rollout(name: str = "checkout", namespace: str = "shop", **parts: Any) -> Rollout:  # noqa: ANN401
    """Return a rollout of a Deployment."""
    kind = parts.pop("kind", "Deployment")
    workload = Workload("default", namespace, kind, name)
    return Rollout(
        workload, Revision("u2", "v2"), Revision("u1", "v1"), (), (), ("pod",), 0.0, **parts
    )


def configuration(folder: Path, mode: str = "enforce", **parts: Any) -> Config:  # noqa: ANN401
    """Return a configuration whose policy "default" matches everything, and that reads resources."""
    kubernetes = {"policy_resources": {"mode": mode}}
    return load(write(folder, minimal() | {"rollouts": {"kubernetes": kubernetes}} | parts))


@dataclass
class Shelf:
    """A cluster with RollbackPolicies, and the book that is read from it."""

    api: FakeKubeApi
    connection: Connection
    resources: PolicyResources
    book: PolicyBook

    def put(self, made: dict[str, Any]) -> None:
        """Create a policy, and its namespace if need be, and wait until it is read."""
        namespace, name = made["metadata"]["namespace"], made["metadata"]["name"]
        there = {each["metadata"]["name"] for each in self.api.list_objects("v1", "Namespace")}
        if namespace not in there:
            home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            self.api.create(home)
        self.api.create(made)
        self.until_read(name, namespace)

    def change(
        self, spec: dict[str, Any], name: str = "checkout", namespace: str = "shop"
    ) -> None:
        """Merge into the specification of a policy, and wait until that is read."""
        self.api.patch(API_VERSION, KIND, name, {"spec": spec}, namespace)
        self.until_read(name, namespace)

    def delete(self, name: str = "checkout", namespace: str = "shop") -> None:
        """Delete a policy, and wait until it is gone from the cache."""
        self.api.delete(API_VERSION, KIND, name, namespace)
        full = f"{namespace}/{name}"
        self.api.wait_until(
            lambda _: all(p.full_name != full for p in self.all()), seconds=PATIENCE_S
        )

    def until_read(self, name: str, namespace: str) -> None:
        """Wait until the newest version of a policy is in the cache."""
        wanted = self.stored(name, namespace)["metadata"]["generation"]
        full = f"{namespace}/{name}"
        self.api.wait_until(
            lambda _: any(p.full_name == full and p.generation == wanted for p in self.all()),
            seconds=PATIENCE_S,
        )

    def stored(self, name: str = "checkout", namespace: str = "shop") -> dict[str, Any]:
        """Return a policy as the server has it."""
        return self.api.get(API_VERSION, KIND, name, namespace)

    def chosen(self, *args: Any, **parts: Any) -> str | None:  # noqa: ANN401 - as rollout
        """Return the name of the policy that a rollout gets."""
        found = self.book.policy_for(rollout(*args, **parts))
        return found.name if found is not None else None

    def all(self) -> tuple[PolicyResource, ...]:
        """Return the policies in the cache."""
        found = self.resources.all()
        assert not isinstance(found, Missing)
        return found


@contextmanager
def shelf(config: Config, kind: dict[str, Any] | None = DEFINITION) -> Iterator[Shelf]:
    """Run a cluster that knows RollbackPolicies, unless ``kind`` is None, and follow them."""
    with cluster() as (api, connection):
        if kind is not None:
            api.create(kind)
        watched = config.rollouts.kubernetes
        assert watched is not None
        resources = PolicyResources(
            connection,
            watched.cluster,
            Limits.of(config),
            namespaces=watched.namespaces,
            pace=QUICK,
        )
        resources.start()
        try:
            assert all(r.wait_synced(PATIENCE_S) for r in resources.reflectors)
            yield Shelf(api, connection, resources, PolicyBook(config, resources))
        finally:
            resources.close()
