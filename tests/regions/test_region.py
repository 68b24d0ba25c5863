"""The life of a region: what must never happen, by random stories; and what must, by short ones."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from analyzer.events import ActFailed, Announce, Approved, AskApproval, PlanRefused, Rejected
from analyzer.policy import Mode
from analyzer.regions.events import (
    Advance,
    Assessed,
    Direction,
    MovePlanned,
    Ordered,
    PlanMove,
    RegionCommand,
    RegionEvent,
    Released,
    Restored,
    StageBlocked,
    StageDone,
    Standing,
)
from analyzer.regions.life import Region, RegionPhase, step
from analyzer.regions.policy import RegionPolicy

POLICY = RegionPolicy(
    Mode.ENFORCE, sick_for_s=20, healthy_for_s=60, dwell_s=100, step_pause_s=10, stuck_after_s=500
)
EU = Region("eu", since=0.0)
SICK = Assessed(Standing.SICK, "errors 9 % vs 0.4 %")
WELL = Assessed(Standing.HEALTHY, "errors 0.4 % vs 0.4 %")
AWAY = MovePlanned(Direction.AWAY, "k", "take traffic from eu", 2)
BACK = MovePlanned(Direction.BACK, "b", "give back traffic to eu", 2)


def run(
    region: Region, *story: tuple[float, RegionEvent], policy: RegionPolicy = POLICY
) -> Region:
    for now, event in story:
        region, _ = step(region, event, policy, now)
    return region


DRAINED = run(
    EU,
    (0, SICK),
    (20, SICK),
    (20, AWAY),
    (21, StageDone("k", 1, 81)),
    (90, StageDone("k", 2, 150)),
)


def test_a_sick_region_is_left_in_stages_and_comes_back_when_it_is_well() -> None:
    region, commands = step(run(EU, (0, SICK), (10, SICK)), SICK, POLICY, 20)
    assert commands == (PlanMove(Direction.AWAY),)
    region, commands = step(region, AWAY, POLICY, 20)
    assert (region.phase, commands[-1]) == (RegionPhase.FAILING_OVER, Advance("k", 1))
    region = run(region, (21, StageDone("k", 1, 81)))
    assert step(region, SICK, POLICY, 80)[1] == ()  # resolvers still give the answers of before
    region, commands = step(region, SICK, POLICY, 81)
    assert commands == (Advance("k", 2),)
    region = run(region, (90, StageDone("k", 2, 150)))
    assert (region.phase, region.away, region.drained_at) == (RegionPhase.FAILED_OVER, True, 150)
    region = run(region, (100, WELL), (149, WELL))
    assert region.well_since is None  # recovery is not judged before resolvers followed
    region = run(region, (150, WELL), (209, WELL))
    region, commands = step(region, WELL, POLICY, 210)
    assert commands == (PlanMove(Direction.BACK),)
    region, commands = step(region, BACK, POLICY, 210)
    assert (region.phase, commands[-1]) == (RegionPhase.FAILING_BACK, Advance("b", 1))
    region = run(region, (211, StageDone("b", 1, 220)), (222, WELL), (223, StageDone("b", 2, 230)))
    assert (region.phase, region.away) == (RegionPhase.NORMAL, False)
    # sick at once: the dwell time comes first
    region = run(region, (224, SICK), (300, SICK))
    assert region.phase is RegionPhase.SICK
    assert step(region, SICK, POLICY, 322)[1] == ()
    assert step(region, SICK, POLICY, 323)[1] == (PlanMove(Direction.AWAY),)


def test_any_doubt_begins_the_time_of_health_anew() -> None:
    for doubt in (Standing.SICK, Standing.BLIND, Standing.SHARED, Standing.UNDECIDED):
        region = run(DRAINED, (150, WELL), (205, Assessed(doubt, "?")), (210, WELL))
        assert region.well_since == 210


def test_a_cause_outside_spares_the_wait_but_never_the_evidence() -> None:
    cause = "the rollback of shop/checkout did not help"
    assert step(EU, replace(SICK, cause=cause), POLICY, 0)[1][-1] == PlanMove(Direction.AWAY)
    blind = Assessed(Standing.BLIND, "source down", cause)
    assert step(EU, blind, POLICY, 0)[1] == ()


def test_observe_only_reports() -> None:
    policy = replace(POLICY, mode=Mode.OBSERVE)
    region, commands = step(run(EU, (0, SICK)), AWAY, policy, 30)
    assert region.phase is RegionPhase.REPORTED
    assert [type(c) for c in commands] == [Announce]
    assert run(region, (60, WELL)).phase is RegionPhase.NORMAL


def test_an_approval_is_bound_to_its_plan_and_expires() -> None:
    policy = replace(POLICY, mode=Mode.APPROVE)
    region, commands = step(run(EU, (0, SICK)), AWAY, policy, 30)
    assert commands == (AskApproval("k"),)
    assert step(region, Approved("other", "ann"), policy, 31) == (region, ())
    assert run(region, (31, Approved("k", "ann"))).phase is RegionPhase.FAILING_OVER
    assert run(region, (31, Rejected("k", "ann"))).phase is RegionPhase.NEEDS_HUMAN
    late = 31 + policy.approval_expires_s
    assert run(region, (late, SICK), policy=policy).phase is RegionPhase.NEEDS_HUMAN
    assert run(region, (40, WELL), policy=policy).phase is RegionPhase.NORMAL


def test_a_relapse_is_left_once_and_then_people_decide() -> None:
    region = run(DRAINED, (150, WELL), (210, WELL), (210, BACK), (211, StageDone("b", 1, 220)))
    region, commands = step(region, SICK, POLICY, 215)
    assert commands[-1] == PlanMove(Direction.AWAY)
    region = run(
        region, (216, replace(AWAY, plan_key="r", stages=1)), (217, StageDone("r", 1, 277))
    )
    assert (region.phase, region.away) == (RegionPhase.NEEDS_HUMAN, True)
    assert step(region, WELL, POLICY, 9999)[1] == ()
    assert run(region, (300, Released("ann"))).phase is RegionPhase.FAILED_OVER


def test_a_record_that_somebody_changed_is_theirs() -> None:
    back = run(DRAINED, (150, WELL), (210, WELL), (210, BACK))
    failed = ActFailed("b", "www is no longer as planned", conflict=True)
    assert run(back, (211, failed)).phase is RegionPhase.NEEDS_HUMAN
    begun = run(EU, (0, SICK), (20, AWAY))
    again, commands = step(begun, ActFailed("k", "moved on", conflict=True), POLICY, 21)
    assert (again.phase, commands) == (RegionPhase.SICK, (PlanMove(Direction.AWAY),))
    half = run(begun, (21, StageDone("k", 1, 30)), (40, ActFailed("k", "x", conflict=True)))
    assert half.phase is RegionPhase.NEEDS_HUMAN


def test_who_was_moved_by_a_person_is_brought_back_by_one() -> None:
    policy = replace(POLICY, mode=Mode.OBSERVE)
    region, commands = step(EU, Ordered(Direction.AWAY, "ann"), policy, 5)
    assert commands == (PlanMove(Direction.AWAY),)
    region = run(region, (6, replace(AWAY, stages=1)), (7, StageDone("k", 1, 60)), policy=policy)
    assert region.phase is RegionPhase.FAILED_OVER
    assert step(run(region, (70, WELL)), WELL, policy, 9999)[1] == ()
    region, commands = step(region, Ordered(Direction.BACK, "ann"), policy, 80)
    assert commands == (PlanMove(Direction.BACK),)
    region = run(region, (81, replace(BACK, stages=1)), (82, StageDone("b", 1, 90)), policy=policy)
    assert (region.phase, region.ordered_by) == (RegionPhase.NORMAL, "")


def test_a_stage_that_is_held_up_too_long_calls_people() -> None:
    region = run(EU, (0, SICK), (20, AWAY), (21, StageDone("k", 1, 30)))
    blocked = StageBlocked("k", ("us is sick",))
    region, commands = step(region, blocked, POLICY, 40)
    assert region.phase is RegionPhase.FAILING_OVER
    assert step(region, blocked, POLICY, 50)[1] == ()  # said once
    assert isinstance(commands[0], Announce)
    assert run(region, (600, blocked)).phase is RegionPhase.NEEDS_HUMAN


KEYS = st.sampled_from(["k1", "k2", "k3"])
EVENTS = st.one_of(
    st.builds(Assessed, st.sampled_from(Standing), st.just("x"), st.sampled_from(["", "cause"])),
    st.builds(MovePlanned, st.sampled_from(Direction), KEYS, st.just("x"), st.integers(1, 3)),
    st.builds(PlanRefused, st.just(("no",))),
    st.builds(Approved, KEYS, st.just("ann")),
    st.builds(Rejected, KEYS, st.just("ann")),
    st.builds(StageDone, KEYS, st.integers(1, 3), st.floats(0, 3000)),
    st.builds(StageBlocked, KEYS, st.just(("no",))),
    st.builds(ActFailed, KEYS, st.just("x"), st.booleans()),
    st.builds(Ordered, st.sampled_from(Direction), st.just("ann")),
    st.builds(Released, st.just("ann")),
    st.builds(Restored, st.just("ann")),
)
STORIES = st.lists(st.tuples(st.floats(0, 40), EVENTS), max_size=60)


def told(
    story: list[tuple[float, RegionEvent]], mode: Mode
) -> list[tuple[float, Region, RegionEvent, Region, tuple[RegionCommand, ...]]]:
    """Run a story; the planner's and actuator's answers name the plan in force when they can."""
    policy = replace(POLICY, mode=mode)
    region, now, out = EU, 0.0, []
    for pause, event in story:
        now += pause
        said = event
        if isinstance(event, StageDone | Approved) and region.plan_key:
            said = replace(event, plan_key=region.plan_key)
        if isinstance(said, StageDone):
            said = replace(said, stage=region.stage + 1)
        after, commands = step(region, said, policy, now)
        out.append((now, region, said, after, commands))
        region = after
    return out


@given(STORIES, st.sampled_from(Mode))
def test_only_sickness_or_a_person_moves_traffic_away(
    story: list[tuple[float, RegionEvent]], mode: Mode
) -> None:
    for _, before, event, _, commands in told(story, mode):
        if PlanMove(Direction.AWAY) not in commands:
            continue
        sick = isinstance(event, Assessed) and event.standing is Standing.SICK
        ordered = isinstance(event, Ordered) or bool(before.ordered_by)
        anew = isinstance(event, ActFailed) and event.conflict and before.stage == 0
        assert sick or ordered or anew


@given(STORIES, st.sampled_from(Mode))
def test_traffic_comes_back_only_after_unbroken_health(
    story: list[tuple[float, RegionEvent]], mode: Mode
) -> None:
    well_since: float | None = None
    for now, before, event, _, commands in told(story, mode):
        if isinstance(event, Assessed):
            healthy = event.standing is Standing.HEALTHY and now >= before.drained_at
            well_since = (now if well_since is None else well_since) if healthy else None
        by_order = isinstance(event, Ordered) or bool(before.ordered_by)
        if PlanMove(Direction.BACK) in commands and not by_order:
            assert well_since is not None
            assert now - well_since >= POLICY.healthy_for_s


@given(STORIES, st.sampled_from(Mode))
def test_stages_go_one_by_one_and_not_before_resolvers_followed(
    story: list[tuple[float, RegionEvent]], mode: Mode
) -> None:
    for now, before, event, after, commands in told(story, mode):
        for command in commands:
            if isinstance(command, Advance):
                assert (command.plan_key, command.stage) == (after.plan_key, after.stage + 1)
                assert after.phase.moving
                if after.stage:
                    assert now >= before.drained_at
                    assert now >= before.stage_at + POLICY.step_pause_s
        if after.stage != before.stage and isinstance(event, StageDone):
            assert after.stage == before.stage + 1


@given(STORIES)
def test_it_cannot_flap(story: list[tuple[float, RegionEvent]]) -> None:
    ended = float("-inf")
    for now, before, event, after, commands in told(story, Mode.ENFORCE):
        forced = isinstance(event, Ordered | ActFailed) or before.ordered_by or after.relapsed
        if any(isinstance(c, PlanMove) for c in commands) and not forced:
            assert now >= ended + POLICY.dwell_s
        if after.moved_at != before.moved_at:
            ended = now


@given(STORIES)
def test_observe_and_rejection_never_act(story: list[tuple[float, RegionEvent]]) -> None:
    for _, before, _, _, commands in told(story, Mode.OBSERVE):
        if any(isinstance(c, Advance) for c in commands):
            assert before.ordered_by  # only what a person ordered
