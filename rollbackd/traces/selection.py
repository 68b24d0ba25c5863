"""Which rows of the book answer a question, as long as the book knows the same things."""

from dataclasses import dataclass, field

import numpy as np

from rollbackd.traces.book import SILENT_S, KeyKind
from rollbackd.traces.catalogue import Instance
from rollbackd.traces.ledger import Floats, Ints

Keys = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Keyed:
    """Error types or calls of a selection, as long as the book knows no others.

    Attributes:
        version: of the book's keys. keys: of the answer. numbers: rows of the keys' ledger, and
        owner: which key each belongs to.
    """

    version: int
    keys: Keys
    numbers: Ints
    owner: Ints


@dataclass(slots=True)
class Found:
    """Rows of the book that answer a query, and whose they are.

    Attributes:
        keys: without what the metric adds. rows: of the book; owner: which key each belongs to.
        instances: all who tell. teller: which of them tells each row.
    """

    keys: Keys
    rows: Ints
    owner: Ints
    instances: tuple[Instance, ...]
    teller: Ints
    keyed: dict[KeyKind, Keyed] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        """Whether every key has one row."""
        return len(self.rows) == len(self.keys)

    def silent_after(self) -> Floats:
        """Return until when each key's values mean something."""
        seen = np.array([instance.seen for instance in self.instances])[self.teller]
        if self.single:
            return SILENT_S + seen
        last = np.full(len(self.keys), -np.inf)
        np.maximum.at(last, self.owner, seen)
        return SILENT_S + last

    def summed(self, values: Floats) -> Floats:
        """Return the rows' values by key; NaN where none of a key's rows has one."""
        if self.single:
            return values
        sums = np.zeros((len(self.keys), *values.shape[1:]))
        np.add.at(sums, self.owner, np.nan_to_num(values))
        told = np.zeros(sums.shape, dtype=np.bool_)
        np.logical_or.at(told, self.owner, ~np.isnan(values))
        return np.where(told, sums, np.nan)


@dataclass(frozen=True, slots=True)
class Looked:
    """Which rows tell of the operations of some instances, for one version of the catalogue.

    Attributes:
        operations: their labels. rows: of the book. operation, side: of each row, the latter 0 for
            the canary's and 1 for the baseline's.
    """

    version: int
    operations: tuple[str, ...]
    rows: Ints
    operation: Ints
    side: Ints
