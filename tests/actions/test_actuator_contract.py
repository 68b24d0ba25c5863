"""What every actuator promises, whatever it changes: one suite, a bench for each of them."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Protocol

import pytest

from actions.argo_abort import ArgoAbort
from actions.canary_scale import KIND as CANARY_DEPLOYMENT
from actions.canary_scale import CanaryScale
from actions.flagger_abort import FlaggerAbort
from actions.gitops_hold import GitOpsHold, GitOpsOwners
from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, Step, keyed
from actions.ports import Actuator, Conflict, StepState
from actions.service_switch import ServiceSwitch
from actions.set_rollback import SetRollback
from analyzer.rollout import Instance, Revision, Rollout, Workload
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes import argo, blue_green, flagger, sets
from tests.kubernetes.gitops import Sample, argo_application, helm_release, kustomization
from tests.kubernetes.shop import (
    beside,
    cluster,
    deploy,
    manifest,
    patch,
    replica_set,
    rollout,
    settle,
    writes,
)


class Bench(Protocol):
    """A world with a rollout under way, that an actuator works on."""

    rollout: Rollout

    def actuator(self) -> Actuator:
        """Return a new actuator, as after a restart."""

    def writes(self) -> int:
        """Count the changes that actuators made to this world so far."""

    def interfere(self) -> None:
        """Change as somebody else what the plan is about, to neither expected nor desired."""

    def wait_done(self, step: Step) -> None:
        """Wait until an actuator finds the step done; fail when it does not come to that."""


class KubernetesBench:
    """A Deployment on its way from shop:1 to shop:2."""

    def __init__(self, api: FakeKubeApi, connection: Connection) -> None:
        self._api = api
        self._connection = connection
        api.create(manifest("shop:1"))
        settle(api)
        deploy(api, "shop:2")
        settle(api)
        self.rollout = rollout(api)

    def _revision(self, image: str) -> Revision:
        found = replica_set(self._api, image)
        assert found is not None
        metadata = found["metadata"]
        return Revision(metadata["uid"], metadata["labels"]["pod-template-hash"])

    def actuator(self) -> Actuator:
        return KubernetesRollback(self._connection)

    def writes(self) -> int:
        return writes(self._api)

    def interfere(self) -> None:
        deploy(self._api, "shop:3")

    def wait_done(self, step: Step) -> None:
        self._api.wait_until(lambda _: self.actuator().inspect(step) is StepState.DONE)


class GitOpsBench(KubernetesBench):
    """The same Deployment, applied by an owner that is to be held."""

    def __init__(self, api: FakeKubeApi, connection: Connection, owner: Sample) -> None:
        super().__init__(api, connection)
        self._owner = owner
        owner.create(api)
        patch(api, metadata=owner.marks)

    def actuator(self) -> Actuator:
        return GitOpsHold(self._connection, GitOpsOwners(self._connection))

    def interfere(self) -> None:
        self._owner.change_by_hand(self._api)


@contextmanager
def kubernetes() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield KubernetesBench(api, connection)


class SetBench:
    """A StatefulSet or DaemonSet on its way from db:1 to db:2."""

    def __init__(self, api: FakeKubeApi, connection: Connection, kind: str) -> None:
        self._api, self._connection, self._kind = api, connection, kind
        sets.create(api, kind)
        sets.deploy(api, kind, "db:2")
        sets.settle(api, kind)
        self.rollout = Rollout(
            workload=Workload("test", "default", kind, "db"),
            canary=sets.revision(api, "db:2"),
            baseline=sets.revision(api, "db:1"),
            canary_instances=(),
            baseline_instances=(),
            id_labels=("namespace", "pod"),
            started_at=0.0,
        )

    def actuator(self) -> SetRollback:
        return SetRollback(self._connection)

    def writes(self) -> int:
        return writes(self._api)

    def interfere(self) -> None:
        sets.deploy(self._api, self._kind, "db:3")

    def wait_done(self, step: Step) -> None:
        self._api.wait_until(lambda _: self.actuator().inspect(step) is StepState.DONE)


@contextmanager
def stateful_set() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield SetBench(api, connection, "StatefulSet")


@contextmanager
def daemon_set() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield SetBench(api, connection, "DaemonSet")


class BesideBench(KubernetesBench):
    """A canary Deployment of shop:2 beside a stable one of shop:1."""

    def __init__(self, api: FakeKubeApi, connection: Connection) -> None:
        self._api = api
        self._connection = connection
        beside(api)
        self.rollout = Rollout(
            workload=Workload("test", "default", CANARY_DEPLOYMENT, "shop-canary"),
            canary=self._revision("shop:2"),
            baseline=self._revision("shop:1"),
            canary_instances=(),
            baseline_instances=(Instance(("default", "shop-0")),),
            id_labels=("namespace", "pod"),
            started_at=0.0,
        )

    def actuator(self) -> CanaryScale:
        return CanaryScale(self._connection)

    def interfere(self) -> None:
        deploy(self._api, "shop:3", "shop-canary")


@contextmanager
def canary_beside() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield BesideBench(api, connection)


class ArgoBench:
    """A Rollout of Argo; the test plays its controller."""

    def __init__(self, api: FakeKubeApi, connection: Connection) -> None:
        self._api, self._connection = api, connection
        argo.install(api)
        argo.begin(api, argo.manifest("shop"))
        self.rollout = argo.rollout(api, "shop")

    def actuator(self) -> ArgoAbort:
        return ArgoAbort(self._connection)

    def writes(self) -> int:
        return writes(self._api)

    def interfere(self) -> None:
        argo.say(self._api, "shop", currentPodHash="v3", abort=None, abortedAt=None)

    def wait_done(self, step: Step) -> None:
        argo.say(self._api, "shop", abortedAt="2026-11-20T10:00:00Z", availableReplicas=3)
        assert self.actuator().inspect(step) is StepState.DONE


@contextmanager
def argo_rollout() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield ArgoBench(api, connection)


@contextmanager
def argo_cd() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield GitOpsBench(api, connection, argo_application())


@contextmanager
def flux_kustomization() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield GitOpsBench(api, connection, kustomization())


@contextmanager
def flux_helm_release() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield GitOpsBench(api, connection, helm_release())


class FlaggerBench(KubernetesBench):
    """A Canary of Flagger that analyses shop:2; the test plays Flagger."""

    def __init__(self, api: FakeKubeApi, connection: Connection) -> None:
        self._api, self._connection = api, connection
        flagger.install(api)
        flagger.begin(api)
        self.rollout = Rollout(
            workload=Workload("test", "default", "Canary", "shop"),
            canary=self._revision("shop:2"),
            baseline=self._revision("shop:1"),
            canary_instances=(),
            baseline_instances=(),
            id_labels=("namespace", "pod"),
            started_at=0.0,
        )

    def actuator(self) -> FlaggerAbort:
        return FlaggerAbort(self._connection)

    def wait_done(self, step: Step) -> None:
        flagger.say(self._api, "Failed")
        assert self.actuator().inspect(step) is StepState.DONE


@contextmanager
def flagger_canary() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield FlaggerBench(api, connection)


class SwitchBench(KubernetesBench):
    """A Service that was switched from a blue Deployment of shop:1 to a green one of shop:2."""

    def __init__(self, api: FakeKubeApi, connection: Connection) -> None:
        self._api, self._connection = api, connection
        blue_green.create(api)
        blue_green.switch(api, "green")
        self.rollout = Rollout(
            workload=Workload("test", "default", "Service", "shop"),
            canary=self._revision("shop:2"),
            baseline=self._revision("shop:1"),
            canary_instances=(),
            baseline_instances=(),
            id_labels=("namespace", "pod"),
            started_at=0.0,
        )

    def actuator(self) -> ServiceSwitch:
        return ServiceSwitch(self._connection)

    def interfere(self) -> None:
        blue_green.switch(self._api, "red")


@contextmanager
def switched_service() -> Iterator[Bench]:
    with cluster() as (api, connection):
        yield SwitchBench(api, connection)


BENCHES = [
    kubernetes,
    stateful_set,
    daemon_set,
    canary_beside,
    argo_rollout,
    switched_service,
    flagger_canary,
    argo_cd,
    flux_kustomization,
    flux_helm_release,
]


@pytest.fixture(params=BENCHES, ids=lambda bench: bench.__name__)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    running: AbstractContextManager[Bench] = request.param()
    with running as made:
        yield made


def planned(bench: Bench) -> Step:
    """Return the one step that is proposed, with its key, as the journal gives it back."""
    rollout = bench.rollout
    draft = bench.actuator().propose(rollout)
    assert draft.refusals == ()
    assert rollout.baseline is not None
    plan = Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, draft.steps)
    (step,) = keyed(plan).steps
    return Step(**json.loads(json.dumps(asdict(step))))


def test_proposing_changes_nothing_and_says_the_same_twice(bench: Bench) -> None:
    assert planned(bench) == planned(bench)
    assert bench.writes() == 0


def test_a_step_says_in_one_line_what_it_would_change(bench: Bench) -> None:
    line = planned(bench).describe()
    assert line
    assert "\n" not in line


def test_looking_changes_nothing(bench: Bench) -> None:
    step = planned(bench)
    assert bench.actuator().inspect(step) is StepState.PENDING
    assert bench.actuator().inspect(step) is StepState.PENDING
    assert bench.writes() == 0


def test_a_step_is_carried_out_once(bench: Bench) -> None:
    step = planned(bench)
    actuator = bench.actuator()
    actuator.perform(step)
    assert actuator.inspect(step) in {StepState.SETTLING, StepState.DONE}
    written = bench.writes()
    assert written > 0
    actuator.perform(step)
    bench.wait_done(step)
    actuator.perform(step)
    bench.actuator().perform(step)
    assert bench.writes() == written


def test_after_it_there_is_nothing_left_to_propose(bench: Bench) -> None:
    step = planned(bench)
    bench.actuator().perform(step)
    bench.wait_done(step)
    assert bench.actuator().propose(bench.rollout).steps == ()


def test_a_world_that_moved_on_before_is_left_alone(bench: Bench) -> None:
    step = planned(bench)
    bench.interfere()
    assert bench.actuator().inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict):
        bench.actuator().perform(step)
    assert bench.writes() == 0
    assert bench.actuator().inspect(step) is StepState.MOVED_ON


def test_a_world_that_moved_on_afterwards_is_left_alone(bench: Bench) -> None:
    step = planned(bench)
    bench.actuator().perform(step)
    bench.wait_done(step)
    written = bench.writes()
    bench.interfere()
    assert bench.actuator().inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict):
        bench.actuator().perform(step)
    assert bench.writes() == written
