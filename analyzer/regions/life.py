"""The life of a region: ``step(region, event, policy, now) -> (region, commands)``, total and pure.

Invariants, each proved by a property test: only a sick standing or a person's order leads to a plan
away; missing data and a shared incident never do; stages are advanced one by one, never twice,
and never before resolvers gave up the answers of the stage before; traffic comes back only after
the region was healthy all the time that the policy asks for, counted from when it was drained;
two moves are at least the dwell time apart unless a person orders one.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

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
    Renew,
    Restored,
    StageBlocked,
    StageDone,
    Standing,
)
from analyzer.regions.policy import RegionPolicy
from analyzer.wording import duration

MAX_ATTEMPTS = 3
"""Plans made for one move before people are called: who loses three times is fighting somebody."""

_NUMBERS = re.compile(r"\d[\d.,e+]*(?: m?s)?")


class RegionPhase(StrEnum):
    """Where a region stands."""

    NORMAL = "normal"
    SICK = "sick"
    REPORTED = "reported"
    """Sick in observe mode: what would have been done was said."""
    AWAITING_APPROVAL = "awaiting approval"
    FAILING_OVER = "failing over"
    FAILED_OVER = "failed over"
    AWAITING_RETURN = "awaiting approval to return"
    FAILING_BACK = "failing back"
    NEEDS_HUMAN = "needs a human"

    @property
    def moving(self) -> bool:
        """Whether a move is under way."""
        return self in {RegionPhase.FAILING_OVER, RegionPhase.FAILING_BACK}

    @property
    def waiting(self) -> bool:
        """Whether a person's answer to a plan is awaited."""
        return self in {RegionPhase.AWAITING_APPROVAL, RegionPhase.AWAITING_RETURN}


@dataclass(frozen=True, slots=True)
class Region:
    """One region.

    Attributes:
        since: when the phase was entered. note: why, for people.
        standing: what the evidence said last; text: its numbers.
        plan_key: the move in force, "" when there is none. stage, stages: done of it, and all.
        stage_at: when the last stage was done, or the move began.
        drained_at: until when resolvers may still give answers of before.
        away: its traffic was moved away, whole or in part, and not brought back.
        ordered_by: the person who ordered the last move, "" when nobody did.
        moved_at: when the last move ended. moves: plans made so far; attempts: of this move.
        well_since: since when a drained region has been healthy without a break, or None.
        renewed_at: when its evidence was last weighed anew.
        relapsed: it fell sick while its traffic came back.
        turn: how many decisions people took; what they are offered is bound to it.
        episode: how many times it ceased to be normal.
    """

    name: str
    since: float
    phase: RegionPhase = RegionPhase.NORMAL
    note: str = "nothing speaks against it"
    standing: Standing = Standing.BLIND
    text: str = "not measured yet"
    plan_key: str = ""
    stage: int = 0
    stages: int = 0
    stage_at: float = 0.0
    drained_at: float = 0.0
    away: bool = False
    ordered_by: str = ""
    moved_at: float = float("-inf")
    moves: int = 0
    attempts: int = 0
    well_since: float | None = None
    renewed_at: float = 0.0
    relapsed: bool = False
    turn: int = 0
    episode: int = 0


Next = tuple[Region, tuple[RegionCommand, ...]]


def step(region: Region, event: RegionEvent, policy: RegionPolicy, now: float) -> Next:
    """Return the region after an event, and what is to be done about it.

    Total: an event that does not apply returns the region unchanged and no commands.
    """
    match event:
        case Assessed():
            return _assessed(region, event, policy, now)
        case MovePlanned():
            return _planned(region, event, policy, now)
        case PlanRefused():
            return _refused(region, event, now)
        case Approved() | Rejected():
            return _answered(region, event, policy, now)
        case StageDone():
            return _staged(region, event, now)
        case StageBlocked() | ActFailed():
            return _hindered(region, event, policy, now)
        case Ordered():
            return _ordered(region, event, now)
        case Released():
            return _released(region, event, now)
        case Restored():
            return _restored(region, event, now)
        case _:
            assert_never(event)


def same_words(one: str, other: str) -> bool:
    """Tell whether two sentences say the same, but for their numbers, which change all the time."""
    return _NUMBERS.sub("", one) == _NUMBERS.sub("", other)


def _enter(region: Region, phase: RegionPhase, note: str, now: float) -> Region:
    begins = region.phase is RegionPhase.NORMAL and phase is not RegionPhase.NORMAL
    episode = region.episode + begins
    return replace(region, phase=phase, note=note, since=now, episode=episode)


def _call_people(region: Region, note: str, now: float) -> Next:
    needy = _enter(replace(region, plan_key=""), RegionPhase.NEEDS_HUMAN, note, now)
    return needy, (Announce(f"{region.name}: {note}", urgent=True),)


def _home(region: Region) -> RegionPhase:
    """Return where a region is when nothing is going on."""
    return RegionPhase.FAILED_OVER if region.away else RegionPhase.NORMAL


# Evidence


def _assessed(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    region = replace(region, standing=event.standing, text=event.text)
    match region.phase:
        case RegionPhase.NORMAL:
            if event.standing is not Standing.SICK:
                return region, ()
            sick = _enter(region, RegionPhase.SICK, event.text, now)
            later, commands = _sick(sick, event, policy, now)
            return later, (
                Announce(f"{region.name} is sick: {event.text}", urgent=True),
                *commands,
            )
        case RegionPhase.SICK:
            return _sick(region, event, policy, now)
        case RegionPhase.REPORTED | RegionPhase.NEEDS_HUMAN:
            return _watched(region, event, policy, now)
        case RegionPhase.AWAITING_APPROVAL | RegionPhase.AWAITING_RETURN:
            return _waiting(region, event, policy, now)
        case RegionPhase.FAILED_OVER:
            return _drained(region, event, policy, now)
        case RegionPhase.FAILING_OVER | RegionPhase.FAILING_BACK:
            return _moving(region, event, policy, now)
        case _:
            assert_never(region.phase)


def _sick(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    if region.ordered_by:
        return region, (PlanMove(Direction.AWAY),)
    if event.standing is not Standing.SICK:
        note = f"no longer sick: {event.standing.value}, {event.text}"
        return _enter(replace(region, relapsed=False), _home(region), note, now), ()
    lasted = now - region.since >= policy.sick_for_s or event.cause or region.relapsed
    rested = now >= region.moved_at + policy.dwell_s or region.relapsed
    if not (lasted and rested):
        return region, ()
    because = f"{event.cause}; {event.text}" if event.cause else event.text
    return replace(region, text=because), (PlanMove(Direction.AWAY),)


def _watched(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    """A region that is looked at by people: it leaves ``reported`` when it is healthy again."""
    if region.phase is RegionPhase.REPORTED and event.standing is Standing.HEALTHY:
        return _enter(region, RegionPhase.NORMAL, f"healthy again: {event.text}", now), ()
    return _renewed(region, event, policy, now)


def _renewed(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    """Weigh the evidence anew from time to time, or what was would hide what is."""
    if event.standing.accused and now >= region.renewed_at + policy.renew_s:
        return replace(region, renewed_at=now), (Renew(),)
    return region, ()


def _waiting(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    away = region.phase is RegionPhase.AWAITING_APPROVAL
    if now - region.since >= policy.approval_expires_s:
        waited = duration(policy.approval_expires_s)
        return _call_people(region, f"nobody approved the plan within {waited}", now)
    void = event.standing is Standing.HEALTHY if away else event.standing is not Standing.HEALTHY
    if not void:
        return region, ()
    note = f"the plan is void, the region is {event.standing.value}: {event.text}"
    back = replace(region, plan_key="", well_since=None)
    return _enter(back, _home(region), note, now), (Announce(f"{region.name}: {note}"),)


def _drained(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    if region.ordered_by:
        # a person moved it away, so a person brings it back
        return region, () if region.attempts else (PlanMove(Direction.BACK),)
    if now < region.drained_at or event.standing is not Standing.HEALTHY:
        return _renewed(replace(region, well_since=None), event, policy, now)
    since = region.well_since if region.well_since is not None else now
    region = replace(region, well_since=since)
    rested = now >= region.moved_at + policy.dwell_s
    if now - since >= policy.healthy_for_s and rested:
        return region, (PlanMove(Direction.BACK),)
    return region, ()


def _moving(region: Region, event: Assessed, policy: RegionPolicy, now: float) -> Next:
    returning = region.phase is RegionPhase.FAILING_BACK
    if returning and event.standing is Standing.SICK and region.stage > 0:
        note = f"sick again while its traffic came back: {event.text}"
        relapse = replace(region, plan_key="", relapsed=True, away=True, ordered_by="")
        relapse = replace(relapse, attempts=0)
        commands = (Announce(f"{region.name}: {note}", urgent=True), PlanMove(Direction.AWAY))
        return _enter(relapse, RegionPhase.SICK, note, now), commands
    pause = max(region.stage_at + policy.step_pause_s, region.drained_at)
    if region.stage > 0 and now < pause:
        return region, ()
    ready = not returning or event.standing is Standing.HEALTHY or bool(region.ordered_by)
    if region.stage > 0 and not ready:
        blocked = StageBlocked(region.plan_key, (f"{region.name} is {event.standing.value}",))
        return _hindered(region, blocked, policy, now)
    return region, (Advance(region.plan_key, region.stage + 1),)


# Plans and what becomes of them


def _planned(region: Region, event: MovePlanned, policy: RegionPolicy, now: float) -> Next:
    away = event.direction is Direction.AWAY
    if region.phase is not (RegionPhase.SICK if away else RegionPhase.FAILED_OVER):
        return region, ()
    region = replace(
        region,
        plan_key=event.plan_key,
        stage=0,
        stages=event.stages,
        stage_at=now,
        moves=region.moves + 1,
        attempts=region.attempts + 1,
    )
    mode = Mode.ENFORCE if region.ordered_by or region.relapsed else policy.mode
    match mode:
        case Mode.OBSERVE:
            note = f"would have acted, but the mode is observe: {event.text}"
            phase = RegionPhase.REPORTED if away else RegionPhase.NEEDS_HUMAN
            seen = _enter(replace(region, plan_key="", attempts=0), phase, note, now)
            return seen, (Announce(f"{region.name}: {note}", urgent=True),)
        case Mode.APPROVE:
            phase = RegionPhase.AWAITING_APPROVAL if away else RegionPhase.AWAITING_RETURN
            note = f"waiting for approval: {event.text}"
            return _enter(region, phase, note, now), (AskApproval(event.plan_key),)
        case Mode.ENFORCE:
            return _begin(region, event.text, now)
        case _:
            assert_never(mode)


def _begin(region: Region, note: str, now: float) -> Next:
    phase = RegionPhase.FAILING_BACK if _returning(region) else RegionPhase.FAILING_OVER
    moving = _enter(replace(region, stage_at=now), phase, note, now)
    begun = Announce(f"{region.name}: acting: {note}", urgent=True)
    return moving, (begun, Advance(region.plan_key, 1))


def _returning(region: Region) -> bool:
    return region.phase in {RegionPhase.FAILED_OVER, RegionPhase.AWAITING_RETURN}


def _refused(region: Region, event: PlanRefused, now: float) -> Next:
    if region.phase not in {RegionPhase.SICK, RegionPhase.FAILED_OVER}:
        return region, ()
    note = "not moving: " + "; ".join(event.reasons)
    if same_words(note, region.note):
        return region, ()
    told = (Announce(f"{region.name}: {note}", urgent=True),)
    if not region.ordered_by:
        return replace(region, note=note), told
    # an order that cannot be carried out is over; evidence may still ask for the same
    return _enter(replace(region, ordered_by=""), _home(region), note, now), told


def _answered(
    region: Region, event: Approved | Rejected, policy: RegionPolicy, now: float
) -> Next:
    if not region.phase.waiting or event.plan_key != region.plan_key:
        return region, ()
    if now - region.since >= policy.approval_expires_s:
        return _call_people(region, f"the approval by {event.by} came too late", now)
    region = replace(region, turn=region.turn + 1)
    if isinstance(event, Rejected):
        return _call_people(region, f"the plan was rejected by {event.by}", now)
    return _begin(region, f"approved by {event.by}", now)


def _staged(region: Region, event: StageDone, now: float) -> Next:
    current = event.plan_key == region.plan_key and event.stage == region.stage + 1
    if not (region.phase.moving and current):
        return region, ()
    drained_at = max(region.drained_at, event.drained_at)
    region = replace(region, stage=event.stage, stage_at=now, drained_at=drained_at, away=True)
    if region.stage < region.stages:
        note = f"stage {region.stage} of {region.stages} is done"
        return replace(region, note=note), (Announce(f"{region.name}: {note}"),)
    if region.relapsed:
        moved = replace(region, moved_at=now, relapsed=False)
        return _call_people(
            moved, "fell sick again when its traffic came back; it has none now", now
        )
    left = duration(max(0.0, drained_at - now))
    region = replace(region, moved_at=now, well_since=None, renewed_at=now, plan_key="")
    if region.phase is RegionPhase.FAILING_OVER:
        note = f"its traffic was moved away; resolvers will have followed in {left}"
        over = _enter(region, RegionPhase.FAILED_OVER, note, now)
        return over, (Announce(f"{region.name}: {note}", urgent=True), Renew())
    note = f"its traffic is back; resolvers will have followed in {left}"
    home = replace(region, away=False, ordered_by="", attempts=0)
    home = _enter(home, RegionPhase.NORMAL, note, now)
    return home, (Announce(f"{region.name}: {note}"), Renew())


def _hindered(
    region: Region, event: StageBlocked | ActFailed, policy: RegionPolicy, now: float
) -> Next:
    if not region.phase.moving or event.plan_key != region.plan_key:
        return region, ()
    if isinstance(event, StageBlocked):
        note = "the next stage has to wait: " + "; ".join(event.reasons)
        if now - region.stage_at >= policy.stuck_after_s:
            return _call_people(region, note, now)
        if same_words(note, region.note):
            return region, ()
        return replace(region, note=note), (Announce(f"{region.name}: {note}", urgent=True),)
    untouched = event.conflict and region.stage == 0
    away = region.phase is RegionPhase.FAILING_OVER
    if untouched and away and region.attempts < MAX_ATTEMPTS:
        note = f"the record moved on, planning anew: {event.reason}"
        again = _enter(replace(region, plan_key=""), RegionPhase.SICK, note, now)
        return again, (PlanMove(Direction.AWAY),)
    why = "somebody changed the record meanwhile" if event.conflict else "the move failed"
    return _call_people(region, f"{why}: {event.reason}", now)


# People


def _ordered(region: Region, event: Ordered, now: float) -> Next:
    if region.phase.moving:
        return region, ()
    if (event.direction is Direction.BACK) != region.away:
        return region, ()
    phase = RegionPhase.FAILED_OVER if region.away else RegionPhase.SICK
    region = replace(region, ordered_by=event.by, attempts=0, plan_key="", relapsed=False)
    region = replace(region, turn=region.turn + 1)
    note = f"{event.by} wants it to {event.direction.value}"
    return _enter(region, phase, note, now), (PlanMove(event.direction),)


def _released(region: Region, event: Released, now: float) -> Next:
    if region.phase not in {RegionPhase.NEEDS_HUMAN, RegionPhase.REPORTED}:
        return region, ()
    free = replace(region, ordered_by="", attempts=0, relapsed=False, renewed_at=now)
    free = replace(free, well_since=None, turn=region.turn + 1)
    return _enter(free, _home(region), f"released by {event.by}", now), (Renew(),)


def _restored(region: Region, event: Restored, now: float) -> Next:
    if not region.away or region.phase.moving:
        return region, ()
    home = replace(region, away=False, ordered_by="", attempts=0, relapsed=False, plan_key="")
    note = f"its records were put back by {event.by}"
    home = _enter(replace(home, moved_at=now), RegionPhase.NORMAL, note, now)
    return home, (Announce(f"{region.name}: {note}"), Renew())
