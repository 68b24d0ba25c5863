"""The life of a watch: ``step(watch, event, now) -> (watch, commands)``, total and pure.

Invariants, each proved by a property test: only a degraded verdict or a person's demand leads to
``MakePlan`` and only a plan to ``Act``; missing data never does; a plan is acted on at most once, and
a new one is made only after a conflict, when nothing was written; a final phase stays final, except
that a person may demand what was only reported; an event that does not apply changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

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
    PutBack,
    RecoveryMeasured,
    Rejected,
    Resumed,
    Snoozed,
    Superseded,
)
from analyzer.judge import SHARED_CAUTION, Judgement, Verdict
from analyzer.policy import Mode, Policy, WhenMissing, lowered
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.wording import duration

MAX_ATTEMPTS = 3
"""Plans made for one watch before people are called: after a conflict the world is looked at again,
but whoever loses three times in a row is fighting somebody."""

NOT_HELPED = "the action did not help"
"""How the note begins of a watch whose baseline stayed bad: it was not the release alone."""


class Phase(StrEnum):
    """Where a watch stands."""

    WARMING = "warming"
    OBSERVING = "observing"
    HELD = "held"
    DEGRADED = "degraded"
    DEMANDED = "rollback demanded"
    """A person wants the canary left; a plan is being made."""
    AWAITING_APPROVAL = "awaiting approval"
    ACTING = "acting"
    VERIFYING = "verifying"
    HEALTHY = "healthy"
    ROLLED_BACK = "rolled back"
    REPORTED = "reported"
    """Degraded in observe mode: what would have been done was said, nothing was done."""
    NEEDS_HUMAN = "needs a human"
    INCONCLUSIVE = "inconclusive"
    """Ended without enough evidence for either verdict."""
    SUPERSEDED = "superseded"

    @property
    def final(self) -> bool:
        """Whether nothing will change this by itself any more."""
        return self in _FINAL


_FINAL = frozenset(
    {
        Phase.HEALTHY,
        Phase.ROLLED_BACK,
        Phase.REPORTED,
        Phase.NEEDS_HUMAN,
        Phase.INCONCLUSIVE,
        Phase.SUPERSEDED,
    }
)
_COLLECTING = frozenset({Phase.WARMING, Phase.OBSERVING, Phase.HELD})
"""Phases in which evidence is still being weighed."""
_PLANNING = frozenset({Phase.DEGRADED, Phase.DEMANDED})


class Hold(StrEnum):
    """Why a watch is held."""

    SHARED_INCIDENT = "shared incident"
    BLIND = "blind"
    SNOOZED = "snoozed"


@dataclass(frozen=True, slots=True)
class Watch:
    """Our following of one rollout.

    Attributes:
        since: when the phase was entered. started_at: when the watch began.
        note: why it is in this phase, for people.
        hold: why it is held, while it is. snoozed_until: end of a hold by a person.
        blind_since: since when no critical signal could be measured, or None.
        plan_key: the plan in force, "" when there is none. attempts: plans made so far.
        judgement: the last one before the watch stopped weighing evidence.
        demanded_by: the person whose demand, not a verdict, led to the plan, or "".
        approved_by: the person who approved the plan in force, or "".
        turn: how many decisions people took; what they are offered is bound to it.
        was_reported: it had ended as reported, and a person demanded the rollback after all.
        annotations: what the rollout said of itself when it began.
        after_promotion: it compares a revision that took over with the workload's own past.
    """

    id: str
    workload: Workload
    canary: Revision
    baseline: Revision | None
    policy: str
    mode: Mode
    started_at: float
    since: float
    phase: Phase = Phase.WARMING
    note: str = "waiting for instances that are warm on both sides"
    hold: Hold | None = None
    snoozed_until: float = 0.0
    blind_since: float | None = None
    plan_key: str = ""
    attempts: int = 0
    judgement: Judgement | None = None
    demanded_by: str = ""
    approved_by: str = ""
    turn: int = 0
    was_reported: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    after_promotion: bool = False


Next = tuple[Watch, tuple[Command, ...]]


def begin(rollout: Rollout, policy: Policy, now: float) -> Watch:
    """Return the watch of a rollout that has just been seen."""
    return Watch(
        id=rollout.watch_id,
        workload=rollout.workload,
        canary=rollout.canary,
        baseline=rollout.baseline,
        policy=policy.name,
        mode=lowered(policy.mode, rollout.mode),
        started_at=now,
        since=now,
        annotations=rollout.annotations,
        after_promotion=rollout.after_promotion,
    )


def resume(watch: Watch) -> tuple[Command, ...]:
    """Return the commands to issue again after a restart: those whose answer never came."""
    match watch.phase:
        case Phase.DEGRADED | Phase.DEMANDED:
            return (MakePlan(),)
        case Phase.AWAITING_APPROVAL:
            return (AskApproval(watch.plan_key),)
        case Phase.ACTING:
            return (Act(watch.plan_key),)
        case _:
            return ()


def step(watch: Watch, event: Event, policy: Policy, now: float) -> Next:
    """Return the watch after an event, and what is to be done about it.

    Total: an event that does not apply to the phase returns the watch unchanged and no commands.
    """
    is_demand_of_reported = watch.phase is Phase.REPORTED and isinstance(event, Demanded)
    if watch.phase.final and not is_demand_of_reported:
        return watch, ()
    match event:
        case Judged():
            return _judged(watch, event, policy, now)
        case Planned() | PlanRefused():
            return _planned(watch, event, now)
        case Approved() | Rejected():
            return _answered(watch, event, policy, now)
        case Acted() | ActFailed():
            return _acted(watch, event, now)
        case RecoveryMeasured():
            return _verified(watch, event, policy, now)
        case PutBack():
            return _put_back(watch, event, now)
        case Snoozed() | Resumed():
            return _paused(watch, event, now)
        case Demanded():
            return _demanded(watch, event, now)
        case Superseded() | Ended():
            return _left(watch, event, now)
        case _:
            assert_never(event)


def _enter(watch: Watch, phase: Phase, note: str, now: float) -> Watch:
    """Return the watch in another phase; a hold ends with the phase that it belongs to.

    No phase begins before the one it follows: the clock of the replica that took over may be
    behind, and what was measured before an action must not be counted as since then.
    """
    hold = watch.hold if phase is Phase.HELD else None
    return replace(watch, phase=phase, note=note, since=max(now, watch.since), hold=hold)


def _hold(watch: Watch, cause: Hold, note: str, now: float) -> Watch:
    return _enter(replace(watch, hold=cause), Phase.HELD, note, now)


def _judged(watch: Watch, event: Judged, policy: Policy, now: float) -> Next:
    if watch.phase is Phase.AWAITING_APPROVAL and _expired(watch, policy, now):
        waited = duration(policy.approval_expires_s)
        return _call_people(watch, f"nobody approved the plan within {waited}", now)
    if watch.phase not in _COLLECTING:
        return watch, ()
    blind_since = (watch.blind_since or now) if event.judgement.blind else None
    watch = replace(watch, judgement=event.judgement, blind_since=blind_since)
    if watch.hold is Hold.SNOOZED:
        if now < watch.snoozed_until:
            return watch, ()
        watch = _enter(watch, Phase.OBSERVING, "the snooze is over", now)
    if watch.phase is Phase.WARMING and event.measured:
        watch = _enter(watch, Phase.OBSERVING, "comparing canary with baseline", now)
    verdict = event.judgement.verdict
    if verdict is Verdict.DEGRADED and not _incident_unseen(watch, event.judgement, policy):
        reasons = "; ".join(r.text for r in event.judgement.reasons[:3])
        return _enter(watch, Phase.DEGRADED, reasons, now), (MakePlan(),)
    if verdict in {Verdict.SHARED_INCIDENT, Verdict.DEGRADED}:
        return _share(watch, event.judgement, now)
    if event.judgement.blind:
        return _blind(watch, policy, now)
    if watch.phase is Phase.HELD:
        watch = _enter(watch, Phase.OBSERVING, f"no longer held: {watch.hold} is over", now)
    age = now - watch.started_at
    if verdict is Verdict.HEALTHY and age >= policy.min_observation_s:
        note = f"harm is excluded on every critical signal after {duration(age)}"
        return _enter(watch, Phase.HEALTHY, note, now), (Announce(note),)
    return _out_of_time(watch, policy, now)


def _incident_unseen(watch: Watch, judgement: Judgement, policy: Policy) -> bool:
    """Tell whether a shared incident may only have become invisible.

    It was going on, a signal that could show it went missing, and the evidence would not do while
    it goes on: then the missing signal must not be what tips the verdict.
    """
    return (
        watch.hold is Hold.SHARED_INCIDENT
        and not judgement.by_facts
        and bool(judgement.missing)
        and judgement.e_value < SHARED_CAUTION / policy.alpha
    )


def _expired(watch: Watch, policy: Policy, now: float) -> bool:
    return now - watch.since >= policy.approval_expires_s


def _share(watch: Watch, judgement: Judgement, now: float) -> Next:
    if watch.hold is Hold.SHARED_INCIDENT:
        return watch, ()
    note = judgement.reasons[0].text if judgement.reasons else "both sides are worse"
    held = _hold(watch, Hold.SHARED_INCIDENT, note, now)
    return held, (Announce(f"shared incident, holding: {note}", urgent=True),)


def _blind(watch: Watch, policy: Policy, now: float) -> Next:
    since = watch.blind_since if watch.blind_since is not None else now
    if watch.phase is Phase.WARMING or now - since < policy.blind_after_s:
        return _out_of_time(watch, policy, now)
    if watch.hold is Hold.BLIND or policy.when_missing is WhenMissing.IGNORE:
        return _out_of_time(watch, policy, now)
    why = watch.judgement.reasons[0].text if watch.judgement and watch.judgement.reasons else ""
    note = f"no critical signal could be measured for {duration(now - since)}; {why}".rstrip("; ")
    urgent = policy.when_missing is WhenMissing.PAGE
    return _hold(watch, Hold.BLIND, note, now), (Announce(f"blind, holding: {note}", urgent),)


def _out_of_time(watch: Watch, policy: Policy, now: float) -> Next:
    if now - watch.started_at < policy.horizon_s:
        return watch, ()
    note = f"not enough evidence within {duration(policy.horizon_s)}"
    return _enter(watch, Phase.INCONCLUSIVE, note, now), (Announce(note),)


def _call_people(watch: Watch, note: str, now: float) -> Next:
    return _enter(watch, Phase.NEEDS_HUMAN, note, now), (Announce(note, urgent=True),)


def _planned(watch: Watch, event: Planned | PlanRefused, now: float) -> Next:
    if watch.phase not in _PLANNING:
        return watch, ()
    if isinstance(event, PlanRefused) and watch.phase is Phase.DEMANDED:
        return _demand_refused(watch, event, now)
    if isinstance(event, PlanRefused):
        return _call_people(watch, "degraded, but not acting: " + "; ".join(event.reasons), now)
    watch = replace(watch, plan_key=event.plan_key, attempts=watch.attempts + 1)
    if watch.demanded_by:
        note = f"rolling back at the demand of {watch.demanded_by}: {event.text}"
        acting = _enter(watch, Phase.ACTING, note, now)
        return acting, (Announce(note, urgent=True), Act(event.plan_key))
    if watch.mode is Mode.ENFORCE and event.asks:
        note = f"a guard asks for a person ({event.asks}); waiting for approval: {event.text}"
        asking = _enter(watch, Phase.AWAITING_APPROVAL, note, now)
        return asking, (Announce(note, urgent=True), AskApproval(event.plan_key))
    match watch.mode:
        case Mode.OBSERVE:
            note = f"would have acted, but the mode is observe: {event.text}"
            return _enter(watch, Phase.REPORTED, note, now), (Announce(note, urgent=True),)
        case Mode.APPROVE:
            note = f"waiting for approval: {event.text}"
            asking = _enter(watch, Phase.AWAITING_APPROVAL, note, now)
            return asking, (AskApproval(event.plan_key),)
        case Mode.ENFORCE:
            acting = _enter(watch, Phase.ACTING, event.text, now)
            return acting, (Announce(f"acting: {event.text}", urgent=True), Act(event.plan_key))
        case _:
            assert_never(watch.mode)


def _answered(watch: Watch, event: Approved | Rejected, policy: Policy, now: float) -> Next:
    if watch.phase is not Phase.AWAITING_APPROVAL or event.plan_key != watch.plan_key:
        return watch, ()
    if _expired(watch, policy, now):
        return _call_people(watch, f"the answer of {event.by} came too late", now)
    watch = replace(watch, turn=watch.turn + 1)
    if isinstance(event, Rejected):
        return _call_people(watch, f"the plan was rejected by {event.by}", now)
    approved = replace(watch, approved_by=event.by)
    acting = _enter(approved, Phase.ACTING, f"approved by {event.by}", now)
    return acting, (Announce(f"acting, approved by {event.by}"), Act(event.plan_key))


def _acted(watch: Watch, event: Acted | ActFailed, now: float) -> Next:
    if watch.phase is not Phase.ACTING or event.plan_key != watch.plan_key:
        return watch, ()
    if isinstance(event, Acted):
        note = "the action took effect; measuring whether it helped"
        return _enter(watch, Phase.VERIFYING, note, now), (Announce(note),)
    if event.conflict and watch.attempts < MAX_ATTEMPTS:
        note = f"the world moved on, planning anew: {event.reason}"
        planning = Phase.DEMANDED if watch.demanded_by else Phase.DEGRADED
        return _enter(replace(watch, plan_key=""), planning, note, now), (MakePlan(),)
    return _call_people(watch, f"the action failed: {event.reason}", now)


def _verified(watch: Watch, event: RecoveryMeasured, policy: Policy, now: float) -> Next:
    if watch.phase is not Phase.VERIFYING:
        return watch, ()
    if event.recovered:
        note = f"recovered: {event.text}"
        return _enter(watch, Phase.ROLLED_BACK, note, now), (Announce(note),)
    if event.recovered is False:
        return _call_people(watch, f"{NOT_HELPED}: {event.text}", now)
    if now - watch.since >= policy.recovery_s:
        waited = duration(policy.recovery_s)
        note = f"acted, but recovery could not be verified within {waited}: {event.text}"
        return _call_people(watch, note, now)
    return watch, ()


def _put_back(watch: Watch, event: PutBack, now: float) -> Next:
    if watch.phase is not Phase.VERIFYING:
        return watch, ()
    hint = f" ({event.hint})" if event.hint else ""
    note = (
        f"{event.revision.label} was rolled back, and somebody put it back{hint}; it is not "
        "rolled back again: find out who, instead of a fight over it"
    )
    return _call_people(watch, note, now)


def _paused(watch: Watch, event: Snoozed | Resumed, now: float) -> Next:
    if watch.phase not in _COLLECTING:
        return watch, ()
    decided = replace(watch, turn=watch.turn + 1)
    if isinstance(event, Snoozed):
        held = replace(decided, snoozed_until=event.until)
        left = duration(event.until - now)
        return _hold(held, Hold.SNOOZED, f"snoozed by {event.by} for {left}", now), ()
    if watch.hold is not Hold.SNOOZED:
        return watch, ()
    awake = replace(decided, snoozed_until=0.0)
    return _enter(awake, Phase.OBSERVING, f"resumed by {event.by}", now), ()


def _demanded(watch: Watch, event: Demanded, now: float) -> Next:
    """Let a person have what they want, in every mode; the guards are asked all the same."""
    was_reported = watch.phase is Phase.REPORTED
    if watch.phase not in _COLLECTING and not was_reported:
        return watch, ()
    turn = watch.turn + 1
    asked = replace(watch, demanded_by=event.by, turn=turn, was_reported=was_reported)
    note = f"{event.by} wants it rolled back now"
    return _enter(asked, Phase.DEMANDED, note, now), (Announce(note), MakePlan())


def _demand_refused(watch: Watch, event: PlanRefused, now: float) -> Next:
    """Go on watching: a demand that the guards refuse must not cost the rollout its protection.

    From ``warming`` the next tick leads to where the evidence stands; a snooze goes on, and what was
    reported stays so.
    """
    note = f"not rolled back as {watch.demanded_by} wanted: " + "; ".join(event.reasons)
    refused = replace(watch, demanded_by="")
    told = (Announce(note, urgent=True),)
    if watch.was_reported:
        return _enter(refused, Phase.REPORTED, note, now), told
    if now < watch.snoozed_until:
        return _hold(refused, Hold.SNOOZED, note, now), told
    return _enter(refused, Phase.WARMING, note, now), told


def _left(watch: Watch, event: Superseded | Ended, now: float) -> Next:
    if watch.phase is Phase.ACTING:
        return watch, ()  # the step in flight meets the new world by its own precondition
    if isinstance(event, Superseded):
        note = f"a newer revision arrived: {event.by.label}"
        return _enter(watch, Phase.SUPERSEDED, note, now), (Announce(note),)
    if watch.phase is Phase.VERIFYING:
        return watch, ()  # our own rollback ends the rollout; what counts is whether it helped
    return _enter(watch, Phase.INCONCLUSIVE, event.reason, now), (Announce(event.reason),)
