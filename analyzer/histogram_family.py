"""Distributions counted in buckets, as one batch for all watches.

Versions may change their bucket bounds; a watch compares only the bounds that both sides have.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analyzer.family import Armed, Family, InstanceId, Member, Tally
from analyzer.increments import Floats, increments
from analyzer.memory import Edges
from analyzer.recovery import HarmCounts
from analyzer.rows import limits_of
from analyzer.sample import Absence, Missing, Query, Series
from analyzer.signal import HistogramSignal
from detectors.findings import Findings
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
        self._layouts: dict[InstanceId, frozenset[float]] = {}
        super().__init__(id_labels, tick_s)
        self._queries = (Query(signal.buckets, (*id_labels, "le")),)
        self._detector = LatencyShift(tick_s=tick_s, horizon_s=horizon_s)

    def selectors(self) -> tuple[Query, ...]:
        """Return the query of all buckets."""
        return self._queries

    def _counters(self) -> int:
        return len(self._bounds)

    def _stack(self, replies: Sequence[Series]) -> tuple[list[InstanceId], Floats]:
        """Return (instances, cumulative counts by bound, times); NaN where a bound is missing."""
        (series,) = replies
        found = [
            (key[:-1], bound) for key in series.keys if (bound := _bound(key[-1])) is not None
        ]
        rows = [i for i, key in enumerate(series.keys) if _bound(key[-1]) is not None]
        self._bounds = tuple(sorted({*self._bounds, *(bound for _, bound in found)}))
        column = {bound: i for i, bound in enumerate(self._bounds)}
        place = {id_: i for i, id_ in enumerate(dict.fromkeys(id_ for id_, _ in found))}
        stacked = np.full((len(place), len(self._bounds), series.grid.count), np.nan)
        for row, (id_, bound) in zip(rows, found, strict=True):
            stacked[place[id_], column[bound]] = series.values[row]
        for id_ in place:
            self._layouts[id_] = frozenset()
        for id_, bound in found:
            self._layouts[id_] |= {bound}
        return list(place), stacked

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
        recent = np.zeros((*self._memory.recent.shape[:-1], width))
        recent[..., column] = self._memory.recent
        self._memory.recent = recent
        for name in ("before", "after"):
            sums = np.zeros((len(self._memory.mark), width))
            sums[:, column] = getattr(self._memory, name)
            setattr(self._memory, name, sums)
        self._laid = self._bounds

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Difference instances that share a layout together: a bound they lack is not missing."""
        gained, kept = np.full(values.shape, np.nan), carry.copy()
        there = np.isfinite(values).any(axis=2) | np.isfinite(carry)
        for layout in np.unique(there, axis=0):
            rows = np.flatnonzero((there == layout).all(axis=1))
            columns = np.flatnonzero(layout)
            if not len(columns):
                continue
            block = np.ix_(rows, columns)
            gained[block], kept[block] = increments(values[block], carry[block])
        return gained, kept

    def _comparable(self, edges: Edges) -> NDArray[np.bool_]:
        """Leave out instances that lack a bound of the comparison they belong to."""
        names = list(self._index)
        lacking = np.zeros(len(edges.cell), dtype=np.bool_)
        for i, (instance, cell) in enumerate(zip(edges.instance, edges.cell, strict=True)):
            armed = self._members[cell // 2].armed
            if armed is not None:
                layout = self._layouts.get(names[instance], frozenset())
                lacking[i] = not layout.issuperset(armed.bounds)
        return ~lacking

    def _fit(self, member: Member[LatencyNoise], gained: Floats) -> Armed[LatencyNoise] | Missing:
        bounds = self._shared_bounds(member)
        if len(bounds) <= MIN_FINITE_BOUNDS:
            return Missing(Absence.INVALID, "canary and baseline share no usable bucket bounds")
        cumulative = gained[:, [self._bounds.index(b) for b in bounds]]
        counts = _buckets(np.moveaxis(cumulative, 2, 0))
        noise = fit_latency_noise(counts, np.array(bounds))
        return Armed(self.cursor if self.cursor is not None else 0.0, noise, bounds)

    def _shared_bounds(self, member: Member[LatencyNoise]) -> tuple[float, ...]:
        layouts = [self._layouts[s.id] for s in member.roster.stays if self._layouts.get(s.id)]
        shared = frozenset.intersection(*layouts) if layouts else frozenset()
        return tuple(sorted(shared)) if np.inf in shared else ()

    def _start(
        self, member: Member[LatencyNoise], armed: Armed[LatencyNoise]
    ) -> LatencyShiftState:
        limits = limits_of(
            member.policy, member.signal, self.tick_s, floor=np.nan, harm_rate=np.nan
        )
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
        self._state = self._detector.update(self._state, pair, live)

    def _picks(self) -> NDArray[np.intp]:
        """Return where each armed row finds its bounds, padded with the last (rows, most bounds)."""
        column = {bound: i for i, bound in enumerate(self._bounds)}
        rows = [[column[b] for b in m.armed.bounds] if m.armed else [] for m in self._order]
        width = max(map(len, rows))
        return np.array([r + r[-1:] * (width - len(r)) for r in rows], dtype=np.intp)

    def _examine(self, state: LatencyShiftState) -> Findings:
        return self._detector.findings(state)

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., -1]
        return exposure

    def value(self, member: Member[LatencyNoise], sums: Floats) -> float:
        """Return the 95 % quantile in the unit of the bounds."""
        bounds = member.armed.bounds if member.armed else self._bounds
        counts = _buckets(sums[None, [self._bounds.index(b) for b in bounds]])
        if not counts.sum() > 0:
            return float("nan")
        levels = np.array([SHOWN_LEVEL])
        quantiles, _ = log_quantiles(counts, np.array([bounds]), levels)
        return float(np.exp(quantiles[0, 0]))

    def harm_counts(self, tally: Tally[LatencyNoise]) -> HarmCounts:
        """Return slow requests of the baseline: above the bound nearest to its 90 % quantile."""
        before, after = tally.before, tally.after
        slow = 1.0 - before[:-1] / max(before[-1], 1.0)
        usable = np.isfinite(np.array(self._bounds[:-1])) & (slow > 0)
        distance = np.abs(np.log(np.where(usable, slow, np.nan) / SLOW_SHARE))
        column = int(np.nanargmin(distance)) if usable.any() else 0
        return HarmCounts(
            bad_before=before[-1] - before[column],
            all_before=before[-1],
            bad_after=after[-1] - after[column],
            all_after=after[-1],
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
