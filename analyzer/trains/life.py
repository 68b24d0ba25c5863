"""The life of a release train: ``step(train, event, policy, now) -> (train, commands)``.

A train carries one release over regions in a fixed order; the first region's rollout begins it.
Total and pure. Invariants, each proved by a property test: a region is released only while every
one before it was judged healthy in this train, or vouched for by a person; each region at most
once; after a failure none is; blindness holds, and neither releases nor takes back anything; only
a failure or a person's word takes anything back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from analyzer.events import ActFailed, Announce, Approved, AskApproval, PlanRefused, Rejected
from analyzer.policy import Mode
from analyzer.trains.events import (
    Continued,
    Departed,
    Halted,
    Looked,
    NotBegun,
    NotTakenBack,
    PlanRelease,
    Recalled,
    Release,
    Released,
    ReleasePlanned,
    Seen,
    Sight,
    TakeBack,
    TakenBack,
    TrainCommand,
    TrainEvent,
    TrainWish,
)
from analyzer.trains.policy import OnFailure, TrainPolicy
from analyzer.wording import duration


class TrainPhase(StrEnum):
    """Where a train stands."""

    WAITING = "waiting for a release"
    JUDGING = "judging"
    """A region has the release, or shall have it, and is judged by its own daemon."""
    SOAKING = "soaking"
    """The region was judged healthy; the next one is released when its time has come."""
    AWAITING_APPROVAL = "awaiting approval"
    RELEASING = "releasing"
    AWAITING_RETURN = "awaiting approval to roll back"
    TAKING_BACK = "rolling back"
    NEEDS_HUMAN = "needs a human"
    ARRIVED = "arrived"
    STOPPED = "stopped"
    TAKEN_BACK = "rolled back"

    @property
    def over(self) -> bool:
        """Whether nothing more happens until the next release."""
        return self in _OVER

    @property
    def waits(self) -> bool:
        """Whether a person's answer to a plan is awaited."""
        return self in {TrainPhase.AWAITING_APPROVAL, TrainPhase.AWAITING_RETURN}


_OVER = frozenset(
    {TrainPhase.WAITING, TrainPhase.ARRIVED, TrainPhase.STOPPED, TrainPhase.TAKEN_BACK}
)
_RECALLABLE = frozenset(
    {
        TrainPhase.SOAKING, TrainPhase.AWAITING_APPROVAL, TrainPhase.NEEDS_HUMAN,
        TrainPhase.ARRIVED, TrainPhase.STOPPED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stop:
    """One region of the route, as far as this train has come.

    Attributes:
        watch_id: of the watch that judges the release there, "" before there is one.
        before: watches that were over when the train departed.
        released_at: since when the release is expected there, None while it is not.
        healthy_at: when it was judged healthy there, None while it was not.
        vouched_by: the person who vouched for it instead, or "".
        undecided_at: when its watch was seen to have ended without a verdict, None while it was not.
        failed_at: when it was seen to have failed, None while it was not.
        taken_back_at: when the region went back, None while it has not.
    """

    region: str
    watch_id: str = ""
    before: tuple[str, ...] = ()
    released_at: float | None = None
    healthy_at: float | None = None
    vouched_by: str = ""
    undecided_at: float | None = None
    failed_at: float | None = None
    taken_back_at: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it was judged healthy, or vouched for."""
        return self.healthy_at is not None

    @property
    def kept(self) -> bool:
        """Whether its own daemon leaves the release there, and nobody took it back since."""
        ended = self.passed or self.undecided_at is not None
        return ended and self.failed_at is None and self.taken_back_at is None


@dataclass(frozen=True, slots=True)
class Train:
    """One train.

    Attributes:
        since: when the phase was entered. note: why, for people.
        stops: the route, in order. place: of the region in hand.
        release: what it carries. begun_at: when that began in the first region.
        number: how many trains of this name departed.
        plan_key: the plan in force, "" when there is none. plans: made so far, of this train.
        failed: what went wrong where, or who wants it back; "" while neither is.
        blind_since: since when a region on the way cannot be seen, or None. told_blind: it was said.
        turn: how many decisions people took; what they are offered is bound to it.
        says: what the rollout in the first region says of itself, by key.
    """

    name: str
    since: float
    stops: tuple[Stop, ...]
    phase: TrainPhase = TrainPhase.WAITING
    note: str = "nothing was released yet"
    place: int = 0
    release: str = ""
    begun_at: float = 0.0
    number: int = 0
    plan_key: str = ""
    plans: int = 0
    failed: str = ""
    blind_since: float | None = None
    told_blind: bool = False
    turn: int = 0
    says: tuple[tuple[str, str], ...] = ()

    @property
    def here(self) -> Stop:
        """The region in hand."""
        return self.stops[self.place]

    @property
    def to_take_back(self) -> tuple[int, ...]:
        """Places of the regions that kept the release and did not go back yet.

        Where it failed, the region's own daemon sees to it.
        """
        return tuple(i for i, stop in enumerate(self.stops) if stop.kept)

    @property
    def can_be_recalled(self) -> bool:
        """Whether a person may have it taken back now.

        Not while a region is judged or released: whoever wants it back then stops the train first,
        so that it is known what has the release.
        """
        if self.phase is TrainPhase.STOPPED and self.plan_key:
            return False  # a write may still be under way
        return self.phase in _RECALLABLE and bool(self.to_take_back)

    @property
    def is_last(self) -> bool:
        """Whether there is no region after the one in hand."""
        return self.place == len(self.stops) - 1


Next = tuple[Train, tuple[TrainCommand, ...]]


def waiting(name: str, route: tuple[str, ...], now: float) -> Train:
    """Return the train before its first release: what began before ``now`` is none of it."""
    return Train(name, now, tuple(Stop(region) for region in route), begun_at=now)


def step(train: Train, event: TrainEvent, policy: TrainPolicy, now: float) -> Next:
    """Return the train after an event, and what is to be done about it.

    Total: an event that does not apply returns the train unchanged and no commands.
    """
    match event:
        case Departed():
            return _departed(train, event, now)
        case Looked():
            return _looked(train, event, policy, now)
        case ReleasePlanned():
            return _planned(train, event, policy, now)
        case PlanRefused():
            return _refused(train, event)
        case Approved() | Rejected():
            return _answered(train, event, policy, now)
        case Released() | NotBegun() | ActFailed():
            return _carried_out(train, event, now)
        case TakenBack() | NotTakenBack():
            return _returned(train, event, now)
        case Halted() | Continued() | Recalled():
            return _ordered(train, event, now)
        case _:
            assert_never(event)


def _enter(train: Train, phase: TrainPhase, note: str, now: float) -> Train:
    return replace(train, phase=phase, note=note, since=max(now, train.since))


def _told(train: Train, phase: TrainPhase, note: str, now: float, *, urgent: bool = True) -> Next:
    entered = _enter(train, phase, note, now)
    return entered, (Announce(f"{train.name}: {phase.value}: {note}", urgent),)


def _with(train: Train, place: int, stop: Stop) -> Train:
    stops = (*train.stops[:place], stop, *train.stops[place + 1 :])
    return replace(train, stops=stops)


def _departed(train: Train, event: Departed, now: float) -> Next:
    if not train.phase.over or event.at <= train.begun_at:
        return train, ()
    stops = tuple(
        Stop(stop.region, before=before)
        for stop, before in zip(train.stops, event.before, strict=True)
    )
    first = replace(stops[0], watch_id=event.watch_id, released_at=now)
    begun = replace(
        Train(train.name, train.since, (first, *stops[1:])),
        release=event.release,
        begun_at=event.at,
        number=train.number + 1,
        turn=train.turn,
        says=event.says,
    )
    note = f"{event.release} began in {first.region}"
    return _told(begun, TrainPhase.JUDGING, note, now, urgent=False)


# Looking


def _looked(train: Train, event: Looked, policy: TrainPolicy, now: float) -> Next:
    if train.phase.over:
        return train, ()
    if train.phase is TrainPhase.TAKING_BACK:
        return _take_back(train, now)
    way = event.seen[: train.place + 1]
    clear = all(map(_is_clear, train.stops, way))
    if train.phase is TrainPhase.RELEASING:
        return train, (Release(train.plan_key, clear),)
    if train.failed:  # what is left is for people: to agree, or to look
        waits = train.phase is TrainPhase.AWAITING_RETURN
        return _expired(train, policy, now) if waits else (train, ())
    train = _bound(train, way[train.place])
    for place, (stop, seen) in enumerate(zip(train.stops, way, strict=False)):
        if seen.sight is Sight.FAILED:
            failed = _with(train, place, replace(stop, failed_at=now))
            return _fail(failed, f"{stop.region}: {seen.text}", policy, now)
        if seen.sight is Sight.OVERTAKEN:
            note = f"{stop.region}: {seen.text}"
            return _told(replace(train, plan_key=""), TrainPhase.STOPPED, note, now)
    train, commands = _sighted(train, way, policy, now)
    match train.phase:
        case TrainPhase.JUDGING:
            after, more = _judging(train, way[train.place], policy, now)
        case TrainPhase.SOAKING:
            after, more = _soaking(train, policy, now, clear=clear)
        case TrainPhase.AWAITING_APPROVAL:
            after, more = _expired(train, policy, now)
        case _:
            after, more = train, ()
    return after, (*commands, *more)


def _bound(train: Train, seen: Seen) -> Train:
    """Remember which watch judges the release in the region in hand."""
    known = train.here.watch_id or train.phase is not TrainPhase.JUDGING
    if known or not seen.watch_id:
        return train
    return _with(train, train.place, replace(train.here, watch_id=seen.watch_id))


def _is_clear(stop: Stop, seen: Seen) -> bool:
    """Tell whether nothing keeps the regions after this one from being released."""
    vouched = bool(stop.vouched_by) and seen.sight is Sight.UNDECIDED
    return stop.passed and (seen.sight is Sight.HEALTHY or vouched)


def _sighted(train: Train, way: tuple[Seen, ...], policy: TrainPolicy, now: float) -> Next:
    """Note which regions cannot be seen; people are told once when that lasts."""
    unseen = [
        f"{stop.region} ({seen.text})"
        for stop, seen in zip(train.stops, way, strict=False)
        if seen.sight is Sight.UNSEEN
    ]
    if not unseen:
        return replace(train, blind_since=None, told_blind=False), ()
    since = train.blind_since if train.blind_since is not None else now
    train = replace(train, blind_since=since)
    if train.told_blind or now - since < policy.blind_after_s:
        return train, ()
    lasted = duration(now - since)
    text = f"{train.name}: holding: not seen for {lasted}: {', '.join(unseen)}"
    return replace(train, told_blind=True), (Announce(text, urgent=True),)


def _judging(train: Train, seen: Seen, policy: TrainPolicy, now: float) -> Next:
    here = train.here
    match seen.sight:
        case Sight.HEALTHY:
            passed = _with(train, train.place, replace(here, healthy_at=now))
            return _passed(passed, seen.text, policy, now)
        case Sight.UNDECIDED:
            note = f"{here.region} {seen.sight.value}: {seen.text}"
            ended = _with(train, train.place, replace(here, undecided_at=now))
            return _told(ended, TrainPhase.NEEDS_HUMAN, note, now)
        case Sight.NOT_YET:
            waited = now - (here.released_at or now)
            if waited < policy.begin_within_s or policy.mode is Mode.OBSERVE:
                return train, ()
            note = f"{here.region} shows nothing of {train.release} after {duration(waited)}"
            return _told(train, TrainPhase.NEEDS_HUMAN, note, now)
        case _:  # being judged, or unseen: neither says anything yet
            return train, ()


def _passed(train: Train, text: str, policy: TrainPolicy, now: float) -> Next:
    here = train.here
    if train.is_last:
        note = f"{train.release} is healthy in every region"
        return _told(train, TrainPhase.ARRIVED, note, now, urgent=False)
    coming = train.stops[train.place + 1].region
    note = f"{here.region} is healthy ({text}); {coming} follows in {duration(policy.soak_s)}"
    return _told(train, TrainPhase.SOAKING, note, now, urgent=False)


def _soaking(train: Train, policy: TrainPolicy, now: float, *, clear: bool) -> Next:
    if not clear or now - train.since < policy.soak_s:
        return train, ()
    return train, (PlanRelease(train.place + 1),)


def _expired(train: Train, policy: TrainPolicy, now: float) -> Next:
    if now - train.since < policy.approval_expires_s:
        return train, ()
    note = f"nobody approved within {duration(policy.approval_expires_s)}"
    return _told(replace(train, plan_key=""), TrainPhase.NEEDS_HUMAN, note, now)


# Releasing


def _planned(train: Train, event: ReleasePlanned, policy: TrainPolicy, now: float) -> Next:
    if train.phase is not TrainPhase.SOAKING:
        return train, ()
    region = train.stops[train.place + 1].region
    if not event.plan_key:
        return _on_to_next(train, event.text, now)
    match policy.mode:
        case Mode.OBSERVE:
            note = f"{region} may be released now, by you: the mode is observe"
            return _on_to_next(train, note, now)
        case Mode.APPROVE:
            planned = replace(train, plan_key=event.plan_key, plans=train.plans + 1)
            note = f"waiting for approval: {event.text}"
            asking = _enter(planned, TrainPhase.AWAITING_APPROVAL, note, now)
            return asking, (AskApproval(event.plan_key),)
        case Mode.ENFORCE:
            planned = replace(train, plan_key=event.plan_key, plans=train.plans + 1)
            return _told(planned, TrainPhase.RELEASING, event.text, now, urgent=False)
        case _:
            assert_never(policy.mode)


def _on_to_next(train: Train, note: str, now: float) -> Next:
    place = train.place + 1
    released = replace(train.stops[place], released_at=now)
    train = replace(_with(train, place, released), place=place, plan_key="")
    return _told(train, TrainPhase.JUDGING, note, now, urgent=False)


def _refused(train: Train, event: PlanRefused) -> Next:
    if train.phase is not TrainPhase.SOAKING:
        return train, ()
    note = "not releasing: " + "; ".join(event.reasons)
    if note == train.note:
        return train, ()
    return replace(train, note=note), (Announce(f"{train.name}: {note}", urgent=True),)


def _answered(train: Train, event: Approved | Rejected, policy: TrainPolicy, now: float) -> Next:
    if not train.phase.waits or event.plan_key != train.plan_key:
        return train, ()
    if now - train.since >= policy.approval_expires_s:
        return _expired(train, policy, now)
    train = replace(train, turn=train.turn + 1)
    if isinstance(event, Rejected):
        stopped = replace(train, plan_key="")
        return _told(stopped, TrainPhase.STOPPED, f"rejected by {event.by}", now)
    returning = train.phase is TrainPhase.AWAITING_RETURN
    phase = TrainPhase.TAKING_BACK if returning else TrainPhase.RELEASING
    return _told(train, phase, f"approved by {event.by}", now)


def _carried_out(train: Train, event: Released | NotBegun | ActFailed, now: float) -> Next:
    if not train.plan_key or event.plan_key != train.plan_key:
        return train, ()
    region = train.stops[min(train.place + 1, len(train.stops) - 1)].region
    if train.phase is TrainPhase.STOPPED:  # a person stopped it while the write was under way
        done = replace(train, plan_key="")
        if not isinstance(event, Released):
            return done, ()
        note = f"{train.note}; but {region} was being released already, and has it"
        return replace(done, note=note), (Announce(f"{train.name}: {note}", urgent=True),)
    if train.phase is not TrainPhase.RELEASING:
        return train, ()
    match event:
        case Released():
            return _on_to_next(train, f"{region} was released", now)
        case NotBegun():
            note = f"{region} was not released: a region on the way is no longer seen healthy"
            again = _enter(replace(train, plan_key=""), TrainPhase.SOAKING, note, now)
            return again, (Announce(f"{train.name}: {note}", urgent=True),)
        case ActFailed(reason=reason):
            note = f"{region} could not be released: {reason}"
            return _told(replace(train, plan_key=""), TrainPhase.NEEDS_HUMAN, note, now)
        case _:
            assert_never(event)


# Failing, and going back


def _fail(train: Train, text: str, policy: TrainPolicy, now: float) -> Next:
    train = replace(train, failed=text, plan_key="")
    having = [train.stops[place].region for place in train.to_take_back]
    if policy.on_failure is OnFailure.STOP or not having:
        kept = f"; {', '.join(having)} keep the release" if having else ""
        return _told(train, TrainPhase.STOPPED, f"{text}{kept}", now)
    back = f"{text}; going back in {', '.join(reversed(having))}"
    match policy.mode:
        case Mode.OBSERVE:
            note = f"{back} would follow, but the mode is observe"
            return _told(train, TrainPhase.STOPPED, note, now)
        case Mode.APPROVE:
            key = f"{train.name}-{train.number}-back"
            note = f"waiting for approval: {back}"
            asking = _enter(replace(train, plan_key=key), TrainPhase.AWAITING_RETURN, note, now)
            told = Announce(f"{train.name}: {note}", urgent=True)
            return asking, (told, AskApproval(key))
        case Mode.ENFORCE:
            return _told(train, TrainPhase.TAKING_BACK, back, now)
        case _:
            assert_never(policy.mode)


def _take_back(train: Train, now: float) -> Next:
    if train.to_take_back:
        return train, (TakeBack(train.to_take_back[-1]),)
    done = replace(train, plan_key="")
    note = f"{train.failed}; every region that had {train.release} is back"
    return _told(done, TrainPhase.TAKEN_BACK, note, now)


def _returned(train: Train, event: TakenBack | NotTakenBack, now: float) -> Next:
    if train.phase is not TrainPhase.TAKING_BACK:
        return train, ()
    stop = train.stops[event.place]
    if stop.taken_back_at is not None:
        return train, ()
    if isinstance(event, NotTakenBack):
        note = f"{stop.region} could not go back: {event.reason}"
        return _told(train, TrainPhase.NEEDS_HUMAN, note, now)
    train = _with(train, event.place, replace(stop, taken_back_at=now))
    text = f"{train.name}: {stop.region} is back: {event.text}"
    return train, (Announce(text, urgent=True),)


# People


def _ordered(train: Train, event: TrainWish, now: float) -> Next:
    taken = replace(train, turn=train.turn + 1)
    match event:
        case Halted():
            if train.phase.over:
                return train, ()
            key = train.plan_key if train.phase is TrainPhase.RELEASING else ""
            stopped = replace(taken, plan_key=key)
            return _told(stopped, TrainPhase.STOPPED, f"stopped by {event.by}", now)
        case Recalled():
            if not train.can_be_recalled:
                return train, ()
            having = [train.stops[place].region for place in reversed(train.to_take_back)]
            recalled = replace(
                taken, plan_key="", failed=train.failed or f"recalled by {event.by}"
            )
            note = f"{event.by} wants it back; going back in {', '.join(having)}"
            return _told(recalled, TrainPhase.TAKING_BACK, note, now)
        case Continued():
            if train.phase is not TrainPhase.NEEDS_HUMAN:
                return train, ()
            return _continued(taken, event, now)
        case _:
            assert_never(event)


def _continued(train: Train, event: Continued, now: float) -> Next:
    note = f"continued by {event.by}"
    if train.failed:
        return _told(train, TrainPhase.TAKING_BACK, note, now)
    here = train.here
    if here.passed:
        return _told(train, TrainPhase.SOAKING, note, now)
    if here.watch_id:  # it ended without a verdict
        vouched = replace(here, healthy_at=now, vouched_by=event.by)
        note = f"{event.by} vouches for {here.region}"
        train = _with(train, train.place, vouched)
        phase = TrainPhase.ARRIVED if train.is_last else TrainPhase.SOAKING
        return _told(train, phase, note, now)
    again = _with(train, train.place, replace(here, released_at=now))
    return _told(again, TrainPhase.JUDGING, note, now)
