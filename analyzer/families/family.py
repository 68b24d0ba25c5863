"""A signal family: all watches that read the same series, compared in one batch.

One query serves one family however many watches it has; its answer becomes increments per
instance, sums per side, and one call of one detector. A family walks the tick grid with a single
cursor: what could not be fetched is fetched with the next tick, so an outage of the source delays
the comparison and loses nothing, and a restart replays the same grid to the same state.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from analyzer.evidence import Evidence, Measured
from analyzer.families.increments import Floats, increments
from analyzer.families.membership import MAX_COLUMNS, Armed, InstanceId, Member, Membership, N
from analyzer.families.memory import Edges, Matches, Memory, Seats
from analyzer.families.rows import findings_by_row
from analyzer.families.silence import awaited, cut_off, silent
from analyzer.policy import Policy
from analyzer.recovery import HarmCounts, Share
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Grid, Missing, Reply, Series
from analyzer.signal import Signal
from detectors.findings import Findings
from detectors.rows import Rows

__all__ = ["Armed", "Family", "InstanceId", "Member", "Tally"]

TOO_MUCH = frozenset({Absence.TOO_LARGE, Absence.TIMEOUT})
"""Answers that a question about fewer grid points may not get."""

S = TypeVar("S", bound=Rows)


@dataclass(frozen=True, slots=True)
class Tally(Generic[N]):
    """A member's sums (counters,): each side's up to an action, the baseline's since.

    ``ticks``: how many ticks since.
    """

    member: Member[N]
    canary: Floats
    before: Floats
    after: Floats
    ticks: int


class Family(Membership[N], Generic[N, S]):
    """State of one signal family. No I/O: samples come in, evidence goes out.

    Args:
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points in seconds.

    Attributes:
        paired: both sides run at the same time.
    """

    def __init__(self, id_labels: tuple[str, ...], tick_s: float) -> None:
        super().__init__(id_labels, tick_s)
        self.paired = True
        self.trouble: Missing | None = None
        self._order: list[Member[N]] = []  # armed members, in the order of the detector's rows
        self._state: S | None = None
        self._measured: dict[str, Evidence] | None = None
        self._recent: Floats | None = None
        self._index: dict[InstanceId, int] = {}
        self._carry: Floats = np.empty((0, 0))
        # what follows from membership, rosters and beginnings; made when it is needed again
        self._edges: Edges | None = None
        self._seats: Seats | None = None
        self._matches: Matches | None = None
        self._memory = Memory.empty(0, self._counters())

    # What differs between kinds of signals

    @abstractmethod
    def _counters(self) -> int:
        """Return how many counters are read together for an instance."""

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

    @abstractmethod
    def _examine(self, state: S) -> Findings:
        """Ask the detector what it knows."""

    @abstractmethod
    def _exposure(self, sums: Floats) -> Floats:
        """Return the events among sums (..., counters): requests seen."""

    @abstractmethod
    def values(self, sums: Floats) -> Floats:
        """Return what people call the value of each member's sums (members, counters).

        A share, a quantile; NaN when unknown.
        """

    # Membership

    def join(
        self, watch_id: str, signal: Signal, policy: Policy, armed: Armed[Any] | None = None
    ) -> None:
        """Add a watch, as in ``Membership``, with a row of its own where it is armed."""
        super().join(watch_id, signal, policy, armed)
        grown = Memory.empty(1, self._counters())
        pairs = zip(self._memory.arrays(), grown.arrays(), strict=True)
        self._memory = Memory(*(np.concatenate([old, new]) for old, new in pairs))
        if armed is not None:
            self._engage([self.member(watch_id)])

    def _changed(self) -> None:
        super()._changed()
        self._edges = self._seats = self._matches = None
        self._measured = self._recent = None

    def leave(self, watch_id: str) -> None:
        """Forget a watch."""
        keep = [i for i, m in enumerate(self._members) if m.watch_id != watch_id]
        rows = [i for i, m in enumerate(self._order) if m.watch_id != watch_id]
        self._memory = Memory(*(a[keep] for a in self._memory.arrays()))
        if self._state is not None and len(rows) < len(self._order):
            self._order = [self._order[i] for i in rows]
            self._state = self._state.take(np.asarray(rows, dtype=np.int64)) if rows else None
        super().leave(watch_id)

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
        self._measured = self._recent = None

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
        stays = [(i, s) for i, m in enumerate(self._members) for s in self._counted(m.roster)]
        old, carry = self._index, self._carry
        self._index = {id_: i for i, id_ in enumerate(dict.fromkeys(s.id for _, s in stays))}
        self._carry = np.full((len(self._index), self._counters()), np.nan)
        for id_, i in self._index.items():
            if id_ in old and carry.shape[1] == self._carry.shape[1]:
                self._carry[i] = carry[old[id_]]
        self._edges = Edges(
            np.array([self._index[s.id] for _, s in stays], dtype=np.intp),
            np.array([2 * i + (s.side is Side.BASELINE) for i, s in stays], dtype=np.intp),
            np.array([s.since for _, s in stays], dtype=np.float64),
            np.array([s.until for _, s in stays], dtype=np.float64),
        )
        return self._edges

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
        scraped = np.asarray(np.isfinite(gained).any(axis=1), dtype=np.bool_)
        on = (edges.since <= at - self.tick_s) & (at <= edges.until) & scraped[edges.instance]
        on &= self._comparable(edges)
        cells = 2 * len(self._members)
        sums = np.zeros((cells, gained.shape[1]))
        np.add.at(sums, edges.cell[on], np.nan_to_num(gained[edges.instance[on]]))
        pods = np.bincount(edges.cell[on], minlength=cells).astype(np.float64)
        by_side = sums.reshape(len(self._members), 2, -1)
        self._remember(by_side, pods.reshape(-1, 2), at)
        if self._order:
            seats = self._seated()
            rows = seats.member
            self._update(by_side[rows], pods.reshape(-1, 2)[rows], seats.begun < at)

    def _seated(self) -> Seats:
        if self._seats is None:
            self._seats = Seats(
                np.array([self._position[m.watch_id] for m in self._order], dtype=np.intp),
                np.array([m.armed.at if m.armed else np.inf for m in self._order]),
            )
        return self._seats

    def _comparable(self, edges: Edges) -> NDArray[np.bool_]:
        """Return which instances can be summed with the others of their member; all, usually."""
        return np.ones(len(edges.cell), dtype=np.bool_)

    def _remember(self, sums: Floats, pods: Floats, at: float) -> None:
        self._memory.add(sums, pods, self._exposure(sums), at)

    # Starting comparisons

    def wanting(self) -> list[Member[N]]:
        """Return the members whose sides both have traffic now and that have not started."""
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
        self._update(self._memory.recent[rows, -1], self._memory.pods[rows], live)
        self._measured = None

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
            self._changed()

    # Giving evidence

    def evidence(self) -> dict[str, Evidence]:
        """Return the evidence of every member by its watch."""
        if self.trouble is not None:
            return dict.fromkeys(self._position, self.trouble)
        if self._measured is None:
            self._measured = self._examined()
        found, stale = self._measured, self._stale()
        return {
            m.watch_id: stale.get(i) or found.get(m.watch_id) or self._unarmed(m)
            for i, m in enumerate(self._members)
        }

    def _examined(self) -> dict[str, Evidence]:
        if self._state is None:
            return {}
        rows = findings_by_row(self._examine(self._state))
        return {m.watch_id: Measured(f) for m, f in zip(self._order, rows, strict=True)}

    def _stale(self) -> dict[int, Missing]:
        """Return which members could be measured and are silent now, by their position."""
        if self.cursor is None or not self._order:
            return {}
        seats = self._seated()
        memory, at = self._memory, seats.member
        rows = silent(memory.seen[at], seats.begun, self.cursor, self.tick_s)
        scraped = memory.unserved[at] * (memory.pods[at, 0] > 0)
        totals = (self._exposure(sums[at]) for sums in (memory.canary, memory.before))
        if self.paired:  # the traffic of another time says nothing of the canary's
            rows = cut_off(scraped, *totals) | rows
        return {int(at[row]): missing for row, missing in rows.items()}

    def _unarmed(self, member: Member[N]) -> Missing:
        i, memory = self._position[member.watch_id], self._memory
        recent = self._exposure(memory.recent[i]).sum(axis=0)
        return awaited(member, self.cursor, memory.pods[i], recent)

    def _with_recent(self, findings: Findings) -> Findings:
        """Return a detector's findings with both sides' recent values, which it does not know."""
        seen = self._memory.recent.sum(axis=1)[self._seated().member]
        canary, baseline = self.values(seen[:, 0]), self.values(seen[:, 1])
        return replace(findings, canary_value=canary, baseline_value=baseline)

    def recent_values(self, watch_id: str) -> tuple[float, float]:
        """Return the canary's and the baseline's value over the last few ticks."""
        if self._recent is None:
            sums = self._memory.recent.sum(axis=1)
            self._recent = np.stack([self.values(sums[:, 0]), self.values(sums[:, 1])], axis=1)
        canary, baseline = self._recent[self._position[watch_id]].tolist()
        return canary, baseline

    def mark(self, watch_id: str, at: float) -> None:
        """Begin to tally the baseline anew after an action, for the recovery check."""
        i, _ = self._place(watch_id)
        self._memory.mark[i] = at
        self._memory.after[i] = 0
        self._memory.after_ticks[i] = 0

    def tally(self, watch_id: str) -> Tally[N]:
        """Return what the baseline did before and since the action."""
        i, member = self._place(watch_id)
        memory = self._memory
        return Tally(
            member,
            canary=memory.canary[i],
            before=memory.before[i],
            after=memory.after[i],
            ticks=int(memory.after_ticks[i]),
        )

    def harm_counts(self, tally: "Tally[N]") -> HarmCounts:
        """Return how many events were bad, on each side before and the baseline since.

        Nothing, unless a kind says otherwise: levels are no events whose share could be compared.
        """
        del tally
        return HarmCounts(Share(0.0, 0.0), Share(0.0, 0.0), Share(0.0, 0.0))

    def _place(self, watch_id: str) -> tuple[int, Member[N]]:
        i = self._position[watch_id]
        return i, self._members[i]
