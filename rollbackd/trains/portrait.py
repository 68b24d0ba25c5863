"""What people are shown of a train: in the shape of a watch, so every notifier can tell of it.

Each release that travels is shown as something of its own, as each rollout is a watch of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analyzer.trains.events import Seen, Sight
from analyzer.trains.life import Train, TrainPhase
from analyzer.trains.policy import TrainPolicy
from analyzer.trains.standing import StopState, stop_state
from analyzer.wording import duration
from rollbackd.decisions import Verb
from rollbackd.timelines import Timeline
from rollbackd.views import StopView, WatchView

KIND = "train-view"
"""Kind of the journal's entries that hold what was shown of a train."""
_PLACE = "trains/route/Train"
_ASKING = "waiting for approval: "
_TOLD = {Sight.JUDGING, Sight.FAILED, Sight.UNDECIDED, Sight.OVERTAKEN, Sight.UNSEEN}
"""Sights whose text says more than the state."""

Page = Callable[[str, str], str]
"""Returns the address of the page of a watch, by its region and its id."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a train is seen with.

    Attributes:
        seen: every region at the last look; empty when there was none since the start.
        page: where a watch can be looked at.
    """

    seen: Sequence[Seen]
    page: Page


def view_id(train: str, number: int) -> str:
    """Return the id that decisions and links name a train by, the ``number``-th of its name."""
    return f"{_PLACE}/{train}@{number}"


def train_of(id_: str) -> tuple[str, int] | None:
    """Return the train that an id of ours names, and its number; None for every other id."""
    place, _, number = id_.rpartition("@")
    head, _, name = place.rpartition("/")
    if head != _PLACE or not name or not (number.isascii() and number.isdigit()):
        return None
    return name, int(number)


def policy_name(train: str) -> str:
    """Return what stands where a watch has its policy's name; no policy can be called so."""
    return f"(train {train})"


def portray(train: Train, policy: TrainPolicy, glance: Glance, timeline: Timeline) -> WatchView:
    """Return the snapshot of a train.

    Args:
        train: as it stands.
        policy: how it travels.
        glance: what is seen of its regions.
        timeline: what happened to it so far.
    """
    state, _ = stop_state(train, train.place)
    began = train.stops[0].released_at
    return WatchView(
        id=view_id(train.name, train.number),
        workload=train.name,
        canary=train.release,
        baseline=", ".join(stop.region for stop in train.stops),
        policy=policy_name(train.name),
        mode=policy.mode.value,
        phase=train.phase.value,
        verdict=f"{train.here.region}: {state.value}" if train.number else "",
        reasons=(train.failed,) if train.failed else (),
        evidence=0.0,
        limit=1.0,
        started_at=train.since if began is None else began,
        updated_at=timeline[-1].at if timeline else train.since,
        final=train.phase.over,
        outlook=outlook(train, policy),
        plan=train.note.removeprefix(_ASKING) if train.phase.waits else None,
        signals=(),
        timeline=timeline,
        plan_key=train.plan_key,
        turn=train.turn,
        since=train.since,
        note=train.note,
        hold="a region cannot be seen" if train.told_blind and not train.phase.over else "",
        offered=tuple(verb.value for verb in offered(train)),
        stops=tuple(_stop(train, place, glance) for place in range(len(train.stops))),
        annotations=dict(train.says),
    )


def _stop(train: Train, place: int, glance: Glance) -> StopView:
    stop = train.stops[place]
    state, since = stop_state(train, place)
    seen = glance.seen[place] if glance.seen else None
    text = seen.text if seen is not None and seen.sight in _TOLD else ""
    if state is StopState.VOUCHED:
        text = f"by {stop.vouched_by}" + (f"; {text}" if text else "")
    if seen is not None and seen.sight is Sight.UNSEEN:
        text = f"not seen now: {seen.text}"
    url = glance.page(stop.region, stop.watch_id) if stop.watch_id else ""
    return StopView(stop.region, state.value, since, text, stop.watch_id, url)


def offered(train: Train) -> tuple[Verb, ...]:
    """Return what can be decided about a train in its present state."""
    back = (Verb.TAKE_BACK,) if train.can_be_recalled else ()
    if train.phase.waits:
        return (Verb.APPROVE, Verb.REJECT, *back)
    if train.phase.over:
        return back
    on = train.phase is TrainPhase.NEEDS_HUMAN and not train.failed
    return (*((Verb.CONTINUE,) if on else ()), *back, Verb.STOP)


def outlook(train: Train, policy: TrainPolicy) -> str:
    """Say what happens next."""
    here = train.here.region
    coming = "" if train.is_last else train.stops[train.place + 1].region
    match train.phase:
        case TrainPhase.JUDGING:
            after = f"; then {coming}" if coming else ", the last region"
            return f"{here} is judged by its own daemon{after}"
        case TrainPhase.SOAKING:
            soak = duration(policy.soak_s)
            return f"{coming} follows {soak} after the verdict, if every region is healthy then"
        case TrainPhase.RELEASING:
            return f"{coming} is released now"
        case TrainPhase.AWAITING_APPROVAL | TrainPhase.AWAITING_RETURN:
            return f"somebody decides, within {duration(policy.approval_expires_s)}"
        case TrainPhase.TAKING_BACK:
            left = ", ".join(train.stops[i].region for i in reversed(train.to_take_back))
            return f"{left or 'nothing more'} goes back, the last one first"
        case TrainPhase.NEEDS_HUMAN:
            return "nothing more happens until somebody decides"
        case _:
            return f"the next rollout in {train.stops[0].region} begins another train"
