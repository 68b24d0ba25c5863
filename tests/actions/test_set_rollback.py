"""The rollback of StatefulSets and DaemonSets, against the fake API server's controllers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from actions.apply import Applier, Done, Patience
from actions.cluster import template_digest
from actions.plan import Plan, Step, keyed
from actions.ports import Conflict, Permanent, StepState
from actions.set_rollback import SetRollback
from analyzer.rollout import Rollout, Workload
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import Access, FakeKubeApi, NeverReady, ReadyAfter
from tests.fakes.memory_journal import MemoryJournal
from tests.kubernetes import sets
from tests.kubernetes.shop import cluster, writes


@dataclass
class Stage:
    """A set that is on its way from db:1 to db:2."""

    api: FakeKubeApi
    connection: Connection
    kind: str

    def rollout(self) -> Rollout:
        return Rollout(
            workload=Workload("test", "default", self.kind, "db"),
            canary=sets.revision(self.api, "db:2"),
            baseline=sets.revision(self.api, "db:1"),
            canary_instances=(),
            baseline_instances=(),
            id_labels=("namespace", "pod"),
            started_at=0.0,
        )

    def actuator(self, *, deletes: bool = False) -> SetRollback:
        return SetRollback(self.connection, pods=self.connection if deletes else None)

    def plan(self, *, deletes: bool = False) -> Plan:
        rollout = self.rollout()
        draft = self.actuator(deletes=deletes).propose(rollout)
        assert draft.refusals == ()
        assert rollout.baseline is not None
        workload, good = rollout.workload, rollout.baseline
        return keyed(Plan("w", workload, rollout.canary, good, draft.steps))

    def step(self) -> Step:
        (step,) = self.plan().steps
        return step

    def refusals(self, rollout: Rollout | None = None) -> str:
        draft = self.actuator().propose(rollout or self.rollout())
        assert draft.steps == ()
        return "; ".join(draft.refusals)

    def becomes_stuck(self) -> None:
        """Release db:2, which never becomes ready."""
        self.api.set_readiness(NeverReady())
        sets.deploy(self.api, self.kind, "db:2")

        def is_stuck(api: FakeKubeApi) -> bool:
            return len(sets.pods(api, "db:2")) == 1

        self.api.wait_until(is_stuck, what="db:2 is stuck")


@contextmanager
def begun(kind: str, **spec: object) -> Iterator[Stage]:
    with cluster() as (api, connection):
        sets.create(api, kind, **spec)
        yield Stage(api, connection, kind)


@contextmanager
def released(kind: str, **spec: object) -> Iterator[Stage]:
    with begun(kind, **spec) as stage:
        sets.deploy(stage.api, kind, "db:2")
        sets.settle(stage.api, kind)
        yield stage


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return True


KINDS = pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])


@KINDS
def test_the_whole_template_comes_back_and_people_can_read_why(kind: str) -> None:
    with begun(kind) as stage:
        before = sets.found(stage.api, kind)["spec"]["template"]
        sets.deploy(stage.api, kind, "db:2")
        sets.settle(stage.api, kind)
        rollout, step = stage.rollout(), stage.step()
        stage.actuator().perform(step)
        sets.settle(stage.api, kind)
        after = sets.found(stage.api, kind)
        assert after["spec"]["template"] == before
        assert after["metadata"]["annotations"]["kubernetes.io/change-cause"] == (
            f"rollbackd: rolled back from {rollout.canary.label} "
            f"to {rollout.baseline and rollout.baseline.label}"
        )
        assert "(db:2 to db:1)" in step.describe()
        # The very revision took over again: had one byte changed, there would be a third.
        assert len(stage.api.list_objects("apps/v1", "ControllerRevision")) == 2


@KINDS
def test_it_is_done_only_when_every_pod_is_back(kind: str) -> None:
    """The bad pods may be ready, and a StatefulSet calls the old revision its current one."""
    with released(kind) as stage:
        step, actuator = stage.step(), stage.actuator()
        actuator.perform(step)

        def is_done(api: FakeKubeApi) -> bool:
            state = actuator.inspect(step)
            assert state in {StepState.SETTLING, StepState.DONE}
            assert state is StepState.SETTLING or not sets.pods(api, "db:2")
            return state is StepState.DONE

        stage.api.wait_until(is_done, what="done")


def test_a_rollback_half_way_waits_for_the_pods_that_are_bad_and_ready() -> None:
    with begun(
        "StatefulSet", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    ) as stage:
        sets.deploy(stage.api, "StatefulSet", "db:2")
        stage.api.wait_until(
            lambda api: (
                sets.found(api, "StatefulSet")["status"].get("readyReplicas") == 3
                and len(sets.pods(api, "db:2")) == 1
            )
        )
        step, actuator = stage.step(), stage.actuator()
        actuator.perform(step)
        stage.api.wait_until(lambda _: actuator.inspect(step) is StepState.DONE)
        assert len(sets.pods(stage.api, "db:1")) == 3
        rolling = sets.found(stage.api, "StatefulSet")["spec"]["updateStrategy"]
        assert rolling["rollingUpdate"] == {"partition": 2}


@KINDS
def test_pods_that_change_only_by_hand_are_refused(kind: str) -> None:
    with begun(kind, updateStrategy={"type": "OnDelete"}) as stage:
        sets.deploy(stage.api, kind, "db:2")
        assert "OnDelete" in stage.refusals()


@KINDS
def test_what_an_operator_manages_is_left_to_it(kind: str) -> None:
    with released(kind) as stage:
        owner = {
            "apiVersion": "postgresql.example.com/v1",
            "kind": "Database",
            "name": "orders",
            "uid": "1",
            "controller": True,
        }
        metadata = {"metadata": {"ownerReferences": [owner]}}
        stage.api.patch("apps/v1", kind, "db", metadata)
        assert "managed by Database orders (postgresql.example.com)" in stage.refusals()


@KINDS
def test_a_set_without_history_is_refused(kind: str) -> None:
    with released(kind, revisionHistoryLimit=0) as stage:
        assert "revisionHistoryLimit is 0" in stage.refusals()


@KINDS
def test_a_newer_release_is_refused(kind: str) -> None:
    with released(kind) as stage:
        rollout = stage.rollout()
        sets.deploy(stage.api, kind, "db:3")
        assert "another change is on its way" in stage.refusals(rollout)


@KINDS
def test_revisions_and_sets_that_are_gone_are_refused(kind: str) -> None:
    with released(kind) as stage:
        rollout = stage.rollout()
        assert rollout.baseline is not None
        other = replace(rollout, baseline=replace(rollout.baseline, id="somebody-else"))
        assert "the last good one, is gone" in stage.refusals(other)
        assert "has no earlier revision" in stage.refusals(replace(rollout, baseline=None))
        stage.api.delete("apps/v1", "ControllerRevision", f"db-{rollout.canary.label}")
        stage.api.delete("apps/v1", kind, "db")
        stage.api.wait_until(lambda _: "no longer exists" in stage.refusals(rollout))


@KINDS
def test_without_the_right_to_write_nothing_is_tried_again(kind: str) -> None:
    with released(kind) as stage:
        step = stage.step()
        plural = f"{kind.lower()}s"
        stage.api.set_access(Access(denied=frozenset({f"patch {plural}"})))
        with pytest.raises(Permanent):
            stage.actuator().perform(step)
        assert writes(stage.api) == 0


def test_other_kinds_are_refused() -> None:
    with released("DaemonSet") as stage:
        job = replace(stage.rollout(), workload=Workload("test", "default", "Job", "db"))
        assert stage.refusals(job) == "default/db is a Job, not a set of pods"


# A StatefulSet that waits for a pod which cannot start


def test_a_stuck_pod_is_named_and_the_rollback_refused_unless_it_may_be_deleted() -> None:
    with begun("StatefulSet") as stage:
        stage.becomes_stuck()
        said = stage.refusals()
        assert "waits for db-2" in said
        assert "delete_stuck_pods" in said


def test_a_stuck_pod_is_deleted_once_the_template_is_back() -> None:
    with begun("StatefulSet") as stage:
        stage.becomes_stuck()
        plan = stage.plan(deletes=True)
        assert len(plan.steps) == 2
        assert "(db-2)" in plan.steps[1].describe()
        # What comes next is ready: only the pods of db:2 never are.
        for pod in sets.pods(stage.api, "db:2"):
            stage.api.set_pod_status(pod["metadata"]["name"], is_ready=False)
        stage.api.set_readiness(ReadyAfter())
        actuators = {"kubernetes-rollback": stage.actuator(deletes=True)}
        quick = Patience(poll_s=0.05, settle_s=30.0)
        applier = Applier(actuators, MemoryJournal(), time.time, _pause, quick)
        assert applier.carry_out(plan) == Done()
        assert len(sets.pods(stage.api, "db:1")) == 3
        deleted = [r.path for r in stage.api.requests() if r.method == "DELETE"]
        assert deleted == ["/api/v1/namespaces/default/pods/db-2"]


def test_a_template_that_alone_goes_back_would_wait_for_ever() -> None:
    """What the second step is for."""
    with begun("StatefulSet") as stage:
        stage.becomes_stuck()
        first, second = stage.plan(deletes=True).steps
        actuator = stage.actuator(deletes=True)
        actuator.perform(first)
        stage.api.wait_until(lambda _: actuator.inspect(first) is StepState.DONE)
        assert actuator.inspect(second) is StepState.PENDING
        assert len(sets.pods(stage.api, "db:2")) == 1


def test_pods_in_parallel_need_no_deletion() -> None:
    with begun("StatefulSet", podManagementPolicy="Parallel") as stage:
        stage.becomes_stuck()
        step = stage.step()
        stage.api.set_readiness(ReadyAfter())
        stage.actuator().perform(step)
        stage.api.wait_until(lambda _: stage.actuator().inspect(step) is StepState.DONE)


def test_a_deletion_that_is_no_longer_allowed_or_planned_does_nothing() -> None:
    with begun("StatefulSet") as stage:
        stage.becomes_stuck()
        first, second = stage.plan(deletes=True).steps
        with pytest.raises(Conflict, match="no longer on its way back"):
            stage.actuator(deletes=True).perform(second)
        stage.actuator().perform(first)
        with pytest.raises(Conflict, match="not allowed any more"):
            stage.actuator().perform(second)
        assert len(sets.pods(stage.api, "db:2")) == 1


def test_templates_of_a_set_and_its_revision_have_the_same_digest() -> None:
    with released("StatefulSet") as stage:
        digest = template_digest(sets.found(stage.api, "StatefulSet"))
        assert stage.step().expected["template"] == digest
