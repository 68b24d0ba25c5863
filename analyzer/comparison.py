"""All comparisons of all watches: which family reads what, and what is known of each watch."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, assert_never

from analyzer.evidence import Evidence
from analyzer.families.family import Armed, Family, Member
from analyzer.families.gauge import GaugeFamily
from analyzer.families.histogram import HistogramFamily
from analyzer.families.interval import IntervalFamily
from analyzer.families.leak import LeakFamily
from analyzer.families.level import LevelFamily
from analyzer.families.past import PastFamily
from analyzer.families.rate import RateFamily
from analyzer.families.ratio import RatioFamily
from analyzer.policy import Policy
from analyzer.recovery import SLOW_SHARE_MARGIN, RecoveryCheck, check_recovery, summarise
from analyzer.roster import Roster
from analyzer.signal import (
    GaugeSignal,
    HistogramSignal,
    IntervalSignal,
    LeakSignal,
    LevelSignal,
    PastSignal,
    RateSignal,
    RatioSignal,
    SeriesSignal,
    Tier,
    TraceSignal,
    TrafficSignal,
)
from analyzer.traces.comparison import TraceComparison

AnyFamily = Family[Any, Any]


class Comparison:
    """Keeps the families and hands each watch its evidence. No I/O.

    Args:
        tick_s: distance of grid points in seconds.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._families: dict[object, AnyFamily] = {}
        self._of: dict[str, dict[str, AnyFamily]] = {}
        self.traces = TraceComparison(tick_s)

    @property
    def families(self) -> Sequence[AnyFamily]:
        """Every family that has a watch."""
        own = [family for family in self._families.values() if family.members]
        return [*own, *self.traces.families]

    def join(
        self,
        watch_id: str,
        policy: Policy,
        id_labels: tuple[str, ...],
        armed: Mapping[str, Armed[Any]] | None = None,
    ) -> None:
        """Begin to compare a watch; ``armed`` continues signals that an earlier process began."""
        began = armed or {}
        self._of.setdefault(watch_id, {})
        for signal in policy.signals:
            if isinstance(signal, TraceSignal):
                self.traces.join(watch_id, signal, policy, signal.id_labels or id_labels)
                continue
            family = self._family(signal, signal.id_labels or id_labels, policy.horizon_s)
            family.join(watch_id, signal, policy, began.get(signal.name))
            self._of[watch_id][signal.name] = family

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances of a watch count, and when."""
        for family in self._of.get(watch_id, {}).values():
            family.enrol(watch_id, roster)
        self.traces.enrol(watch_id, roster)

    def leave(self, watch_id: str) -> None:
        """Forget a watch."""
        for family in self._of.pop(watch_id, {}).values():
            family.leave(watch_id)
        self.traces.leave(watch_id)
        self._families = {key: f for key, f in self._families.items() if f.members}

    def evidence(self) -> dict[str, dict[str, Evidence]]:
        """Return the evidence of every watch, by signal."""
        gathered = {id(family): family.evidence() for family in self._families.values()}
        traced = self.traces.evidence()
        return {
            watch_id: {name: gathered[id(family)][watch_id] for name, family in of.items()}
            | traced.get(watch_id, {})
            for watch_id, of in self._of.items()
        }

    def armed(self, watch_id: str) -> dict[str, Armed[Any]]:
        """Return what each signal's comparison was started with, as far as it was."""
        members = ((n, f.member(watch_id)) for n, f in self._of.get(watch_id, {}).items())
        return {name: member.armed for name, member in members if member.armed is not None}

    def recent_values(self, watch_id: str, signal: str) -> tuple[float, float]:
        """Return the canary's and the baseline's value of the moment, NaN when unknown."""
        family = self._of[watch_id].get(signal)
        return (nan, nan) if family is None else family.recent_values(watch_id)

    def newest(self, watch_id: str, signal: str) -> float | None:
        """Return the grid time up to which a signal was folded in."""
        family = self._of[watch_id].get(signal)
        return self.traces.newest(watch_id, signal) if family is None else family.cursor

    def mark(self, watch_id: str, at: float) -> None:
        """Begin to measure the recovery of a watch after an action at this time."""
        for family in self._of.get(watch_id, {}).values():
            family.mark(watch_id, at)
        self.traces.mark(watch_id, at)

    def recovery(self, watch_id: str, *, last_call: bool) -> tuple[bool | None, str]:
        """Return whether the restored baseline looks as it did, and why."""
        checks = [
            self._check(family, watch_id)
            for family in self._of.get(watch_id, {}).values()
            if family.member(watch_id).signal.tier is Tier.CRITICAL
        ]
        checks += self.traces.recovery(watch_id)
        return summarise(checks, last_call=last_call)

    def _check(self, family: AnyFamily, watch_id: str) -> RecoveryCheck:
        tally = family.tally(watch_id)
        if isinstance(family, LevelFamily):
            return family.recovery(tally)
        member: Member[Any] = tally.member
        signal = member.signal
        # the share of slow requests moves by more than latency itself: +10 % makes it about ×1.5
        least = SLOW_SHARE_MARGIN if isinstance(signal, HistogramSignal) else 1.0
        margin = max(signal.margin, least)
        return check_recovery(
            signal.name,
            family.harm_counts(tally),
            tally.ticks,
            margin=margin,
            harm=max(signal.harm, margin),
        )

    def _family(
        self, signal: SeriesSignal, id_labels: tuple[str, ...], horizon_s: float
    ) -> AnyFamily:
        """Return the family that reads this signal's series, making it when it is new."""
        key: object
        made: AnyFamily
        match signal:
            case RatioSignal(total=total, bad=bad):
                key = ("ratio", signal.name, total, bad, id_labels, horizon_s)
                made = RatioFamily(signal, id_labels, self._tick_s, horizon_s)
            case HistogramSignal(buckets=buckets):
                key = ("histogram", signal.name, buckets, id_labels, horizon_s)
                made = HistogramFamily(signal, id_labels, self._tick_s, horizon_s)
            case IntervalSignal():
                key = ("interval", _source_of(signal), id_labels, horizon_s)
                made = IntervalFamily(signal, id_labels, self._tick_s, horizon_s)
            case LevelSignal():
                key = ("level", _source_of(signal), id_labels, horizon_s)
                made = LevelFamily(signal, id_labels, self._tick_s, horizon_s)
            case GaugeSignal():
                key = ("gauge", _source_of(signal), id_labels, horizon_s)
                made = GaugeFamily(signal, id_labels, self._tick_s, horizon_s)
            case LeakSignal(values=values):
                key = ("leak", signal.name, values, id_labels, horizon_s)
                made = LeakFamily(signal, id_labels, self._tick_s, horizon_s)
            case RateSignal() | TrafficSignal():
                key = ("rate", _source_of(signal), id_labels, horizon_s)
                made = RateFamily(signal, id_labels, self._tick_s, horizon_s)
            case PastSignal(total=total, bad=bad, bound=bound):
                what = (signal.name, total, bad, bound, signal.earlier_s)
                key = ("past", what, id_labels, horizon_s)
                made = PastFamily(signal, id_labels, self._tick_s, horizon_s)
            case _:
                assert_never(signal)
        return self._families.setdefault(key, made)


def _source_of(
    signal: IntervalSignal | LevelSignal | GaugeSignal | RateSignal | TrafficSignal,
) -> object:
    """Return what signals of one family must agree on: which series, and how they are read."""
    match signal:
        case IntervalSignal():
            readings = (signal.bad_reading, signal.total_reading)
            return (signal.name, signal.bad, signal.total, readings, signal.paired)
        case LevelSignal():
            return (signal.name, signal.values, signal.reading, signal.least, signal.paired)
        case GaugeSignal():
            read = (signal.values, signal.counter, signal.per, signal.least)
            return (signal.name, signal.direction, read)
        case RateSignal():
            return (signal.name, signal.direction, signal.events, signal.per)
        case TrafficSignal():
            return (signal.name, signal.direction, signal.requests, "traffic")
        case _:
            assert_never(signal)
