from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.events import (
    Act,
    Acted,
    ActFailed,
    Announce,
    Approved,
    AskApproval,
    Command,
    Demanded,
    Ended,
    Event,
    Judged,
    MakePlan,
    Planned,
    PlanRefused,
    RecoveryMeasured,
    Rejected,
    Resumed,
    Snoozed,
    Superseded,
)
from analyzer.judge import Judgement, Reason, Verdict
from analyzer.policy import Mode, Policy, WhenMissing
from analyzer.rollout import Revision, Workload
from analyzer.signal import RatioSignal, Selector
from analyzer.watch import MAX_ATTEMPTS, Hold, Phase, Watch, resume, step
from tests.analyzer.strategies import events

POLICY = Policy("p", (RatioSignal("errors", Selector("a"), Selector("b")),), mode=Mode.ENFORCE)
WATCH = Watch(
    "w", Workload("c", "n", "Deployment", "shop"), Revision("2", "v2"), Revision("1", "v1"),
    "p", Mode.ENFORCE, started_at=0.0, since=0.0,
)  # fmt: skip
BLIND = Judgement(Verdict.INCONCLUSIVE, (Reason("errors", "errors: source down"),), 0, 100, True)


def judged(verdict: Verdict) -> Judged:
    return Judged(Judgement(verdict, (Reason("errors", "errors 4 % vs 1 %"),), 200, 100), True)


DEGRADED, HEALTHY = judged(Verdict.DEGRADED), judged(Verdict.HEALTHY)
OPEN, SHARED = judged(Verdict.INCONCLUSIVE), judged(Verdict.SHARED_INCIDENT)


def run(watch: Watch, *steps: tuple[float, Event], policy: Policy = POLICY) -> Watch:
    for now, event in steps:
        watch, _ = step(watch, event, policy, now)
    return watch


def test_a_bad_canary_is_rolled_back_once_and_verified() -> None:
    watch, commands = step(WATCH, DEGRADED, POLICY, 30)
    assert (watch.phase, commands) == (Phase.DEGRADED, (MakePlan(),))
    watch, commands = step(watch, Planned("k", "roll back shop"), POLICY, 31)
    assert watch.phase is Phase.ACTING
    assert Act("k") in commands
    watch = run(watch, (32, Acted("k")), (33, RecoveryMeasured(None, "")), (40, DEGRADED))
    assert watch.phase is Phase.VERIFYING
    assert run(watch, (50, RecoveryMeasured(True, "errors"))).phase is Phase.ROLLED_BACK


def test_observe_says_what_it_would_have_done_and_does_nothing() -> None:
    watch = replace(WATCH, mode=Mode.OBSERVE)
    watch = run(watch, (30, DEGRADED))
    watch, commands = step(watch, Planned("k", "roll back shop"), POLICY, 31)
    assert watch.phase is Phase.REPORTED
    assert watch.note == "would have acted, but the mode is observe: roll back shop"
    assert not any(isinstance(c, Act) for c in commands)


def test_approval_is_bound_to_the_plan_and_expires() -> None:
    watch = run(replace(WATCH, mode=Mode.APPROVE), (30, DEGRADED), (31, Planned("k", "x")))
    assert watch.phase is Phase.AWAITING_APPROVAL
    assert resume(watch) == (AskApproval("k"),)
    assert run(watch, (40, Approved("other", "ann"))) == watch
    assert run(watch, (40, Approved("k", "ann"))).phase is Phase.ACTING
    assert run(watch, (40, Rejected("k", "ann"))).phase is Phase.NEEDS_HUMAN
    late = 31 + POLICY.approval_expires_s
    assert run(watch, (late, Approved("k", "ann"))).phase is Phase.NEEDS_HUMAN
    assert run(watch, (late, DEGRADED)).phase is Phase.NEEDS_HUMAN


def test_healthy_only_after_the_minimum_time() -> None:
    young = run(WATCH, (POLICY.min_observation_s - 1, HEALTHY))
    assert young.phase is Phase.OBSERVING
    assert run(young, (POLICY.min_observation_s, HEALTHY)).phase is Phase.HEALTHY


def test_blindness_holds_and_ends_when_the_data_comes_back() -> None:
    blind = Judged(BLIND, measured=False)
    watch = run(WATCH, (10, OPEN), (20, blind), (20 + POLICY.blind_after_s - 1, blind))
    assert watch.phase is Phase.OBSERVING
    watch, commands = step(watch, blind, POLICY, 20 + POLICY.blind_after_s)
    assert (watch.phase, watch.hold) == (Phase.HELD, Hold.BLIND)
    assert isinstance(commands[0], Announce)
    assert not commands[0].urgent
    assert "source down" in watch.note
    assert run(watch, (500, OPEN)).phase is Phase.OBSERVING


@pytest.mark.parametrize(("when", "urgent"), [(WhenMissing.HOLD, False), (WhenMissing.PAGE, True)])
def test_blindness_calls_people_when_asked_to(when: WhenMissing, urgent: bool) -> None:
    policy = replace(POLICY, when_missing=when, blind_after_s=0.0)
    watch = run(WATCH, (10, OPEN))
    _, commands = step(watch, Judged(BLIND, measured=False), policy, 20)
    assert commands == (Announce(commands[0].text, urgent),)  # type: ignore[union-attr]


def test_shared_incident_holds_and_passes() -> None:
    watch = run(WATCH, (10, OPEN), (20, SHARED))
    assert (watch.phase, watch.hold) == (Phase.HELD, Hold.SHARED_INCIDENT)
    assert run(watch, (30, OPEN)).phase is Phase.OBSERVING
    assert run(watch, (30, DEGRADED)).phase is Phase.DEGRADED


def test_a_shared_incident_that_only_became_invisible_still_holds() -> None:
    watch = run(WATCH, (10, OPEN), (20, SHARED))
    unseen = replace(DEGRADED, judgement=replace(DEGRADED.judgement, missing=("latency",)))
    assert run(watch, (30, unseen)).hold is Hold.SHARED_INCIDENT
    strong = replace(unseen, judgement=replace(unseen.judgement, e_value=1000.0))
    assert run(watch, (30, strong)).phase is Phase.DEGRADED


def test_without_evidence_it_ends_inconclusive() -> None:
    watch = run(WATCH, (10, OPEN), (POLICY.horizon_s, OPEN))
    assert watch.phase is Phase.INCONCLUSIVE


def test_a_refused_plan_calls_people_with_the_reasons() -> None:
    watch = run(WATCH, (10, DEGRADED), (11, PlanRefused(("no earlier revision", "frozen"))))
    assert watch.phase is Phase.NEEDS_HUMAN
    assert "no earlier revision; frozen" in watch.note


def test_a_conflict_plans_anew_but_not_for_ever() -> None:
    watch = WATCH
    watch = run(watch, (10, DEGRADED))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert watch.phase is Phase.DEGRADED
        key = f"k{attempt}"
        watch = run(watch, (11, Planned(key, "x")), (12, ActFailed(key, "409", conflict=True)))
    assert watch.phase is Phase.NEEDS_HUMAN


def test_recovery_that_fails_or_cannot_be_seen_calls_people() -> None:
    watch = run(WATCH, (10, DEGRADED), (11, Planned("k", "x")), (12, Acted("k")))
    assert run(watch, (20, RecoveryMeasured(False, ""))).phase is Phase.NEEDS_HUMAN
    late = 12 + POLICY.recovery_s
    assert run(watch, (late, RecoveryMeasured(None, ""))).phase is Phase.NEEDS_HUMAN


def test_snooze_holds_even_a_degraded_canary_until_it_is_over() -> None:
    watch = run(WATCH, (10, OPEN), (20, Snoozed(100, "ann")), (30, DEGRADED))
    assert watch.hold is Hold.SNOOZED
    assert run(watch, (40, Resumed("ann"))).phase is Phase.OBSERVING
    assert run(watch, (100, DEGRADED)).phase is Phase.DEGRADED


@pytest.mark.parametrize("mode", Mode)
def test_a_person_may_have_it_rolled_back_in_every_mode(mode: Mode) -> None:
    watch, commands = step(replace(WATCH, mode=mode), Demanded("ann"), POLICY, 10)
    assert (watch.phase, MakePlan() in commands) == (Phase.DEMANDED, True)
    assert resume(watch) == (MakePlan(),)
    watch, commands = step(watch, Planned("k", "roll back shop"), POLICY, 11)
    assert (watch.phase, Act("k") in commands) == (Phase.ACTING, True)
    assert watch.note == "rolling back at the demand of ann: roll back shop"
    again, commands = step(watch, ActFailed("k", "409", conflict=True), POLICY, 12)
    assert (again.phase, commands) == (Phase.DEMANDED, (MakePlan(),))
    assert run(again, (13, Planned("k2", "x"))).phase is Phase.ACTING


def test_a_demand_that_is_refused_costs_the_rollout_no_protection() -> None:
    asked = run(WATCH, (10, OPEN), (20, Demanded("ann")))
    refused = run(asked, (21, PlanRefused(("cool-down",))))
    assert refused.note == "not rolled back as ann wanted: cool-down"
    assert run(refused, (30, OPEN)).phase is Phase.OBSERVING
    bad = run(refused, (30, DEGRADED), (31, Planned("k", "x")))
    assert bad.note == "x"  # the verdict's plan is not the person's
    snoozed = run(WATCH, (10, OPEN), (20, Snoozed(500, "ann")), (30, Demanded("ann")))
    assert run(snoozed, (31, PlanRefused(("no",)))).hold is Hold.SNOOZED
    resumed = run(WATCH, (10, OPEN), (20, Snoozed(500, "ann")), (25, Resumed("ann")))
    assert run(resumed, (30, Demanded("ann")), (31, PlanRefused(("no",)))).hold is None


def test_every_decision_of_a_person_counts_and_nothing_else_does() -> None:
    watch = run(replace(WATCH, mode=Mode.APPROVE), (10, OPEN), (20, Snoozed(100, "ann")))
    assert watch.turn == 1
    watch = run(watch, (30, Resumed("ann")), (31, Resumed("ann")), (40, DEGRADED))
    assert watch.turn == 2
    watch = run(watch, (41, Planned("k", "x")), (42, Demanded("ann")), (43, Approved("y", "ann")))
    assert watch.turn == 2
    assert run(watch, (44, Approved("k", "ann")), (45, Approved("k", "ann"))).turn == 3


def test_a_newer_revision_supersedes_but_does_not_interrupt_acting() -> None:
    newer = Superseded(Revision("3", "v3"))
    assert run(WATCH, (10, newer)).phase is Phase.SUPERSEDED
    acting = run(WATCH, (10, DEGRADED), (11, Planned("k", "x")))
    assert run(acting, (12, newer)) == acting
    assert run(acting, (12, Acted("k")), (13, Ended("gone"))).phase is Phase.VERIFYING


walks = st.lists(st.tuples(st.floats(-200, 600), events), max_size=25)
"""Events, and the seconds before each; the clock of a replica that takes over may be behind."""


def walk(
    steps: Sequence[tuple[float, Event]], mode: Mode, when: WhenMissing
) -> list[tuple[Watch, Event, Watch, tuple[Command, ...]]]:
    policy = replace(POLICY, mode=mode, when_missing=when)
    watch, now, seen = replace(WATCH, mode=mode), 0.0, []
    for pause, event in steps:
        now += pause
        after, commands = step(watch, event, policy, now)
        seen.append((watch, event, after, commands))
        watch = after
    return seen


@settings(max_examples=400)
@given(walks, st.sampled_from(Mode), st.sampled_from(WhenMissing))
def test_invariants_hold_after_every_step_of_any_walk(
    steps: list[tuple[float, Event]], mode: Mode, when: WhenMissing
) -> None:
    acts: list[str] = []
    conflicts = 0
    for before, event, after, commands in walk(steps, mode, when):
        for command in commands:
            match command:
                case MakePlan():
                    degraded = isinstance(event, Judged) and (
                        event.judgement.verdict is Verdict.DEGRADED
                    )
                    again = isinstance(event, ActFailed) and event.conflict
                    assert degraded or isinstance(event, Demanded) or again
                case Act(plan_key=key):
                    assert key == after.plan_key
                    assert before.demanded_by or mode is not Mode.OBSERVE
                    asked = before.demanded_by or isinstance(event, Approved)
                    assert asked or mode is Mode.ENFORCE
                    acts.append(key)
                case _:
                    pass
        if isinstance(event, ActFailed) and event.conflict and before.phase is Phase.ACTING:
            conflicts += event.plan_key == before.plan_key
        reopened = before.phase is Phase.REPORTED and isinstance(event, Demanded)
        assert not reopened or after.phase is Phase.DEMANDED
        if before.phase.final and not reopened:
            assert after == before
            assert commands == ()
        assert after.since >= before.since
        assert (after.hold is not None) == (after.phase is Phase.HELD)
    # one rollback; another attempt only after a conflict, in which nothing was written
    assert len(acts) <= 1 + conflicts
    assert len(acts) <= MAX_ATTEMPTS


@settings(max_examples=300)
@given(walks, st.sampled_from(Mode), st.sampled_from(WhenMissing))
def test_without_a_degraded_verdict_or_a_demand_nothing_is_ever_planned(
    steps: list[tuple[float, Event]], mode: Mode, when: WhenMissing
) -> None:
    innocent = [
        (pause, event)
        for pause, event in steps
        if not (isinstance(event, Judged) and event.judgement.verdict is Verdict.DEGRADED)
        and not isinstance(event, Demanded)
    ]
    for _, _, after, commands in walk(innocent, mode, when):
        assert not any(isinstance(c, (MakePlan, Act, AskApproval)) for c in commands)
        assert after.phase not in {Phase.ACTING, Phase.VERIFYING, Phase.ROLLED_BACK}
