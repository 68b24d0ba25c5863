"""Pausing with our mark, and letting go of exactly that, over HTTP."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from actions.cluster import template_digest
from actions.guards.register import checks
from actions.guards.situation import Situation
from actions.holding import Standing
from actions.kubernetes_pause import KubernetesPause
from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, keyed
from actions.ports import Conflict, Permanent, Transient
from analyzer.check import CheckOutcome
from analyzer.policy import Policy
from analyzer.rollout import Workload
from rollbackd.kubernetes.connection import Connection
from tests.actions.test_gitops_hold import Meddling
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.kubernetes import shop

HELD_BY = "rollbackd.io/held-by"
SHOP = Workload("test", "default", "Deployment", "shop")


@dataclass
class Stage:
    """A Deployment, and how it was seen."""

    api: FakeKubeApi
    connection: Connection

    @property
    def pauses(self) -> KubernetesPause:
        return KubernetesPause(self.connection)

    def standing(self) -> Standing:
        found = shop.deployment(self.api)
        uid, template = found["metadata"]["uid"], template_digest(found)
        return Standing(SHOP, uid, template, "v", 3, 1, is_paused=False, held_by="")

    def state(self) -> tuple[bool, str | None]:
        """Return whether it is paused, and our mark."""
        found = shop.deployment(self.api)
        mark = (found["metadata"].get("annotations") or {}).get(HELD_BY)
        return bool(found["spec"].get("paused")), mark


@pytest.fixture
def stage() -> Iterator[Stage]:
    with shop.cluster() as (api, connection):
        api.create(shop.manifest())
        shop.settle(api)
        yield Stage(api, connection)


def test_a_hold_and_its_end_leave_everything_as_it_was(stage: Stage) -> None:
    before = shop.deployment(stage.api)
    seen = stage.standing()
    stage.pauses.pause(seen, "w")
    assert stage.state() == (True, "w")
    stage.pauses.pause(seen, "w")
    assert shop.writes(stage.api) == 1
    assert stage.pauses.let_go(seen, "w")
    assert not stage.pauses.let_go(seen, "w")
    assert shop.writes(stage.api) == 2
    after = shop.deployment(stage.api)
    assert after["spec"] == before["spec"]
    assert HELD_BY not in after["metadata"]["annotations"]


def test_the_pause_of_somebody_else_is_never_undone(stage: Stage) -> None:
    shop.patch(stage.api, spec={"paused": True})
    seen = stage.standing()
    with pytest.raises(Conflict, match="paused by somebody else"):
        stage.pauses.pause(seen, "w")
    assert not stage.pauses.let_go(seen, "w")
    shop.patch(stage.api, metadata={"annotations": {HELD_BY: "another watch"}})
    assert not stage.pauses.let_go(seen, "w")
    assert stage.state() == (True, "another watch")
    assert shop.writes(stage.api) == 0


def test_who_takes_our_mark_away_takes_the_pause_over(stage: Stage) -> None:
    seen = stage.standing()
    stage.pauses.pause(seen, "w")
    shop.patch(stage.api, metadata={"annotations": {HELD_BY: None}})
    assert not stage.pauses.let_go(seen, "w")
    assert stage.state() == (True, None)


def test_one_that_was_resumed_by_hand_only_loses_our_mark(stage: Stage) -> None:
    seen = stage.standing()
    stage.pauses.pause(seen, "w")
    shop.patch(stage.api, spec={"paused": None})
    assert stage.pauses.let_go(seen, "w")
    assert stage.state() == (False, None)


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (lambda api: shop.deploy(api, "shop:2"), "something else"),
        (lambda api: api.delete("apps/v1", "Deployment", "shop"), "is gone"),
    ],
    ids=["another template", "deleted"],
)
def test_a_world_that_moved_on_is_not_paused(
    stage: Stage, world: Callable[[FakeKubeApi], object], said: str
) -> None:
    seen = stage.standing()
    world(stage.api)
    with pytest.raises(Conflict, match=said):
        stage.pauses.pause(seen, "w")
    assert shop.writes(stage.api) == 0
    assert not stage.pauses.let_go(replace(seen, uid="another"), "w")


def test_who_pauses_at_the_same_time_wins(stage: Stage) -> None:
    seen = stage.standing()
    meddling = Meddling(stage.connection, lambda: shop.patch(stage.api, spec={"paused": True}))
    with pytest.raises(Conflict, match="somebody else"):
        KubernetesPause(meddling).pause(seen, "w")
    assert stage.state() == (True, None)


def test_a_busy_deployment_is_tried_again_and_then_given_up(stage: Stage) -> None:
    count = [0]

    def scale() -> None:
        count[0] += 1
        shop.patch(stage.api, metadata={"labels": {"count": str(count[0])}})

    with pytest.raises(Conflict, match="changes too often"):
        KubernetesPause(Meddling(stage.connection, scale)).pause(stage.standing(), "w")
    assert stage.state() == (False, None)


def test_a_write_whose_answer_was_lost_has_one_effect(stage: Stage) -> None:
    seen = stage.standing()
    stage.api.add_fault(Fault(FaultAction.DROP_AFTER, verb="patch", count=1))
    with pytest.raises(Transient):
        stage.pauses.pause(seen, "w")
    stage.pauses.pause(seen, "w")
    assert stage.state() == (True, "w")
    patches = [request for request in stage.api.requests() if request.verb == "patch"]
    assert len(patches) == 1


def test_without_the_right_a_person_is_needed(stage: Stage) -> None:
    stage.api.set_access(Access(denied=frozenset({"patch deployments"})))
    with pytest.raises(Permanent, match="cannot patch"):
        stage.pauses.pause(stage.standing(), "w")


def test_a_rollback_lets_go_of_what_its_own_watch_holds(stage: Stage) -> None:
    shop.deploy(stage.api, "shop:2")
    shop.settle(stage.api)
    rollout = shop.rollout(stage.api)
    assert rollout.baseline is not None
    stage.pauses.pause(stage.standing(), rollout.watch_id)
    rollback = KubernetesRollback(stage.connection)
    draft = rollback.propose(rollout)
    policy = Policy("p", (), actuators=("undo",))
    found = checks(Situation(policy, rollout, [("undo", draft)], (), 0.0))
    assert {check.outcome for check in found} == {CheckOutcome.PASSED}
    plan = Plan(rollout.watch_id, SHOP, rollout.canary, rollout.baseline, draft.steps)
    (step,) = keyed(plan).steps
    rollback.perform(step)
    assert stage.state() == (False, None)
    shop.settle(stage.api)
    assert shop.image(stage.api) == "shop:1"


def test_a_rollback_does_not_touch_what_another_watch_holds(stage: Stage) -> None:
    shop.deploy(stage.api, "shop:2")
    shop.settle(stage.api)
    rollout = shop.rollout(stage.api)
    rollback = KubernetesRollback(stage.connection)
    assert rollout.baseline is not None
    steps = rollback.propose(rollout).steps
    stage.pauses.pause(stage.standing(), "another watch")
    assert rollback.propose(rollout).steps == ()
    plan = Plan(rollout.watch_id, SHOP, rollout.canary, rollout.baseline, steps)
    (step,) = keyed(plan).steps
    with pytest.raises(Conflict, match="was paused"):
        rollback.perform(step)
    assert stage.state() == (True, "another watch")
