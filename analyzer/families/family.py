"""A signal family: all watches that read the same series, compared in one batch.

One query serves one family however many watches it has; its answer becomes increments per
instance, sums per side, and one call of one detector. A family walks the tick grid with a single
cursor: what could not be fetched is fetched with the next tick, so an outage of the source delays
the comparison and loses nothing, and a restart replays the same grid to the same state.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from analyzer.families.increments import Floats, increments
from analyzer.families.membership import MAX_COLUMNS, Armed, InstanceId, Member, N
from analyzer.families.memory import Edges, Matches
from analyzer.families.telling import S, Tally, Telling
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Grid, Missing, Reply, Series
from analyzer.signal import Signal

__all__ = ["Armed", "Family", "InstanceId", "Member", "Tally"]

TOO_MUCH = frozenset({Absence.TOO_LARGE, Absence.TIMEOUT})
"""Answers that a question about fewer grid points may not get."""


class Family(Telling[N, S], Generic[N, S]):
    """State of one signal family. No I/O: samples come in, evidence goes out.

    Args:
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points in seconds.
    """

    def __init__(self, id_labels: tuple[str, ...], tick_s: float) -> None:
        super().__init__(id_labels, tick_s)
        self._index: dict[InstanceId, int] = {}
        self._carry: Floats = np.empty((0, 0))
        # what follows from membership, rosters and beginnings; made when it is needed again
        self._edges: Edges | None = None
        self._matches: Matches | None = None
        self._layers: list[NDArray[np.intp]] = []

    # What differs between kinds of signals

    @abstractmethod
    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return instances and their values, (instances, counters, times); NaN where absent.

        The instances are the same object again for as long as the replies have the same keys.
        """

    @abstractmethod
    def _fit(self, member: Member[N], gained: Floats) -> Armed[N] | Missing:
        """Fit the noise on the baseline's history, (pods, counters, times), up to the cursor."""

    @abstractmethod
    def _start(self, member: Member[N], armed: Armed[N]) -> S:
        """Return the detector's state of one new row."""

    @abstractmethod
    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        """Feed one tick: sums (armed, 2 sides, counters), pods (armed, 2 sides)."""

    # Membership

    def join(
        self, watch_id: str, signal: Signal, policy: Policy, armed: Armed[Any] | None = None
    ) -> None:
        """Add a watch, as in ``Membership``, with a row of its own where it is armed."""
        super().join(watch_id, signal, policy, armed)
        if armed is not None:
            self._engage([self.member(watch_id)])

    def _changed(self) -> None:
        super()._changed()
        self._edges = self._matches = None
        self._engaged()

    def leave(self, *watch_ids: str) -> None:
        """Forget watches."""
        gone = set(watch_ids)
        keep = [i for i, m in enumerate(self._members) if m.watch_id not in gone]
        rows = [i for i, m in enumerate(self._order) if m.watch_id not in gone]
        self._remembered = self._memory.chosen(keep)
        if self._state is not None and len(rows) < len(self._order):
            self._order = [self._order[i] for i in rows]
            self._state = self._state.take(np.asarray(rows, dtype=np.int64)) if rows else None
        super().leave(*watch_ids)

    # Taking samples in

    def advance(self, replies: Sequence[Reply], grid: Grid) -> None:
        """Fold a stretch of the grid into the evidence, or note why that is not possible."""
        series = self._present(replies, grid)
        if isinstance(series, Missing):
            self.trouble = series
            if series.reason in TOO_MUCH:
                self._reach = max(1, grid.count // 2)
            return
        if grid.count == self._reach:
            self._reach = min(MAX_COLUMNS, 2 * self._reach)
        # only the first series must exist; no bad events is good news
        absent = (reply for reply in replies if isinstance(reply, Missing))
        self.trouble = None if series[0].keys else next(absent, None)
        edges = self._wire()
        values = self._aligned(series, grid.count, edges)
        gained, self._carry = self._gain(values, self._carry)
        for column, at in enumerate(grid.times):
            self._tick(gained[:, :, column], float(at), edges)
        self.cursor = grid.end
        self._asked_anew()

    def _present(self, replies: Sequence[Reply], grid: Grid) -> list[Series] | Missing:
        """Return the series, with no series as an empty answer, or why there is no answer."""
        present: list[Series] = []
        for query, reply in zip(self.selectors(), replies, strict=True):
            if isinstance(reply, Series):
                present.append(reply)
            elif reply.reason is Absence.NO_SERIES:
                present.append(Series(query.by, (), np.empty((0, grid.count)), grid))
            else:
                return reply
        return present

    def _wire(self) -> Edges:
        """Rebuild what depends on membership, keeping the last known counters."""
        if self._edges is not None:
            return self._edges
        old, carry = self._index, self._carry
        index: dict[InstanceId, int] = {}
        edges = [
            (
                index.setdefault(s.id, len(index)),
                2 * i + (s.side is Side.BASELINE),
                s.since,
                s.until,
            )
            for i, m in enumerate(self._members)
            for s in self._counted(m.roster)
        ]
        self._index = index
        self._carry = np.full((len(index), self._counters()), np.nan)
        if carry.shape[1] == self._carry.shape[1]:
            place = np.array([old.get(id_, -1) for id_ in index], dtype=np.intp)
            self._carry[place >= 0] = carry[place[place >= 0]]
        instance, cell, since, until = np.array(edges, dtype=np.float64).reshape(-1, 4).T.copy()
        made = Edges(instance.astype(np.intp), cell.astype(np.intp), since, until)
        self._edges, self._layers = made, made.layers()
        return made

    def _aligned(self, series: Sequence[Series], times: int, edges: Edges) -> Floats:
        """Return values by our own instance index, (instances, counters, times)."""
        ids, stacked = self._stack(series)
        self._widen()
        values = np.full((len(self._index), self._counters(), times), np.nan)
        matches = self._match(ids, edges)
        values[matches.ours] = stacked[matches.theirs]
        return values

    def _match(self, ids: Sequence[InstanceId], edges: Edges) -> Matches:
        """Find our instances among those of a reply."""
        known = self._matches
        if known is None or known.ids is not ids or known.edges is not edges:
            pairs = [(self._index[id_], i) for i, id_ in enumerate(ids) if id_ in self._index]
            ours, theirs = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
            known = self._matches = Matches(ids, edges, ours, theirs)
        return known

    def _counted(self, roster: Roster) -> Sequence[Stay]:
        """Return when instances count; as the roster says, usually."""
        return roster.stays

    def _widen(self) -> None:
        """Hook for kinds whose number of counters can grow; arrays follow ``_counters``."""

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return increments (instances, counters, times) and the new carry."""
        return increments(values, carry)

    def _tick(self, gained: Floats, at: float, edges: Edges) -> None:
        """Fold one grid point: sum instances by side, remember, and feed the detector."""
        finite = np.isfinite(gained)
        whole, scraped = bool(finite.all()), np.asarray(finite.any(axis=1), dtype=np.bool_)
        on = (edges.since <= at - self.tick_s) & (at <= edges.until) & scraped[edges.instance]
        on &= self._comparable(edges)
        cells = 2 * len(self._members)
        sums = np.zeros((cells, gained.shape[1]))
        for layer in self._layers:
            some = layer[on[layer]]
            more = gained[edges.instance[some]]
            sums[edges.cell[some]] += more if whole else np.nan_to_num(more)
        pods = np.bincount(edges.cell[on], minlength=cells).astype(np.float64)
        by_side = sums.reshape(len(self._members), 2, -1)
        self._remember(by_side, pods.reshape(-1, 2), at)
        if self._order:
            seats = self._seated()
            rows = seats.member
            self._update(by_side[rows], pods.reshape(-1, 2)[rows], seats.begun < at)

    def _comparable(self, edges: Edges) -> NDArray[np.bool_]:
        """Return which instances can be summed with the others of their member; all, usually."""
        return np.ones(len(edges.cell), dtype=np.bool_)

    def _remember(self, sums: Floats, pods: Floats, at: float) -> None:
        self._memory.add(sums, pods, self._exposure(sums), at)

    # Starting comparisons

    def wanting(self) -> list[Member[N]]:
        """Return the members whose sides both have traffic now and that have not started."""
        if len(self._order) == len(self._members):
            return []
        busy = (self._exposure(self._memory.recent).sum(axis=1) > 0).all(axis=1)
        present = (self._memory.pods > 0).all(axis=1)
        return [
            m
            for m, ready in zip(self._members, busy & present, strict=True)
            if ready and m.armed is None
        ]

    def arm(self, members: Sequence[Member[N]], replies: Sequence[Reply], grid: Grid) -> None:
        """Start comparisons, with noise fitted on the baselines' own past.

        A past that the source does not have makes the prior; one that it cannot tell now is asked
        for again with the next tick.
        """
        series = self._present(replies, grid)
        if isinstance(series, Missing):
            for member in members:
                member.trouble = series
            return
        ids, stacked = self._stack(series)
        self._widen()
        place = {id_: i for i, id_ in enumerate(ids)}
        begun = []
        for member in members:
            gained = self._past(member, place, stacked, grid)
            armed = self._fit(member, gained)
            if isinstance(armed, Missing):
                member.trouble = armed
            else:
                member.armed, member.trouble = armed, None
                begun.append(member)
        self._engage(begun)
        self._count_newest(begun)

    def _count_newest(self, members: Sequence[Member[N]]) -> None:
        """Feed the tick that let comparisons start to just these: it came before they had rows."""
        if not members:
            return
        rows = self._seated().member
        live = np.isin(rows, [self._position[m.watch_id] for m in members])
        newest = self._memory.last(1)[rows, 0]
        self._update(newest, self._memory.pods[rows], live)
        self._asked_anew()

    def _past(
        self, member: Member[N], place: dict[InstanceId, int], stacked: Floats, grid: Grid
    ) -> Floats:
        """Return the baseline's increments of the past, NaN while an instance did not count."""
        stays = [s for s in member.roster.stays if s.side is Side.BASELINE and s.id in place]
        values = stacked[[place[s.id] for s in stays]]
        gained, _ = self._gain(values, np.full(values.shape[:2], np.nan))
        for i, stay in enumerate(stays):
            inside = (stay.since <= grid.times - self.tick_s) & (grid.times <= stay.until)
            gained[i][:, ~inside] = np.nan
        return gained

    def _engage(self, members: Sequence[Member[N]]) -> None:
        """Give members that were armed their rows in the detector's state."""
        rows = [self._start(m, m.armed) for m in members if m.armed is not None]
        if rows:
            kept = [] if self._state is None else [self._state]
            self._state = type(rows[0]).concat([*kept, *rows])
            self._order.extend(members)
            self._engaged()
            if self.brief:
                self._forget_noise(members)

    def _forget_noise(self, members: Sequence[Member[N]]) -> None:
        """Drop what comparisons were started with: nobody writes it down, and there are many."""
        nothing: N | None = None
        for member in members:
            if member.armed is not None:
                nothing = nothing or member.armed.noise.take(slice(0, 0))
                member.armed = replace(member.armed, noise=nothing)
