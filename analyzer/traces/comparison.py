"""Every operation of every watch, compared by the families of counted signals.

An operation of a watch is a member of these families like a watch is: its instances are the watch's,
with the operation as one more label.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from analyzer.evidence import Evidence, Measured
from analyzer.judge import ATTRIBUTED
from analyzer.policy import Policy
from analyzer.recovery import Recovery, RecoveryCheck
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Absence, Missing
from analyzer.signal import Tier, TraceSignal
from analyzer.traces.aspects import (
    AnyFamily,
    compared,
    concerns,
    family_of,
    labels_of,
    signal_of,
)
from analyzer.traces.operations import (
    Detail,
    Instances,
    Seen,
    call_of,
    service_of,
)
from analyzer.traces.recovery import check_operation
from analyzer.traces.shares import (
    SHARE_OF_ASPECT,
    STRUCTURE,
    Aspect,
    share_of_known,
    share_of_late,
)
from analyzer.traces.summing import TOLD, Measure, believed, strongest, sum_up
from analyzer.traces.wording import Accusation

SEPARATOR = "\x1f"
"""Between the parts of a member's id; in no watch's id and in no operation's name."""
INTERESTING = 0.01
"""Part of what a signal needs to be named at which the operation's detail is asked for."""
USUAL_CALL = 0.05
"""A call that fewer of the baseline's spans make is not missed."""
MOST_CALLS = 8
"""Calls of an operation that are compared one by one, those of most spans first."""
LEARNT_AT_ONCE = 50
"""Operations of a watch whose calls are asked for in one tick."""


@dataclass(frozen=True, slots=True)
class TraceQuestion:
    """What a watch's trace signal wants to know.

    Attributes:
        watch_id, signal: who asks. instances: of which instances.
        details: operations to be told of to people.
        calls: operations whose usual calls are to be learnt.
    """

    watch_id: str
    signal: TraceSignal
    instances: Instances
    details: tuple[str, ...]
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """One comparison of one operation.

    Attributes:
        aspect: what is compared, by which family and under which id.
        label: what is added to an instance's id: the operation, or the call.
        share: of the signal's evidence. called: the operation that is called, "" for others.
    """

    aspect: Aspect
    family: AnyFamily
    member: str
    label: str
    share: float
    called: str = ""


@dataclass(slots=True)
class _Operation:
    """One operation of one watch. ``seen``: spans of either side at the last look."""

    share: float
    seen: Seen
    parts: list[_Part] = field(default_factory=list)
    calls_known: bool = False
    detail: Detail | None = None


@dataclass(slots=True)
class _Following:
    """One trace signal of one watch, and the families that compare its aspects."""

    watch_id: str
    signal: TraceSignal
    policy: Policy
    id_labels: tuple[str, ...]
    families: dict[Aspect, AnyFamily]
    roster: Roster = field(default_factory=Roster)
    operations: dict[str, _Operation] = field(default_factory=dict)
    late: int = 0
    trouble: Missing | None = None
    wanted: tuple[str, ...] = ()
    accused: tuple[tuple[str, Aspect], ...] = ()
    """What speaks against the canary now, the strongest first."""
    guilty: tuple[tuple[str, Aspect], ...] = ()
    """What did when the last action was taken."""

    def member(self, *parts: str) -> str:
        """Return the id under which families know a part of this watch."""
        return SEPARATOR.join((self.watch_id, self.signal.name, *parts))

    def instances(self) -> Instances:
        """Return all instances that count or did."""
        ids = {side: {s.id for s in self.roster.stays if s.side is side} for side in Side}
        return Instances(self.id_labels, ids[Side.CANARY], ids[Side.BASELINE])

    def untold(self) -> tuple[str, ...]:
        """Return operations whose usual calls are not known, and could be."""
        if Aspect.VANISHED_CALLS not in self.families:
            return ()
        enough = (
            operation
            for operation, state in self.operations.items()
            if not state.calls_known and state.seen.assembled >= self.signal.min_spans
        )
        return tuple(islice(enough, LEARNT_AT_ONCE))

    @property
    def weight(self) -> float:
        """The signal's share of α; one that has none is judged as if it were alone."""
        return self.policy.weights.get(self.signal.name, 0.0) or 1.0


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

    @property
    def families(self) -> list[AnyFamily]:
        """Every family that compares an operation."""
        return [family for family in self._families.values() if family.members]

    def join(
        self, watch_id: str, signal: TraceSignal, policy: Policy, id_labels: tuple[str, ...]
    ) -> None:
        """Begin to follow a watch; its operations come later."""
        families = {
            aspect: self._family(aspect, signal, id_labels, policy.horizon_s)
            for aspect in compared(signal)
        }
        key = (watch_id, signal.name)
        self._following[key] = _Following(watch_id, signal, policy, id_labels, families)

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances of a watch count, and when."""
        for one in self._of_watch(watch_id):
            if one.roster is not roster:
                one.roster = roster
                for state in one.operations.values():
                    self._enrol(one, state.parts)

    def _of_watch(self, watch_id: str) -> list[_Following]:
        return [one for (owner, _), one in self._following.items() if owner == watch_id]

    def _enrol(self, one: _Following, parts: Iterable[_Part]) -> None:
        """Let the parts know who counts; those with the same label share a roster."""
        rosters: dict[str, Roster] = {}
        for part in parts:
            if part.label not in rosters:
                stays = tuple(replace(s, id=(*s.id, part.label)) for s in one.roster.stays)
                rosters[part.label] = Roster(stays)
            part.family.enrol(part.member, rosters[part.label])

    def leave(self, watch_id: str) -> None:
        """Forget a watch."""
        for one in self._of_watch(watch_id):
            for state in one.operations.values():
                for part in state.parts:
                    part.family.leave(part.member)
            del self._following[watch_id, one.signal.name]
        used = {id(f) for one in self._following.values() for f in one.families.values()}
        self._families = {k: f for k, f in self._families.items() if id(f) in used}

    def mark(self, watch_id: str, at: float) -> None:
        """Begin to measure the recovery of a watch after an action at this time.

        What is accused by then is what must be well again.
        """
        for one in self._of_watch(watch_id):
            one.guilty = one.accused
            for state in one.operations.values():
                for part in state.parts:
                    part.family.mark(part.member, at)

    def recovery(self, watch_id: str) -> list[RecoveryCheck]:
        """Return whether the restored baseline's guilty operations look as they did.

        What is not decided yet is told of critical signals only: nothing waits for the others.
        """
        checks: list[RecoveryCheck] = []
        for one in self._of_watch(watch_id):
            parts = {
                (operation, part.aspect): part
                for operation in one.operations
                for part in one.operations[operation].parts
            }
            found = [
                check_operation(*guilty, parts[guilty].family, parts[guilty].member)
                for guilty in one.guilty
            ]
            critical = one.signal.tier is Tier.CRITICAL
            checks += [c for c in found if critical or c.recovery is not Recovery.OPEN]
        return checks

    # Asking and being told

    def questions(self) -> list[TraceQuestion]:
        """Return what is to be asked before the next samples are taken in."""
        return [
            TraceQuestion(one.watch_id, one.signal, one.instances(), one.wanted, one.untold())
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
        state = one.operations[seen.operation] = _Operation(share, seen)
        state.parts = [
            _Part(
                aspect,
                family,
                one.member(seen.operation),
                seen.operation,
                share * SHARE_OF_ASPECT[aspect],
            )
            for aspect, family in one.families.items()
            if concerns(aspect, seen.operation)
        ]
        self._admit(one, state.parts)

    def _admit(self, one: _Following, parts: Sequence[_Part]) -> None:
        """Begin to compare new parts."""
        for part in parts:
            signal = signal_of(part.aspect, one.signal)
            # its threshold is that of its share of α, and a policy of one signal says so
            alpha = one.policy.alpha * one.weight * part.share
            policy = replace(one.policy, signals=(signal,), alpha=alpha)
            part.family.join(part.member, signal, policy)
        self._enrol(one, parts)

    def learn(self, question: TraceQuestion, operation: str, detail: Detail | Missing) -> None:
        """Take note of the calls that the baseline usually makes; they begin to be compared.

        Which they are is fixed by then, and so is what each of them counts for.
        """
        one = self._following.get((question.watch_id, question.signal.name))
        if one is None or not isinstance(detail, Detail):
            return
        family = one.families[Aspect.VANISHED_CALLS]
        state = one.operations.get(operation)
        if state is None or state.calls_known:
            return
        state.calls_known = True
        usual = [(call.share, called) for called, call in detail.baseline.calls.items()]
        usual = sorted((c for c in usual if c[0] >= USUAL_CALL), key=lambda c: (-c[0], c[1]))
        kept = [called for _, called in usual[:MOST_CALLS]]
        share = state.share * SHARE_OF_ASPECT[Aspect.VANISHED_CALLS]
        parts = [
            _Part(
                Aspect.VANISHED_CALLS,
                family,
                one.member(operation, called),
                call_of(operation, called),
                share / len(kept),
                called,
            )
            for called in kept
        ]
        state.parts.extend(parts)
        self._admit(one, parts)

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
        families = self._following[watch_id, signal].families.values()
        return max((f.cursor for f in families if f.cursor is not None), default=None)

    def _sum_up(self, one: _Following, told: dict[int, dict[str, Evidence]]) -> Evidence:
        if one.trouble is not None:
            return one.trouble
        if not one.operations:
            return Missing(Absence.NO_SERIES, "no spans of the baseline's instances yet")
        every: list[Accusation] = []
        missing: Missing | None = None
        for operation, state in one.operations.items():
            enough = _enough(one.signal, state.seen)
            for part in state.parts:
                found = told.get(id(part.family), {}).get(part.member)
                if isinstance(found, Missing):
                    missing = missing or found
                elif found is not None and (enough or _absence_speaks(one.signal, part, state)):
                    every.append(
                        Accusation(
                            operation,
                            part.aspect,
                            found.finding,
                            part.share,
                            state.detail,
                            part.called,
                        )
                    )
        if not every:
            few = Missing(Absence.TOO_FEW, f"fewer than {one.signal.min_spans} spans on a side")
            return missing or few
        seen = {operation: state.seen for operation, state in one.operations.items()}
        measure = Measure(one.signal.changed_calls, 1.0 / (one.policy.alpha * one.weight))
        every = believed(every)
        finding = sum_up(every, seen, measure)
        self._want(one, every, INTERESTING / one.weight)
        strong = strongest((a for a in every if a.aspect not in STRUCTURE), ATTRIBUTED)
        one.accused = tuple((a.operation, a.aspect) for a in strong[:TOLD])
        return Measured(finding)

    def _want(self, one: _Following, every: Iterable[Accusation], least: float) -> None:
        """Note which operations are worth a closer look."""
        strong = strongest(every, least)
        one.wanted = tuple(dict.fromkeys(a.operation for a in strong))[:TOLD]

    def _family(
        self, aspect: Aspect, signal: TraceSignal, id_labels: tuple[str, ...], horizon_s: float
    ) -> AnyFamily:
        """Return the family that compares an aspect, making it when it is new."""
        labels = labels_of(aspect, id_labels)
        key = (aspect, labels, horizon_s)
        if key not in self._families:
            self._families[key] = family_of(aspect, signal, labels, self._tick_s, horizon_s)
        return self._families[key]


def _fits(signal: TraceSignal, seen: Seen) -> bool:
    """Tell whether an operation is wanted, and known well enough on the baseline."""
    wanted = not signal.services or service_of(seen.operation) in signal.services
    return wanted and seen.baseline >= signal.min_spans


def _enough(signal: TraceSignal, seen: Seen) -> bool:
    return min(seen.canary, seen.baseline) >= signal.min_spans


def _absence_speaks(signal: TraceSignal, part: _Part, state: _Operation) -> bool:
    """Tell whether a part is about spans that the canary does not have, and the baseline has."""
    return part.aspect is Aspect.REQUESTS and state.seen.baseline >= signal.min_spans
