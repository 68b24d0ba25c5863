"""Bad events out of all events, told interval by interval instead of by counters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, InstanceId, Member
from analyzer.families.increments import Floats
from analyzer.families.ratio import CountedFamily
from analyzer.families.rows import limits_of
from analyzer.sample import Missing, Series
from analyzer.signal import IntervalSignal, Reading
from detectors.count_noise import CountNoise
from detectors.event_shift import EventShift, EventShiftState
from detectors.findings import Findings, Limits

SCRAPE_S = 10.0
SCRAPE_KAPPA = 0.3
"""Variance of an instance's relative rate over time in such an interval, before any history: that
of detectors.md's realistic situations. The detector's own prior, 1, is made for bursts within a
scrape, which the persistence of intervals takes care of."""
LEAST_KAPPA = 0.05
"""The detector's own lower bound: no service is steadier."""
UNPAIRED_TAU = 0.2
"""Persistent differences of error rates between stretches of time of one service, ±20 %: twice
the detector's prior for instances that run at the same time."""
SHORT_S, SHORT_INTERVALS, INTERVALS = 30.0, 3.0, 2.0
"""Below 30 s an interval is but one or two scrapes, and three of them must agree; a longer one
averages several itself, and two are enough."""
MOST_EVENTS = 1e15
"""No interval has more events; what a source says beyond that is broken."""
PARTS_PER_SECOND = 1e6
"""Exposure of one second when events are counted per time: far more than there are events."""


def interval_limits(limits: Limits, tick_s: float) -> Limits:
    """Return the limits with the persistence that intervals of this length ask for."""
    least = SHORT_INTERVALS if tick_s < SHORT_S else INTERVALS
    return replace(limits, persistence=np.maximum(limits.persistence, least))


def interval_noise(tick_s: float, *, paired: bool) -> CountNoise:
    """Return the prior for intervals longer than a scrape.

    κ is a long-run variance per tick, so an interval of n scrapes has an n-th of it.
    """
    noise = CountNoise.prior(1)
    kappa = np.maximum(noise.kappa * SCRAPE_KAPPA * min(1.0, SCRAPE_S / tick_s), LEAST_KAPPA)
    return replace(noise, kappa=kappa) if paired else _unpaired(replace(noise, kappa=kappa))


def _unpaired(noise: CountNoise) -> CountNoise:
    return replace(noise, tau2=np.maximum(noise.tau2, UNPAIRED_TAU**2))


class IntervalFamily(CountedFamily[EventShiftState]):
    """Watches that read the same two series of values per interval.

    Where both sides run at the same time, an interval in which one side has no traffic cannot be
    compared; what the other side counted then is held until both have some, as a missed scrape
    would be. Where they do not, traffic of the same interval means nothing, and all is counted.
    """

    def __init__(
        self, signal: IntervalSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        super().__init__(signal.total or signal.bad, signal.bad, id_labels, tick_s)
        self._detector = EventShift(tick_s=tick_s, horizon_s=horizon_s, paired=signal.paired)
        self._signal = signal
        self.paired = signal.paired
        self._held: dict[str, Floats] = {}

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, [all events, bad events], times); NaN where one is unknown.

        An instance without any series of bad events had none, as with counters; a hole in such a
        series is a hole, for a baseline whose errors are unknown must not look perfect.
        """
        ids, _ = super()._stack(replies)
        whole, harmed = replies
        signal, pairing = self._signal, self._pairing
        counted = signal.bad_reading in (Reading.COUNT, Reading.RATE)
        bad = np.full(whole.values.shape, 0.0 if counted else np.nan)
        bad[pairing.total] = harmed.values[pairing.bad]
        bad[np.abs(bad) > MOST_EVENTS] = np.nan
        counted_total = np.where(np.abs(whole.values) > MOST_EVENTS, np.nan, whole.values)
        total = counted_total * (self.tick_s if signal.total_reading is Reading.RATE else 1.0)
        if signal.total is None:
            total = np.where(np.isfinite(bad), PARTS_PER_SECOND * self.tick_s, np.nan)
        with np.errstate(invalid="ignore"):
            events = bad_events(bad, total, signal.bad_reading, self.tick_s)
        return ids, np.stack([total, events], axis=1)

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return the values as they are: they are increments already."""
        usable = np.all(np.isfinite(values) & (values >= 0), axis=1, keepdims=True)
        return np.where(usable, values, np.nan), carry

    def _fit(self, member: Member[CountNoise], gained: Floats) -> Armed[CountNoise] | Missing:
        """Fit the noise on what history there is; too short a one gives the prior."""
        armed = super()._fit(member, gained)
        if isinstance(armed, Missing):
            return armed
        if np.isnan(armed.noise.history_rate).all():
            return replace(armed, noise=interval_noise(self.tick_s, paired=self._signal.paired))
        return armed if self._signal.paired else replace(armed, noise=_unpaired(armed.noise))

    def _start(self, member: Member[CountNoise], armed: Armed[CountNoise]) -> EventShiftState:
        signal = member.signal
        if not isinstance(signal, IntervalSignal):
            raise TypeError(f"{signal.name} is not told by intervals")
        timed = signal.total is None
        limits = limits_of(
            member.policy,
            signal,
            self.tick_s,
            floor=np.nan if timed else signal.floor,
            harm_rate=np.nan if timed else signal.harm_rate,
        )
        limits = interval_limits(limits, self.tick_s)
        return self._detector.start(armed.noise, limits, 1.0, 1.0, tail=not timed)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        whole = self._comparable_sums(sums, live) if self._signal.paired else sums
        pair = self._pair(whole, np.maximum(pods, 1.0))
        self._state = self._detector.update(self._state, pair, live)

    def _comparable_sums(self, sums: Floats, live: NDArray[np.bool_]) -> Floats:
        """Return sums with what was held; NaN, and held, where only one side has traffic."""
        names = [member.watch_id for member in self._order]
        nothing = np.zeros(sums.shape[1:])
        whole = sums + np.stack([self._held.get(name, nothing) for name in names])
        ready = (whole[:, 0, self.TOTAL] > 0) & (whole[:, 1, self.TOTAL] > 0)
        self._held = {name: whole[i] for i, name in enumerate(names) if live[i] and not ready[i]}
        return np.where(ready[:, None, None], whole, np.nan)

    def _examine(self, state: EventShiftState) -> Findings:
        return self._detector.findings(state)


def bad_events(values: Floats, total: Floats, reading: Reading, tick_s: float) -> Floats:
    """Return how many bad events values stand for, given all events of their intervals."""
    match reading:
        case Reading.COUNT | Reading.LEVEL:
            return values
        case Reading.RATE:
            return values * tick_s
        case Reading.SHARE:
            return np.where(total == 0, 0.0, values * total)
        case Reading.PERCENT:
            return np.where(total == 0, 0.0, values * total / 100.0)
        case Reading.GOOD_SHARE:
            return np.where(total == 0, 0.0, (1.0 - values) * total)
        case Reading.GOOD_PERCENT:
            return np.where(total == 0, 0.0, (1.0 - values / 100.0) * total)
        case _:
            assert_never(reading)
