"""Who owns a workload and whether its earlier revision fits: asked for every kind that is written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from actions.canary_scale import KIND as CANARY_DEPLOYMENT
from actions.canary_scale import CanaryScale
from actions.facts import CannotStart, Fact, Owned, QuotaShort, Undersized, Unread
from actions.gitops_hold import GitOpsHold, GitOpsOwners
from actions.plan import Plan, keyed
from actions.ports import Actuator, StepState, Transient
from actions.service_switch import ServiceSwitch
from actions.set_rollback import SetRollback
from analyzer.rollout import Instance, Revision, Rollout, Workload
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.kubernetes import argo, blue_green, sets
from tests.kubernetes.gitops import TRACKING, argo_application, kustomization
from tests.kubernetes.shop import beside, cluster, replica_set

SETS = ("StatefulSet", "DaemonSet")


@dataclass
class Stage:
    """A workload of some kind on its way from version 1 to version 2, and its actuator."""

    api: FakeKubeApi
    connection: Connection
    actuator: Actuator
    rollout: Rollout
    place: tuple[str, str, str]
    """API version, kind and name of what a rollback changes."""

    def facts(self) -> tuple[Fact, ...]:
        draft = self.actuator.propose(self.rollout)
        assert draft.steps, draft.refusals
        return draft.facts

    def mark(self, **metadata: object) -> None:
        version, kind, name = self.place
        self.api.patch(version, kind, name, {"metadata": metadata})


def _rollout(kind: str, name: str, canary: Revision, baseline: Revision) -> Rollout:
    return Rollout(
        Workload("test", "default", kind, name),
        canary,
        baseline,
        (),
        (Instance(("default", "a")),),
        ("namespace", "pod"),
        0.0,
    )


def _revision(api: FakeKubeApi, image: str) -> Revision:
    metadata = (replica_set(api, image) or {})["metadata"]
    return Revision(metadata["uid"], metadata["labels"]["pod-template-hash"])


def made(api: FakeKubeApi, connection: Connection, kind: str) -> Stage:
    owners = GitOpsOwners(connection)
    actuator: Actuator
    if kind in SETS:
        sets.create(api, kind)
        sets.deploy(api, kind, "db:2")
        sets.settle(api, kind)
        revisions = sets.revision(api, "db:2"), sets.revision(api, "db:1")
        actuator = SetRollback(connection, owners=owners)
        seen = _rollout(kind, "db", *revisions)
        return Stage(api, connection, actuator, seen, ("apps/v1", kind, "db"))
    if kind == CANARY_DEPLOYMENT:
        beside(api)
        actuator, name = CanaryScale(connection, owners=owners), "shop-canary"
        place = ("apps/v1", "Deployment", name)
    else:
        blue_green.create(api)
        blue_green.switch(api, "green")
        actuator, name, place = (
            ServiceSwitch(connection, owners=owners),
            "shop",
            ("v1", kind, "shop"),
        )
    seen = _rollout(kind, name, _revision(api, "shop:2"), _revision(api, "shop:1"))
    return Stage(api, connection, actuator, seen, place)


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with cluster() as (api, connection):
        yield made(api, connection, request.param)


every_kind = pytest.mark.parametrize(
    "stage", [*SETS, CANARY_DEPLOYMENT, "Service"], indirect=True, ids=str
)
every_set = pytest.mark.parametrize("stage", SETS, indirect=True, ids=str)


# Owners


@every_kind
def test_an_owner_is_told_with_the_plan_and_can_be_held(stage: Stage) -> None:
    assert stage.facts() == ()
    owner = kustomization()
    owner.create(stage.api)
    stage.mark(**owner.marks)
    (fact,) = stage.facts()
    assert isinstance(fact, Owned)
    assert fact.syncs is True
    hold = GitOpsHold(stage.connection, GitOpsOwners(stage.connection))
    steps, rollout = hold.propose(stage.rollout).steps, stage.rollout
    assert rollout.baseline is not None
    plan = keyed(Plan("w", rollout.workload, rollout.canary, rollout.baseline, steps))
    (step,) = plan.steps
    hold.perform(step)
    assert hold.inspect(step) is StepState.DONE
    assert owner.now(stage.api)["spec"]["suspend"] is True
    (held,) = stage.facts()
    assert isinstance(held, Owned)
    assert held.syncs is False


@every_kind
def test_argo_cds_tracking_id_is_read_on_every_kind(stage: Stage) -> None:
    argo_application().create(stage.api)
    version, kind, name = stage.place
    group = version.rpartition("/")[0]
    stage.mark(annotations={TRACKING: f"shop:{group}/{kind}:default/{name}"})
    (fact,) = stage.facts()
    assert isinstance(fact, Owned)
    assert fact.owner == "Argo CD Application argocd/shop"


def test_what_a_controller_of_rollouts_owns_is_not_asked_for() -> None:
    """An abort is written into the status: nobody's manifest is changed by it."""
    with cluster() as (api, connection):
        argo.install(api)
        argo.begin(api, argo.manifest("shop"))
        seen = argo.rollout(api, "shop")
        assert GitOpsOwners(connection).of(seen) == ()
        canary = replace(seen, workload=replace(seen.workload, kind="Canary"))
        assert GitOpsOwners(connection).of(canary) == ()


# Capacity


def quota(api: FakeKubeApi, hard: dict[str, str], used: dict[str, str]) -> None:
    metadata = {"name": "team", "namespace": "default"}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {}})
    status = {"status": {"hard": hard, "used": used}}
    api.patch("v1", "ResourceQuota", "team", status, subresource="status")


@every_set
def test_a_quota_that_others_used_up_is_told(stage: Stage) -> None:
    quota(stage.api, {"pods": "4"}, {"pods": "4"})
    assert stage.facts() == ()  # each pod goes before the next one comes
    stage.api.delete("v1", "ResourceQuota", "team")
    quota(stage.api, {"pods": "4"}, {"pods": "5"})
    assert stage.facts() == (QuotaShort("team", "pods", 3.0, 2.0, 3),)


def test_a_daemon_set_that_starts_first_needs_room_for_one_more() -> None:
    with cluster() as (api, connection):
        stage = made(api, connection, "DaemonSet")
        quota(api, {"pods": "3"}, {"pods": "3"})
        assert stage.facts() == ()
        bounds = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        api.patch("apps/v1", "DaemonSet", "db", {"spec": {"updateStrategy": bounds}})
        assert stage.facts() == (QuotaShort("team", "pods", 1.0, 0.0, 1),)


def test_the_autoscaler_of_a_stateful_set_is_told() -> None:
    with cluster() as (api, connection):
        stage = made(api, connection, "StatefulSet")
        target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}
        scaler: dict[str, Any] = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "scaler", "namespace": "default"},
            "spec": {"scaleTargetRef": target, "minReplicas": 5, "maxReplicas": 9},
        }
        api.create(scaler)
        by = "HorizontalPodAutoscaler scaler"
        assert stage.facts() == (Undersized("StatefulSet db", 3, 5, by),)


def test_pods_of_the_earlier_revision_that_cannot_start_are_told() -> None:
    """Of a StatefulSet; a DaemonSet's controller replaces such a pod at once."""
    kind = "StatefulSet"
    with cluster() as (api, connection):
        sets.create(api, kind, podManagementPolicy="Parallel")
        template = sets.manifest(kind, "db:2")["spec"]["template"]
        template["metadata"]["annotations"] = {"fake.rollbackd.dev/ready-after": "never"}
        api.patch("apps/v1", kind, "db", {"spec": {"template": template}})  # pods of db:1 stay
        api.wait_until(lambda api: len(sets.pods(api, "db:2")) == 1)
        revisions = sets.revision(api, "db:2"), sets.revision(api, "db:1")
        seen = _rollout(kind, "db", *revisions)
        stage = Stage(api, connection, SetRollback(connection), seen, ("apps/v1", kind, "db"))
        assert stage.facts() == ()
        pod = sets.pods(api, "db:1")[0]["metadata"]["name"]
        waiting = {"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
        api.set_pod_status(pod, is_ready=False, status={"containerStatuses": [waiting]})
        assert stage.facts() == (CannotStart(revisions[1].label, 1, "ImagePullBackOff"),)


@pytest.mark.parametrize(
    ("stage", "resource"),
    [
        ("DaemonSet", "pods"),  # those of a StatefulSet in order must be read: one may be stuck
        *(
            (kind, each)
            for kind in SETS
            for each in ("horizontalpodautoscalers", "resourcequotas")
        ),
    ],
    indirect=["stage"],
)
def test_what_may_not_be_read_is_told_and_no_reason_to_refuse(stage: Stage, resource: str) -> None:
    stage.api.set_access(Access(denied=frozenset({f"list {resource}"})))
    (fact,) = stage.facts()
    assert isinstance(fact, Unread)
    assert "cannot list" in fact.why


@every_set
def test_passing_trouble_is_no_fact(stage: Stage) -> None:
    stage.api.add_fault(Fault(FaultAction.ERROR, verb="list", path="resourcequotas", code=503))
    with pytest.raises(Transient):
        stage.facts()


def test_a_stable_side_that_is_not_whole_is_told() -> None:
    with cluster() as (api, connection):
        stage = made(api, connection, CANARY_DEPLOYMENT)
        found = replica_set(api, "shop:1")
        assert found is not None
        pod = next(
            p["metadata"]["name"]
            for p in api.list_objects("v1", "Pod")
            if p["spec"]["containers"][0]["image"] == "shop:1"
        )
        api.set_pod_status(pod, is_ready=False)

        def is_seen(api: FakeKubeApi) -> bool:
            return ((replica_set(api, "shop:1") or {}).get("status") or {}).get(
                "readyReplicas"
            ) == 2

        api.wait_until(is_seen)
        what = "the stable Deployment beside default/shop-canary"
        assert stage.facts() == (Undersized(what, 2, 3, "its own size"),)
