"""What is read of pods, autoscalers and quotas, over HTTP; and the arithmetic behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from actions.facts import CannotStart, Fact, QuotaShort, Undersized, Unread
from actions.kubernetes_capacity import parse_quantity
from actions.kubernetes_rollback import KubernetesRollback
from actions.ports import Permanent, Transient
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import Access, AskReadiness, FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import cluster, deploy, manifest, patch, replica_set, rollout, settle


def sized(image: str, cpu: str = "500m") -> dict[str, Any]:
    """Return the Deployment, with a request for CPU."""
    made = manifest(image)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"requests": {"cpu": cpu}, "limits": {"memory": "1Gi"}}
    return made


@dataclass
class Stage:
    """A Deployment that went from shop:1 to shop:2; six tenths of the quota are used."""

    api: FakeKubeApi
    connection: Connection

    def facts(self, canary: str = "shop:2", baseline: str = "shop:1") -> tuple[Fact, ...]:
        draft = KubernetesRollback(self.connection).propose(rollout(self.api, canary, baseline))
        assert draft.steps
        return draft.facts

    def quota(self, hard: dict[str, str], used: dict[str, str], **spec: object) -> None:
        metadata = {"name": "team", "namespace": "default"}
        made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}
        self.api.create(made)
        status = {"status": {"hard": hard, "used": used}}
        self.api.patch("v1", "ResourceQuota", "team", status, subresource="status")

    def scaler(self, least: int, name: str = "shop") -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": 9}
        kind = "HorizontalPodAutoscaler"
        metadata = {"name": "scaler", "namespace": "default"}
        self.api.create(
            {"apiVersion": "autoscaling/v2", "kind": kind, "metadata": metadata, "spec": spec}
        )


@pytest.fixture
def stage() -> Iterator[Stage]:
    with cluster() as (api, connection):
        api.create(sized("shop:1"))
        settle(api)
        patch(api, spec={"template": sized("shop:2", cpu="1")["spec"]["template"]})
        settle(api)
        yield Stage(api, connection)


def test_where_nothing_limits_there_is_nothing_to_say(stage: Stage) -> None:
    stage.scaler(3)
    stage.quota(
        {"pods": "9", "requests.cpu": "9"}, {"pods": "3", "requests.cpu": "3"}
    )  # three pods of 1 CPU run; three of 0.5 CPU take their place
    assert stage.facts() == ()


def test_a_smaller_revision_fits_where_the_larger_one_was(stage: Stage) -> None:
    stage.quota({"cpu": "3", "pods": "4"}, {"cpu": "3", "pods": "3"})
    # nothing is free, and no pod may go first: 25 % of three pods is none
    assert stage.facts() == (QuotaShort("team", "cpu", 0.5, 0.0, 1),)
    bounds = {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    patch(stage.api, spec={"strategy": bounds})
    assert stage.facts() == ()


def test_a_quota_that_others_used_up_is_told(stage: Stage) -> None:
    patch(stage.api, spec={"strategy": {"rollingUpdate": {"maxUnavailable": 1}}})
    stage.quota({"requests.cpu": "3"}, {"requests.cpu": "4700m"})
    (fact,) = stage.facts()
    assert isinstance(fact, QuotaShort)
    assert fact.room == pytest.approx(1.3)
    assert (fact.needed, fact.instances) == (1.5, 3)


def test_what_the_template_does_not_say_and_what_is_scoped_does_not_count(stage: Stage) -> None:
    stage.quota({"requests.nvidia.com/gpu": "0"}, {"requests.nvidia.com/gpu": "0"})
    assert stage.facts() == ()
    stage.api.delete("v1", "ResourceQuota", "team")
    stage.quota({"pods": "0"}, {"pods": "0"}, scopes=["BestEffort"])
    assert stage.facts() == ()


def test_an_autoscaler_that_asks_for_more_is_told(stage: Stage) -> None:
    stage.scaler(4)
    assert stage.facts() == (
        Undersized("Deployment shop", 3, 4, "HorizontalPodAutoscaler scaler"),
    )


def test_the_autoscaler_of_another_workload_is_none_of_ours(stage: Stage) -> None:
    stage.scaler(4, "another")
    assert stage.facts() == ()


def test_pods_of_the_baseline_that_cannot_start_are_told(stage: Stage) -> None:
    stage.api.set_readiness(AskReadiness(lambda _: False))
    deploy(stage.api, "shop:3")  # it never becomes ready, so pods of shop:2 stay
    stage.api.wait_until(lambda api: replica_set(api, "shop:3"))
    baseline = replica_set(stage.api, "shop:2")
    assert baseline is not None
    label = baseline["metadata"]["labels"]["pod-template-hash"]
    assert stage.facts("shop:3", "shop:2") == ()
    selector = f"pod-template-hash={label}"
    first, second, *_ = stage.api.list_objects("v1", "Pod", label_selector=selector)
    for pod, reason in ((first, "ImagePullBackOff"), (second, "ContainerCreating")):
        waiting = {"name": "app", "state": {"waiting": {"reason": reason}}}
        status = {"containerStatuses": [waiting]}
        stage.api.set_pod_status(pod["metadata"]["name"], is_ready=False, status=status)
    # the one that is still being made may yet start
    assert stage.facts("shop:3", "shop:2") == (CannotStart(label, 1, "ImagePullBackOff"),)


@pytest.mark.parametrize("resource", ["pods", "horizontalpodautoscalers", "resourcequotas"])
def test_what_may_not_be_read_is_told_and_no_reason_to_refuse(stage: Stage, resource: str) -> None:
    stage.api.set_access(Access(denied=frozenset({f"list {resource}"})))
    (fact,) = stage.facts()
    assert isinstance(fact, Unread)
    assert "cannot list" in fact.why


def test_passing_trouble_is_no_fact(stage: Stage) -> None:
    stage.api.add_fault(Fault(FaultAction.ERROR, verb="list", path="resourcequotas", code=503))
    with pytest.raises(Transient):
        stage.facts()


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 0.5), ("1Gi", 2.0**30), ("2", 2.0), (3, 3.0), ("1e3", 1000.0), ("100k", 1e5)],
)
def test_quantities(text: str | float, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "many", "1.2.3", "5 Gi", "1Zi"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(Permanent, match="not a quantity"):
        parse_quantity(text)
