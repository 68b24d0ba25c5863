"""What every actuator promises, whatever it changes: one suite, a bench for each of them."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Protocol

import pytest

from actions.gitops_hold import GitOpsHold, GitOpsOwners
from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, Step, keyed
from actions.ports import Actuator, Conflict, StepState
from analyzer.rollout import Rollout
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes.gitops import Sample, argo_application, helm_release, kustomization
from tests.kubernetes.shop import cluster, deploy, manifest, patch, rollout, settle, writes


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


BENCHES = [kubernetes, argo_cd, flux_kustomization, flux_helm_release]


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
