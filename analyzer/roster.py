"""Which instance counted on which side, and when: the memory that makes a restart exact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from analyzer.rollout import Instance, Rollout, Side


@dataclass(frozen=True, slots=True)
class Stay:
    """One stretch of time in which an instance's samples count.

    ``since`` and ``until`` are seconds since the epoch; ``until`` is inf while it goes on.
    ``started_at`` tells a restarted instance from the one before it.
    """

    id: tuple[str, ...]
    side: Side
    since: float
    until: float = inf
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """All stays of one rollout's instances, in order of their discovery."""

    stays: tuple[Stay, ...] = ()

    def observe(self, rollout: Rollout, now: float, warm_up_s: float) -> "Roster":
        """Return the roster after looking at the rollout once more.

        An instance counts from ``warm_up_s`` after its start, while it is ready and not
        terminating; that rule prevents more false rollbacks than any statistics (detectors.md
        1). An unknown start counts as long ago for a baseline instance known from the beginning,
        and as now for everything else. The same object is returned when nothing changed.
        """
        return self._observe({side: rollout.instances(side) for side in Side}, now, warm_up_s)

    def restored(self, baseline: Sequence[Instance], now: float, warm_up_s: float) -> "Roster":
        """Return the roster after a rollback: the baseline's instances go on, no canary does."""
        return self._observe({Side.BASELINE: baseline}, now, warm_up_s)

    def alone(self, running: Sequence[Instance], now: float, warm_up_s: float) -> "Roster":
        """Return the roster after looking at a revision that nothing runs beside.

        What it is compared with is another stretch of time: those stays change no more.
        """
        past = tuple(s for s in self.stays if s.side is Side.BASELINE)
        own = Roster(tuple(s for s in self.stays if s.side is Side.CANARY))
        seen = own._observe({Side.CANARY: running}, now, warm_up_s)
        whole = (*past, *seen.stays)
        return self if whole == self.stays else Roster(whole)

    def _observe(
        self, seen: Mapping[Side, Sequence[Instance]], now: float, warm_up_s: float
    ) -> "Roster":
        current = {
            (side, instance.id): instance
            for side, instances in seen.items()
            for instance in instances
            if instance.ready and not instance.terminating
        }
        stays = [_continued(stay, current, now) for stay in self.stays]
        known = {(s.side, s.id) for s in stays}
        open_ = {(s.side, s.id) for s in stays if s.until == inf}
        for (side, id_), instance in current.items():
            if (side, id_) in open_:
                continue
            since = _warm_since(instance, side, now, warm_up_s, first=not self.stays)
            if (side, id_) in known:
                since = max(since, now)
            stays.append(Stay(id_, side, since, inf, instance.started_at))
        roster = tuple(stays)
        return self if roster == self.stays else Roster(roster)

    def bridged(self) -> tuple[Stay, ...]:
        """Return one stay for each instance and side, from its first warm moment to its last.

        For counters of what makes an instance leave for a while, such as its restarts.
        """
        whole: dict[tuple[Side, tuple[str, ...]], Stay] = {}
        for stay in self.stays:
            known = whole.setdefault((stay.side, stay.id), stay)
            since, until = min(known.since, stay.since), max(known.until, stay.until)
            whole[stay.side, stay.id] = replace(stay, since=since, until=until)
        return tuple(whole.values())

    def warm(self, side: Side, now: float) -> int:
        """Return how many instances of a side count at this time."""
        return sum(s.side is side and s.since <= now <= s.until for s in self.stays)

    def present(self, side: Side) -> int:
        """Return how many instances of a side are there, warm or not."""
        return sum(s.side is side and s.until == inf for s in self.stays)


def _continued(
    stay: Stay, current: dict[tuple[Side, tuple[str, ...]], Instance], now: float
) -> Stay:
    """Return the stay, ended when its instance left, became unready or was started again."""
    if stay.until != inf:
        return stay
    instance = current.get((stay.side, stay.id))
    if instance is None or instance.started_at != stay.started_at:
        return replace(stay, until=now)
    return stay


def _warm_since(
    instance: Instance, side: Side, now: float, warm_up_s: float, *, first: bool
) -> float:
    if instance.started_at is not None:
        return instance.started_at + warm_up_s
    return -inf if first and side is Side.BASELINE else now + warm_up_s
