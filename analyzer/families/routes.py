"""Requests and errors by route, as one batch for all watches: who gets what, and what is worse in it.

Beside the family of the same signal that counts over all routes: what is missing or broken here takes
nothing from that one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from analyzer.evidence import Evidence
from analyzer.families.family import Armed, Family, InstanceId, Member
from analyzer.families.increments import Floats, increments
from analyzer.families.ratio import Pairing
from analyzer.families.rows import limits_of
from analyzer.mix import REST, Mix, RouteShare
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Missing, Query, Series
from analyzer.signal import RatioSignal, Signal
from detectors.findings import Findings
from detectors.route_noise import ROUTES, STRATA, RouteNoise, fit_route_noise
from detectors.routes import PairRoutes, RouteFindings, RouteMix, RouteState

SEPARATOR = "\x1f"
"""Between the routes of a layout; no label value of a route has it."""
NAMED = 2.0
"""Evidence on a route from which it is named beside those that prove it."""

Keys = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of four replies belong; holds for replies with these keys.

    Attributes:
        keys: of the replies. wanted: instances, each with the routes that are told apart for it.
        ids: those of them that are there. pairing: of all events with the bad ones.
        total: the first reply's row of each of the ids.
        cells: of the two replies by route: instance, column and row of what is wanted.
    """

    keys: tuple[Keys, Keys, Keys, Keys]
    wanted: tuple[InstanceId, ...]
    ids: tuple[InstanceId, ...]
    pairing: Pairing
    total: NDArray[np.intp]
    cells: tuple[NDArray[np.intp], NDArray[np.intp]]

    @classmethod
    def of(cls, keys: tuple[Keys, Keys, Keys, Keys], wanted: tuple[InstanceId, ...]) -> "Layout":
        """Read the keys."""
        place = {key: i for i, key in enumerate(keys[0])}
        ids = tuple(id_ for id_ in wanted if id_[:-1] in place)
        by_route = [{key: i for i, key in enumerate(each)} for each in keys[2:]]
        found: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
        for i, id_ in enumerate(ids):
            for column, route in enumerate(id_[-1].split(SEPARATOR)):
                for cells, rows in zip(found, by_route, strict=True):
                    row = rows.get((*id_[:-1], route))
                    if row is not None:
                        cells.append((i, column, row))
        first, second = (np.array(c, dtype=np.intp).reshape(-1, 3) for c in found)
        total = np.array([place[id_[:-1]] for id_ in ids], dtype=np.intp)
        return cls(keys, wanted, ids, Pairing.of(keys[0], keys[1]), total, (first, second))

    def again(
        self, keys: tuple[Keys, Keys, Keys, Keys], wanted: tuple[InstanceId, ...]
    ) -> "Layout":
        """Return the layout of these keys: this one for as long as they are the same."""
        same = (keys, wanted) == (self.keys, self.wanted)
        return self if same else Layout.of(keys, wanted)


class RouteFamily(Family[RouteNoise, RouteState]):
    """Watches that read the same two counters by the same label.

    Args:
        signal: any of the signals of this family; only what it reads is used.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points. horizon_s: how long a watch lasts at most.

    Raises:
        ValueError: the signal names no label.
    """

    TOTAL: ClassVar = 0
    BAD: ClassVar = 1
    BY_ROUTE: ClassVar = 2
    """Columns: all events, the bad ones, then all events and the bad ones of each route."""

    def __init__(
        self, signal: RatioSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        if signal.route is None:
            raise ValueError(f"{signal.name} names no label of routes")
        super().__init__(id_labels, tick_s)
        self._label = signal.route
        by_route = (*id_labels, signal.route)
        self._queries = (
            Query(signal.total, id_labels),
            Query(signal.bad, id_labels),
            Query(signal.total, by_route),
            Query(signal.bad, by_route),
        )
        self._detector = RouteMix(tick_s=tick_s, horizon_s=horizon_s)
        self._layout = Layout.of(((), (), (), ()), ())
        self._given: dict[str, Roster] = {}
        self._wanted: tuple[InstanceId, ...] | None = None
        self._found: RouteFindings | None = None

    def selectors(self) -> tuple[Query, ...]:
        """Return the queries of all events and of the bad ones, then of both by route."""
        return self._queries

    def _restricted(
        self, members: Iterable[Member[RouteNoise]], sides: frozenset[Side]
    ) -> list[Query]:
        """Ask for the routes that are told apart, and for no others: there may be any number."""
        every = list(members)
        queries = super()._restricted(every, sides)
        only = (self._label, frozenset(r for m in every for r in _routes(m.signal)))
        return [
            replace(q, restrict=(*q.restrict, only)) if self._label in q.by else q for q in queries
        ]

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of who counts; an instance is known here by its watch's routes, too."""
        if self._given.get(watch_id) is not roster:
            self._given[watch_id] = roster
            layout = SEPARATOR.join(_routes(self.member(watch_id).signal))
            stays = tuple(replace(stay, id=(*stay.id, layout)) for stay in roster.stays)
            super().enrol(watch_id, Roster(stays))

    def leave(self, *watch_ids: str) -> None:
        """Forget watches."""
        for watch_id in watch_ids:
            self._given.pop(watch_id, None)
        super().leave(*watch_ids)

    def _changed(self) -> None:
        super()._changed()
        self._wanted = None

    def _engaged(self) -> None:
        super()._engaged()
        self._found = None

    def _counters(self) -> int:
        return self.BY_ROUTE + 2 * ROUTES

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, columns, times); a route's columns are NaN where it is absent."""
        if self._wanted is None:
            ids = (s.id for m in self._members for s in m.roster.stays)
            self._wanted = tuple(dict.fromkeys(ids))
        total, bad, *by_route = replies
        keys = (total.keys, bad.keys, by_route[0].keys, by_route[1].keys)
        layout = self._layout = self._layout.again(keys, self._wanted)
        _, both = layout.pairing.stacked(total, bad)
        values = np.full((len(layout.ids), self._counters(), total.grid.count), np.nan)
        values[:, : self.BY_ROUTE] = both[layout.total]
        for i, (cells, series) in enumerate(zip(layout.cells, by_route, strict=True)):
            instance, column, row = cells.T
            values[instance, self.BY_ROUTE + 2 * column + i] = series.values[row]
        return layout.ids, values

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return increments; a route that was never asked for has counted nothing yet."""
        return increments(_filled(values, carry), carry)

    def _fit(self, member: Member[RouteNoise], gained: Floats) -> Armed[RouteNoise] | Missing:
        del member
        events, exposure = _strata(np.moveaxis(gained, (2, 1), (0, 2)))
        return Armed(self.past_until, fit_route_noise(events, exposure))

    def _start(self, member: Member[RouteNoise], armed: Armed[RouteNoise]) -> RouteState:
        signal = member.signal
        if not isinstance(signal, RatioSignal):
            raise TypeError(f"{signal.name} is not a ratio")
        limits = limits_of(
            member.policy, signal, self.tick_s, floor=signal.floor, harm_rate=signal.harm_rate
        )
        used = np.arange(STRATA) < len(_routes(signal))
        used[-1] = True
        threshold = 1.0 / member.policy.alpha
        noise = armed.noise
        return self._detector.start(noise, limits, 1.0, 1.0, used=used[None], threshold=threshold)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        events, exposure = _strata(sums)
        pair = PairRoutes(
            canary_events=events[:, 0],
            baseline_events=events[:, 1],
            canary_exposure=exposure[:, 0],
            baseline_exposure=exposure[:, 1],
            canary_pods=pods[:, 0],
            baseline_pods=pods[:, 1],
        )
        self._state = self._detector.update(self._state, pair, live)

    def _examine(self, state: RouteState) -> Findings:
        self._found = self._detector.findings(state)
        return self._found

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., self.TOTAL]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the shares of bad events over all routes."""
        total, bad = sums[:, self.TOTAL], sums[:, self.BAD]
        share: Floats = np.minimum(1.0, bad / np.where(total > 0, total, np.nan))
        return share

    def mixes(self) -> dict[str, Mix]:
        """Return what is known of the watches whose requests may differ, by watch."""
        evidence = self.evidence()
        if self._state is None:
            return {}
        found = self._found or self._detector.findings(self._state)
        return {
            self._order[row].watch_id: self._mix(row, found, evidence)
            for row in np.flatnonzero(found.suspected).tolist()
        }

    def _mix(self, row: int, found: RouteFindings, evidence: dict[str, Evidence]) -> Mix:
        member = self._order[row]
        names = (*_routes(member.signal), *[""] * ROUTES)[:ROUTES]
        every = [
            RouteShare(name, canary, baseline, e_value)
            for name, canary, baseline, e_value in zip(
                (*names, REST),
                *found.shares[row].tolist(),
                found.route_e[row].tolist(),
                strict=True,
            )
        ]
        strong = sorted((r for r in every if r.e_value >= NAMED), key=lambda r: -r.e_value)
        return Mix(
            bool(found.differs[row]),
            float(found.mix_e[row]),
            float(found.distance[row]),
            float(found.covered[row]),
            tuple(strong),
            evidence[member.watch_id],
        )

    def join(
        self,
        watch_id: str,
        signal: Signal,
        policy: Policy,
        armed: Armed[RouteNoise] | None = None,
    ) -> None:
        """Add a watch, as in ``Membership``.

        Raises:
            ValueError: the signal tells no routes apart, or too many.
        """
        if not 0 < len(_routes(signal)) <= ROUTES:
            raise ValueError(f"{signal.name} must tell 1 to {ROUTES} routes apart")
        super().join(watch_id, signal, policy, armed)


def _routes(signal: Signal) -> tuple[str, ...]:
    return signal.routes if isinstance(signal, RatioSignal) else ()


def _filled(values: Floats, carry: Floats) -> Floats:
    """Return counters in which a route that was not asked for since the start stands at 0.

    A route that was there and is not any more, or that fell while the process went on, is a broken
    answer: the scrape does not count, and arrives merged into the next good one.

    Args:
        values: (instances, columns, times), the first column telling of restarts.
        carry: (instances, columns), the last values known before.
    """
    times = values.shape[2]
    at = np.arange(times)
    whole = np.concatenate([carry[:, :1], values[:, 0]], axis=1)
    newest = np.maximum.accumulate(np.where(np.isfinite(whole), np.arange(times + 1), -1), axis=1)
    before = np.take_along_axis(whole, np.maximum(newest[:, :-1], 0), axis=1)
    with np.errstate(invalid="ignore"):
        restarted = (values[:, 0] < before) & (newest[:, :-1] >= 0)
    began = np.maximum.accumulate(np.where(restarted, at, -1), axis=1)[:, None]
    there = np.isfinite(values)
    seen = np.maximum.accumulate(np.where(there, at, -2), axis=2)
    with np.errstate(invalid="ignore"):
        seen = np.where((seen < 0) & (carry > 0)[..., None], -1, seen)
    filled = np.where(~there & (seen < began) & there[:, :1], 0.0, values)
    # within one life of a process no counter falls; lives are kept apart by steps beyond any value
    step = max(1.0, float(np.nanmax(np.where(there, values, 0.0), initial=0.0)))
    step = 1.0 + max(step, float(np.nanmax(np.where(np.isfinite(carry), carry, 0.0), initial=0.0)))
    life = np.cumsum(restarted, axis=1)[:, None] * step
    lifted = np.where(np.isfinite(filled), filled + life, -np.inf)
    first = np.where(np.isfinite(carry), carry, -np.inf)[..., None]
    highest = np.maximum.accumulate(np.concatenate([first, lifted], axis=2), axis=2)[..., :-1]
    fell = lifted < highest
    fell[:, 0] = False
    return np.where(fell & np.isfinite(filled), np.nan, filled)


def _strata(sums: Floats) -> tuple[Floats, Floats]:
    """Return bad events and all events by route, (..., 11), the rest last.

    Counters of one scrape are not read at one instant, so that the routes may be ahead of the sum
    by an event: the rest is never negative, and no route has more bad events than events.
    """
    total, bad = sums[..., RouteFamily.TOTAL], sums[..., RouteFamily.BAD]
    by_route = sums[..., RouteFamily.BY_ROUTE :: 2]
    failed = np.minimum(sums[..., RouteFamily.BY_ROUTE + 1 :: 2], by_route)
    rest = np.maximum(total - by_route.sum(axis=-1), 0.0)
    rest_failed = np.clip(bad - failed.sum(axis=-1), 0.0, rest)
    exposure = np.concatenate([by_route, rest[..., None]], axis=-1)
    return np.concatenate([failed, rest_failed[..., None]], axis=-1), exposure
