"""Kinds of errors, or calls, that the baseline has never shown, as a share of all spans.

All new kinds count together. Where there are very many kinds, the baseline shows new ones, too;
that it does so at the same time is what the canary's are compared with (detectors.md 10).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analyzer.families.family import Armed, InstanceId, Member
from analyzer.families.increments import Floats
from analyzer.families.ratio import RatioFamily
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Grid, Query, Reply, Series
from analyzer.signal import RatioSignal
from analyzer.traces.operations import KEY
from detectors.counts import CountNoise, CountRatioState


class NoveltyFamily(RatioFamily):
    """Watches whose bad events are those of kinds that their baseline had not shown before.

    ``bad`` is asked for by kind. Which are known is learnt when a comparison starts; what comes
    before that is not counted at all.
    """

    def __init__(
        self, signal: RatioSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        super().__init__(signal, id_labels, tick_s, horizon_s)
        total, bad = self._queries
        self._queries = (total, Query(bad.selector, (*id_labels, KEY)))
        self._known: dict[InstanceId, frozenset[str]] = {}

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        total, by_kind = replies
        return super()._stack((total, self._pooled(by_kind)))

    def _pooled(self, by_kind: Series) -> Series:
        """Return the sum of the kinds that are new to each instance's baseline."""
        rows = [
            (i, key[:-1])
            for i, key in enumerate(by_kind.keys)
            if key[-1] not in self._known.get(key[:-1], frozenset((key[-1],)))
        ]
        ids = tuple(dict.fromkeys(id_ for _, id_ in rows))
        place = {id_: i for i, id_ in enumerate(ids)}
        values = np.zeros((len(ids), by_kind.grid.count))
        for i, id_ in rows:
            values[place[id_]] += np.nan_to_num(by_kind.values[i])
        return Series(self.id_labels, ids, values, by_kind.grid)

    def arm(
        self, members: Sequence[Member[CountNoise]], replies: Sequence[Reply], grid: Grid
    ) -> None:
        """Start comparisons, and learn which kinds their baselines know."""
        super().arm(members, replies, grid)
        by_kind = replies[1]
        for member in members:
            if member.armed is None:
                continue
            baseline = {s.id for s in member.roster.stays if s.side is Side.BASELINE}
            keys = by_kind.keys if isinstance(by_kind, Series) else ()
            self._learn(member, frozenset(key[-1] for key in keys if key[:-1] in baseline))

    def _start(self, member: Member[CountNoise], armed: Armed[CountNoise]) -> CountRatioState:
        """Compare with no past: in the past, everything that was seen is known by now."""
        unknown = np.full_like(armed.noise.history_rate, np.nan)
        return super()._start(
            member, replace(armed, noise=replace(armed.noise, history_rate=unknown))
        )

    def _learn(self, member: Member[CountNoise], known: frozenset[str]) -> None:
        """Count from now on what is not among these kinds; the counters begin anew with that."""
        for stay in member.roster.stays:
            self._known[stay.id] = known
            if stay.id in self._index:
                self._carry[self._index[stay.id]] = np.nan

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances count; new ones share what the others know."""
        super().enrol(watch_id, roster)
        member = self.member(watch_id)
        known = next((self._known[s.id] for s in roster.stays if s.id in self._known), None)
        if member.armed is not None and known is not None:
            for stay in roster.stays:
                self._known.setdefault(stay.id, known)

    def leave(self, watch_id: str) -> None:
        """Forget a watch, and what its instances know."""
        for stay in self.member(watch_id).roster.stays:
            self._known.pop(stay.id, None)
        super().leave(watch_id)
