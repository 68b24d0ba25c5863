"""From the status that the API serves to what is said of a rollout's instances."""

from collections.abc import Iterator
from typing import Any

import pytest

from analyzer.distress import Distress, Standing, weigh
from analyzer.policy import Policy
from analyzer.rollout import Rollout, Vitals
from rollbackd.rollouts.vitals import STUCK, WELL, vitals_of
from tests.fakes.kube_api import FakeKubeApi, NeverReady, ReadyAfter
from tests.kubernetes.shop import deploy, manifest, settle
from tests.rollouts.stage import Stage, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def container(state: dict[str, Any], restarts: int = 0, last: str = "") -> dict[str, Any]:
    ended = {"terminated": {"reason": last, "exitCode": 137}} if last else {}
    return {
        "name": "app",
        "image": "shop:2",
        "imageID": "",
        "ready": "running" in state,
        "restartCount": restarts,
        "state": state,
        "lastState": ended,
    }


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def unready(since: str = "2026-11-20T10:00:00Z") -> list[dict[str, Any]]:
    return [{"type": "ContainersReady", "status": "False", "lastTransitionTime": since}]


def status(*containers: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"status": {"containerStatuses": list(containers), **more}}


# Status as values


@pytest.mark.parametrize("reason", sorted(STUCK))
def test_a_container_that_the_kubelet_cannot_run_is_stuck(reason: str) -> None:
    found = vitals_of(status(container({"running": {}}), container(waiting(reason))))
    assert found is not None
    assert found.stuck == reason


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_a_container_that_waits_for_others_is_not(reason: str) -> None:
    assert vitals_of(status(container(waiting(reason)))) == WELL


def test_init_containers_count() -> None:
    loop = container(waiting("CrashLoopBackOff"), 3, "Error")
    pod = {"status": {"initContainerStatuses": [loop], "containerStatuses": []}}
    assert vitals_of(pod) == Vitals("CrashLoopBackOff", 3, "Error")


def test_a_memory_kill_is_told_by_what_ended_last() -> None:
    found = vitals_of(status(container({"running": {}}, 2, "OOMKilled"), conditions=unready()))
    assert found == Vitals("", 2, "OOMKilled", 1795168800.0)


def test_nothing_is_known_before_a_node_has_spoken() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    assert vitals_of({}) is None
    assert vitals_of({"status": {"phase": "Pending", "conditions": [unscheduled]}}) is None


def test_a_node_that_is_out_of_touch_leaves_its_pods_well() -> None:
    """The control plane calls them unready; what their kubelet said last of them still stands."""
    lost = [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-20T10:00:00Z"},
        {"type": "ContainersReady", "status": "True"},
    ]
    assert vitals_of(status(container({"running": {}}), conditions=lost)) is WELL


# Over the wire


def facts(stage: Stage, looks: int = 8) -> tuple[Standing, str]:
    """Return what the newest rollout amounts to after some looks at it."""
    distress = Distress()
    (rollout,) = stage.seen()
    for tick in range(looks):
        distress = distress.observe(rollout, rollout.started_at + 1000.0 + 10.0 * tick)
    found = weigh(distress, Policy("p", ()))
    return found.standing, found.text


def release(stage: Stage) -> Rollout:
    """Release shop:2, none of whose pods becomes ready."""
    stage.api.create(manifest())
    settle(stage.api)
    stage.api.set_readiness(NeverReady())
    deploy(stage.api, "shop:2")
    (rollout,) = stage.until(1)
    return rollout


def name_of(rollout: Rollout) -> str:
    return rollout.canary_instances[0].id[-1]


def until_running(stage: Stage) -> None:
    """Wait until the canary's only pod runs, unready: then nothing but us writes its status."""

    def is_running(_: FakeKubeApi) -> bool:
        seen = [i.vitals for r in stage.seen() for i in r.canary_instances]
        return len(seen) == 1 and seen[0] is not None and seen[0].unready_since is not None

    stage.api.wait_until(is_running, what="an unready canary")


def until_vitals(stage: Stage, stuck: str) -> Rollout:
    def are_seen(_: FakeKubeApi) -> bool:
        seen = [i.vitals.stuck for r in stage.seen() for i in r.canary_instances if i.vitals]
        return seen == [stuck]

    stage.api.wait_until(are_seen, what=f"a canary in {stuck}")
    return stage.seen()[0]


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ImagePullBackOff"])
def test_a_canary_that_cannot_run_is_accused(stage: Stage, reason: str) -> None:
    rollout = release(stage)
    until_running(stage)
    broken = status(container(waiting(reason), 3, "Error"))["status"]
    stage.api.set_pod_status(name_of(rollout), is_ready=False, status=broken)
    until_vitals(stage, reason)
    standing, text = facts(stage)
    assert standing is Standing.ACCUSED
    assert text.startswith(f"1 of 1 canary pods in {reason} for 1 min 10 s (up to 3 restarts)")
    assert text.endswith("; 0 of 3 baseline pods")


def test_a_canary_that_misses_its_progress_deadline_is_accused(stage: Stage) -> None:
    release(stage)
    assert stage.seen()[0].ready_within_s == 600.0
    until_running(stage)
    stage.api.skip_time(700.0)
    deadline = ["ProgressDeadlineExceeded"]
    stage.api.wait_until(lambda _: [r.stalled for r in stage.seen()] == deadline)
    standing, text = facts(stage)
    assert standing is Standing.ACCUSED
    assert "not ready in time" in text
    assert "stands still (ProgressDeadlineExceeded)" in text


def test_the_complaint_about_one_revision_is_not_held_against_the_next(stage: Stage) -> None:
    release(stage)
    stage.api.skip_time(700.0)
    stage.api.wait_until(lambda _: [r.stalled != "" for r in stage.seen()] == [True])
    stage.api.set_readiness(ReadyAfter())
    deploy(stage.api, "shop:3")
    # While caches of two collections are at different moments, nothing is said.
    stage.api.wait_until(lambda _: [(r.ordinal, r.stalled) for r in stage.seen()] == [(3, "")])


def test_an_evicted_pod_is_no_instance(stage: Stage) -> None:
    rollout = release(stage)
    until_running(stage)
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    stage.api.set_pod_status(name_of(rollout), status=evicted)

    def is_gone(_: FakeKubeApi) -> bool:
        names = [name_of(r) for r in stage.seen() if r.canary_instances]
        return name_of(rollout) not in names

    stage.api.wait_until(is_gone)
