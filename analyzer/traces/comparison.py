"""Every operation of every watch, compared by the families of counted signals.

An operation of a watch is a member of these families like a watch is: its instances are the watch's,
with the operation as one more label.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from analyzer.evidence import Evidence, Finding, Measured
from analyzer.family import Family
from analyzer.histogram_family import HistogramFamily
from analyzer.judge import ATTRIBUTED, admitted
from analyzer.policy import Policy
from analyzer.ratio_family import RatioFamily
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Absence, Missing
from analyzer.signal import (
    HistogramSignal,
    LevelSignal,
    RatioSignal,
    Selector,
    SeriesSignal,
    TraceSignal,
)
from analyzer.traces import operations as names
from analyzer.traces.fan_out import FanOutFamily
from analyzer.traces.novelty import NoveltyFamily
from analyzer.traces.operations import Detail, Instances, Seen, service_of
from analyzer.traces.shares import SHARE_OF_ASPECT, Aspect, share_of_known, share_of_late
from analyzer.traces.wording import Accusation, cleared, drifting, tell

AnyFamily = Family[Any, Any]

SEPARATOR = "\x1f"
"""Between the parts of a member's id; in no watch's id and in no operation's name."""
INTERESTING = 0.01
"""Part of what a signal needs to be named at which the operation's detail is asked for."""
TOLD = 3
"""Operations that a finding names."""


@dataclass(frozen=True, slots=True)
class TraceQuestion:
    """What a watch's trace signal wants to know: of which instances, and which details."""

    watch_id: str
    signal: TraceSignal
    instances: Instances
    details: tuple[str, ...]


@dataclass(slots=True)
class _Operation:
    """One operation of one watch. ``seen``: spans of either side at the last look."""

    share: float
    seen: Seen
    detail: Detail | None = None


@dataclass(slots=True)
class _Following:
    """One trace signal of one watch."""

    watch_id: str
    signal: TraceSignal
    policy: Policy
    id_labels: tuple[str, ...]
    roster: Roster = field(default_factory=Roster)
    operations: dict[str, _Operation] = field(default_factory=dict)
    late: int = 0
    trouble: Missing | None = None
    wanted: tuple[str, ...] = ()

    def member(self, operation: str) -> str:
        """Return the id under which families know an operation of this watch."""
        return SEPARATOR.join((self.watch_id, self.signal.name, operation))

    def instances(self) -> Instances:
        """Return all instances that count or did."""
        ids = {side: {s.id for s in self.roster.stays if s.side is side} for side in Side}
        return Instances(self.id_labels, ids[Side.CANARY], ids[Side.BASELINE])


def watch_of(member_id: str) -> str:
    """Return the watch that a member of any family belongs to."""
    return member_id.split(SEPARATOR, 1)[0]


class TraceComparison:
    """All trace signals of all watches. No I/O: what a source saw comes in, evidence goes out.

    Args:
        tick_s: distance of grid points in seconds.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._following: dict[tuple[str, str], _Following] = {}
        self._families: dict[object, AnyFamily] = {}
        self._of: dict[tuple[str, str], dict[Aspect, AnyFamily]] = {}

    @property
    def families(self) -> list[AnyFamily]:
        """Every family that compares an operation."""
        return [family for family in self._families.values() if family.members]

    def join(
        self, watch_id: str, signal: TraceSignal, policy: Policy, id_labels: tuple[str, ...]
    ) -> None:
        """Begin to follow a watch; its operations come later."""
        key = (watch_id, signal.name)
        self._following[key] = _Following(watch_id, signal, policy, id_labels)
        labels = (*id_labels, names.OPERATION)
        self._of[key] = {
            aspect: self._family(aspect, signal, labels, policy.horizon_s) for aspect in Aspect
        }

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances of a watch count, and when."""
        for one in self._of_watch(watch_id):
            if one.roster is not roster:
                one.roster = roster
                for operation in one.operations:
                    self._enrol(one, operation)

    def _of_watch(self, watch_id: str) -> list[_Following]:
        return [one for (owner, _), one in self._following.items() if owner == watch_id]

    def _enrol(self, one: _Following, operation: str) -> None:
        stays = tuple(replace(s, id=(*s.id, operation)) for s in one.roster.stays)
        roster = Roster(stays)
        for family in self._of[one.watch_id, one.signal.name].values():
            family.enrol(one.member(operation), roster)

    def leave(self, watch_id: str) -> None:
        """Forget a watch."""
        for one in self._of_watch(watch_id):
            key = (watch_id, one.signal.name)
            for family in self._of.pop(key).values():
                for operation in one.operations:
                    family.leave(one.member(operation))
            del self._following[key]
        used = {id(family) for of in self._of.values() for family in of.values()}
        self._families = {k: f for k, f in self._families.items() if id(f) in used}

    def mark(self, watch_id: str, at: float) -> None:
        """Begin to measure the recovery of a watch after an action at this time."""
        for one in self._of_watch(watch_id):
            for family in self._of[watch_id, one.signal.name].values():
                for operation in one.operations:
                    family.mark(one.member(operation), at)

    # Asking and being told

    def questions(self) -> list[TraceQuestion]:
        """Return what is to be asked before the next samples are taken in."""
        return [
            TraceQuestion(one.watch_id, one.signal, one.instances(), one.wanted)
            for one in self._following.values()
            if one.roster.stays
        ]

    def notice(self, question: TraceQuestion, seen: Sequence[Seen] | Missing) -> None:
        """Take note of the operations there are; those that can be compared begin to be."""
        one = self._following.get((question.watch_id, question.signal.name))
        if one is None:
            return
        if isinstance(seen, Missing):
            one.trouble = seen
            return
        one.trouble = None
        for each in seen:
            if each.operation in one.operations:
                one.operations[each.operation].seen = each
        fresh = [s for s in seen if s.operation not in one.operations and _fits(one.signal, s)]
        fresh.sort(key=lambda s: (-s.baseline, s.operation))
        fresh = fresh[: max(0, one.signal.operations - len(one.operations))]
        first = not one.operations
        for each in fresh:
            one.late += not first
            share = share_of_known(len(fresh)) if first else share_of_late(one.late)
            self._begin(one, each, share)

    def _begin(self, one: _Following, seen: Seen, share: float) -> None:
        one.operations[seen.operation] = _Operation(share, seen)
        weight = one.policy.weights.get(one.signal.name, 0.0) or 1.0
        for aspect, family in self._of[one.watch_id, one.signal.name].items():
            part = _signal(aspect, one.signal)
            # its threshold is that of its share of α, and a policy of one signal says so
            alpha = one.policy.alpha * weight * share * SHARE_OF_ASPECT[aspect]
            policy = replace(one.policy, signals=(part,), alpha=alpha)
            family.join(one.member(seen.operation), part, policy)
        self._enrol(one, seen.operation)

    def explain(self, question: TraceQuestion, operation: str, detail: Detail | Missing) -> None:
        """Take in what both sides do in an operation, for people."""
        one = self._following.get((question.watch_id, question.signal.name))
        if one is not None and operation in one.operations and isinstance(detail, Detail):
            one.operations[operation].detail = detail

    # Giving evidence

    def evidence(self) -> dict[str, dict[str, Evidence]]:
        """Return the evidence of every watch, by signal."""
        told = {id(f): f.evidence() for f in self.families}
        found: dict[str, dict[str, Evidence]] = {}
        for (watch_id, name), one in self._following.items():
            found.setdefault(watch_id, {})[name] = self._sum_up(one, told)
        return found

    def newest(self, watch_id: str, signal: str) -> float | None:
        """Return the grid time up to which a signal was folded in."""
        cursors = (f.cursor for f in self._of[watch_id, signal].values())
        return max((c for c in cursors if c is not None), default=None)

    def _sum_up(self, one: _Following, told: dict[int, dict[str, Evidence]]) -> Evidence:
        if one.trouble is not None:
            return one.trouble
        if not one.operations:
            return Missing(Absence.NO_SERIES, "no spans of the baseline's instances yet")
        every: list[Accusation] = []
        missing: list[Missing] = []
        for operation, state in one.operations.items():
            for aspect, family in self._of[one.watch_id, one.signal.name].items():
                found = told.get(id(family), {}).get(one.member(operation))
                if isinstance(found, Missing):
                    missing.append(found)
                if not isinstance(found, Measured) or not _enough(one.signal, state.seen):
                    continue
                share = state.share * SHARE_OF_ASPECT[aspect]
                every.append(Accusation(operation, aspect, found.finding, share, state.detail))
        if not every:
            few = Missing(Absence.TOO_FEW, f"fewer than {one.signal.min_spans} spans on a side")
            return next(iter(missing), few)
        finding = _finding(every, {o: s.seen for o, s in one.operations.items()})
        weight = one.policy.weights.get(one.signal.name, 0.0) or 1.0
        self._want(one, every, INTERESTING / weight)
        return Measured(finding)

    def _want(self, one: _Following, every: Iterable[Accusation], least: float) -> None:
        """Note which operations are worth a closer look."""
        strong = [a for a in _strongest(every) if a.contribution >= least]
        one.wanted = tuple(dict.fromkeys(a.operation for a in strong))[:TOLD]

    def _family(
        self, aspect: Aspect, signal: TraceSignal, labels: tuple[str, ...], horizon_s: float
    ) -> AnyFamily:
        """Return the family that compares an aspect, making it when it is new."""
        key = (aspect, labels, horizon_s)
        if key not in self._families:
            part = _signal(aspect, signal)
            self._families[key] = self._made(aspect, part, labels, horizon_s)
        return self._families[key]

    def _made(
        self, aspect: Aspect, part: SeriesSignal, labels: tuple[str, ...], horizon_s: float
    ) -> AnyFamily:
        match part:
            case RatioSignal() if aspect is Aspect.NEW_ERRORS:
                return NoveltyFamily(part, labels, self._tick_s, horizon_s)
            case RatioSignal():
                return RatioFamily(part, labels, self._tick_s, horizon_s)
            case HistogramSignal():
                return HistogramFamily(part, labels, self._tick_s, horizon_s)
            case LevelSignal():
                return FanOutFamily(labels, self._tick_s, horizon_s)
            case _:
                raise TypeError(f"no family compares {part}")


def _signal(aspect: Aspect, signal: TraceSignal) -> SeriesSignal:
    """Return the counted signal that an aspect of an operation is."""
    match aspect:
        case Aspect.ERRORS:
            return _ratio(aspect, signal, names.SPANS, names.FAILED)
        case Aspect.NEW_ERRORS:
            return _ratio(aspect, signal, names.SPANS, names.ERRORS)
        case Aspect.RETRIES:
            return _ratio(aspect, signal, names.ASSEMBLED, names.RETRIED)
        case Aspect.DURATION:
            return _histogram(aspect, signal, names.DURATIONS)
        case Aspect.SELF_TIME:
            return _histogram(aspect, signal, names.SELF_TIMES)
        case Aspect.FAN_OUT:
            margin = signal.growth
            harm = max(signal.harm, margin)
            values = Selector(names.CALLS)
            return LevelSignal(name=aspect.value, values=values, margin=margin, harm=harm)
        case _:
            assert_never(aspect)


def _ratio(aspect: Aspect, signal: TraceSignal, total: str, bad: str) -> RatioSignal:
    return RatioSignal(
        name=aspect.value,
        total=Selector(total),
        bad=Selector(bad),
        margin=signal.margin,
        harm=max(signal.harm, signal.margin),
        floor=signal.floor,
        harm_rate=signal.harm_rate,
    )


def _histogram(aspect: Aspect, signal: TraceSignal, buckets: str) -> HistogramSignal:
    return HistogramSignal(
        name=aspect.value,
        buckets=Selector(buckets),
        margin=signal.margin,
        harm=max(signal.harm, signal.margin),
    )


def _fits(signal: TraceSignal, seen: Seen) -> bool:
    """Tell whether an operation is wanted, and known well enough on the baseline."""
    wanted = not signal.services or service_of(seen.operation) in signal.services
    return wanted and seen.baseline >= signal.min_spans


def _enough(signal: TraceSignal, seen: Seen) -> bool:
    return min(seen.canary, seen.baseline) >= signal.min_spans


def _strongest(every: Iterable[Accusation]) -> list[Accusation]:
    """Return what speaks against the canary, strongest first."""
    harmful = [a for a in every if a.finding.harmful and a.contribution > 0]
    return sorted(harmful, key=lambda a: (-a.contribution, a.operation, a.aspect))


MAJOR = 0.1
"""An operation with this share of the canary's spans must be free of harm before all is well."""


def _finding(every: list[Accusation], seen: dict[str, Seen]) -> Finding:
    """Return the one finding that stands for all operations."""
    strong = [a for a in _strongest(every) if a.contribution >= ATTRIBUTED]
    lead = (strong or sorted(every, key=lambda a: -a.contribution))[0]
    total = sum(s.canary for s in seen.values())
    major = [
        a
        for a in every
        if a.aspect in {Aspect.ERRORS, Aspect.DURATION}
        and seen[a.operation].canary >= MAJOR * total
    ]
    drift = sum(a.share * a.finding.drift_e for a in every)
    # what is not measured counts as 1: no drift is known there
    drift += max(0.0, 1.0 - sum(a.share for a in every))
    examples = next((a.detail.examples for a in strong if a.detail), ())
    return replace(
        lead.finding,
        e_value=sum(a.share * admitted(a.finding) for a in every),
        tested=any(a.finding.tested for a in every),
        harmful=bool(strong),
        harmless=bool(major) and all(a.finding.harmless for a in major) and not strong,
        drift_e=drift,
        detectable=None,
        drifting=drifting(every),
        told=tell(strong, TOLD) if strong else cleared(every, len(seen)),
        examples=examples,
    )
