"""How one region stands to a train's release: what people and metrics are told. Pure."""

from enum import StrEnum

from analyzer.trains.life import Train, TrainPhase


class StopState(StrEnum):
    """Where a region of a train stands."""

    WAITING = "waiting"
    RELEASING = "being released"
    RELEASED = "released"
    """Let go of, and nothing of the release was seen there yet."""
    JUDGING = "being judged"
    HEALTHY = "healthy"
    VOUCHED = "vouched for"
    UNDECIDED = "without a verdict"
    FAILED = "failed"
    GOING_BACK = "going back"
    TAKEN_BACK = "taken back"
    LEFT_OUT = "not released"
    """The train ended before it came there."""


def stop_state(train: Train, place: int) -> tuple[StopState, float | None]:
    """Return how the region at a place stands, and since when; None when nothing happened there."""
    stop = train.stops[place]
    back = train.to_take_back
    if stop.taken_back_at is not None:
        return StopState.TAKEN_BACK, stop.taken_back_at
    if train.phase is TrainPhase.TAKING_BACK and back and place == back[-1]:
        return StopState.GOING_BACK, train.since
    if stop.failed_at is not None:
        return StopState.FAILED, stop.failed_at
    if stop.passed:
        state = StopState.VOUCHED if stop.vouched_by else StopState.HEALTHY
        return state, stop.healthy_at
    if stop.undecided_at is not None:
        return StopState.UNDECIDED, stop.undecided_at
    if stop.released_at is not None:
        seen = StopState.JUDGING if stop.watch_id else StopState.RELEASED
        return seen, stop.released_at
    if train.phase is TrainPhase.RELEASING and place == train.place + 1:
        return StopState.RELEASING, train.since
    ended = train.phase.over and train.number > 0
    return (StopState.LEFT_OUT if ended else StopState.WAITING), None
