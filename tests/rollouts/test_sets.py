"""Rollouts of StatefulSets and DaemonSets: as values, and over the fake API server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from actions.plan import Plan, keyed
from actions.set_rollback import SetRollback
from analyzer.rollout import Rollout
from analyzer.sample import Missing
from rollbackd.rollouts.derivation import NO_MEMORY, Reading, derive
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from rollbackd.rollouts.sets import set_families
from tests.fakes.kube_api import FakeKubeApi, NeverReady
from tests.kubernetes import sets
from tests.kubernetes.shop import cluster
from tests.rollouts.stage import QUICK, Stage, staged
from tests.rollouts.world import NOW, deployment, pods, revision

KINDS = pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def sides(rollout: Rollout) -> tuple[int, int]:
    return len(rollout.canary_instances), len(rollout.baseline_instances)


@KINDS
def test_a_release_is_seen_from_its_first_pod_to_its_last(stage: Stage, kind: str) -> None:
    sets.create(stage.api, kind)
    assert stage.seen() == []
    stage.api.set_readiness(NeverReady())
    sets.deploy(stage.api, kind, "db:2")
    stage.api.wait_until(lambda _: [sides(r) for r in stage.seen()] == [(1, 2)])
    (rollout,) = stage.seen()
    assert (rollout.workload.kind, str(rollout.workload)) == (kind, "default/db")
    assert rollout.canary == sets.revision(stage.api, "db:2")
    assert rollout.baseline == sets.revision(stage.api, "db:1")
    assert (rollout.ordinal, rollout.complete) == (2, False)
    (canary,) = sets.pods(stage.api, "db:2")
    stage.api.set_pod_status(canary["metadata"]["name"], is_ready=True)


@KINDS
def test_a_complete_release_says_so(stage: Stage, kind: str) -> None:
    sets.create(stage.api, kind)
    sets.deploy(stage.api, kind, "db:2")
    sets.settle(stage.api, kind)
    stage.api.wait_until(
        lambda _: [(r.complete, *sides(r)) for r in stage.seen()] == [(True, 3, 0)]
    )


def test_a_partition_is_a_canary_for_as_long_as_it_is_there(stage: Stage) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    sets.create(stage.api, "StatefulSet", updateStrategy=rolling)
    sets.deploy(stage.api, "StatefulSet", "db:2")
    stage.api.wait_until(lambda _: [sides(r) for r in stage.seen()] == [(1, 2)])
    assert [i.id[-1] for i in stage.seen()[0].canary_instances] == ["db-2"]


@KINDS
def test_our_rollback_is_no_rollout_and_the_next_release_is(stage: Stage, kind: str) -> None:
    sets.create(stage.api, kind)
    sets.deploy(stage.api, kind, "db:2")
    sets.settle(stage.api, kind)
    stage.api.wait_until(lambda _: [sides(r) for r in stage.seen()] == [(3, 0)])
    (rollout,) = stage.seen()
    assert rollout.baseline is not None
    actuator = SetRollback(stage.connection)
    steps = actuator.propose(rollout).steps
    plan = keyed(Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, steps))
    actuator.perform(plan.steps[0])
    sets.settle(stage.api, kind)
    stage.api.wait_until(lambda _: stage.seen() == [])
    good = rollout.baseline

    def are_back(_: FakeKubeApi) -> bool:
        seen = stage.source.instances(rollout.workload, good)
        return not isinstance(seen, Missing) and sum(i.ready for i in seen) == 3

    stage.api.wait_until(are_back)
    sets.deploy(stage.api, kind, "db:2")
    stage.api.wait_until(lambda _: [r.canary for r in stage.seen()] == [rollout.canary])
    (again,) = stage.seen()
    assert again.baseline == rollout.baseline
    assert again.ordinal > rollout.ordinal


def test_kinds_that_are_not_followed_cost_no_call() -> None:
    with cluster() as (api, connection):
        source = KubernetesRollouts(connection, Reading(), kinds=("DaemonSet",), pace=QUICK)
        source.start()
        assert source.wait_synced(30.0)
        asked = {request.path.rpartition("/")[2] for request in api.requests()}
        assert asked == {"daemonsets", "controllerrevisions", "pods"}
        source.close()


def test_revisions_seen_later_than_their_set_are_no_rollout() -> None:
    """The newest revision must not make a release of the one before out of the old template."""
    db = deployment("v1", kind="StatefulSet", revision=0)
    revisions = [revision("v1", 1), revision("v2", 2)]
    found, _ = derive(set_families([db], revisions, []), Reading(), NO_MEMORY, NOW)
    assert found == ()


def test_pods_of_revisions_nobody_knows_belong_to_neither_side() -> None:
    db = deployment("v2", kind="StatefulSet", revision=0)
    revisions = [revision("v1", 1), revision("v2", 2)]
    named = [
        replace(p, replica_set="shop", revision=r) for r in ("v1", "v2", "v9") for p in pods(r, 1)
    ]
    (rollout,), _ = derive(set_families([db], revisions, named), Reading(), NO_MEMORY, NOW)
    assert sides(rollout) == (1, 1)


def test_a_revision_used_again_is_as_old_as_its_rollout() -> None:
    db = deployment("v1", kind="StatefulSet", revision=0)
    revisions = [revision("v1", 3, created_at=NOW - 9000.0), revision("v2", 2)]
    young = [replace(p, replica_set="shop", revision="v1") for p in pods("v1", 1)]
    old = [replace(p, replica_set="shop", revision="v2") for p in pods("v2", 2)]
    (rollout,), _ = derive(set_families([db], revisions, young + old), Reading(), NO_MEMORY, NOW)
    assert rollout.started_at == NOW - 50.0
