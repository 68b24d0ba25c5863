"""Bad events out of all events, now and in another stretch of the same workload's time.

Nothing cancels here: what befalls the whole cluster befalls only the present. So the intervals are
longer, the service's own movement over time counts as noise, most of the newest intervals must be
bad themselves, and what is over accuses nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, floor, inf

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, InstanceId, Member
from analyzer.families.histogram import Layout
from analyzer.families.increments import Floats
from analyzer.families.interval import interval_limits, interval_noise
from analyzer.families.ratio import CountedFamily, Pairing
from analyzer.families.rows import limits_of
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Grid, Missing, Query, Series, restricted_to
from analyzer.signal import PastSignal
from detectors.count_noise import CountNoise
from detectors.event_shift import EventShift, EventShiftState
from detectors.findings import Findings

INTERVAL_S = 60.0
"""Length of an interval: long enough to average several scrapes, short enough for half an hour."""
BETWEEN_TIMES_TAU = 0.4
"""Persistent differences of rates between two stretches of a healthy service's time: at the same
clock time of other days, or within some hours, ±40 %."""
NEWEST, STILL_BAD = 5, 4
"""Of so many newest intervals, so many must be beyond the margin themselves: a burst, and what is
over, is nothing that going back would mend."""
EARLIER = "earlier"
"""Ends the ids of the other stretch's instances: a StatefulSet's pods keep their names."""


def interval_of(tick_s: float) -> float:
    """Return the length of an interval for a tick: whole ticks, a minute at least."""
    return tick_s * ceil(INTERVAL_S / tick_s)


class PastFamily(CountedFamily[EventShiftState]):
    """Watches that read the same counters, now and so much earlier.

    The canary's stays are of now. The baseline's are moved to now, by what the signal says; their
    samples are asked for at the time before.
    """

    def __init__(
        self, signal: PastSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        super().__init__(signal.total, signal.bad or signal.total, id_labels, interval_of(tick_s))
        self.paired = False
        self._bound = signal.bound
        if signal.bound is None:
            now: tuple[Query, ...] = self._queries
        else:
            now = (Query(signal.total, (*id_labels, "le")),)
        self._asked_for = (*now, *(replace(q, earlier_s=signal.earlier_s) for q in now))
        self._margin = signal.margin
        self._detector = EventShift(tick_s=self.tick_s, horizon_s=horizon_s, paired=False)
        self._rosters: dict[str, Roster] = {}
        self._halves: tuple[Sequence[InstanceId], Sequence[InstanceId]] = ((), ())
        self._ids: tuple[InstanceId, ...] = ()
        self._layouts = {False: Layout.of(()), True: Layout.of(())}
        self._pairings = {False: Pairing.of((), ()), True: Pairing.of((), ())}

    # Who is asked for, and when

    def selectors(self) -> tuple[Query, ...]:
        """Return the queries of now, then the same of the time before."""
        return self._asked_for

    def due(self, until: float) -> Grid | None:
        """Return the next stretch of whole intervals; see ``Membership.due``."""
        return super().due(floor(until / self.tick_s) * self.tick_s)

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of a roster whose baseline is the stretch before."""
        if self._rosters.get(watch_id) is not roster:
            self._rosters[watch_id] = roster
            super().enrol(watch_id, _marked(roster))

    def leave(self, *watch_ids: str) -> None:
        """Forget watches."""
        for watch_id in watch_ids:
            self._rosters.pop(watch_id, None)
        super().leave(*watch_ids)

    def _restricted(
        self, members: Iterable[Member[CountNoise]], sides: frozenset[Side]
    ) -> list[Query]:
        del sides  # each half is about one side
        stays = [s for m in members for s in m.roster.stays]
        found = []
        for query in self.selectors():
            side = Side.BASELINE if query.earlier_s else Side.CANARY
            ids = {s.id for s in stays if s.side is side}
            found.append(replace(query, restrict=restricted_to(self.id_labels, ids)))
        return found

    # What the samples say

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return both halves' instances, and [all, bad or below the bound] at each time."""
        half = len(replies) // 2
        now, now_values = self._side(replies[:half], earlier=False)
        then, then_values = self._side(replies[half:], earlier=True)
        if self._halves[0] is not now or self._halves[1] is not then:
            self._halves = (now, then)
            self._ids = (*now, *((*id_, EARLIER) for id_ in then))
        return self._ids, np.concatenate([now_values, then_values])

    def _side(
        self, replies: Sequence[Series], *, earlier: bool
    ) -> tuple[Sequence[InstanceId], Floats]:
        if self._bound is None:
            pairing, values = self._pairings[earlier].stacked(*replies)
            self._pairings[earlier] = pairing
            return pairing.totals, values
        (series,) = replies
        layout = self._layouts[earlier]
        if series.keys != layout.keys:
            layout = self._layouts[earlier] = Layout.of(series.keys)
        values = np.full((len(layout.ids), 2, series.grid.count), np.nan)
        for column, bound in ((self.TOTAL, inf), (self.BAD, self._bound)):
            at = layout.bound == bound
            values[layout.instance[at], column] = series.values[layout.row[at]]
        return layout.ids, values

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return increments of all and of bad events; buckets count those below the bound."""
        gained, kept = super()._gain(values, carry)
        if self._bound is not None:
            beyond = gained[:, self.TOTAL] - gained[:, self.BAD]
            gained[:, self.BAD] = np.maximum(beyond, 0.0)
        return gained, kept

    def _remember(self, sums: Floats, pods: Floats, at: float) -> None:
        """Remember one interval; since an action, what runs now is what was restored."""
        acted = (at > self._memory.mark)[:, None]
        shown = sums.copy()
        shown[:, 1] = np.where(acted, sums[:, 0], sums[:, 1])
        seen = np.where(acted, pods[:, :1], pods)
        super()._remember(shown, seen, at)

    def mark(self, watch_id: str, at: float) -> None:
        """Begin to tally what was restored, from the first interval wholly after an action."""
        super().mark(watch_id, at + self.tick_s)

    # What the detector makes of it

    def _fit(self, member: Member[CountNoise], gained: Floats) -> Armed[CountNoise] | Missing:
        """Fit the noise on the earlier stretch's own past, its movement over time included."""
        armed = super()._fit(member, gained)
        if isinstance(armed, Missing):
            return armed
        noise = armed.noise
        if np.isnan(noise.history_rate).all():
            noise = interval_noise(self.tick_s, paired=False)
        # What moves all instances alike cancels beside a baseline, and does not here.
        pods = max(1, len(gained))
        return replace(
            armed,
            noise=replace(
                noise,
                kappa=noise.kappa + pods * noise.kappa_time,
                tau2=np.maximum(noise.tau2, BETWEEN_TIMES_TAU**2),
            ),
        )

    def _start(self, member: Member[CountNoise], armed: Armed[CountNoise]) -> EventShiftState:
        signal = member.signal
        if not isinstance(signal, PastSignal):
            raise TypeError(f"{signal.name} is not of another time")
        limits = limits_of(
            member.policy,
            signal,
            self.tick_s,
            floor=signal.floor,
            harm_rate=signal.harm_rate,
        )
        limits = interval_limits(limits, self.tick_s)
        return self._detector.start(armed.noise, limits, 1.0, 1.0, tail=True)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        pair = self._pair(sums, np.maximum(pods, 1.0))
        self._state = self._detector.update(self._state, pair, live)

    def _examine(self, state: EventShiftState) -> Findings:
        """Ask the detector; harm must still be there, and the time before cannot drift."""
        found = self._detector.findings(state)
        return replace(
            found,
            harmful=found.harmful & self._still_bad(),
            drift_e=np.ones_like(found.drift_e),
        )

    def _still_bad(self) -> NDArray[np.bool_]:
        """Return where most of the newest intervals are beyond the margin themselves."""
        rows = self._seated().member
        newest = self._memory.last(NEWEST)[rows, :, 0]
        before = self._memory.before[rows]
        usual = (before[:, self.BAD] + 0.5) / (before[:, self.TOTAL] + 1.0)
        due = self._margin * usual[:, None] * newest[:, :, self.TOTAL]
        bad = (newest[:, :, self.BAD] >= 1.0) & (newest[:, :, self.BAD] > due)
        enough: NDArray[np.bool_] = bad.sum(axis=1) >= STILL_BAD
        return enough


def _marked(roster: Roster) -> Roster:
    """Return the roster with ids that tell the instances of before from those of now."""
    return Roster(
        tuple(
            replace(stay, id=(*stay.id, EARLIER)) if stay.side is Side.BASELINE else stay
            for stay in roster.stays
        )
    )
