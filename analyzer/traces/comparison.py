"""Every operation of every watch, compared by the families of counted signals.

An operation of a watch is a member of these families like a watch is: its instances are the watch's,
with the operation as one more label.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analyzer.evidence import Evidence, Measured
from analyzer.judge import ATTRIBUTED
from analyzer.policy import Policy
from analyzer.recovery import Recovery, RecoveryCheck
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
from analyzer.traces.following import BASELINE, CANARY, SEPARATOR, Following, TraceQuestion
from analyzer.traces.operations import (
    Detail,
    Seen,
    call_of,
)
from analyzer.traces.parts import Operation, Part, Parts
from analyzer.traces.recovery import check_part
from analyzer.traces.shares import (
    SHARE_OF_ASPECT,
    Aspect,
    share_of_known,
    share_of_late,
)
from analyzer.traces.summing import (
    TOLD,
    Asked,
    Every,
    Measure,
    believed,
    strongest,
    sum_up,
    told_only,
)

INTERESTING = 0.01
"""Part of what a signal needs to be named at which the operation's detail is asked for."""
USUAL_CALL = 0.05
"""A call that fewer of the baseline's spans make is not missed."""
MOST_CALLS = 8
"""Calls of an operation that are compared one by one, those of most spans first."""
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


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
        self._following: dict[tuple[str, str], Following] = {}
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
        self._following[key] = Following(watch_id, signal, policy, id_labels, families)

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances of a watch count, and when."""
        for one in self._of_watch(watch_id):
            if one.roster is not roster:
                one.roster = roster
                for state in one.operations.values():
                    self._enrol(one, state.parts)

    def _of_watch(self, watch_id: str) -> list[Following]:
        return [one for (owner, _), one in self._following.items() if owner == watch_id]

    def _enrol(self, one: Following, parts: Iterable[Part]) -> None:
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
            for aspect, family in one.families.items():
                parts = (p for state in one.operations.values() for p in state.parts)
                family.leave(*(p.member for p in parts if p.aspect is aspect))
            del self._following[watch_id, one.signal.name]
        for one in self._following.values():
            one.parts = None  # places have moved
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

        So do their calls, where changed calls are harm.
        What is not decided yet is told of critical signals only: nothing waits for the others.
        """
        checks: list[RecoveryCheck] = []
        for one in self._of_watch(watch_id):
            found = [check_part(part) for part in one.guilty]
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

    def notice(self, question: TraceQuestion, seen: Seen | Missing) -> None:
        """Take note of the operations there are; those that can be compared begin to be."""
        one = self._following.get((question.watch_id, question.signal.name))
        if one is None:
            return
        if isinstance(seen, Missing):
            one.trouble = seen
            return
        one.trouble = None
        one.look(seen)
        fresh = one.fitting(seen)
        first = not one.operations
        for operation in fresh:
            one.late += not first
            share = share_of_known(len(fresh)) if first else share_of_late(one.late)
            self._begin(one, operation, share)
        if fresh:
            one.spans = np.concatenate([one.spans, np.zeros((len(fresh), 3))])
            one.matched = None
            one.look(seen)

    def _begin(self, one: Following, operation: str, share: float) -> None:
        state = one.operations[operation] = Operation(len(one.operations), share)
        member = one.member(operation)
        state.parts = [
            Part(operation, aspect, family, member, operation, share * SHARE_OF_ASPECT[aspect])
            for aspect, family in one.families.items()
            if concerns(aspect, operation)
        ]
        self._admit(one, state.parts)

    def _admit(self, one: Following, parts: Sequence[Part]) -> None:
        """Begin to compare new parts."""
        for part in parts:
            known = part.aspect, part.share
            if known not in one.terms:
                signal = signal_of(part.aspect, one.signal)
                # its threshold is that of its share of α, and a policy of one signal says so
                alpha = one.policy.alpha * one.weight * part.share
                one.terms[known] = signal, replace(one.policy, signals=(signal,), alpha=alpha)
            part.family.join(part.member, *one.terms[known])
            # what adds no more than this is neither counted fully nor looked at closely
            heed = min(1.0, INTERESTING / one.weight / part.share)
            part.family.member(part.member).heed = heed
        self._enrol(one, parts)
        one.parts = None

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
            Part(
                operation,
                Aspect.VANISHED_CALLS,
                family,
                one.member(operation, called),
                call_of(operation, called),
                share / len(kept),
                called,
            )
            for called in kept
        ]
        if parts:
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
        found: dict[str, dict[str, Evidence]] = {}
        for (watch_id, name), one in self._following.items():
            found.setdefault(watch_id, {})[name] = self._sum_up(one)
        return found

    def newest(self, watch_id: str, signal: str) -> float | None:
        """Return the grid time up to which a signal was folded in."""
        families = self._following[watch_id, signal].families.values()
        return max((f.cursor for f in families if f.cursor is not None), default=None)

    def _sum_up(self, one: Following) -> Evidence:
        if one.trouble is not None:
            return one.trouble
        if not one.operations:
            return Missing(Absence.NO_SERIES, "no spans of the baseline's instances yet")
        if one.parts is None:
            one.parts = Parts.of(one.operations)
        parts = one.parts
        weighed = parts.weighed()
        enough = one.enough()[parts.operation] | (
            # what the canary does not have any more speaks by that
            parts.of_requests & (one.spans[parts.operation, BASELINE] >= one.signal.min_spans)
        )
        kept = np.flatnonzero(weighed.known & enough)
        if not len(kept):
            few = Missing(Absence.TOO_FEW, f"fewer than {one.signal.min_spans} spans on a side")
            return parts.first_missing(weighed) or few
        every = believed(parts.every(kept, weighed))
        measure = Measure(one.signal.changed_calls, 1.0 / (one.policy.alpha * one.weight))
        finding = sum_up(every, Asked(one.spans[:, CANARY], parts.entry), measure)
        self._want(one, every)
        return Measured(finding)

    def _want(self, one: Following, every: Every) -> None:
        """Note which operations are worth a closer look, and which are accused."""
        anything = np.ones(len(every.share), dtype=np.bool_)
        worth = strongest(every, anything, INTERESTING / one.weight)
        one.wanted = tuple(dict.fromkeys(a.operation for a in worth))[:TOLD]
        guilty = strongest(every, ~told_only(every, one.signal.changed_calls), ATTRIBUTED)
        parts = {
            (part.operation, part.aspect, part.called): part
            for a in guilty[:TOLD]
            for part in one.operations[a.operation].parts
        }
        one.accused = tuple(parts[a.operation, a.aspect, a.called] for a in guilty[:TOLD])

    def _family(
        self, aspect: Aspect, signal: TraceSignal, id_labels: tuple[str, ...], horizon_s: float
    ) -> AnyFamily:
        """Return the family that compares an aspect, making it when it is new."""
        labels = labels_of(aspect, id_labels)
        key = (aspect, labels, horizon_s)
        if key not in self._families:
            family = family_of(aspect, signal, labels, self._tick_s, horizon_s)
            family.brief = True
            self._families[key] = family
        return self._families[key]
