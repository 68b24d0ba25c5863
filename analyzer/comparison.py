"""All comparisons of all watches: which family reads what, and what is known of each watch."""

from collections.abc import Iterator, Mapping, Sequence
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
from analyzer.families.routes import RouteFamily
from analyzer.mix import Mix, told_apart, weighed
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
BY_ROUTE = "/routes"
"""Added to a signal's name for what its comparison by route was started with; no name has a slash."""


class Comparison:
    """Keeps the families and hands each watch its evidence. No I/O.

    Args:
        tick_s: distance of grid points in seconds.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._families: dict[object, AnyFamily] = {}
        self._of: dict[str, dict[str, AnyFamily]] = {}
        self._by_route: dict[str, dict[str, RouteFamily]] = {}
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
            if policy.request_mix and isinstance(signal, RatioSignal) and told_apart(signal):
                self._tell_apart(watch_id, signal, policy, id_labels, began)

    def _tell_apart(
        self,
        watch_id: str,
        signal: RatioSignal,
        policy: Policy,
        id_labels: tuple[str, ...],
        began: Mapping[str, Armed[Any]],
    ) -> None:
        """Begin to compare a watch's requests by route, too."""
        labels, horizon_s = signal.id_labels or id_labels, policy.horizon_s
        read = (signal.total, signal.bad, signal.route)
        key = ("routes", signal.name, read, labels, horizon_s)
        family = self._families.get(key) or RouteFamily(signal, labels, self._tick_s, horizon_s)
        if not isinstance(family, RouteFamily):
            raise TypeError(f"{key} is no family of routes")
        self._families[key] = family
        family.join(watch_id, signal, policy, began.get(signal.name + BY_ROUTE))
        self._by_route.setdefault(watch_id, {})[signal.name] = family

    def _every(self, watch_id: str) -> Iterator[AnyFamily]:
        """Yield every family that a watch's series signals are in."""
        yield from self._of.get(watch_id, {}).values()
        yield from self._by_route.get(watch_id, {}).values()

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances of a watch count, and when."""
        for family in self._every(watch_id):
            family.enrol(watch_id, roster)
        self.traces.enrol(watch_id, roster)

    def leave(self, watch_id: str) -> None:
        """Forget a watch."""
        for family in self._every(watch_id):
            family.leave(watch_id)
        self._of.pop(watch_id, None)
        self._by_route.pop(watch_id, None)
        self.traces.leave(watch_id)
        self._families = {key: f for key, f in self._families.items() if f.members}

    def evidence(self) -> dict[str, dict[str, Evidence]]:
        """Return the evidence of every watch, by signal."""
        gathered = {id(family): family.evidence() for family in self._families.values()}
        traced = self.traces.evidence()
        every = {
            watch_id: {name: gathered[id(family)][watch_id] for name, family in of.items()}
            | traced.get(watch_id, {})
            for watch_id, of in self._of.items()
        }
        return every | {
            watch_id: self._weighed(watch_id, every[watch_id], mixes)
            for watch_id, mixes in self._mixes().items()
        }

    def _mixes(self) -> dict[str, dict[str, Mix]]:
        """Return what is known of the watches whose requests may differ, by watch and signal."""
        families = {id(f): f for of in self._by_route.values() for f in of.values()}
        told = {key: family.mixes() for key, family in families.items()}
        found = {
            watch_id: {n: told[id(f)][watch_id] for n, f in of.items() if watch_id in told[id(f)]}
            for watch_id, of in self._by_route.items()
        }
        return {watch_id: mixes for watch_id, mixes in found.items() if mixes}

    def _weighed(
        self, watch_id: str, found: dict[str, Evidence], mixes: dict[str, Mix]
    ) -> dict[str, Evidence]:
        """Return a watch's evidence as far as other requests cannot explain it."""
        of = self._of[watch_id]
        member = next(iter(of.values())).member(watch_id)
        signals = {signal.name: signal for signal in member.policy.signals}

        def excess(name: str) -> float:
            family = of.get(name)
            return family.excess(watch_id) if isinstance(family, HistogramFamily) else nan

        return weighed(signals, found, mixes, excess)

    def armed(self, watch_id: str) -> dict[str, Armed[Any]]:
        """Return what each signal's comparison was started with, as far as it was."""
        members = ((n, f.member(watch_id)) for n, f in self._of.get(watch_id, {}).items())
        by_route = (
            (n + BY_ROUTE, f.member(watch_id)) for n, f in self._by_route.get(watch_id, {}).items()
        )
        every = (*members, *by_route)
        return {name: member.armed for name, member in every if member.armed is not None}

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
        for family in self._every(watch_id):
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
