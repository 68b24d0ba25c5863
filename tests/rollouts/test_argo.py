"""Rollouts of Argo: seen as Argo tells them, aborted by its own means."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from actions.argo_abort import ArgoAbort
from actions.plan import Plan, Step, keyed
from actions.ports import StepState
from analyzer.rollout import Rollout
from analyzer.sample import Missing
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes import argo
from tests.kubernetes.shop import cluster, manifest, settle
from tests.rollouts.stage import QUICK, Stage


@contextmanager
def following(*, installed: bool) -> Iterator[Stage]:
    with cluster() as (api, connection):
        if installed:
            argo.install(api)
        kinds = ("Deployment", "Rollout")
        source = KubernetesRollouts(connection, Reading(cluster="test"), kinds=kinds, pace=QUICK)
        source.start()
        assert source.wait_synced(30.0)
        yield Stage(api, connection, source)
        source.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with following(installed=True) as made:
        yield made


def seen(stage: Stage) -> Rollout:
    """Return the rollout once all its pods are ready."""

    def is_there(_: FakeKubeApi) -> bool:
        sides = [(r.canary_instances, r.baseline_instances) for r in stage.seen()]
        return [(len(c), len(b)) for c, b in sides] == [(1, 2)] and all(
            i.ready for pair in sides for side in pair for i in side
        )

    stage.api.wait_until(is_there, what="Argo's rollout")
    return stage.seen()[0]


def gone(stage: Stage) -> None:
    stage.api.wait_until(lambda _: stage.seen() == [], what="no rollout")


def test_stable_and_new_are_what_argo_says(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    rollout = seen(stage)
    expected = argo.rollout(stage.api, "shop")
    assert (rollout.canary, rollout.baseline) == (expected.canary, expected.baseline)
    assert (rollout.workload, rollout.ordinal) == (expected.workload, 2)
    assert rollout.labels == {"app": "shop"}


def test_what_is_promoted_or_aborted_is_no_rollout(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    rollout = seen(stage)
    argo.say(stage.api, "shop", abort=True)
    gone(stage)
    argo.say(stage.api, "shop", abort=None)
    seen(stage)
    argo.say(stage.api, "shop", stableRS=argo.CURRENT)
    gone(stage)
    assert rollout.baseline is not None
    found = stage.source.instances(rollout.workload, rollout.baseline)
    assert not isinstance(found, Missing)
    assert len(found) == 2


def test_an_old_word_about_a_new_template_is_not_believed(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    seen(stage)
    argo.say(stage.api, "shop", observedGeneration="0")
    gone(stage)


def test_a_stalled_rollout_says_so(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    argo.say(stage.api, "shop", conditions=[late])
    stage.api.wait_until(lambda _: [r.stalled for r in stage.seen()] == [late["reason"]])


def test_without_argo_everything_else_goes_on_and_argo_may_come_later() -> None:
    with following(installed=False) as stage:
        stage.api.create(manifest())
        settle(stage.api)
        assert stage.seen() == []
        argo.install(stage.api)
        argo.begin(stage.api, argo.manifest("shop-argo"))
        seen(stage)


def test_argo_may_be_removed(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    seen(stage)
    definition = "rollouts.argoproj.io"
    stage.api.delete(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", definition, namespace=""
    )
    stage.api.wait_until(
        lambda _: stage.source.rollouts() == (), what="no rollout, and no trouble"
    )


# The abort


def step(actuator: ArgoAbort, rollout: Rollout) -> Step:
    draft = actuator.propose(rollout)
    assert draft.refusals == ()
    assert rollout.baseline is not None
    plan = Plan("w", rollout.workload, rollout.canary, rollout.baseline, draft.steps)
    return keyed(plan).steps[0]


def test_only_the_abort_is_written(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    before = argo.found(stage.api, "shop")
    actuator = ArgoAbort(stage.connection)
    one = step(actuator, argo.rollout(stage.api, "shop"))
    assert one.describe() == "abort default/shop: Argo goes back from v2 to v1, the stable one"
    actuator.perform(one)
    after = argo.found(stage.api, "shop")
    assert after["spec"] == before["spec"]
    assert after["status"] == {**before["status"], "abort": True}


def test_it_is_done_when_argo_has_seen_it_and_the_stable_pods_are_there(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    actuator = ArgoAbort(stage.connection)
    one = step(actuator, argo.rollout(stage.api, "shop"))
    actuator.perform(one)
    assert actuator.inspect(one) is StepState.SETTLING
    argo.say(stage.api, "shop", abortedAt="2026-11-20T10:00:00Z")
    assert actuator.inspect(one) is StepState.SETTLING
    argo.say(stage.api, "shop", availableReplicas=3)
    assert actuator.inspect(one) is StepState.DONE
    # A GitOps tool puts the stable template back.
    argo.say(stage.api, "shop", currentPodHash=argo.STABLE, abort=None, abortedAt=None)
    assert actuator.inspect(one) is StepState.DONE


def test_each_reason_not_to_abort_has_its_words(stage: Stage) -> None:
    argo.begin(stage.api, argo.manifest("shop"))
    rollout = argo.rollout(stage.api, "shop")
    actuator = ArgoAbort(stage.connection)

    def said(**status: object) -> str:
        argo.say(stage.api, "shop", "default", **status)
        draft = actuator.propose(rollout)
        assert draft.steps == ()
        return "; ".join(draft.refusals)

    assert "no longer what" in said(currentPodHash="v3")
    assert "promoted already" in said(currentPodHash="v2", stableRS="v2")
    assert "another stable revision" in said(stableRS="v0")
    assert "aborted already" in said(stableRS="v1", abort=True)
    job = replace(rollout, workload=replace(rollout.workload, kind="Job"))
    assert "not a Rollout of Argo" in actuator.propose(job).refusals[0]
    other = replace(rollout, workload=replace(rollout.workload, name="other"))
    assert "no longer exists" in actuator.propose(other).refusals[0]
