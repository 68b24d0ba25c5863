from datetime import UTC, datetime
from typing import Any

import pytest

from actions.cluster import template_digest
from rollbackd.rollouts.objects import Pod, deployment_of, pod_of, replica_set_of


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def owned(kind: str, **metadata: object) -> dict[str, Any]:
    return {
        "uid": "own",
        "namespace": "team",
        "name": "shop-1",
        "creationTimestamp": stamp(100),
        "ownerReferences": [
            {"kind": "Other", "uid": "passer-by"},
            {"kind": kind, "uid": "owner", "controller": True},
        ],
        **metadata,
    }


def pod(status: dict[str, Any], **metadata: object) -> Pod:
    found = pod_of({"metadata": owned("ReplicaSet", **metadata), "status": status})
    assert found is not None
    return found


def container(started_at: float | None, restarts: int = 0) -> dict[str, Any]:
    state = (
        {"waiting": {}} if started_at is None else {"running": {"startedAt": stamp(started_at)}}
    )
    return {"state": state, "restartCount": restarts}


@pytest.mark.parametrize(
    ("containers", "started_at"),
    [
        ([container(120)], 120),
        ([container(120), container(150)], 150),
        ([container(900, restarts=3)], 110),
        ([container(120), container(None)], 110),
        ([], 110),
    ],
    ids=["one", "the last of two", "restarted", "one waits", "none"],
)
def test_a_pod_is_as_old_as_its_last_container_but_restarts_do_not_make_it_young(
    containers: list[dict[str, Any]], started_at: float
) -> None:
    status = {"startTime": stamp(110), "containerStatuses": containers}
    assert pod(status).started_at == started_at


def test_a_pod_that_no_node_has_taken_counts_from_its_creation() -> None:
    assert pod({"phase": "Pending"}).started_at == 100


@pytest.mark.parametrize(
    ("conditions", "is_ready"),
    [
        ([{"type": "Ready", "status": "True"}], True),
        ([{"type": "Ready", "status": "False"}], False),
        ([{"type": "Initialized", "status": "True"}], False),
        (None, False),
    ],
)
def test_ready_is_what_the_condition_says(conditions: Any, is_ready: bool) -> None:  # noqa: ANN401  raw JSON
    assert pod({"conditions": conditions}).is_ready is is_ready


def test_a_pod_on_its_way_out_is_terminating() -> None:
    assert pod({}, deletionTimestamp=stamp(200)).is_terminating


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_no_instance(phase: str) -> None:
    assert pod_of({"metadata": owned("ReplicaSet"), "status": {"phase": phase}}) is None


def test_a_pod_that_nothing_manages_is_passed_over() -> None:
    assert pod_of({"metadata": owned("ReplicaSet", ownerReferences=None)}) is None


def test_a_replica_set_that_no_deployment_made_is_passed_over() -> None:
    raw = {"metadata": owned("Deployment"), "spec": {"template": {}}}
    assert replica_set_of(raw) is None


def test_the_hash_label_is_no_part_of_the_template() -> None:
    template = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": []}}
    hashed = {
        "metadata": {
            "labels": {"app": "shop", "pod-template-hash": "1a"},
            "creationTimestamp": None,
        },
        "spec": {"containers": []},
    }
    labels = {"pod-template-hash": "1a"}
    found = replica_set_of(
        {"metadata": owned("Deployment", labels=labels), "spec": {"template": hashed}}
    )
    assert found is not None
    assert found.template == template_digest({"spec": {"template": template}})
    assert (found.deployment, found.hash, found.replicas) == ("owner", "1a", 1)


def test_a_deployment_is_read_with_its_annotations() -> None:
    annotations = {
        "rollbackd.io/policy": "strict",
        "rollbackd.io/rolled-back-from": "bad",
        "rollbackd.io/rolled-back-to": "good",
        "deployment.kubernetes.io/revision": "7",
    }
    metadata = owned("", annotations=annotations, labels={"a": "b"}, generation=3)
    spec = {"replicas": 2, "paused": True, "template": {}}
    found = deployment_of(
        {"metadata": metadata, "spec": spec, "status": {"observedGeneration": 2}}
    )
    assert (found.policy, found.rolled_back_from, found.rolled_back_to) == (
        "strict",
        "bad",
        "good",
    )
    assert (found.revision, found.replicas, found.labels) == (7, 2, {"a": "b"})
    assert (found.is_paused, found.is_observed, found.is_deleting) == (True, False, False)
