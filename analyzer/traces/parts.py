"""The comparisons that a trace signal is made of: one part for each aspect of each operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzer.families.weighing import Weighing
from analyzer.sample import Missing
from analyzer.traces.aspects import AnyFamily
from analyzer.traces.operations import ENTRY_KINDS, Detail, kind_of
from analyzer.traces.shares import Aspect
from analyzer.traces.summing import ASPECTS, Every, contributions
from analyzer.traces.wording import Accusation
from detectors.findings import Weights

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison of one operation.

    Attributes:
        operation, aspect: what is compared; family, member: by which family and under which id.
        label: what is added to an instance's id: the operation, or the call.
        share: of the signal's evidence. called: the operation that is called, "" for others.
    """

    operation: str
    aspect: Aspect
    family: AnyFamily
    member: str
    label: str
    share: float
    called: str = ""


@dataclass(slots=True)
class Operation:
    """One operation of one watch. ``number``: how many were compared before it."""

    number: int
    share: float
    parts: list[Part] = field(default_factory=list)
    calls_known: bool = False
    detail: Detail | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of one signal of one watch in their order, as parallel arrays.

    Attributes:
        operations: their states by their labels. parts: the parts themselves.
        operation, aspect: numbers of what each compares, see ``ASPECTS``. share: of the evidence.
        place: of each part's member in its family.
        of_requests: which are about requests. entry: which operations an instance is asked for by.
    """

    operations: Mapping[str, Operation]
    parts: tuple[Part, ...]
    operation: Ints
    aspect: Ints
    share: Floats
    place: Ints
    of_requests: Bools
    entry: Bools

    @classmethod
    def of(cls, operations: Mapping[str, Operation]) -> "Parts":
        """Lay the parts of all operations out in columns."""
        parts = tuple(part for state in operations.values() for part in state.parts)
        sizes = [len(state.parts) for state in operations.values()]
        number = {aspect: i for i, aspect in enumerate(ASPECTS)}
        aspect = np.array([number[part.aspect] for part in parts], dtype=np.intp)
        return cls(
            operations,
            parts,
            np.repeat(np.arange(len(sizes)), sizes),
            aspect,
            np.array([part.share for part in parts], dtype=np.float64),
            np.array([part.family.place(part.member) for part in parts], dtype=np.intp),
            aspect == number[Aspect.REQUESTS],
            np.array([kind_of(o) in ENTRY_KINDS for o in operations], dtype=np.bool_),
        )

    def weighed(self) -> Weighing:
        """Return what each part weighs now."""
        found = Weighing.nothing(len(self.parts))
        for at in self._by_aspect(np.arange(len(self.parts))):
            place = self.place[at]
            told = self.parts[at[0]].family.weighed()
            found.known[at] = told.known[place]
            found.put(
                at,
                Weights(
                    told.e_value[place],
                    told.tested[place],
                    told.harmful[place],
                    told.drift_e[place],
                ),
            )
        return found

    def first_missing(self, weighed: Weighing) -> Missing | None:
        """Return why the first part of which nothing is known is not; None where all are."""
        unknown = np.flatnonzero(~weighed.known)
        if not len(unknown):
            return None
        first = int(unknown[0])
        return self.parts[first].family.missing(int(self.place[first]))

    def every(self, kept: Ints, weighed: Weighing) -> Every:
        """Return what some parts say, for summing up."""
        share, tested, harmful = self.share[kept], weighed.tested[kept], weighed.harmful[kept]
        return Every(
            operation=self.operation[kept],
            aspect=self.aspect[kept],
            share=share,
            tested=tested,
            drift_e=weighed.drift_e[kept],
            contribution=contributions(share, weighed.e_value[kept], tested, harmful),
            harmful=harmful,
            accuse=lambda some: self._accuse(kept[some]),
        )

    def _accuse(self, some: Ints) -> list[Accusation]:
        """Return all that was found of some parts, in their order."""
        found: dict[int, Accusation] = {}
        for at in self._by_aspect(some):
            findings = self.parts[at[0]].family.finding(self.place[at])
            for i, finding in zip(at.tolist(), findings, strict=True):
                part = self.parts[i]
                detail = self.operations[part.operation].detail
                found[i] = Accusation(
                    part.operation, part.aspect, finding, part.share, detail, part.called
                )
        return [found[i] for i in some.tolist()]

    def _by_aspect(self, some: Ints) -> list[Ints]:
        """Return some parts in groups that are of one aspect, and so of one family."""
        aspects = self.aspect[some]
        return [some[aspects == number] for number in np.unique(aspects)]
