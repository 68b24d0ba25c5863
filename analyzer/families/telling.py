"""What a signal family tells of its members: evidence, weights, and what was counted.

Nothing here depends on how samples come in; ``Family`` takes them.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from analyzer.evidence import Evidence, Finding, Measured
from analyzer.families.increments import Floats
from analyzer.families.membership import Member, Membership, N
from analyzer.families.memory import Memory, Seats
from analyzer.families.rows import findings_by_row
from analyzer.families.silence import awaited, cut_off, silent
from analyzer.families.weighing import Weighing
from analyzer.recovery import HarmCounts, Share
from analyzer.sample import Missing
from detectors.findings import Findings, Weights
from detectors.rows import Index, Rows

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


class Telling(Membership[N], Generic[N, S]):
    """The members of a family with what is known of each.

    Args:
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points in seconds.

    Attributes:
        paired: both sides run at the same time.
        brief: most members are only asked what they weigh, see ``weighed``; what they were started
            with is kept by nobody.
    """

    def __init__(self, id_labels: tuple[str, ...], tick_s: float) -> None:
        super().__init__(id_labels, tick_s)
        self.paired = True
        self.brief = False
        self.trouble: Missing | None = None
        self._order: list[Member[N]] = []  # armed members, in the order of the detector's rows
        self._state: S | None = None
        self._remembered = Memory.empty(0, self._counters())
        # what is made when it is needed
        self._seats: Seats | None = None
        self._measured: dict[str, Evidence] | None = None
        self._weighing: Weighing | None = None
        self._silence: dict[int, Missing] | None = None
        self._recent: Floats | None = None

    # What differs between kinds of signals

    @abstractmethod
    def _counters(self) -> int:
        """Return how many counters are read together for an instance."""

    @abstractmethod
    def _examine(self, state: S) -> Findings:
        """Ask the detector what it knows."""

    def _weigh(self, state: S, heed: Floats) -> Weights:
        """Return what the detector's rows weigh, as ``_examine`` would tell.

        Whether a row is harmful need not be right where its evidence is less than ``heed`` (rows,).
        """
        del heed
        found = self._examine(state)
        return Weights(found.e_value, found.tested, found.harmful, found.drift_e)

    def _completed(self, findings: Findings, rows: Index) -> Findings:
        """Return the findings of some of the detector's rows with what it does not know."""
        del rows
        return findings

    @abstractmethod
    def _exposure(self, sums: Floats) -> Floats:
        """Return the events among sums (..., counters): requests seen."""

    @abstractmethod
    def values(self, sums: Floats) -> Floats:
        """Return what people call the value of each member's sums (members, counters).

        A share, a quantile; NaN when unknown.
        """

    # What is remembered

    @property
    def _memory(self) -> Memory:
        """What is remembered of every member; those who came meanwhile have seen nothing."""
        known = self._remembered
        if len(known.mark) < len(self._members):
            fresh = Memory.empty(len(self._members) - len(known.mark), known.canary.shape[1])
            self._remembered = known.joined(fresh)
        return self._remembered

    def _seated(self) -> Seats:
        if self._seats is None:
            self._seats = Seats(
                np.array([self._position[m.watch_id] for m in self._order], dtype=np.intp),
                np.array([m.armed.at if m.armed else np.inf for m in self._order]),
                np.full(len(self._members), -1),
                np.array([m.heed for m in self._order]),
            )
            self._seats.row[self._seats.member] = np.arange(len(self._order))
        return self._seats

    def _engaged(self) -> None:
        """Forget what was made for the detector's rows of before."""
        self._seats = None
        self._asked_anew()

    def _asked_anew(self) -> None:
        """Forget what was told before the newest tick."""
        self._measured = self._weighing = self._silence = self._recent = None

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

    def settle(self) -> None:
        """Work out what is to be told, so that errors of the detector show here."""
        if self.brief:
            self.weighed()
        else:
            self.evidence()

    def weighed(self) -> Weighing:
        """Return what every member weighs, in the order of ``members``."""
        if self._weighing is None:
            self._weighing = self._weigh_all()
        return self._weighing

    def _weigh_all(self) -> Weighing:
        weighing = Weighing.nothing(len(self._members))
        if self.trouble is not None or self._state is None:
            return weighing
        at = self._seated().member
        weighing.put(at, self._weigh(self._state, self._seated().heed))
        weighing.known[at] = True
        weighing.known[list(self._stale())] = False
        return weighing

    def finding(self, members: Sequence[int] | NDArray[np.intp]) -> list[Finding]:
        """Return what is known of some members, by their positions; only of such as are weighed."""
        if self._state is None:
            return []
        rows = self._seated().row[np.asarray(members, dtype=np.intp)]
        return findings_by_row(self._completed(self._examine(self._state.take(rows)), rows))

    def missing(self, member: int) -> Missing:
        """Return why nothing is known of a member, by its position."""
        if self.trouble is not None:
            return self.trouble
        return self._stale().get(member) or self._unarmed(self._members[member])

    def _examined(self) -> dict[str, Evidence]:
        if self._state is None:
            return {}
        rows = findings_by_row(self._completed(self._examine(self._state), slice(None)))
        return {m.watch_id: Measured(f) for m, f in zip(self._order, rows, strict=True)}

    def _stale(self) -> dict[int, Missing]:
        """Return which members could be measured and are silent now, by their position."""
        if self._silence is None:
            self._silence = self._silent()
        return self._silence

    def _silent(self) -> dict[int, Missing]:
        if self.cursor is None or not self._order:
            return {}
        seats = self._seated()
        memory, at = self._memory, seats.member
        rows = silent(memory.seen[at], seats.begun, self.cursor, self.tick_s)
        scraped = memory.unserved[at] * (memory.pods[at, 0] > 0)
        totals = (self._exposure(sums)[at] for sums in (memory.canary, memory.before))
        if self.paired:  # the traffic of another time says nothing of the canary's
            rows = cut_off(scraped, *totals) | rows
        return {int(at[row]): missing for row, missing in rows.items()}

    def _unarmed(self, member: Member[N]) -> Missing:
        i, memory = self._position[member.watch_id], self._memory
        recent = self._exposure(memory.recent[i]).sum(axis=0)
        return awaited(member, self.cursor, memory.pods[i], recent)

    def _with_recent(self, findings: Findings, rows: Index) -> Findings:
        """Return findings of some rows with both sides' recent values, for ``_completed``."""
        seen = self._memory.last().sum(axis=1)[self._seated().member[rows]]
        canary, baseline = self.values(seen[:, 0]), self.values(seen[:, 1])
        return replace(findings, canary_value=canary, baseline_value=baseline)

    def recent_values(self, watch_id: str) -> tuple[float, float]:
        """Return the canary's and the baseline's value over the last few ticks."""
        if self._recent is None:
            sums = self._memory.last().sum(axis=1)
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
