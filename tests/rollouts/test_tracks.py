"""A canary Deployment beside a stable one: as values, and over the fake API server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from actions.canary_scale import CanaryScale
from actions.plan import Plan, keyed
from analyzer.sample import Missing
from rollbackd.rollouts.revisions import Family, families
from rollbackd.rollouts.tracks import pairs, track_rollouts
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes.shop import beside, deploy, deployment, patch, settle
from tests.rollouts.stage import Stage, staged
from tests.rollouts.world import READING, pods, revision
from tests.rollouts.world import deployment as seen_deployment


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def family(name: str, track: str, namespace: str = "team", **labels: str) -> Family:
    own = {"rollbackd.io/track": track, **labels} if track else labels
    one = seen_deployment(name, uid=name, name=name, namespace=namespace, labels=own)
    found = families([one], [revision(name, 2, 1, deployment=name)], pods(name, 1))
    return found[0]


def names(found: list[Family]) -> list[tuple[str, str]]:
    return [(c.deployment.name, s.deployment.name) for c, s in pairs(found)]


def test_a_pair_is_of_one_namespace_and_one_app() -> None:
    canary, stable = family("c", "canary", app="shop"), family("s", "stable", app="shop")
    assert names([canary, stable]) == [("c", "s")]
    assert names([canary, family("s", "stable", app="other")]) == []
    assert names([canary, family("s", "stable", "elsewhere", app="shop")]) == []
    assert names([canary, family("s", "", app="shop")]) == []


def test_the_recommended_label_comes_first() -> None:
    recommended = {"app.kubernetes.io/name": "shop"}
    canary = family("c", "canary", app="one", **recommended)
    assert names([canary, family("s", "stable", app="two", **recommended)]) == [("c", "s")]


def test_two_stable_ones_or_no_label_at_all_make_no_pair() -> None:
    canary, stable = family("c", "canary", app="shop"), family("s", "stable", app="shop")
    assert names([canary, stable, family("s2", "stable", app="shop")]) == []
    assert names([family("c", "canary"), family("s", "stable")]) == []


def test_a_stable_one_that_is_rolled_out_itself_is_compared_by_what_serves() -> None:
    canary = family("c", "canary", app="shop")
    labels = {"rollbackd.io/track": "stable", "app": "shop"}
    one = seen_deployment("new", uid="s", name="s", labels=labels, revision=2)
    sets = [revision("old", 1, 3, deployment="s"), revision("new", 2, 1, deployment="s")]
    (stable,) = families([one], sets, [*pods("old", 3), *pods("new", 1, ready=0)])
    (rollout,) = track_rollouts([(canary, stable)], READING)
    assert rollout.baseline is not None
    assert (rollout.baseline.id, len(rollout.baseline_instances)) == ("old", 3)


def test_a_canary_of_no_pods_or_on_its_way_out_is_no_rollout() -> None:
    canary, stable = family("c", "canary", app="shop"), family("s", "stable", app="shop")
    for change in ({"replicas": 0}, {"is_deleting": True}):
        gone = replace(canary, deployment=replace(canary.deployment, **change))
        assert track_rollouts([(gone, stable)], READING) == []


# Over the wire


def test_it_is_seen_scaled_down_and_its_baseline_still_found(stage: Stage) -> None:
    beside(stage.api)
    patch(stage.api, metadata={"annotations": {"rollbackd.io/policy": "strict"}})
    stage.api.wait_until(lambda _: [r.policy for r in stage.seen()] == ["strict"])
    (rollout,) = stage.until(3)
    assert (rollout.workload.kind, str(rollout.workload)) == (
        "CanaryDeployment",
        "default/shop-canary",
    )
    assert rollout.baseline is not None
    assert len(rollout.baseline_instances) == 3
    good = rollout.baseline
    actuator = CanaryScale(stage.connection)
    steps = actuator.propose(rollout).steps
    plan = keyed(Plan(rollout.watch_id, rollout.workload, rollout.canary, good, steps))
    assert plan.describe() == (
        f"scale the canary default/shop-canary ({rollout.canary.label}) from 3 to 0"
    )
    actuator.perform(plan.steps[0])
    stage.until()
    found = deployment(stage.api, "shop-canary")
    assert found["metadata"]["annotations"]["rollbackd.io/scaled-from"] == "3"
    assert deployment(stage.api)["spec"]["replicas"] == 3

    def are_there(_: FakeKubeApi) -> bool:
        seen = stage.source.instances(rollout.workload, good)
        return not isinstance(seen, Missing) and sum(i.ready for i in seen) == 3

    stage.api.wait_until(are_there)


def test_each_release_of_the_canary_is_one_rollout_and_none_of_its_own(stage: Stage) -> None:
    beside(stage.api)
    (first,) = stage.until(3)
    deploy(stage.api, "shop:3", "shop-canary")
    settle(stage.api, "shop-canary")
    stage.api.wait_until(lambda _: [r.canary for r in stage.seen()] != [first.canary])
    (second,) = stage.until(3)
    assert second.baseline == first.baseline
    assert second.watch_id != first.watch_id


def test_what_cannot_be_scaled_down_is_refused(stage: Stage) -> None:
    beside(stage.api)
    (rollout,) = stage.until(3)
    actuator = CanaryScale(stage.connection)

    def said(**changes: object) -> str:
        return "; ".join(actuator.propose(replace(rollout, **changes)).refusals)  # type: ignore[arg-type]

    assert "no pod of the stable Deployment" in said(baseline_instances=())
    assert "not a CanaryDeployment" in said(workload=replace(rollout.workload, kind="Deployment"))
    assert "no longer exists" in said(workload=replace(rollout.workload, name="gone"))
    deploy(stage.api, "shop:3", "shop-canary")
    assert "another one is there" in said()
