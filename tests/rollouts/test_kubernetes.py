from collections.abc import Iterator
from typing import Any

import pytest

from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, keyed
from analyzer.rollout import Revision, Rollout
from analyzer.sample import Absence, Missing
from rollbackd.kubernetes.reflector import Pace
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from tests.fakes.kube_api import FakeKubeApi, Fault, FaultAction, NeverReady
from tests.kubernetes.shop import cluster, deploy, manifest, patch, settle
from tests.rollouts.stage import QUICK, Stage, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def test_a_new_deployment_is_no_rollout_and_its_next_release_is(stage: Stage) -> None:
    stage.api.create(manifest())
    settle(stage.api)
    assert stage.seen() == []
    stage.api.set_readiness(NeverReady())
    asked = {"rollbackd.io/policy": "strict", "rollbackd.io/mode": "approve"}
    patch(stage.api, metadata={"annotations": asked})
    deploy(stage.api, "shop:2")
    (rollout,) = stage.until(1)
    assert str(rollout.workload) == "default/shop"
    assert (rollout.policy, rollout.mode, rollout.complete) == ("strict", "approve", False)
    assert rollout.labels == {"app": "shop"}
    assert [instance.ready for instance in rollout.canary_instances] == [False]
    assert len(rollout.baseline_instances) == 3


def test_a_rolling_update_is_followed_to_its_end(stage: Stage) -> None:
    stage.api.create(manifest())
    settle(stage.api)
    deploy(stage.api, "shop:2")
    settle(stage.api)

    def is_complete(_: FakeKubeApi) -> bool:
        return [(r.complete, len(r.canary_instances)) for r in stage.seen()] == [(True, 3)]

    stage.api.wait_until(is_complete)
    (rollout,) = stage.seen()
    assert rollout.baseline is not None
    assert all(instance.ready for instance in rollout.canary_instances)


def roll_back(stage: Stage) -> Rollout:
    """Release shop:2 and roll it back; return the rollout that there was."""
    stage.api.create(manifest())
    settle(stage.api)
    deploy(stage.api, "shop:2")
    (rollout,) = stage.until(3)
    assert rollout.baseline is not None
    actuator = KubernetesRollback(stage.connection)
    steps = actuator.propose(rollout).steps
    plan = keyed(Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, steps))
    actuator.perform(plan.steps[0])
    stage.until()
    settle(stage.api)
    return rollout


def test_our_rollback_is_no_new_rollout_and_its_instances_can_still_be_asked_for(
    stage: Stage,
) -> None:
    rollout = roll_back(stage)
    good = rollout.baseline
    assert good is not None

    def are_back(_: FakeKubeApi) -> bool:
        assert stage.seen() == []
        found = stage.source.instances(rollout.workload, good)
        return not isinstance(found, Missing) and sum(i.ready for i in found) == 3

    stage.api.wait_until(are_back)
    assert stage.source.instances(rollout.workload, Revision("x", "x")) == ()


def test_the_bad_revision_released_again_is_judged_again(stage: Stage) -> None:
    before = roll_back(stage)
    deploy(stage.api, "shop:2")
    (rollout,) = stage.until(3)
    assert (rollout.canary, rollout.baseline) == (before.canary, before.baseline)
    assert rollout.started_at > before.started_at


@pytest.mark.parametrize(
    ("spec", "has_baseline"),
    [
        ({"strategy": {"type": "Recreate", "rollingUpdate": None}}, True),
        ({"revisionHistoryLimit": 0}, False),
    ],
    ids=["recreate", "no history"],
)
def test_unusual_deployments(stage: Stage, spec: dict[str, Any], has_baseline: bool) -> None:
    stage.api.create(manifest(**spec))
    settle(stage.api)
    deploy(stage.api, "shop:2")
    settle(stage.api)

    def is_complete(_: FakeKubeApi) -> bool:
        found = [(r.complete, r.baseline is not None) for r in stage.seen()]
        return found == [(True, has_baseline)]

    stage.api.wait_until(is_complete)


def test_a_rollout_paused_half_way_stays_one_until_its_template_changes(stage: Stage) -> None:
    stage.api.create(manifest())
    settle(stage.api)
    stage.api.set_readiness(NeverReady())
    deploy(stage.api, "shop:2")
    stage.until(1)
    patch(stage.api, spec={"paused": True})
    stage.until(1)
    deploy(stage.api, "shop:3")
    stage.until()


def test_scaled_to_zero_and_deleted(stage: Stage) -> None:
    for name in ("shop", "other"):
        stage.api.create(manifest(name=name))
        settle(stage.api, name)
        deploy(stage.api, "shop:2", name)
    stage.until(3, 3)
    patch(stage.api, spec={"replicas": 0})
    (rollout,) = stage.until(3)
    assert rollout.workload.name == "other"
    stage.api.delete("apps/v1", "Deployment", "other")
    stage.until()


def test_only_what_was_asked_for_is_followed() -> None:
    with cluster() as (api, connection):
        for namespace in ("one", "two", "three"):
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            for name in ("shop", "other"):
                made = manifest(name=name)
                made["metadata"]["namespace"] = namespace
                api.create(made)
        source = KubernetesRollouts(
            connection,
            Reading(),
            namespaces=("one", "two"),
            selector="app=shop",
            pace=QUICK,
        )
        source.start()
        assert source.wait_synced(5.0)
        watched = {r.path: len(r.snapshot().items) for r in source.reflectors}
        assert watched["/apis/apps/v1/namespaces/one/deployments"] == 1
        assert len(watched) == 12
        source.close()


def test_nothing_is_said_before_the_first_list_and_why(stage: Stage) -> None:
    unstarted = KubernetesRollouts(stage.connection, Reading())
    found = unstarted.rollouts()
    assert isinstance(found, Missing)
    assert found.reason is Absence.SOURCE_DOWN
    assert "not listed yet" in found.detail
    unstarted.close()


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (FaultAction.FORBIDDEN, Absence.UNAUTHORISED),
        (FaultAction.ERROR, Absence.SOURCE_DOWN),
    ],
)
def test_a_missing_right_is_named(action: FaultAction, reason: Absence) -> None:
    with cluster() as (api, connection):
        api.add_fault(Fault(action, path="/pods"))
        source = KubernetesRollouts(connection, Reading(), pace=QUICK)
        source.start()

        def is_told(_: FakeKubeApi) -> bool:
            found = source.rollouts()
            assert isinstance(found, Missing)
            return found.reason is reason and "/api/v1/pods" in found.detail

        api.wait_until(is_told)
        api.clear_faults()
        assert source.wait_synced(5.0)
        assert source.rollouts() == ()
        source.close()


def test_a_stale_cache_is_no_empty_cluster() -> None:
    pace = Pace(
        watch_s=0.2, stale_s=0.3, first_wait_s=0.02, longest_wait_s=0.1, short_watch_s=0.05
    )
    with cluster() as (api, connection):
        source = KubernetesRollouts(connection, Reading(), pace=pace)
        source.start()
        assert source.wait_synced(5.0)
        api.add_fault(Fault(FaultAction.DROP_BEFORE))
        api.end_watches("drop")

        def is_stale(_: FakeKubeApi) -> bool:
            found = source.rollouts()
            return isinstance(found, Missing) and "last in touch" in found.detail

        api.wait_until(is_stale)
        api.clear_faults()
        assert source.wait_synced(5.0)
        source.close()
