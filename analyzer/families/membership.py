"""Who is in a signal family, which instances count for them, and what is to be asked for them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Grid, Missing, Query, restricted_to
from analyzer.signal import Signal
from detectors.rows import Rows

MAX_COLUMNS = 720
"""Grid points asked for at once when catching up; the rest follows with the next tick."""

InstanceId = tuple[str, ...]
N = TypeVar("N", bound=Rows)


@dataclass(frozen=True, slots=True)
class Armed(Generic[N]):
    """What a comparison was started with; kept in the journal so that a restart is exact.

    Attributes:
        at: grid time from which evidence counts. noise: one row, or none where it was forgotten.
        bounds: upper bucket bounds that
            both sides share (histograms only).
    """

    at: float
    noise: N
    bounds: tuple[float, ...] = ()


@dataclass(slots=True)
class Member(Generic[N]):
    """One watch in a family.

    ``trouble``: why its comparison could not be started. ``heed``: evidence below which it makes no
    difference to anybody whether the effect is large enough to be harmful.
    """

    watch_id: str
    signal: Signal
    policy: Policy
    roster: Roster
    armed: Armed[N] | None = None
    trouble: Missing | None = None
    heed: float = 0.0


class Membership(ABC, Generic[N]):
    """The watches that share a family, and the stretch of the grid that is to be fetched next.

    Args:
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points in seconds.
    """

    def __init__(self, id_labels: tuple[str, ...], tick_s: float) -> None:
        self.id_labels = id_labels
        self.tick_s = tick_s
        self.cursor: float | None = None
        self._reach = MAX_COLUMNS
        self._members: list[Member[N]] = []
        self._position: dict[str, int] = {}
        self._asked: list[Query] | None = None

    @abstractmethod
    def selectors(self) -> tuple[Query, ...]:
        """Return the queries without restriction, in the order in which replies are given."""

    @property
    def members(self) -> Sequence[Member[N]]:
        """The watches in this family."""
        return self._members

    def member(self, watch_id: str) -> Member[N]:
        """Return what is kept of a watch."""
        return self._members[self._position[watch_id]]

    def place(self, watch_id: str) -> int:
        """Return the position of a watch among the members."""
        return self._position[watch_id]

    def join(
        self, watch_id: str, signal: Signal, policy: Policy, armed: Armed[Any] | None = None
    ) -> None:
        """Add a watch; with ``armed``, continue one that an earlier process began.

        The latter only before the first ``advance``: the grid is then walked again from there.
        """
        self._position[watch_id] = len(self._members)
        self._members.append(Member(watch_id, signal, policy, Roster(), armed))
        if armed is not None:
            # the grid point at which it was armed comes first, for the counters' last known values
            begin = armed.at - self.tick_s
            self.cursor = begin if self.cursor is None else min(self.cursor, begin)
        self._changed()

    def enrol(self, watch_id: str, roster: Roster) -> None:
        """Take note of which instances of a watch count, and when."""
        member = self.member(watch_id)
        if member.roster is not roster:
            asked = self._asked
            same = {s.id for s in roster.stays} == {s.id for s in member.roster.stays}
            member.roster = roster
            self._changed()
            if same:  # as it is of most: that one has left changes only when it counted
                self._asked = asked

    def leave(self, *watch_ids: str) -> None:
        """Forget watches."""
        gone = set(watch_ids)
        self._members = [m for m in self._members if m.watch_id not in gone]
        self._position = {m.watch_id: i for i, m in enumerate(self._members)}
        self._changed()

    def _changed(self) -> None:
        """Forget what was made for the members and rosters of before."""
        self._asked = None

    def queries(self, members: Iterable[Member[N]] | None = None) -> list[Query]:
        """Return the queries for all members, or for the baselines of some."""
        if members is None:
            if self._asked is None:
                self._asked = self._restricted(self._members, frozenset(Side))
            return self._asked
        return self._restricted(members, frozenset({Side.BASELINE}))

    def _restricted(self, members: Iterable[Member[N]], sides: frozenset[Side]) -> list[Query]:
        ids = {s.id for m in members for s in m.roster.stays if s.side in sides}
        restrict = restricted_to(self.id_labels, ids)
        return [replace(q, restrict=restrict) for q in self.selectors()]

    def due(self, until: float) -> Grid | None:
        """Return the grid that is to be fetched next, up to a grid time, or None."""
        if not any(m.roster.stays for m in self._members):
            return None
        if self.cursor is None:
            return Grid(until, self.tick_s, 1)
        steps = round((until - self.cursor) / self.tick_s)
        if steps < 1:
            return None
        return Grid(self.cursor + self.tick_s, self.tick_s, min(steps, self._reach))

    def history_grid(self, history_s: float) -> Grid:
        """Return the grid of the past on which noise is fitted. Only once the cursor is set."""
        count = max(1, round(history_s / self.tick_s)) + 1
        return Grid(self.past_until - (count - 1) * self.tick_s, self.tick_s, count)

    @property
    def past_until(self) -> float:
        """The grid time before the newest: what is past when a comparison starts.

        The newest tick is the one that showed traffic on both sides, and the first to count.
        """
        return (self.cursor if self.cursor is not None else 0.0) - self.tick_s
