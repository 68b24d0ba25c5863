"""A Service that is switched between two Deployments: as values, and over the fake API server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from actions.facts import NewerRevision, Undersized
from actions.plan import Plan, Step, keyed
from actions.ports import Conflict, StepState
from actions.service_switch import ServiceSwitch
from analyzer.sample import Missing
from rollbackd.rollouts.blue_green import (
    BlueGreen,
    behind,
    blue_green_of,
    blue_green_rollouts,
    colours,
)
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from rollbackd.rollouts.revisions import Family, families
from tests.kubernetes import blue_green
from tests.kubernetes.shop import cluster, patch, settle, writes
from tests.rollouts.stage import QUICK, Stage
from tests.rollouts.world import NOW, READING, pods, revision
from tests.rollouts.world import deployment as seen_deployment

LABEL = "colour"
SERVICE = BlueGreen(
    namespace="team",
    name="shop",
    label=LABEL,
    live="green",
    rest={"app": "shop"},
    switched_at=NOW - 100.0,
    switches=0,
    is_deleting=False,
    policy=None,
    mode=None,
    labels={},
    said={},
    rolled_back_from="",
    rolled_back_to="",
)


def colour(name: str, number: int = 2, count: int = 2, **fields: object) -> Family:
    """A Deployment whose only revision has its name; a higher number is a newer one."""
    labels = {"app": "shop", LABEL: name, "pod": "x"}
    one = seen_deployment(name, uid=name, name=name, pod_labels=labels, **fields)
    own = revision(name, number, count, deployment=name)
    return families([one], [own], pods(name, count))[0]


BLUE, GREEN = colour("blue", 1), colour("green", 2)


# Which Services, and which Deployments behind them


def test_only_a_service_that_says_so_is_switched() -> None:
    raw = blue_green.service("green")
    assert (found := blue_green_of(raw)) is not None
    assert (found.label, found.live, found.rest) == (blue_green.LABEL, "green", {"app": "shop"})
    for annotations in ({}, {"rollbackd.io/blue-green": "other"}):
        raw["metadata"]["annotations"] = annotations
        assert blue_green_of(raw) is None
    raw["spec"] = {"type": "ExternalName"}
    assert blue_green_of(raw) is None


def test_both_colours_agree_with_the_rest_of_the_selector() -> None:
    worker = colour("worker")
    labels = {"app": "worker", LABEL: "red"}
    worker = replace(worker, deployment=replace(worker.deployment, pod_labels=labels))
    elsewhere = replace(BLUE, deployment=replace(BLUE.deployment, namespace="other"))
    (found,) = colours([SERVICE], [BLUE, GREEN, worker, elsewhere])
    assert (found.live, found.other) == (GREEN, BLUE)
    assert behind([found]) == {"blue", "green"}


@pytest.mark.parametrize(
    "seen", [[BLUE], [GREEN], [BLUE, GREEN, colour("red")], [BLUE, GREEN, GREEN]]
)
def test_what_is_not_exactly_two_colours_is_nothing(seen: list[Family]) -> None:
    assert colours([SERVICE], seen) == []


def switched(*seen: Family, service: BlueGreen = SERVICE, now: float = NOW) -> list[str]:
    found = blue_green_rollouts(colours([service], seen or (BLUE, GREEN)), READING, now)
    return [rollout.watch_id for rollout in found]


def test_a_switch_to_the_newer_colour_is_a_rollout_for_a_while() -> None:
    assert switched() == ["prod/team/Service/shop@green.2"]
    assert switched(now=SERVICE.switched_at + 599.0) != []  # type: ignore[operator]
    assert switched(now=SERVICE.switched_at + 600.0) == []  # type: ignore[operator]


def test_a_newer_colour_that_waits_and_the_way_back_are_no_rollouts() -> None:
    assert switched(service=replace(SERVICE, live="blue")) == []
    ours = replace(SERVICE, rolled_back_from="blue", rolled_back_to="green")
    assert switched(service=ours) == []


def test_a_colour_that_is_switched_to_again_after_we_left_it_is_another_rollout() -> None:
    again = replace(SERVICE, switches=1, rolled_back_from="green", rolled_back_to="blue")
    assert switched(service=again) == ["prod/team/Service/shop@green.3"]


def test_the_two_never_serve_together() -> None:
    (rollout,) = blue_green_rollouts(colours([SERVICE], [BLUE, GREEN]), READING, NOW)
    assert rollout.apart
    assert rollout.after_promotion
    assert rollout.complete
    assert rollout.baseline is not None
    assert (rollout.canary.id, rollout.baseline.id) == ("green", "blue")
    assert (len(rollout.canary_instances), len(rollout.baseline_instances)) == (2, 2)


# Over the wire


@contextmanager
def staged() -> Iterator[Stage]:
    with cluster() as (api, connection):
        source = KubernetesRollouts(
            connection, Reading(cluster="test"), kinds=("Deployment", "Service"), pace=QUICK
        )
        source.start()
        assert source.wait_synced(30.0)
        yield Stage(api, connection, source)
        source.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def planned(stage: Stage) -> Plan:
    """Wait for the switch to green, and return the plan back to blue."""
    (rollout,) = stage.until(3)
    assert rollout.baseline is not None
    draft = ServiceSwitch(stage.connection).propose(rollout)
    assert draft.refusals == ()
    return keyed(
        Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, draft.steps)
    )


def done(stage: Stage, step: Step) -> None:
    actuator = ServiceSwitch(stage.connection)
    stage.api.wait_until(lambda _: actuator.inspect(step) is StepState.DONE, what="done")


def test_a_switch_is_seen_and_switched_back_and_its_endpoints_follow(stage: Stage) -> None:
    blue_green.create(stage.api)
    stage.until()
    blue_green.switch(stage.api, "green")
    plan = planned(stage)
    (rollout,) = stage.seen()
    assert rollout.workload.kind == "Service"
    assert len(rollout.baseline_instances) == 3
    stage.api.wait_until(lambda api: blue_green.served(api) == {"shop-green"})
    before = writes(stage.api)
    actuator = ServiceSwitch(stage.connection)
    actuator.perform(plan.steps[0])
    actuator.perform(plan.steps[0])
    assert writes(stage.api) == before + 1
    done(stage, plan.steps[0])
    assert blue_green.served(stage.api) == {"shop-blue"}
    said = stage.api.get("v1", "Service", "shop")["metadata"]["annotations"]
    assert said["rollbackd.io/switches"] == "1"
    assert said["rollbackd.io/plan"] == plan.steps[0].key
    stage.until()
    running = stage.source.instances(rollout.workload, plan.good)
    assert not isinstance(running, Missing)
    assert len(running) == 3
    # whoever switches again begins another rollout, and is not fought
    blue_green.switch(stage.api, "green")
    (again,) = stage.until(3)
    assert again.watch_id != rollout.watch_id
    assert actuator.inspect(plan.steps[0]) is StepState.MOVED_ON
    with pytest.raises(Conflict, match="somebody switched it again"):
        actuator.perform(plan.steps[0])


def test_neither_colour_is_a_rollout_of_its_own(stage: Stage) -> None:
    blue_green.create(stage.api)
    patch(stage.api, "shop-green", metadata={"annotations": {"rollbackd.io/policy": "strict"}})
    container = {"name": "app", "image": "shop:3"}
    patch(stage.api, "shop-green", spec={"template": {"spec": {"containers": [container]}}})
    settle(stage.api, "shop-green")
    stage.until()
    blue_green.switch(stage.api, "green")
    (rollout,) = stage.until(3)
    assert rollout.policy == "strict"


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_colour_that_cannot_take_the_traffic_is_told(stage: Stage, replicas: int) -> None:
    blue_green.create(stage.api)
    blue_green.switch(stage.api, "green")
    (rollout,) = stage.until(3)
    patch(stage.api, "shop-blue", spec={"replicas": replicas})
    settle(stage.api, "shop-blue")
    draft = ServiceSwitch(stage.connection).propose(rollout)
    if replicas:
        by = "the traffic of the colour that is live"
        assert draft.facts == (Undersized("Service default/shop", 1, 3, by),)
    else:
        assert "is ready for traffic" in draft.refusals[0]
        assert draft.steps == ()


def test_an_old_colour_that_runs_something_else_by_now_is_refused(stage: Stage) -> None:
    blue_green.create(stage.api)
    blue_green.switch(stage.api, "green")
    (rollout,) = stage.until(3)
    plan = planned(stage)
    container = {"name": "app", "image": "shop:3"}
    patch(stage.api, "shop-blue", spec={"template": {"spec": {"containers": [container]}}})
    settle(stage.api, "shop-blue")
    actuator = ServiceSwitch(stage.connection)
    assert "not " in actuator.propose(rollout).refusals[0]
    with pytest.raises(Conflict, match="is ready any more"):
        actuator.perform(plan.steps[0])
    assert blue_green.live(stage.api) == "green"


def test_what_somebody_changed_meanwhile_is_left_alone(stage: Stage) -> None:
    blue_green.create(stage.api)
    blue_green.switch(stage.api, "green")
    plan = planned(stage)
    (rollout,) = stage.seen()
    actuator = ServiceSwitch(stage.connection)
    stage.api.patch("v1", "Service", "shop", {"spec": {"selector": {"tier": "web"}}})
    assert actuator.inspect(plan.steps[0]) is StepState.MOVED_ON
    with pytest.raises(Conflict, match="the selector of Service default/shop was changed"):
        actuator.perform(plan.steps[0])
    stage.api.patch("v1", "Service", "shop", {"spec": {"selector": {"tier": None}}})
    blue_green.switch(stage.api, "blue")
    facts = (NewerRevision("default/shop", rollout.canary.label),)
    assert actuator.propose(rollout).facts == facts
    stage.api.patch(
        "v1", "Service", "shop", {"metadata": {"annotations": {"rollbackd.io/blue-green": None}}}
    )
    assert "no longer tells" in actuator.propose(rollout).refusals[0]


def test_what_is_not_a_switched_service_is_refused(stage: Stage) -> None:
    blue_green.create(stage.api)
    blue_green.switch(stage.api, "green")
    (rollout,) = stage.until(3)
    actuator = ServiceSwitch(stage.connection)

    def said(**changes: object) -> str:
        return "; ".join(actuator.propose(replace(rollout, **changes)).refusals)  # type: ignore[arg-type]

    assert "not a Service" in said(workload=replace(rollout.workload, kind="Deployment"))
    assert "no longer exists" in said(workload=replace(rollout.workload, name="gone"))
    assert "no other Deployment" in said(baseline=None)
    gone = replace(rollout.canary, id="gone")
    assert "the colour before, is gone" in said(baseline=gone)
