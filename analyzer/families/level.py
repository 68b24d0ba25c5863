"""Gauges, averages and quantiles told interval by interval, as one batch for all watches."""

from collections.abc import Sequence
from typing import ClassVar, assert_never

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member, Tally
from analyzer.families.increments import Floats
from analyzer.families.interval import interval_limits
from analyzer.families.memory import Edges
from analyzer.families.rows import limits_of
from analyzer.level_recovery import LevelChange, check_level_recovery
from analyzer.policy import Policy
from analyzer.recovery import RecoveryCheck
from analyzer.sample import Missing, Query, Series
from analyzer.signal import Direction, LevelSignal, Reading, Signal
from detectors.findings import Findings
from detectors.level_noise import SCALE_PAIRED, SCALE_UNPAIRED, LevelNoise, Track, spread_of
from detectors.levels import LevelShift, LevelShiftState, PairLevels
from detectors.rows import Index

SHARE_GROUND = 0.01
"""Bad shares well below 1 % are alike on the log scale: without it 0 would be infinitely good."""


class LevelFamily(Family[LevelNoise, LevelShiftState]):
    """Watches that read the same gauge.

    Values are compared on the log scale. Where both sides run at the same time, the canary's mean
    is taken less the baseline's mean of the same interval; where they do not, it is compared with
    the mean of all the baseline has shown so far.
    """

    LOG: ClassVar = 0
    ONE: ClassVar = 1

    def __init__(
        self, signal: LevelSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        super().__init__(id_labels, tick_s)
        self._signal = signal
        self.paired = signal.paired
        self._queries = (Query(signal.values, id_labels),)
        self._detector = LevelShift(tick_s=tick_s, horizon_s=horizon_s)
        self._tracked: Edges | None = None  # the edges that the tracks are laid out by
        self._stays: list[tuple[str, InstanceId]] = []
        self._tracks = Track.empty(0)
        self._baselines = Track.empty(0)  # each member's mean over its baseline, by interval
        self._ids: tuple[InstanceId, ...] = ()

    def join(
        self,
        watch_id: str,
        signal: Signal,
        policy: Policy,
        armed: Armed[LevelNoise] | None = None,
    ) -> None:
        """Add a watch; see ``Family.join``."""
        super().join(watch_id, signal, policy, armed)
        self._baselines = Track.concat([self._baselines, Track.empty(1)])

    def leave(self, *watch_ids: str) -> None:
        """Forget watches."""
        keep = [i for i, m in enumerate(self._members) if m.watch_id not in watch_ids]
        self._baselines = self._baselines.take(np.array(keep, dtype=np.int64))
        super().leave(*watch_ids)

    def _remember(self, sums: Floats, pods: Floats, at: float) -> None:
        super()._remember(sums, pods, at)
        count = sums[:, 1, self.ONE]
        mean = sums[:, 1, self.LOG] / np.maximum(count, 1.0)
        self._baselines = self._baselines.add(mean, np.asarray(count > 0, dtype=np.bool_))

    def selectors(self) -> tuple[Query, ...]:
        """Return the query of the gauge."""
        return self._queries

    def _counters(self) -> int:
        return 2

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, [log value, 1], times); NaN where there is none."""
        (series,) = replies
        if series.keys != self._ids:
            self._ids = series.keys
        logs = log_values(series.values, self._signal)
        return self._ids, np.stack([logs, np.where(np.isnan(logs), np.nan, 1.0)], axis=1)

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return the values as they are."""
        return values, carry

    def _tick(self, gained: Floats, at: float, edges: Edges) -> None:
        """Note what each of the baseline's instances shows, then fold the interval in."""
        self._lay_out(edges)
        value = gained[edges.instance, self.LOG]
        baseline = edges.cell % 2 == 1
        known = (edges.since <= at - self.tick_s) & (at <= edges.until) & np.isfinite(value)
        known &= baseline
        if self._signal.paired:
            value = self._less_common(value, known, edges)
        self._tracks = self._tracks.add(np.where(known, value, 0.0), known)
        super()._tick(gained, at, edges)

    def _less_common(self, value: Floats, known: NDArray[np.bool_], edges: Edges) -> Floats:
        """Take the interval's mean off where a baseline has several instances in it.

        A single instance keeps its own movement, shared shocks included: that is the only hint
        of its noise, and an overestimate.
        """
        cells = 2 * len(self._members)
        count = np.bincount(edges.cell[known], minlength=cells)
        total = np.bincount(edges.cell[known], value[known], cells)
        mean = np.where(count > 1, total / np.maximum(count, 1), 0.0)[edges.cell]
        several = count[edges.cell] > 1
        # m deviations from their own mean have (m-1)/m of the variance
        widen = np.sqrt(count / np.maximum(count - 1, 1))[edges.cell]
        return np.where(several, (value - mean) * widen, value)

    def _lay_out(self, edges: Edges) -> None:
        """Keep the tracks of stays that are still there, in the order of the edges."""
        if edges is self._tracked:
            return
        names = list(self._index)
        stays = [
            (self._members[cell // 2].watch_id, names[instance])
            for instance, cell in zip(edges.instance, edges.cell, strict=True)
        ]
        old = {stay: i for i, stay in enumerate(self._stays)}
        fresh = Track.empty(len(stays))
        pairs = [(i, old[stay]) for i, stay in enumerate(stays) if stay in old]
        ours, theirs = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        fresh.put(ours, self._tracks.take(theirs))
        self._tracks, self._stays, self._tracked = fresh, stays, edges

    def _fit(self, member: Member[LevelNoise], gained: Floats) -> Armed[LevelNoise] | Missing:
        signal = member.signal
        usual = SCALE_PAIRED if self._signal.paired else SCALE_UNPAIRED
        if isinstance(signal, LevelSignal) and signal.spread is not None:
            usual = signal.spread
        noise = LevelNoise.prior(1, scale=usual)
        history = gained[:, self.LOG].T
        if np.isfinite(history).any():
            noise = noise.after(spread_of(history), self.tick_s)
        return Armed(self.past_until, noise)

    def _start(self, member: Member[LevelNoise], armed: Armed[LevelNoise]) -> LevelShiftState:
        signal = member.signal
        if not isinstance(signal, LevelSignal):
            raise TypeError(f"{signal.name} is not a level")
        limits = limits_of(member.policy, signal, self.tick_s, floor=np.nan, harm_rate=np.nan)
        up = {Direction.HIGHER: 1.0, Direction.LOWER: 0.0, Direction.BOTH: 0.5}[signal.direction]
        limits = interval_limits(limits, self.tick_s)
        return self._detector.start(armed.noise, limits, 1.0, 1.0, up=up, down=1.0 - up)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None or self._tracked is None:
            return
        rows = np.array([self._position[m.watch_id] for m in self._order], dtype=np.int64)
        owner = np.where(self._tracked.cell % 2 == 1, self._tracked.cell // 2, len(self._members))
        spread = self._tracks.spread(owner.astype(np.int64), len(self._members) + 1).take(rows)
        with np.errstate(invalid="ignore"):
            mean = sums[:, :, self.LOG] / np.where(pods > 0, pods, np.nan)
        if self._signal.paired:
            canary, reference = mean[:, 0] - mean[:, 1], np.zeros(len(rows))
            points, beside = np.full(len(rows), np.inf), pods[:, 1]
        else:
            canary, points, beside = mean[:, 0], spread.points, spread.instances
            reference = np.where(points > 0, spread.level, np.nan)
        pair = PairLevels(canary, reference, points, pods[:, 0], beside, spread)
        self._state = self._detector.update(self._state, pair, live)

    def _examine(self, state: LevelShiftState) -> Findings:
        return self._detector.findings(state)

    def _completed(self, findings: Findings, rows: Index) -> Findings:
        return self._with_recent(findings, rows)

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., self.ONE]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the geometric means of the levels, or the bad shares."""
        count = sums[:, self.ONE]
        level = np.exp(sums[:, self.LOG] / np.where(count > 0, count, np.nan))
        if self._signal.reading is Reading.LEVEL:
            return np.asarray(level, dtype=np.float64)
        return np.asarray(level - SHARE_GROUND, dtype=np.float64)

    def recovery(self, tally: Tally[LevelNoise]) -> RecoveryCheck:
        """Return whether the restored baseline's level looks as it did."""
        signal, own = tally.member.signal, self._baselines
        if not isinstance(signal, LevelSignal):
            raise TypeError(f"{signal.name} is not a level")
        sums = np.stack([tally.canary, tally.before, tally.after])
        count = sums[:, self.ONE]
        canary, before, after = (sums[:, self.LOG] / np.where(count > 0, count, np.nan)).tolist()
        at = self._position[tally.member.watch_id]
        change = LevelChange(
            canary, before, after, float(own.steps[at]), float(own.pairs[at]), tally.ticks
        )
        _, earlier, now = self.values(sums).tolist()
        return check_level_recovery(signal, change, now, earlier)


def log_values(values: Floats, signal: LevelSignal) -> Floats:
    """Return values on the scale they are compared on; NaN where they mean nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        match signal.reading:
            case Reading.LEVEL | Reading.COUNT | Reading.RATE:
                logs = np.log(np.maximum(values, signal.least) if signal.least > 0 else values)
                logs[values < 0] = np.nan
            case Reading.SHARE:
                logs = _bad_share(values)
            case Reading.PERCENT:
                logs = _bad_share(values / 100.0)
            case Reading.GOOD_SHARE:
                logs = _bad_share(1.0 - values)
            case Reading.GOOD_PERCENT:
                logs = _bad_share(1.0 - values / 100.0)
            case _:
                assert_never(signal.reading)
    return np.where(np.isfinite(logs), logs, np.nan)


def _bad_share(share: Floats) -> Floats:
    """Return log(share + ground); NaN for what is no share at all."""
    return np.where((share >= 0) & (share <= 1), np.log(share + SHARE_GROUND), np.nan)
