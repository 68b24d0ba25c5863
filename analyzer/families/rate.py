"""Events per instance and minute, or per other event, as one batch for all watches."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member, Tally
from analyzer.families.increments import Floats, increments
from analyzer.families.ratio import Pairing
from analyzer.families.rows import limits_of
from analyzer.recovery import HarmCounts, Share
from analyzer.roster import Roster, Stay
from analyzer.sample import Missing, Query, Series
from analyzer.signal import Direction, RateSignal, TrafficSignal
from detectors.counts import CountNoise, CountRatio, CountRatioState, PairCounts, fit_count_noise
from detectors.findings import Findings, Weights
from detectors.rows import Rows
from detectors.sided import Sided

PARTS = 1e6
"""Exposure of one second, or of one event counted against: more than there are events in it, so
that events count as rare and a rate may exceed one."""
MINUTE_S = 60.0


class RateFamily(Family[CountNoise, Rows]):
    """Watches that read the same counter of events.

    Against time, an instance is exposed from one scrape to the next, however long that is. Against
    another counter, an instance that does not have ``events`` had none if a rise is harmful; if a
    fall is, it is not measured, for absence must not look like harm.

    Args:
        signal: any of the signals of this family; only what it reads and its direction are used.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points. horizon_s: how long a watch lasts at most.
    """

    UNDER: ClassVar = 0
    EVENTS: ClassVar = 1
    """Columns: exposure in parts, and events."""

    def __init__(
        self,
        signal: RateSignal | TrafficSignal,
        id_labels: tuple[str, ...],
        tick_s: float,
        horizon_s: float,
    ) -> None:
        super().__init__(id_labels, tick_s)
        counted = signal.events if isinstance(signal, RateSignal) else signal.requests
        self._per = signal.per if isinstance(signal, RateSignal) else None
        first = () if self._per is None else (Query(self._per, id_labels),)
        self._queries = (*first, Query(counted, id_labels))
        self._direction = signal.direction
        self._by_share = isinstance(signal, TrafficSignal)
        self._detector = CountRatio(tick_s=tick_s, horizon_s=horizon_s)
        self._sided: Sided[CountRatioState, PairCounts] = Sided(
            self._detector,
            rise=signal.direction is not Direction.LOWER,
            fall=signal.direction is not Direction.HIGHER,
        )
        self._pairing = Pairing.of((), ())

    def selectors(self) -> tuple[Query, ...]:
        """Return the query of what events are counted against, if anything, and of the events."""
        return self._queries

    def _counters(self) -> int:
        return 2

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, [parts, events], times); NaN where one of them is not known."""
        under, events = replies[0], replies[-1]
        pairing = self._pairing = self._pairing.again(under.keys, events.keys)
        absent = 0.0 if self._direction is Direction.HIGHER else np.nan
        counted = np.full(under.values.shape, absent)
        counted[pairing.total] = events.values[pairing.bad]
        whole = under.values
        if self._per is None:
            whole = np.broadcast_to(under.grid.times, under.values.shape)
        known = np.isfinite(counted) & (counted >= 0) & np.isfinite(whole)
        stacked = np.stack([whole * PARTS, counted], axis=1)
        return pairing.totals, np.where(known[:, None], stacked, np.nan)

    def _counted(self, roster: Roster) -> Sequence[Stay]:
        """Leave no gaps where a rise is harmful: an instance that restarts is not ready meanwhile."""
        return roster.bridged() if self._direction is Direction.HIGHER else roster.stays

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return increments; time does not begin anew when a counter does."""
        if self._per is not None:
            return increments(values, carry)
        parts = [increments(values[:, [i]], carry[:, [i]]) for i in (self.UNDER, self.EVENTS)]
        gained, kept = (np.concatenate(halves, axis=1) for halves in zip(*parts, strict=True))
        return gained, kept

    def _fit(self, member: Member[CountNoise], gained: Floats) -> Armed[CountNoise] | Missing:
        del member
        events, under = gained[:, self.EVENTS].T, gained[:, self.UNDER].T
        noise = fit_count_noise(np.minimum(events, under), under, tail=False)
        return Armed(self.past_until, noise)

    def _start(self, member: Member[CountNoise], armed: Armed[CountNoise]) -> Rows:
        signal = member.signal
        floor = signal.floor if isinstance(signal, RateSignal) else 0.0
        rate = floor / self._shown
        limits = limits_of(
            member.policy,
            signal,
            self.tick_s,
            floor=rate if rate > 0 else np.nan,
            harm_rate=np.nan,
        )
        # a canary that has less is nothing the baseline's past rate could excuse or explain
        falling = replace(armed.noise, history_rate=np.full_like(armed.noise.history_rate, np.nan))
        rising = armed.noise if self._direction is Direction.HIGHER else falling
        unbounded = replace(limits, floor=np.full(1, np.nan))
        return self._sided.start(
            self._detector.start(rising, limits, 1.0, 1.0),
            self._detector.start(falling, unbounded, 1.0, 1.0),
        )

    @property
    def _shown(self) -> float:
        """What a rate per part is multiplied with for people."""
        return PARTS if self._per is not None else PARTS * MINUTE_S

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        under = self._expected(sums[:, :, self.UNDER])
        events = np.minimum(sums[:, :, self.EVENTS], under)
        up, down = (
            PairCounts(
                canary_events=events[:, one],
                baseline_events=events[:, other],
                canary_exposure=under[:, one],
                baseline_exposure=under[:, other],
                canary_pods=pods[:, one],
                baseline_pods=pods[:, other],
            )
            for one, other in ((0, 1), (1, 0))
        )
        self._state = self._sided.update(self._state, up, down, live)

    def _expected(self, under: Floats) -> Floats:
        """Return the exposures (rows, 2), split as configured where a share of traffic is."""
        if not self._by_share:
            return under
        shares = np.array(
            [
                m.signal.share or 0.0 if isinstance(m.signal, TrafficSignal) else 0.0
                for m in self._order
            ]
        )
        split = np.stack([shares, 1.0 - shares], axis=1) * under.sum(axis=1, keepdims=True)
        there = (under > 0).all(axis=1, keepdims=True)
        return np.where((shares > 0)[:, None] & there, split, under)

    def _examine(self, state: Rows) -> Findings:
        found = self._sided.findings(state)
        return replace(
            found,
            canary_value=found.canary_value * self._shown,
            baseline_value=found.baseline_value * self._shown,
        )

    def _weigh(self, state: Rows, heed: Floats) -> Weights:
        if isinstance(state, CountRatioState):  # one direction is harmful
            return self._detector.weigh(state)
        return super()._weigh(state, heed)

    def _exposure(self, sums: Floats) -> Floats:
        """Return what lets a comparison begin: both sides are exposed."""
        exposure: Floats = sums[..., self.UNDER]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the rates in the signal's unit."""
        under = sums[:, self.UNDER]
        rate: Floats = sums[:, self.EVENTS] / np.where(under > 0, under, np.nan) * self._shown
        return rate

    def harm_counts(self, tally: Tally[CountNoise]) -> HarmCounts:
        """Return events and exposure where a rise is harmful; a fall has no bad events."""
        if self._direction is not Direction.HIGHER:
            return HarmCounts(Share(0.0, 0.0), Share(0.0, 0.0), Share(0.0, 0.0))
        return self.event_counts(tally)

    def event_counts(self, tally: Tally[CountNoise]) -> HarmCounts:
        """Return events and exposure, whatever of them is harmful."""
        return HarmCounts(
            *(
                Share(s[self.EVENTS], s[self.UNDER] / self._shown)
                for s in (tally.canary, tally.before, tally.after)
            )
        )
