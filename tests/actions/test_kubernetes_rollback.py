"""The rollback of Deployments, against the fake API server with its Deployment controller."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from actions.cluster import template_of
from actions.guards.register import checks
from actions.guards.situation import Situation
from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, Step, keyed
from actions.ports import Conflict, Permanent, StepState, Transient
from analyzer.check import CheckOutcome
from analyzer.policy import Policy
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import Access, AskReadiness, FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import (
    cluster,
    deploy,
    deployment,
    image,
    manifest,
    patch,
    replica_set,
    settle,
    writes,
)


@dataclass
class Stage:
    """A Deployment that came from shop:1 to shop:2."""

    api: FakeKubeApi
    connection: Connection
    actuator: KubernetesRollback

    def revision(self, of_image: str) -> Revision:
        found = self.api.wait_until(lambda api: replica_set(api, of_image))
        assert found is not None
        return Revision(found["metadata"]["uid"], found["metadata"]["labels"]["pod-template-hash"])

    def rollout(self, canary: str = "shop:2", baseline: str | None = "shop:1") -> Rollout:
        return Rollout(
            workload=Workload("test", "default", "Deployment", "shop"),
            canary=self.revision(canary),
            baseline=self.revision(baseline) if baseline else None,
            canary_instances=(),
            baseline_instances=(),
            id_labels=("namespace", "pod"),
            started_at=0.0,
        )

    def step(self, canary: str = "shop:2", baseline: str = "shop:1") -> Step:
        rollout = self.rollout(canary, baseline)
        draft = self.actuator.propose(rollout)
        assert draft.refusals == ()
        assert rollout.baseline is not None
        plan = Plan(
            rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, draft.steps
        )
        return keyed(plan).steps[0]

    def refusals(self, rollout: Rollout) -> str:
        draft = self.actuator.propose(rollout)
        assert draft.steps == ()
        situation = Situation(
            Policy("p", (), actuators=("undo",)), rollout, [("undo", draft)], (), 0
        )
        said = [c.text for c in checks(situation) if c.outcome is CheckOutcome.REFUSED]
        return "; ".join(said)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with cluster() as (api, connection):
        api.create(manifest())
        settle(api)
        deploy(api, "shop:2")
        settle(api)
        yield Stage(api, connection, KubernetesRollback(connection))


def test_the_whole_template_comes_back_with_fields_nobody_knows(stage: Stage) -> None:
    before = template_of(manifest())
    good = replica_set(stage.api, "shop:1")
    assert good is not None
    stage.actuator.perform(stage.step())
    settle(stage.api)
    restored = deployment(stage.api)["spec"]["template"]
    assert restored == template_of(good)
    assert restored["spec"]["anotherField"] == before["spec"]["anotherField"]
    assert restored["spec"]["containers"][0]["fieldOfTomorrow"] == {"keep": ["me", None, 0]}
    assert "pod-template-hash" not in restored["metadata"]["labels"]
    # The very ReplicaSet took over again: had one byte changed, there would be a third.
    assert len(stage.api.list_objects("apps/v1", "ReplicaSet")) == 2


def test_people_can_read_what_happened(stage: Stage) -> None:
    step = stage.step()
    assert step.describe() == (
        f"roll default/shop back from {stage.revision('shop:2').label} "
        f"to {stage.revision('shop:1').label} (shop:2 to shop:1)"
    )
    patch(stage.api, metadata={"annotations": {"theirs": "stays"}})
    stage.actuator.perform(step)
    annotations = deployment(stage.api)["metadata"]["annotations"]
    bad, good = stage.revision("shop:2").label, stage.revision("shop:1").label
    assert (
        annotations["kubernetes.io/change-cause"] == f"rollbackd: rolled back from {bad} to {good}"
    )
    assert annotations["rollbackd.io/rolled-back-from"] == bad
    assert annotations["rollbackd.io/rolled-back-to"] == good
    assert annotations["rollbackd.io/plan"] == step.key
    assert annotations["theirs"] == "stays"


def test_it_settles_before_it_is_done(stage: Stage) -> None:
    step = stage.step()
    may_be_ready = threading.Event()
    stage.api.set_readiness(AskReadiness(lambda _: may_be_ready.is_set()))
    stage.actuator.perform(step)
    restored = f"pod-template-hash={step.desired['revision']}"
    stage.api.wait_until(lambda api: api.list_objects("v1", "Pod", label_selector=restored))
    assert stage.actuator.inspect(step) is StepState.SETTLING
    may_be_ready.set()
    stage.api.wait_until(lambda _: stage.actuator.inspect(step) is StepState.DONE)


def test_a_second_rollback_does_not_return_to_the_bad_revision(stage: Stage) -> None:
    stage.actuator.perform(stage.step())
    settle(stage.api)
    deploy(stage.api, "shop:3")
    settle(stage.api)
    step = stage.step("shop:3", "shop:1")
    stage.actuator.perform(step)
    settle(stage.api)
    assert image(stage.api) == "shop:1"
    # The step of the first rollback finds its desired state and leaves it alone.
    before = writes(stage.api)
    stage.actuator.perform(step)
    assert writes(stage.api) == before


def everything_refused() -> list[tuple[str, Callable[[Stage], Rollout], str]]:
    def no_baseline(stage: Stage) -> Rollout:
        return stage.rollout(baseline=None)

    def baseline_gone(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        stage.api.delete("apps/v1", "ReplicaSet", f"shop-{stage.revision('shop:1').label}")
        return rollout

    def no_history(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        patch(stage.api, spec={"revisionHistoryLimit": 0})
        return rollout

    def paused(stage: Stage) -> Rollout:
        patch(stage.api, spec={"paused": True})
        return stage.rollout()

    def deleted(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        stage.api.delete("apps/v1", "Deployment", "shop")
        return rollout

    def newer(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        deploy(stage.api, "shop:3")
        return rollout

    def already_back(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        deploy(stage.api, "shop:1")
        return rollout

    def made_anew(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        stage.api.delete("apps/v1", "Deployment", "shop")
        stage.api.create(manifest("shop:2"))
        return rollout

    def not_a_deployment(stage: Stage) -> Rollout:
        workload = Workload("test", "default", "Static", "shop")
        return replace(stage.rollout(), workload=workload)

    def same_revision(stage: Stage) -> Rollout:
        rollout = stage.rollout()
        return replace(rollout, baseline=rollout.canary)

    return [
        ("no baseline", no_baseline, "has no earlier ReplicaSet to go back to"),
        ("baseline gone", baseline_gone, "the last good one, is gone"),
        ("no history", no_history, "keeps no history"),
        ("paused", paused, "was paused by hand"),
        ("deleted", deleted, "no longer exists"),
        ("newer", newer, "another change is on its way"),
        ("already back", already_back, "already has the template"),
        ("made anew", made_anew, "is gone"),
        ("not a Deployment", not_a_deployment, "is a Static, not a Deployment"),
        ("same revision", same_revision, "have the same template"),
    ]


@pytest.mark.parametrize(
    ("made", "said"),
    [pytest.param(made, said, id=name) for name, made, said in everything_refused()],
)
def test_it_refuses_with_a_sentence(
    stage: Stage, made: Callable[[Stage], Rollout], said: str
) -> None:
    rollout = made(stage)
    before = writes(stage.api)
    assert said in stage.refusals(rollout)
    assert writes(stage.api) == before


def test_all_reasons_are_given_at_once(stage: Stage) -> None:
    patch(stage.api, spec={"paused": True, "revisionHistoryLimit": 0})
    said = stage.refusals(stage.rollout())
    assert "paused" in said
    assert "history" in said


@dataclass
class Meddling:
    """The connection, with somebody else who acts between our read and our write."""

    connection: Connection
    meddle: Callable[[int], object]
    patches: int = 0

    def get(self, path: str) -> dict[str, Any] | None:
        return self.connection.get(path)

    def items(self, path: str, label_selector: str) -> Sequence[dict[str, Any]]:
        return self.connection.items(path, label_selector)

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self.patches += 1
        self.meddle(self.patches)
        return self.connection.patch(path, operations)


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replicas": 5}},
        {"metadata": {"annotations": {"theirs": "now"}}},
        {"spec": {"paused": True}},
        {"spec": {"template": {"metadata": {"annotations": {"note": "theirs"}}}}},
    ],
    ids=["replicas", "annotation", "pause", "template"],
)
def test_who_writes_at_the_same_time_wins(stage: Stage, change: dict[str, Any]) -> None:
    step = stage.step()
    actuator = KubernetesRollback(Meddling(stage.connection, lambda _: patch(stage.api, **change)))
    with pytest.raises(Conflict):
        actuator.perform(step)
    assert image(stage.api) == "shop:2"
    assert writes(stage.api) == 0


def test_progress_that_is_only_reported_is_no_concurrent_change(stage: Stage) -> None:
    def report(count: int) -> None:
        if count < 3:
            status = {"conditions": [{"type": f"Seen{count}", "status": "True"}]}
            stage.api.patch(
                "apps/v1", "Deployment", "shop", {"status": status}, subresource="status"
            )

    step = stage.step()
    KubernetesRollback(Meddling(stage.connection, report)).perform(step)
    assert image(stage.api) == "shop:1"
    assert writes(stage.api) == 1


def test_what_never_stops_changing_is_given_up(stage: Stage) -> None:
    def label(count: int) -> None:
        patch(stage.api, metadata={"labels": {"count": str(count)}})

    step = stage.step()
    with pytest.raises(Conflict, match="changes too often"):
        KubernetesRollback(Meddling(stage.connection, label)).perform(step)
    assert image(stage.api) == "shop:2"


@pytest.mark.parametrize("action", [FaultAction.DROP_AFTER, FaultAction.TRUNCATE])
def test_a_write_whose_answer_was_lost_has_one_effect(stage: Stage, action: FaultAction) -> None:
    step = stage.step()
    stage.api.add_fault(Fault(action, verb="patch", count=1))
    with pytest.raises(Transient):
        stage.actuator.perform(step)
    assert image(stage.api) == "shop:1"
    stage.actuator.perform(step)
    patches = [request for request in stage.api.requests() if request.verb == "patch"]
    assert len(patches) == 1


def test_a_write_that_is_late_meets_the_one_that_was_repeated(stage: Stage) -> None:
    step = stage.step()

    def the_late_one(count: int) -> None:
        if count == 1:
            KubernetesRollback(stage.connection).perform(step)

    KubernetesRollback(Meddling(stage.connection, the_late_one)).perform(step)
    settle(stage.api)
    assert writes(stage.api) == 1
    assert stage.actuator.inspect(step) is StepState.DONE


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (lambda api: deploy(api, "shop:3"), "no longer runs"),
        (lambda api: patch(api, spec={"paused": True}), "paused since"),
        (lambda api: api.delete("apps/v1", "Deployment", "shop"), "no longer the one"),
    ],
    ids=["newer", "paused", "deleted"],
)
def test_a_world_that_moved_on_is_a_conflict(
    stage: Stage, world: Callable[[FakeKubeApi], object], said: str
) -> None:
    step = stage.step()
    world(stage.api)
    with pytest.raises(Conflict, match=said):
        stage.actuator.perform(step)
    assert writes(stage.api) == 0


def test_a_baseline_that_went_is_a_conflict(stage: Stage) -> None:
    step = stage.step()
    stage.api.delete("apps/v1", "ReplicaSet", f"shop-{step.desired['revision']}")
    with pytest.raises(Conflict, match="is gone"):
        stage.actuator.perform(step)


@pytest.mark.parametrize(
    "world",
    [
        lambda api: deploy(api, "shop:3"),
        lambda api: api.delete("apps/v1", "Deployment", "shop"),
    ],
    ids=["newer", "deleted"],
)
def test_a_world_that_moved_on_is_seen(
    stage: Stage, world: Callable[[FakeKubeApi], object]
) -> None:
    step = stage.step()
    world(stage.api)
    assert stage.actuator.inspect(step) is StepState.MOVED_ON


def test_a_deployment_made_anew_is_another_one(stage: Stage) -> None:
    step = stage.step()
    stage.api.delete("apps/v1", "Deployment", "shop")
    stage.api.create(manifest("shop:2"))
    assert stage.actuator.inspect(step) is StepState.MOVED_ON


def test_without_the_right_a_person_is_needed(stage: Stage) -> None:
    step = stage.step()
    stage.api.set_access(Access(denied=frozenset({"patch deployments"})))
    with pytest.raises(Permanent, match="cannot patch"):
        stage.actuator.perform(step)
    assert stage.actuator.inspect(step) is StepState.PENDING


@pytest.mark.parametrize("verb", ["get", "list"])
def test_trouble_of_the_server_is_no_refusal(stage: Stage, verb: str) -> None:
    rollout = stage.rollout()
    stage.api.add_fault(Fault(FaultAction.ERROR, verb=verb, code=503))
    with pytest.raises(Transient):
        stage.actuator.propose(rollout)


def test_steps_carry_the_name_of_the_actuator(stage: Stage) -> None:
    named = KubernetesRollback(stage.connection, name="undo")
    assert [step.actuator for step in named.propose(stage.rollout()).steps] == ["undo"]
