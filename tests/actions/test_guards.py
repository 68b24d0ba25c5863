"""Every guard both ways: when it objects, in which words, how strongly, and when it does not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.facts import (
    CannotStart,
    Fact,
    NewerRevision,
    Owned,
    PausedByHand,
    QuotaShort,
    SchemaBound,
    Undersized,
    Unread,
)
from actions.guards.guard import GuardName, OwnerRule, Strength
from actions.guards.register import AT_THE_LAST_MOMENT, GUARDS, checks
from actions.guards.settings import GuardSettings
from actions.guards.situation import PastAction, Situation, Trouble
from actions.plan import Draft, Plan, Refused, Step
from actions.planner import plan
from analyzer.check import Check, CheckOutcome
from analyzer.events import Planned
from analyzer.policy import Mode, Policy
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.watch import Phase, begin, step

NOW = 100_000.0
SHOP = Workload("c", "shops", "Deployment", "shop")
V1, V2 = Revision("uid-1", "v1"), Revision("uid-2", "v2")
ROLLOUT = Rollout(SHOP, V2, V1, (), (), ("pod",), 0.0)
POLICY = Policy("p", (), mode=Mode.ENFORCE, actuators=("undo",))
STEP = Step("undo", {"name": "shop"}, {"rs": "uid-2"}, {"rs": "uid-1", "summary": "undo shop"})


def situation(
    *facts: Fact,
    past: Sequence[PastAction] = (),
    troubles: Sequence[Trouble] = (),
    **settings: object,
) -> Situation:
    return Situation(
        POLICY,
        ROLLOUT,
        [("undo", Draft((STEP,), (), facts))],
        past,
        NOW,
        troubles,
        GuardSettings(**settings),  # type: ignore[arg-type]
    )


def said(found: Situation, guard: GuardName) -> Check:
    (check,) = [c for c in checks(found) if c.guard == guard.value]
    others = [c for c in checks(found) if c.guard != guard.value]
    assert {c.outcome for c in others} == {CheckOutcome.PASSED}
    return check


def others(
    count: int, *, ago: float, acts: bool = True, namespace: str = "shops"
) -> list[Trouble]:
    return [
        Trouble(f"w{i}", Workload("c", namespace, "Deployment", f"other-{i}"), NOW - ago, acts)
        for i in range(count)
    ]


def test_a_situation_without_objections_passes_every_guard() -> None:
    assert checks(situation()) == tuple(Check(name.value) for name in GuardName)
    assert set(GUARDS) == set(GuardName)


OBJECTIONS = [
    (PausedByHand("Deployment shops/shop"), GuardName.PAUSED, "was paused by hand", "refused"),
    (NewerRevision("shops/shop", "v2"), GuardName.NEWER_REVISION, "another change", "refused"),
    (
        CannotStart("v1", 2, "ImagePullBackOff"),
        GuardName.CAPACITY,
        "2 pods of v1, the revision to go back to, cannot start: ImagePullBackOff",
        "refused",
    ),
    (
        Undersized("Deployment shop", 1, 3, "HorizontalPodAutoscaler hpa"),
        GuardName.CAPACITY,
        "Deployment shop would run 1 pods, and HorizontalPodAutoscaler hpa asks for at least 3",
        "refused",
    ),
    (
        QuotaShort("team", "requests.cpu", 3.0, 1.5, 3),
        GuardName.CAPACITY,
        "ResourceQuota team has room for 1.50 of requests.cpu, and 3 pods of the revision to go",
        "refused",
    ),
    (
        QuotaShort("team", "requests.memory", 2.0**30, 2.0**29, 1),
        GuardName.CAPACITY,
        "room for 512 MiB",
        "refused",
    ),
    (Unread("its autoscaler", "403"), GuardName.CAPACITY, "could not be read (403)", "warned"),
    (
        Owned("Argo CD Application argocd/shop", True, "it applies its manifests by itself"),
        GuardName.GITOPS,
        "Argo CD Application argocd/shop would put the canary back: it applies",
        "refused",
    ),
    (
        Owned("Flux Kustomization f/shop", None, "403"),
        GuardName.GITOPS,
        "Flux Kustomization f/shop may put the canary back; whether it would is not known (403)",
        "refused",
    ),
    (
        Owned("Helm release n/web", False, "the next upgrade applies its own manifest"),
        GuardName.GITOPS,
        "Helm release n/web does not know of a rollback: the next upgrade",
        "warned",
    ),
    (SchemaBound("the canary dropped a column", True), GuardName.SCHEMA, "dropped", "refused"),
]


@pytest.mark.parametrize(("fact", "guard", "text", "outcome"), OBJECTIONS)
def test_a_fact_makes_its_guard_and_no_other_object(
    fact: Fact, guard: GuardName, text: str, outcome: str
) -> None:
    check = said(situation(fact), guard)
    assert text in check.text
    assert check.outcome == outcome


@pytest.mark.parametrize("strength", Strength)
def test_where_it_can_be_chosen_the_user_says_how_strongly(strength: Strength) -> None:
    fact = CannotStart("v1", 2, "ErrImagePull")
    chosen = said(situation(fact, capacity=strength), GuardName.CAPACITY)
    assert chosen.outcome is strength.outcome
    schema = SchemaBound("no way back", certain=True)
    assert said(situation(schema, schema=strength), GuardName.SCHEMA).outcome is strength.outcome


def test_a_schema_that_cannot_be_told_asks_a_person_who_can() -> None:
    unknown = SchemaBound("which version it is cannot be told", certain=False)
    assert said(situation(unknown), GuardName.SCHEMA).outcome is CheckOutcome.ASKS
    warned = said(situation(unknown, schema=Strength.WARN), GuardName.SCHEMA)
    assert warned.outcome is CheckOutcome.WARNED
    known = SchemaBound("it does not work", certain=True)
    found = [c for c in checks(situation(unknown, known)) if c.guard == GuardName.SCHEMA.value]
    assert [c.outcome for c in found] == [CheckOutcome.REFUSED]


def test_a_paused_workload_is_not_told_that_nothing_would_change() -> None:
    nothing = replace(situation(), drafts=[("undo", Draft(facts=(PausedByHand("shop"),)))])
    assert said(nothing, GuardName.PAUSED).outcome is CheckOutcome.REFUSED


def test_the_budget_of_a_namespace() -> None:
    spent = said(situation(troubles=others(2, ago=60), namespace_budget=2), GuardName.BUDGET)
    assert spent.text == "the budget of namespace shops is spent: 2 of 2 actions within 1 h"
    for free in (
        others(1, ago=60),
        others(4, ago=3600),
        others(4, ago=60, acts=False),
        others(4, ago=60, namespace="elsewhere"),
    ):
        situation_ = situation(troubles=free, namespace_budget=2, incident_workloads=100)
        assert said(situation_, GuardName.BUDGET).outcome is CheckOutcome.PASSED


def test_the_budget_of_a_cluster() -> None:
    troubles = others(3, ago=60, namespace="elsewhere")
    spent = said(situation(troubles=troubles, cluster_budget=3), GuardName.BUDGET)
    assert "budget of cluster c is spent: 3 of 3" in spent.text
    abroad = [replace(t, workload=replace(t.workload, cluster="d")) for t in troubles]
    passed = said(situation(troubles=abroad, cluster_budget=3), GuardName.BUDGET)
    assert passed.outcome is CheckOutcome.PASSED


def test_planning_again_does_not_spend_the_own_budget() -> None:
    own = [Trouble("w", SHOP, NOW - 5, acts=True)]
    assert said(situation(troubles=own, namespace_budget=1), GuardName.BUDGET).text == ""


def test_many_at_once_are_a_platform_incident() -> None:
    """Four others and this one: whether those act or are only watched says nothing about it."""
    found = said(situation(troubles=others(4, ago=60, acts=False)), GuardName.INCIDENT)
    assert found.outcome is CheckOutcome.REFUSED
    assert "5 workloads of cluster c went bad within 10 min: that is a platform" in found.text
    for fewer in (others(3, ago=60, acts=False), others(9, ago=600, acts=False)):
        passed = said(situation(troubles=fewer), GuardName.INCIDENT)
        assert passed.outcome is CheckOutcome.PASSED


@dataclass(frozen=True)
class Always:
    name: str
    strength: Strength
    end: float | None

    def ends_at(self, now: float) -> float | None:
        return self.end if self.end is not None and now < self.end else None


def test_a_freeze_objects_as_strongly_as_it_says() -> None:
    soft, hard = Always("night", Strength.ASK, NOW + 90), Always("sale", Strength.REFUSE, NOW + 60)
    found = said(situation(freezes=(soft,)), GuardName.FREEZE)
    assert found == Check(
        "freeze", CheckOutcome.ASKS, "changes are frozen (night) for another 1 min 30 s"
    )
    found = said(situation(freezes=(soft, hard)), GuardName.FREEZE)
    assert found.outcome is CheckOutcome.REFUSED
    assert "sale" in found.text
    over = Always("sale", Strength.REFUSE, NOW)
    passed = said(situation(freezes=(over,)), GuardName.FREEZE)
    assert passed.outcome is CheckOutcome.PASSED


def test_a_revision_that_was_put_back_needs_a_person() -> None:
    long_ago = PastAction(SHOP, NOW - 7200.0, V2.id, V1.id)
    found = said(situation(past=[long_ago]), GuardName.RETURNED)
    assert found.outcome is CheckOutcome.ASKS
    assert "v2 was rolled back 2 h ago and somebody put it back" in found.text
    another = PastAction(SHOP, NOW - 7200.0, "uid-0", V1.id)
    assert said(situation(past=[another]), GuardName.RETURNED).text == ""


ARGO = Owned("Argo CD Application argocd/shop", syncs=True, why="it applies by itself")


def test_an_owner_that_would_undo_it_may_be_accepted() -> None:
    found = said(situation(ARGO, gitops=OwnerRule.WARN), GuardName.GITOPS)
    assert found.outcome is CheckOutcome.WARNED


def test_an_owner_that_the_plan_holds_first_is_no_reason() -> None:
    free = situation(ARGO, gitops=OwnerRule.HOLD)
    assert said(free, GuardName.GITOPS).outcome is CheckOutcome.REFUSED
    hold = Step("gitops-hold", {"owner": ARGO.owner}, {}, {})
    held = replace(free, drafts=[("gitops-hold", Draft((hold,))), *free.drafts])
    assert said(held, GuardName.GITOPS).outcome is CheckOutcome.PASSED
    other = replace(ARGO, owner="Flux Kustomization f/shop")
    half = replace(held, facts=[other])
    assert said(half, GuardName.GITOPS).text.startswith("Flux Kustomization f/shop would")


FACTS = [fact for fact, *_ in OBJECTIONS]


@given(
    facts=st.lists(st.sampled_from(FACTS), unique=True),
    strengths=st.tuples(st.sampled_from(Strength), st.sampled_from(Strength)),
    troubled=st.integers(0, 8),
)
def test_a_refusal_is_never_a_plan_and_a_plan_that_asks_never_acts_alone(
    facts: list[Fact], strengths: tuple[Strength, Strength], troubled: int
) -> None:
    found = situation(
        *facts, troubles=others(troubled, ago=1), capacity=strengths[0], schema=strengths[1]
    )
    answers = checks(found)
    outcomes = {check.outcome for check in answers}
    made = plan(found, answers, "w")
    assert isinstance(made, Refused) == (CheckOutcome.REFUSED in outcomes)
    assert all(bool(c.text) == (c.outcome is not CheckOutcome.PASSED) for c in answers)
    if isinstance(made, Plan):
        degraded = replace(begin(ROLLOUT, POLICY, NOW), phase=Phase.DEGRADED)
        watch, _ = step(degraded, Planned(made.key, "undo", answers), POLICY, NOW)
        asks = CheckOutcome.ASKS in outcomes
        assert watch.phase is (Phase.AWAITING_APPROVAL if asks else Phase.ACTING)


def test_what_may_have_changed_is_asked_again_at_the_last_moment() -> None:
    late = situation(troubles=others(4, ago=60))
    answers = checks(late, AT_THE_LAST_MOMENT)
    assert [c.guard for c in answers] == ["budget", "incident", "freeze"]
    assert [c.guard for c in answers if c.outcome is CheckOutcome.REFUSED] == ["incident"]
