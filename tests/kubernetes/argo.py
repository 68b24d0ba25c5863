"""A Rollout of Argo on the fake API server: the tests play Argo's controller."""

from typing import Any

from actions.argo_abort import KIND
from analyzer.rollout import Revision, Rollout, Workload
from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.manifests import custom_kind

VERSION = "argoproj.io/v1alpha1"
HASH = "rollouts-pod-template-hash"
STABLE, CURRENT = "v1", "v2"


def install(api: FakeKubeApi) -> None:
    """Make the cluster know Rollouts."""
    group, _, version = VERSION.partition("/")
    api.create(custom_kind(group, version, "rollouts", KIND))


def manifest(
    name: str, namespace: str = "default", labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a Rollout of three pods."""
    return {
        "apiVersion": VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": name}},
        "spec": {"replicas": 3, "strategy": {"canary": {"steps": [{"setWeight": 20}]}}},
    }


def begin(api: FakeKubeApi, made: dict[str, Any]) -> None:
    """Create a Rollout that is on its way from v1, with two pods, to v2, with one."""
    stored = api.create(made)
    metadata = stored["metadata"]
    for number, (name, replicas) in enumerate(((STABLE, 2), (CURRENT, 1)), 1):
        labels = {"app": metadata["name"], HASH: name}
        owner = {
            "apiVersion": VERSION,
            "kind": KIND,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        container = {"name": "app", "image": f"shop:{number}"}
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{name}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {"rollout.argoproj.io/revision": str(number)},
                "ownerReferences": [owner],
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
        api.create(replica_set)
    say(
        api,
        metadata["name"],
        metadata["namespace"],
        stableRS=STABLE,
        currentPodHash=CURRENT,
        observedGeneration=str(metadata["generation"]),
        phase="Progressing",
        availableReplicas=2,
    )


def say(api: FakeKubeApi, name: str, namespace: str = "default", **status: object) -> None:
    """Write into a Rollout's status, as its controller does."""
    api.patch(VERSION, KIND, name, {"status": status}, namespace, subresource="status")


def found(api: FakeKubeApi, name: str) -> dict[str, Any]:
    """Return the Rollout as it is now."""
    return api.get(VERSION, KIND, name)


def rollout(api: FakeKubeApi, name: str) -> Rollout:
    """Return what is to be seen of it."""

    def revision(hash_: str) -> Revision:
        replica_set = api.get("apps/v1", "ReplicaSet", f"{name}-{hash_}")
        return Revision(replica_set["metadata"]["uid"], hash_)

    return Rollout(
        workload=Workload("test", "default", KIND, name),
        canary=revision(CURRENT),
        baseline=revision(STABLE),
        canary_instances=(),
        baseline_instances=(),
        id_labels=("namespace", "pod"),
        started_at=0.0,
    )
