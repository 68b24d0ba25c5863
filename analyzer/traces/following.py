"""One trace signal of one watch: its operations, what was seen of them, and what is accused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Missing
from analyzer.signal import SeriesSignal, TraceSignal
from analyzer.traces.aspects import AnyFamily
from analyzer.traces.operations import Instances, Seen, service_of
from analyzer.traces.parts import Operation, Part, Parts
from analyzer.traces.shares import Aspect

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

SEPARATOR = "\x1f"
"""Between the parts of a member's id; in no watch's id and in no operation's name."""
LEARNT_AT_ONCE = 50
"""Operations of a watch whose calls are asked for in one tick."""
CANARY, BASELINE, ASSEMBLED = range(3)
"""Columns of what was seen of an operation."""


@dataclass(frozen=True, slots=True)
class TraceQuestion:
    """What a watch's trace signal wants to know.

    Attributes:
        watch_id, signal: who asks. instances: of which instances.
        details: operations to be told of to people.
        calls: operations whose usual calls are to be learnt.
    """

    watch_id: str
    signal: TraceSignal
    instances: Instances
    details: tuple[str, ...]
    calls: tuple[str, ...] = ()


@dataclass(slots=True)
class Following:
    """One trace signal of one watch, and the families that compare its aspects."""

    watch_id: str
    signal: TraceSignal
    policy: Policy
    id_labels: tuple[str, ...]
    families: dict[Aspect, AnyFamily]
    roster: Roster = field(default_factory=Roster)
    operations: dict[str, Operation] = field(default_factory=dict)
    spans: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """Of each operation at the last look: the canary's, the baseline's, and these assembled."""
    parts: Parts | None = None
    """All parts in columns; made again when one is added."""
    matched: "Matched | None" = None
    terms: dict[tuple[Aspect, float], tuple[SeriesSignal, Policy]] = field(default_factory=dict)
    """What parts of the same aspect and share are compared by."""
    late: int = 0
    trouble: Missing | None = None
    wanted: tuple[str, ...] = ()
    accused: tuple[Part, ...] = ()
    """What speaks against the canary now, the strongest first."""
    guilty: tuple[Part, ...] = ()
    """What did when the last action was taken."""

    def member(self, *parts: str) -> str:
        """Return the id under which families know a part of this watch."""
        return SEPARATOR.join((self.watch_id, self.signal.name, *parts))

    def instances(self) -> Instances:
        """Return all instances that count or did."""
        ids = {side: {s.id for s in self.roster.stays if s.side is side} for side in Side}
        return Instances(self.id_labels, ids[Side.CANARY], ids[Side.BASELINE])

    def untold(self) -> tuple[str, ...]:
        """Return operations whose usual calls are not known, and could be."""
        if Aspect.VANISHED_CALLS not in self.families:
            return ()
        enough = self.spans[:, ASSEMBLED] >= self.signal.min_spans
        untold = (
            operation
            for operation, state in self.operations.items()
            if not state.calls_known and enough[state.number]
        )
        return tuple(islice(untold, LEARNT_AT_ONCE))

    def look(self, seen: Seen) -> None:
        """Take note of how many spans there are of each operation that is compared."""
        matched = self.matched
        if matched is None or matched.operations is not seen.operations:
            matched = self.matched = Matched.of(seen.operations, self.operations)
        for column, counts in enumerate((seen.canary, seen.baseline, seen.assembled)):
            self.spans[matched.ours, column] = counts[matched.theirs]

    def fitting(self, seen: Seen) -> list[str]:
        """Return new operations that are wanted, and known well enough on the baseline.

        The busiest come first, and no more than there is room for.
        """
        fresh = () if self.matched is None else self.matched.fresh
        least, services = self.signal.min_spans, self.signal.services
        fit = [
            (-spans, operation)
            for operation, spans in ((seen.operations[i], float(seen.baseline[i])) for i in fresh)
            if spans >= least and (not services or service_of(operation) in services)
        ]
        room = max(0, self.signal.operations - len(self.operations))
        return [operation for _, operation in sorted(fit)[:room]]

    def enough(self) -> Bools:
        """Return which operations have enough spans on both sides."""
        enough: Bools = self.spans[:, :ASSEMBLED].min(axis=1) >= self.signal.min_spans
        return enough

    @property
    def weight(self) -> float:
        """The signal's share of α; one that has none is judged as if it were alone."""
        return self.policy.weights.get(self.signal.name, 0.0) or 1.0


@dataclass(frozen=True, slots=True)
class Matched:
    """Which operations of an answer are which of ours, and which are not compared yet."""

    operations: tuple[str, ...]
    ours: Ints
    theirs: Ints
    fresh: tuple[int, ...]

    @classmethod
    def of(cls, operations: tuple[str, ...], known: Mapping[str, Operation]) -> "Matched":
        """Find ours among those of an answer."""
        pairs = [(known[o].number, i) for i, o in enumerate(operations) if o in known]
        ours, theirs = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        fresh = tuple(i for i, operation in enumerate(operations) if operation not in known)
        return cls(operations, ours, theirs, fresh)
