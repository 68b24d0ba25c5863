"""Distributions counted in buckets, as one batch for all watches.

Versions may change their bucket bounds; a watch compares only the bounds that both sides have.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member, Tally
from analyzer.families.increments import Floats, increments
from analyzer.families.memory import Edges
from analyzer.families.rows import limits_of
from analyzer.recovery import HarmCounts, Share
from analyzer.sample import Absence, Missing, Query, Series
from analyzer.signal import HistogramSignal
from detectors.findings import Findings, Weights
from detectors.latency import (
    LatencyNoise,
    LatencyShift,
    LatencyShiftState,
    PairHistograms,
    fit_latency_noise,
)
from detectors.quantiles import log_quantiles

MIN_FINITE_BOUNDS = 2
"""With fewer shared bounds there is no distribution to compare."""
SLOW_SHARE = 0.1
"""Share of requests that counts as slow when recovery is measured: often enough to count soon."""
SHOWN_LEVEL = 0.95
"""The quantile that is shown as the value of the moment."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of a reply belong; holds for every reply with the same keys.

    Attributes:
        keys: of the reply. ids: the instances, in order of their first row.
        row: which rows have a usable bound. instance, bound: whose and which each of them is.
        shared: the bounds of a reply that says that all its instances have them; such a reply needs
            none of the three before.
    """

    keys: tuple[tuple[str, ...], ...]
    ids: tuple[InstanceId, ...]
    row: NDArray[np.intp]
    instance: NDArray[np.intp]
    bound: Floats
    shared: tuple[float, ...] = ()

    @classmethod
    def with_bounds(cls, ids: tuple[InstanceId, ...], bounds: tuple[float, ...]) -> "Layout":
        """Take note of instances that all have the same bounds."""
        none = np.empty(0, dtype=np.intp)
        return cls(ids, ids, none, none, np.array(bounds), bounds)

    def fits(self, series: Series) -> bool:
        """Tell whether a reply has the rows of this layout."""
        same = self.keys is series.keys or self.keys == series.keys
        return same and self.shared == series.bounds

    @classmethod
    def of(cls, keys: tuple[tuple[str, ...], ...]) -> "Layout":
        """Read the keys: labels of an instance, then ``le``."""
        bounds = {text: _bound(text) for text in {key[-1] for key in keys}}
        found = [
            (i, key[:-1], bound)
            for i, key in enumerate(keys)
            if (bound := bounds[key[-1]]) is not None
        ]
        place = {id_: i for i, id_ in enumerate(dict.fromkeys(id_ for _, id_, _ in found))}
        return cls(
            keys,
            tuple(place),
            np.array([i for i, _, _ in found], dtype=np.intp),
            np.array([place[id_] for _, id_, _ in found], dtype=np.intp),
            np.array([bound for _, _, bound in found], dtype=np.float64),
        )

    def bounds_of(self) -> dict[InstanceId, frozenset[float]]:
        """Return the bounds of each instance."""
        if self.shared:
            return dict.fromkeys(self.ids, frozenset(self.shared))
        found: dict[InstanceId, set[float]] = {id_: set() for id_ in self.ids}
        for i, bound in zip(self.instance.tolist(), self.bound.tolist(), strict=True):
            found[self.ids[i]].add(bound)
        # most instances have the same bounds: one object for all of them is quick to compare
        shared: dict[frozenset[float], frozenset[float]] = {}
        sets = ((id_, frozenset(bounds)) for id_, bounds in found.items())
        return {id_: shared.setdefault(bounds, bounds) for id_, bounds in sets}


class HistogramFamily(Family[LatencyNoise, LatencyShiftState]):
    """Watches that read the same bucket counters.

    Args:
        signal: any of the signals of this family; only its selector is read.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points.
        horizon_s: how long a watch lasts at most.
    """

    def __init__(
        self, signal: HistogramSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        self._bounds: tuple[float, ...] = (np.inf,)  # every bound seen, increasing
        self._laid: tuple[float, ...] = self._bounds  # the bounds that the arrays are laid out by
        self._layout = Layout.of(())
        self._bounds_of: dict[InstanceId, frozenset[float]] = {}
        self._compared: NDArray[np.bool_] | None = None
        self._columns: NDArray[np.intp] | None = None
        super().__init__(id_labels, tick_s)
        self._queries = (Query(signal.buckets, (*id_labels, "le")),)
        self._detector = LatencyShift(tick_s=tick_s, horizon_s=horizon_s)

    def selectors(self) -> tuple[Query, ...]:
        """Return the query of all buckets."""
        return self._queries

    def _counters(self) -> int:
        return len(self._bounds)

    def _engaged(self) -> None:
        super()._engaged()
        self._compared = self._columns = None

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, cumulative counts by bound, times); NaN where a bound is missing."""
        (series,) = replies
        if not self._layout.fits(series):
            self._lay_out(series)
        layout = self._layout
        if layout.shared:
            return layout.ids, self._spread(series)
        column = np.searchsorted(self._bounds, layout.bound)
        stacked = np.full((len(layout.ids), len(self._bounds), series.grid.count), np.nan)
        stacked[layout.instance, column] = series.values[layout.row]
        return layout.ids, stacked

    def _spread(self, series: Series) -> Floats:
        """Return the counts of a reply whose instances all have the same bounds, by our bounds."""
        counts = series.values.reshape(len(series.keys), len(series.bounds), series.grid.count)
        if series.bounds == self._bounds:
            return counts
        stacked = np.full((len(counts), len(self._bounds), series.grid.count), np.nan)
        stacked[:, np.searchsorted(self._bounds, series.bounds)] = counts
        return stacked

    def _lay_out(self, series: Series) -> None:
        """Take note of the bounds that a reply with new keys has."""
        if series.bounds:
            self._layout = Layout.with_bounds(series.keys, series.bounds)
        else:
            self._layout = Layout.of(series.keys)
        self._bounds_of |= self._layout.bounds_of()
        self._learn(self._layout.bound.tolist())

    def _learn(self, bounds: Iterable[float]) -> None:
        self._bounds = tuple(sorted({*self._bounds, *bounds}))
        self._compared = self._columns = None

    def _widen(self) -> None:
        """Lay the arrays out by the bounds known now."""
        if self._laid == self._bounds:
            return
        column = [self._bounds.index(bound) for bound in self._laid]
        width = len(self._bounds)
        carry = np.full((self._carry.shape[0], width), np.nan)
        if self._carry.shape[1] == len(column):
            carry[:, column] = self._carry
        self._carry = carry
        self._memory.widen(column, width)
        self._laid = self._bounds

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Difference instances that share a layout together: a bound they lack is not missing."""
        there = np.isfinite(values).any(axis=2) | np.isfinite(carry)
        if there.all():
            return increments(values, carry)
        gained, kept = np.full(values.shape, np.nan), carry.copy()
        for layout in {row.tobytes(): row for row in there}.values():
            rows = np.flatnonzero((there == layout).all(axis=1))
            columns = np.flatnonzero(layout)
            if not len(columns):
                continue
            block = np.ix_(rows, columns)
            gained[block], kept[block] = increments(values[block], carry[block])
        return gained, kept

    def _comparable(self, edges: Edges) -> NDArray[np.bool_]:
        """Leave out instances that lack a bound of the comparison they belong to."""
        if self._compared is None:
            armed = [None if m.armed is None else m.armed.bounds for m in self._members]
            known = [self._bounds_of.get(name, frozenset()) for name in self._index]
            pairs = list(zip(edges.instance.tolist(), edges.cell.tolist(), strict=True))
            # most instances have the same bounds, and most comparisons compare the same
            kinds = {(known[i], armed[cell // 2]) for i, cell in pairs}
            good = {(k, a): a is None or k.issuperset(a) for k, a in kinds}
            self._compared = np.array(
                [good[known[i], armed[cell // 2]] for i, cell in pairs], dtype=np.bool_
            )
        return self._compared

    def _fit(self, member: Member[LatencyNoise], gained: Floats) -> Armed[LatencyNoise] | Missing:
        bounds = self._shared_bounds(member)
        if len(bounds) <= MIN_FINITE_BOUNDS:
            return Missing(Absence.INVALID, "canary and baseline share no usable bucket bounds")
        cumulative = gained[:, [self._bounds.index(b) for b in bounds]]
        counts = _buckets(np.moveaxis(cumulative, 2, 0))
        noise = fit_latency_noise(counts, np.array(bounds))
        return Armed(self.past_until, noise, bounds)

    def _shared_bounds(self, member: Member[LatencyNoise]) -> tuple[float, ...]:
        known = (self._bounds_of.get(s.id, frozenset()) for s in member.roster.stays)
        layouts = [bounds for bounds in known if bounds]
        shared = frozenset.intersection(*layouts) if layouts else frozenset()
        return tuple(sorted(shared)) if np.inf in shared else ()

    def _start(
        self, member: Member[LatencyNoise], armed: Armed[LatencyNoise]
    ) -> LatencyShiftState:
        limits = limits_of(
            member.policy, member.signal, self.tick_s, floor=np.nan, harm_rate=np.nan
        )
        # after a restart they are known from the journal, maybe before any series is there again
        self._learn(armed.bounds)
        self._widen()
        return self._detector.start(armed.noise, limits, 1.0, 1.0)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        picks = self._picks()
        canary, baseline = (
            _buckets(np.take_along_axis(sums[:, side], picks, axis=1)) for side in (0, 1)
        )
        pair = PairHistograms(
            canary_counts=canary,
            baseline_counts=baseline,
            canary_pods=pods[:, 0],
            baseline_pods=pods[:, 1],
        )
        self._state = self._detector.update(self._state, pair, live, consume=True)

    def _picks(self) -> NDArray[np.intp]:
        """Return where each armed row finds its bounds, padded with the last (rows, most bounds)."""
        if self._columns is None:
            self._columns = self._columns_of([m.armed for m in self._order])
        return self._columns

    def _columns_of(self, armed: Sequence[Armed[LatencyNoise] | None]) -> NDArray[np.intp]:
        """Return the columns of each comparison's bounds; of all bounds where there is none."""
        column = {bound: i for i, bound in enumerate(self._bounds)}
        rows = [[column[b] for b in (a.bounds if a else self._bounds)] for a in armed]
        width = max(map(len, rows), default=0)
        return np.array([r + r[-1:] * (width - len(r)) for r in rows], dtype=np.intp)

    def _examine(self, state: LatencyShiftState) -> Findings:
        return self._detector.findings(state)

    def _weigh(self, state: LatencyShiftState, heed: Floats) -> Weights:
        return self._detector.weigh(state, heed)

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., -1]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the 95 % quantiles in the unit of the bounds."""
        columns = self._columns_of([m.armed for m in self._members])
        # a bound that is there only to fill the row counts as open, like the last
        bounds = np.array(self._bounds)[columns]
        counts = _buckets(np.take_along_axis(sums, columns, axis=1))
        quantiles, _ = log_quantiles(counts, bounds, np.array([SHOWN_LEVEL]))
        return np.where(counts.sum(axis=1) > 0, np.exp(quantiles[:, 0]), np.nan)

    def excess(self, watch_id: str) -> float:
        """Return how much larger the canary's share of slow requests is, beyond chance.

        The largest difference over all bounds that are compared, less two standard errors; NaN
        when nothing is compared. When a part of the canary's requests are other ones, that alone
        makes no share of its requests differ by more than this part.
        """
        i, member = self._place(watch_id)
        columns = self._columns_of([member.armed])[0] if member.armed else []
        canary, baseline = (
            sums[i][columns] for sums in (self._memory.canary, self._memory.before)
        )
        if not len(columns) or not min(canary[-1], baseline[-1]) > 0:
            return float("nan")
        slower = baseline / baseline[-1] - canary / canary[-1]
        doubt = np.sqrt(1.0 / canary[-1] + 1.0 / baseline[-1])  # twice sqrt(p(1-p)/n) at p = 1/2
        return float(slower.max() - doubt)

    def harm_counts(self, tally: Tally[LatencyNoise]) -> HarmCounts:
        """Return slow requests: above the bound nearest to the baseline's 90 % quantile."""
        before = tally.before
        slow = 1.0 - before[:-1] / max(before[-1], 1.0)
        usable = np.isfinite(np.array(self._bounds[:-1])) & (slow > 0)
        distance = np.abs(np.log(np.where(usable, slow, np.nan) / SLOW_SHARE))
        column = int(np.nanargmin(distance)) if usable.any() else 0
        return HarmCounts(
            *(Share(s[-1] - s[column], s[-1]) for s in (tally.canary, before, tally.after))
        )


def _bound(text: str) -> float | None:
    """Return a bucket's upper bound, or None for nonsense."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if np.isnan(bound) else bound


def _buckets(cumulative: Floats) -> Floats:
    """Return counts per bucket from cumulative ones along the last axis, never below 0.

    Buckets of one scrape are not read at one instant, so a lower bound may be ahead by an event.
    """
    return np.maximum(np.diff(cumulative, axis=-1, prepend=0.0), 0.0)
