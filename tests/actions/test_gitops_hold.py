"""Holding an owner and letting it go, over HTTP; what the promises of all actuators leave open."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from actions.facts import Owned
from actions.gitops_hold import GitOpsHold, GitOpsOwners, released
from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, Step, keyed
from actions.ports import Conflict, Permanent, StepState, Transient
from rollbackd.kubernetes.connection import Connection
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.kubernetes import shop
from tests.kubernetes.gitops import (
    AUTOMATED,
    Sample,
    argo_application,
    helm_release,
    kustomization,
)

HELD_BY = "rollbackd.io/held-by"
OWNERS: list[Callable[[], Sample]] = [argo_application, kustomization, helm_release]


@dataclass
class Stage:
    """A Deployment that went from shop:1 to shop:2, and who applied that."""

    api: FakeKubeApi
    connection: Connection

    def owned_by(self, owner: Sample) -> Sample:
        owner.create(self.api)
        shop.patch(self.api, metadata=owner.marks)
        return owner

    def hold(self) -> GitOpsHold:
        return GitOpsHold(self.connection, GitOpsOwners(self.connection))

    def step(self) -> Step:
        (step,) = self.planned(self.hold().propose(self.rollout).steps)
        return step

    def planned(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        rollout = self.rollout
        assert rollout.baseline is not None
        return keyed(
            Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, steps)
        ).steps

    def facts(self) -> list[Owned]:
        facts = GitOpsOwners(self.connection).facts(self.rollout)
        return [fact for fact in facts if isinstance(fact, Owned)]

    def __post_init__(self) -> None:
        self.rollout = shop.rollout(self.api)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with shop.cluster() as (api, connection):
        api.create(shop.manifest())
        shop.settle(api)
        shop.deploy(api, "shop:2")
        shop.settle(api)
        yield Stage(api, connection)


@pytest.mark.parametrize("made", OWNERS)
def test_a_hold_and_its_release_leave_everything_as_it_was(
    stage: Stage, made: Callable[[], Sample]
) -> None:
    owner = stage.owned_by(made())
    before = owner.now(stage.api)
    step, hold = stage.step(), stage.hold()
    hold.perform(step)
    held = owner.now(stage.api)
    assert held["metadata"]["annotations"][HELD_BY] == stage.rollout.watch_id
    assert [fact.syncs for fact in stage.facts()] == [False]
    (back,) = stage.planned((released(step),))
    assert hold.inspect(back) is StepState.PENDING
    hold.perform(back)
    assert hold.inspect(back) is StepState.DONE
    after = owner.now(stage.api)
    assert after["spec"] == before["spec"]
    assert HELD_BY not in (after["metadata"].get("annotations") or {})
    assert [fact.syncs for fact in stage.facts()] == [True]


def test_only_the_one_field_of_argo_changes(stage: Stage) -> None:
    owner = stage.owned_by(argo_application())
    stage.hold().perform(stage.step())
    spec = owner.now(stage.api)["spec"]
    assert spec["syncPolicy"] == {"syncOptions": ["CreateNamespace=true"]}
    assert spec["fieldOfTomorrow"] == [1]
    step = stage.hold().propose(stage.rollout)
    assert step.steps == ()  # it does not apply by itself any more


def test_people_can_read_what_happens(stage: Stage) -> None:
    stage.owned_by(argo_application())
    step = stage.step()
    assert step.describe() == (
        "stop the automatic sync of Argo CD Application argocd/shop (until: rollbackd release)"
    )
    assert step.expected["sync"] == AUTOMATED
    back = "put the automatic sync of Argo CD Application argocd/shop back"
    assert released(step).describe() == back


@pytest.mark.parametrize(
    "owner",
    [
        argo_application(automated=None),
        argo_application(automated={"enabled": False}),
        kustomization(suspend=True),
    ],
    ids=["argo by hand", "argo disabled", "flux suspended"],
)
def test_who_does_not_apply_by_itself_needs_no_hold(stage: Stage, owner: Sample) -> None:
    stage.owned_by(owner)
    draft = stage.hold().propose(stage.rollout)
    assert (draft.steps, draft.refusals) == ((), ())
    assert [fact.syncs for fact in stage.facts()] == [False]


def test_a_helm_release_is_told_and_not_held(stage: Stage) -> None:
    shop.patch(stage.api, metadata={"annotations": {"meta.helm.sh/release-name": "web"}})
    draft = stage.hold().propose(stage.rollout)
    assert (draft.steps, draft.refusals) == ((), ())
    (fact,) = stage.facts()
    assert (fact.owner, fact.syncs) == ("Helm release default/web", False)


def test_who_would_be_put_back_itself_cannot_be_held(stage: Stage) -> None:
    parent = {"argocd.argoproj.io/instance": "root"}
    stage.owned_by(argo_application(labels=parent))
    (refusal,) = stage.hold().propose(stage.rollout).refusals
    assert "Argo CD Application argocd/root makes it, and would undo that" in refusal


def test_an_owner_that_is_not_there_cannot_be_held(stage: Stage) -> None:
    shop.patch(stage.api, metadata=argo_application().marks)
    (refusal,) = stage.hold().propose(stage.rollout).refusals
    assert "Argo CD Application argocd/shop owns default/shop and was not found" in refusal
    (fact,) = stage.facts()
    assert (fact.syncs, fact.why) == (None, "it was not found")


def test_without_the_right_to_read_it_is_not_known_whether_it_applies(stage: Stage) -> None:
    stage.owned_by(kustomization())
    stage.api.set_access(Access(denied=frozenset({"get kustomizations"})))
    (fact,) = stage.facts()
    assert fact.syncs is None
    assert "cannot get" in fact.why
    with pytest.raises(Permanent, match="cannot get"):
        stage.hold().propose(stage.rollout)


def test_passing_trouble_is_no_fact(stage: Stage) -> None:
    stage.owned_by(kustomization())
    stage.api.add_fault(Fault(FaultAction.ERROR, path="kustomizations", code=503))
    with pytest.raises(Transient):
        stage.facts()


@dataclass
class Meddling:
    """The connection, with somebody else who acts between our read and our write."""

    connection: Connection
    meddle: Callable[[], object]

    def get(self, path: str) -> dict[str, Any] | None:
        return self.connection.get(path)

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self.meddle()
        return self.connection.patch(path, operations)


def test_who_writes_at_the_same_time_wins(stage: Stage) -> None:
    owner = stage.owned_by(argo_application())
    step = stage.step()
    meddling = Meddling(stage.connection, lambda: owner.change_by_hand(stage.api))
    with pytest.raises(Conflict):
        GitOpsHold(meddling, GitOpsOwners(meddling)).perform(step)
    assert shop.writes(stage.api) == 0


def test_a_status_that_changes_is_no_concurrent_change(stage: Stage) -> None:
    owner = stage.owned_by(argo_application())
    step, left = stage.step(), [1, 2]

    def reconcile() -> None:
        if left:
            owner.patch(stage.api, {"metadata": {"labels": {"seen": str(left.pop())}}})

    meddling = Meddling(stage.connection, reconcile)
    GitOpsHold(meddling, GitOpsOwners(meddling)).perform(step)
    assert stage.hold().inspect(step) is StepState.DONE


def test_a_release_leaves_alone_what_somebody_changed_since(stage: Stage) -> None:
    owner = stage.owned_by(argo_application())
    step, hold = stage.step(), stage.hold()
    hold.perform(step)
    (back,) = stage.planned((released(step),))
    owner.patch(stage.api, {"spec": {"syncPolicy": {"automated": {"prune": False}}}})
    assert hold.inspect(back) is StepState.MOVED_ON
    with pytest.raises(Conflict):
        hold.perform(back)
    owner.patch(
        stage.api, {"spec": {"syncPolicy": {"automated": {"prune": True, "selfHeal": True}}}}
    )
    assert hold.inspect(back) is StepState.DONE  # put back by hand: nothing is left to do


def test_a_template_that_was_put_back_is_not_taken_away_again(stage: Stage) -> None:
    """What Argo CD does within seconds, when it is not held."""
    rollback = KubernetesRollback(stage.connection)
    (step,) = stage.planned(rollback.propose(stage.rollout).steps)
    rollback.perform(step)
    assert shop.image(stage.api) == "shop:1"
    shop.deploy(stage.api, "shop:2")
    assert rollback.inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict, match="somebody put"):
        rollback.perform(step)
    assert shop.image(stage.api) == "shop:2"
