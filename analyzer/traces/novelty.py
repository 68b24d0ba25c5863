"""Kinds of errors, or calls, that the baseline has never shown, as a share of all spans.

All new kinds count together. Where there are very many kinds, the baseline shows new ones, too;
that it does so at the same time is what the canary's are compared with (detectors.md 10).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, InstanceId, Member
from analyzer.families.increments import Floats
from analyzer.families.ratio import RatioFamily
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Grid, Query, Reply, Series
from analyzer.signal import RatioSignal
from analyzer.traces.operations import KEY
from detectors.counts import CountNoise, CountRatioState


@dataclass(frozen=True, slots=True)
class _Pool:
    """Which rows of a reply are of kinds that are new, for as long as it has these keys.

    Attributes:
        keys: of the reply. row: those that count; owner: to which of ``ids`` each is added.
    """

    keys: tuple[tuple[str, ...], ...]
    ids: tuple[InstanceId, ...]
    row: NDArray[np.intp]
    owner: NDArray[np.intp]

    @classmethod
    def of(
        cls, keys: tuple[tuple[str, ...], ...], known: Mapping[InstanceId, frozenset[str]]
    ) -> "_Pool":
        """Find the kinds that instances do not know; one that knows nothing yet counts nothing."""
        place: dict[InstanceId, int] = {}
        rows = [
            (i, place.setdefault(key[:-1], len(place)))
            for i, key in enumerate(keys)
            if key[-1] not in known.get(key[:-1], key[-1:])
        ]
        row, owner = np.array(rows, dtype=np.intp).reshape(-1, 2).T
        return cls(keys, tuple(place), row, owner)


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
        self._pool: _Pool | None = None

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        total, by_kind = replies
        return super()._stack((total, self._pooled(by_kind)))

    def _pooled(self, by_kind: Series) -> Series:
        """Return the sum of the kinds that are new to each instance's baseline."""
        pool = self._pool
        if pool is None or pool.keys is not by_kind.keys:
            pool = self._pool = _Pool.of(by_kind.keys, self._known)
        values = np.zeros((len(pool.ids), by_kind.grid.count))
        np.add.at(values, pool.owner, np.nan_to_num(by_kind.values[pool.row]))
        return Series(self.id_labels, pool.ids, values, by_kind.grid)

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
        self._pool = None
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
            self._pool = None
            for stay in roster.stays:
                self._known.setdefault(stay.id, known)

    def leave(self, *watch_ids: str) -> None:
        """Forget watches, and what their instances know."""
        self._pool = None
        for watch_id in watch_ids:
            for stay in self.member(watch_id).roster.stays:
                self._known.pop(stay.id, None)
        super().leave(*watch_ids)
