"""Gauges that may grow without end, as one batch for all watches.

What is summed up is how far each instance moved since it was last seen. An instance that comes or
goes so brings no jump of its own, and one whose scrape is missing brings its movement later.
"""

from collections.abc import Sequence
from math import isfinite
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member
from analyzer.families.increments import Floats
from analyzer.families.memory import Edges
from analyzer.families.rows import limits_of
from analyzer.rollout import Side
from analyzer.sample import Grid, Missing, Query, Series
from analyzer.signal import LeakSignal
from detectors.findings import Findings
from detectors.leaks import LeakTrend, LeakTrendState, PairTrends
from detectors.rows import Index
from detectors.trend_noise import TrendNoise, fit_trend_noise, with_startup


class LeakFamily(Family[TrendNoise, LeakTrendState]):
    """Watches that read the same gauge.

    Where the history holds the start of the baseline's instances, what they gained then is taken
    off the canary's at equal age (difference in differences); else the growth of the first
    ``settle_s`` is left out.

    Args:
        signal: any of the signals of this family; only its selector is read.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points. horizon_s: how long a watch lasts at most.
    """

    MOVED: ClassVar = 0
    KNOWN: ClassVar = 1
    FRESH: ClassVar = 2
    LEVEL: ClassVar = 3
    """Columns: movement, whether an instance was ever seen, whether it was now, and its level."""

    def __init__(
        self, signal: LeakSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        self._starts: tuple[Floats, Floats] | None = None  # made anew when members change
        super().__init__(id_labels, tick_s)
        self._queries = (Query(signal.values, id_labels),)
        self._detector = LeakTrend(tick_s=tick_s, horizon_s=horizon_s)
        self._ids: tuple[InstanceId, ...] = ()
        self._startup: Floats = np.zeros(
            0
        )  # of this tick: what each member's canaries gain so young

    def selectors(self) -> tuple[Query, ...]:
        """Return the query of the gauge."""
        return self._queries

    def _counters(self) -> int:
        return 4

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, four times the value, times); NaN where there is none."""
        (series,) = replies
        if series.keys != self._ids:
            self._ids = series.keys
        usable = np.isfinite(series.values) & (series.values >= 0)
        values = np.where(usable, series.values, np.nan)
        return self._ids, np.repeat(values[:, None], self._counters(), axis=1)

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return movements since each instance was last seen, and the last levels."""
        level = np.concatenate([carry[:, :1], values[:, 0]], axis=1)
        seen = np.isfinite(level)
        newest = np.maximum.accumulate(np.where(seen, np.arange(level.shape[1]), -1), axis=1)
        held = np.take_along_axis(level, np.maximum(newest, 0), axis=1)
        known, fresh = newest[:, 1:] >= 0, seen[:, 1:]
        moved = np.where(newest[:, :-1] >= 0, held[:, 1:] - held[:, :-1], 0.0)
        columns = (moved, known, fresh, np.where(fresh, level[:, 1:], 0.0))
        gained = np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)
        kept = np.repeat(held[:, [-1]], self._counters(), axis=1)
        return np.where(known[:, None], gained, np.nan), kept

    def _past(
        self, member: Member[TrendNoise], place: dict[InstanceId, int], stacked: Floats, grid: Grid
    ) -> Floats:
        """Return the baseline's levels and ages of the past, (pods, [level, ticks], times)."""
        stays = [s for s in member.roster.stays if s.side is Side.BASELINE and s.id in place]
        past = np.full((len(stays), 2, grid.count), np.nan)
        for i, stay in enumerate(stays):
            inside = (stay.since <= grid.times) & (grid.times <= stay.until)
            past[i, 0] = np.where(inside, stacked[place[stay.id], 0], np.nan)
            if isfinite(stay.since):
                past[i, 1] = np.floor((grid.times - stay.since) / self.tick_s)
        return past

    def _fit(self, member: Member[TrendNoise], gained: Floats) -> Armed[TrendNoise] | Missing:
        del member
        noise = fit_trend_noise(gained[:, 0].T, self.tick_s)
        return Armed(self.past_until, with_startup(noise, gained[:, 0], gained[:, 1], self.tick_s))

    def _start(self, member: Member[TrendNoise], armed: Armed[TrendNoise]) -> LeakTrendState:
        signal = member.signal
        if not isinstance(signal, LeakSignal):
            raise TypeError(f"{signal.name} is not a leak")
        limits = limits_of(member.policy, signal, self.tick_s, floor=np.nan, harm_rate=np.nan)
        unknown = not armed.noise.startup_pods[0] > 0
        settle = np.ceil(signal.settle_s / self.tick_s) if unknown else 0.0
        return self._detector.start(armed.noise, limits, 1.0, 1.0, settle)

    def _tick(self, gained: Floats, at: float, edges: Edges) -> None:
        """Work out what instances so young usually gain, then fold the grid point in."""
        curves, lengths = self._known_starts()
        owner = edges.cell // 2
        age = np.floor((at - edges.since) / self.tick_s) - 1.0
        young = (edges.since <= at - self.tick_s) & (at <= edges.until) & (edges.cell % 2 == 0)
        young &= (gained[edges.instance, self.KNOWN] > 0) & (age < lengths[owner])
        usual = curves[owner[young], age[young].astype(np.int64)]
        whole = np.bincount(owner[young], usual, len(self._members))
        self._startup = np.asarray(whole, dtype=np.float64)
        super()._tick(gained, at, edges)

    def _known_starts(self) -> tuple[Floats, Floats]:
        """Return what members' instances gain while young, (members, ticks), and how long."""
        if self._starts is None:
            known = [m.armed.noise.startup[0] if m.armed else np.zeros(0) for m in self._members]
            lengths = np.array([len(curve) for curve in known], dtype=np.float64)
            curves = np.zeros((len(known), max(map(len, known), default=0)))
            for curve, row in zip(known, curves, strict=True):
                row[: len(curve)] = curve
            self._starts = curves, lengths
        return self._starts

    def _engaged(self) -> None:
        super()._engaged()
        self._starts = None

    def _remember(self, sums: Floats, pods: Floats, at: float) -> None:
        """Count an instance as present only when it was scraped now."""
        super()._remember(sums, np.where(sums[:, :, self.FRESH] > 0, pods, 0.0), at)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        rows = self._seated().member
        level = np.array([m.armed.noise.level[0] if m.armed else 1.0 for m in self._order])
        with np.errstate(invalid="ignore"):
            mean = sums[:, :, self.MOVED] / np.where(pods > 0, pods, np.nan) / level[:, None]
            mean[:, 0] -= self._startup[rows] / pods[:, 0]
        fresh = np.where(sums[:, :, self.FRESH] > 0, pods, 0.0)
        pair = PairTrends(mean[:, 0] - mean[:, 1], fresh[:, 0], fresh[:, 1])
        self._state = self._detector.update(self._state, pair, live)

    def _examine(self, state: LeakTrendState) -> Findings:
        return self._detector.findings(state)

    def _completed(self, findings: Findings, rows: Index) -> Findings:
        return self._with_recent(findings, rows)

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., self.FRESH]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the mean levels."""
        count = sums[:, self.FRESH]
        level: Floats = sums[:, self.LEVEL] / np.where(count > 0, count, np.nan)
        return level
