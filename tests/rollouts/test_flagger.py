"""Canaries of Flagger: observed while Flagger analyses them, and left to it."""

from collections.abc import Iterator

import pytest

from analyzer.sample import Missing
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.flagger import flagger_canary_of
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from tests.kubernetes import flagger
from tests.kubernetes.shop import cluster, deploy, replica_set, settle
from tests.rollouts.stage import QUICK, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with cluster() as (api, connection):
        flagger.install(api)
        kinds = ("Deployment", "Canary")
        source = KubernetesRollouts(connection, Reading(cluster="test"), kinds=kinds, pace=QUICK)
        source.start()
        assert source.wait_synced(30.0)
        yield Stage(api, connection, source)
        source.close()


def test_the_target_is_compared_with_the_primary_and_is_no_rollout_itself(stage: Stage) -> None:
    flagger.begin(stage.api)
    (rollout,) = stage.until(3)
    assert (rollout.workload.kind, str(rollout.workload)) == ("Canary", "default/shop")
    assert rollout.labels == {"team": "shop"}
    found = replica_set(stage.api, "shop:2")
    assert found is not None
    assert rollout.canary.id == found["metadata"]["uid"]
    assert rollout.baseline is not None
    assert len(rollout.baseline_instances) == 3
    assert all(i.id[-1].startswith("shop-primary-") for i in rollout.baseline_instances)
    again = stage.source.instances(rollout.workload, rollout.baseline)
    assert not isinstance(again, Missing)
    assert len(again) == 3


@pytest.mark.parametrize("phase", ["Promoting", "Finalising", "Succeeded", "Failed"])
def test_what_flagger_does_with_its_deployments_is_no_release(stage: Stage, phase: str) -> None:
    flagger.begin(stage.api)
    stage.until(3)
    flagger.say(stage.api, phase)
    stage.until()
    deploy(stage.api, "shop:2", "shop-primary")
    settle(stage.api, "shop-primary")
    stage.until()


def test_other_targets_than_deployments_are_not_followed() -> None:
    raw = {
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "shop"}},
    }
    assert flagger_canary_of(raw) is None
