"""Counters that are 0, not missing, where an instance never did a thing.

That an operation is not asked for any more, or a call is not made any more, shows in nothing that is
sent. It is told only of processes that do send spans, and never where what was sent may not have
been counted because a bound was reached.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.traces import operations as names
from rollbackd.traces.answers import Answers
from rollbackd.traces.book import SILENT_S, KeyKind, TraceBook
from rollbackd.traces.catalogue import Instance
from rollbackd.traces.ledger import Floats, Ints, Ledger
from rollbackd.traces.measures import ASSEMBLED, KEY_SPANS, SPANS
from rollbackd.traces.semantics import OTHER

COUNTER = {
    names.REQUESTED: SPANS,
    names.ENTRIES: SPANS,
    names.CALL_POSSIBLE: ASSEMBLED,
    names.CALL_MADE: KEY_SPANS,
}
"""What is answered here, and from which counter."""
NEVER, UNKNOWN = -1, -2
"""Instead of a row: it never happened; it cannot be told whether it did."""

KEPT_ANSWERS = 64
"""Layouts that are kept from tick to tick: families ask the same again."""

Restrict = Mapping[str, frozenset[str]]
_Term = tuple[tuple[str, ...], int, int]
"""Key, place of the instance among those selected, row."""


class _Who(NamedTuple):
    """An instance with its values of the labels that are asked for."""

    id: tuple[str, ...]
    instance: Instance


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the ledger, some of them more than once. ``position``: of each among the distinct."""

    distinct: Ints
    position: Ints

    @classmethod
    def of(cls, rows: Ints) -> "_Rows":
        """Find out which are the same."""
        distinct, position = np.unique(rows, return_inverse=True)
        return cls(distinct, position)

    def told(self, ledger: Ledger, counter: int, times: Floats) -> Floats:
        """Return a counter of each row, (rows, times); 0 before a row was first heard of."""
        told = ledger.at(self.distinct, times, slice(counter, counter + 1))[:, 0]
        told[np.isnan(told)] = 0.0
        # what is older than the ledger goes back is part of its sums, and not known by itself
        told[:, times < ledger.oldest] = np.nan
        values: Floats = told[self.position]
        return values


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a question asks for and where it stands; arrays are parallel, one entry a term.

    Attributes:
        keys: of the answer, unique. owner: which key a term is part of.
        instances: who tells. teller: which of them tells a term.
        row: of the ledger, NEVER or UNKNOWN; of ENTRIES, which one of the entry kinds.
        rows: those of them that are of the ledger.
        asking: whose the rows are by which instances are asked for something; entries: these.
    """

    keys: tuple[tuple[str, ...], ...]
    owner: Ints
    instances: tuple[Instance, ...]
    teller: Ints
    row: Ints
    rows: _Rows
    asking: Ints
    entries: _Rows

    def values(self, ledger: Ledger, counter: int, times: Floats) -> Floats:
        """Return each term's counter, (terms, times); NaN where it cannot be told."""
        there = self.row >= 0
        values = np.zeros((len(self.row), len(times)))
        values[self.row == UNKNOWN] = np.nan
        values[there] = self.rows.told(ledger, counter, times)
        return values

    def asked(self, ledger: Ledger, times: Floats) -> Floats:
        """Return what each term's instance was asked for in all, (terms, times)."""
        sums = np.zeros((len(self.instances), len(times)))
        np.add.at(sums, self.asking, self.entries.told(ledger, SPANS, times))
        return sums[self.teller]

    def summed(self, values: Floats, times: Floats) -> Floats:
        """Return the sum of each key's terms; NaN while none of its instances tells anything."""
        first = np.array([i.first for i in self.instances])[self.teller]
        seen = np.array([i.seen for i in self.instances])[self.teller]
        sums = values
        if len(self.owner) > len(self.keys):  # else each key has one term, in the same order
            sums = np.zeros((len(self.keys), len(times)))
            np.add.at(sums, self.owner, values)
            terms, first = first, np.full(len(self.keys), np.inf)
            np.minimum.at(first, self.owner, terms)
            terms, seen = seen, np.zeros(len(self.keys))
            np.maximum.at(seen, self.owner, terms)
        telling = (times >= first[:, None]) & (times <= SILENT_S + seen[:, None])
        return np.where(telling, sums, np.nan)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A layout that holds for one restriction, as long as the book knows the same things."""

    restrict: object
    version: object
    layout: _Layout


class Absences:
    """Answers queries for such counters. The caller holds the book's lock.

    Args:
        book: what spans told.
    """

    def __init__(self, book: TraceBook) -> None:
        self._book = book
        self._kept: Answers[_Kept] = Answers(KEPT_ANSWERS)

    def answer(self, query: Query, grid: Grid) -> Reply:
        """Return the series of every wanted operation or call of every instance that sends."""
        metric, part = query.selector.metric, query.by[-1]
        if part not in dict(query.restrict):
            return Missing(Absence.INVALID, f"{metric} must be asked for with the {part}s wanted")
        layout = self._laid_out(query)
        if not layout.keys:
            return Missing(Absence.NO_SERIES, "no spans of these instances")
        if metric == names.ENTRIES:
            values = layout.asked(self._book.rows, grid.times)
        else:
            ledger = self._book.keys if metric == names.CALL_MADE else self._book.rows
            values = layout.values(ledger, COUNTER[metric], grid.times)
        return Series(query.by, layout.keys, layout.summed(values, grid.times), grid)

    def _laid_out(self, query: Query) -> _Layout:
        """Return the layout of a question, as it was before if nothing changed."""
        book, made = self._book, query.selector.metric == names.CALL_MADE
        version = (book.catalogue.version, book.keys_version if made else 0)
        key = (made, id(query.restrict))
        kept = self._kept.get(key)
        if kept is None or kept.restrict is not query.restrict or kept.version != version:
            kept = _Kept(query.restrict, version, self._lay_out(query, made))
            self._kept.put(key, kept)
        return kept.layout

    def _lay_out(self, query: Query, made: bool) -> _Layout:
        *labels, part = query.by
        restrict = dict(query.restrict)
        wanted = restrict.pop(part)
        selected = self._selected(labels, restrict)
        terms = (
            self._of_calls(selected, wanted, made=made)
            if part == names.CALL
            else self._of_requests(selected, wanted)
        )
        place: dict[tuple[str, ...], int] = {}
        found = [(place.setdefault(key, len(place)), who, row) for key, who, row in terms]
        owner, teller, row = np.array(found, dtype=np.int64).reshape(-1, 3).T
        asked = [self._entries(who.instance) for who in selected]
        return _Layout(
            tuple(place),
            owner.copy(),
            tuple(who.instance for who in selected),
            teller.copy(),
            row.copy(),
            _Rows.of(row[row >= 0]),
            np.repeat(np.arange(len(asked)), [len(rows) for rows in asked]),
            _Rows.of(np.array([row for rows in asked for row in rows], dtype=np.int64)),
        )

    def _selected(self, labels: Sequence[str], restrict: Restrict) -> list[_Who]:
        known = self._book.catalogue.names
        if any(label not in known for label in labels):
            return []
        places = [known.index(label) for label in labels]
        every = (
            _Who(tuple(instance.labels[p] for p in places), instance)
            for instance in self._book.instances()
        )
        return [
            who
            for who in every
            if all(v in restrict.get(x, (v,)) for x, v in zip(labels, who.id, strict=True))
        ]

    def _entries(self, instance: Instance) -> list[int]:
        """Return the rows of everything an instance is asked for."""
        operations = self._book.catalogue.operations
        pairs = instance.by_operation.items()
        return [row for number, row in pairs if operations[number].kind in names.ENTRY_KINDS]

    def _of_requests(self, selected: Sequence[_Who], wanted: frozenset[str]) -> Iterator[_Term]:
        """Yield the row of each operation that an instance's service can be asked for."""
        catalogue = self._book.catalogue
        of_service: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for operation in sorted(wanted):
            number = catalogue.number_of(operation)
            service = names.service_of(operation)
            of_service[service].append((operation, NEVER if number is None else number))
        absent = UNKNOWN if catalogue.crowded else NEVER
        for i, (id_, instance) in enumerate(selected):
            if not self._entries(instance):
                continue
            for operation, number in of_service[instance.service]:
                yield (*id_, operation), i, instance.by_operation.get(number, absent)

    def _of_calls(
        self, selected: Sequence[_Who], wanted: frozenset[str], *, made: bool
    ) -> Iterator[_Term]:
        """Yield the row of each call, or of the calling operation, of instances that have it."""
        book = self._book
        by_caller: dict[int | None, list[tuple[str, str]]] = defaultdict(list)
        for call in sorted(wanted):
            caller, _, called = call.partition(names.ARROW)
            by_caller[book.catalogue.number_of(caller)].append((call, called))
        for i, (id_, instance) in enumerate(selected):
            for number, row in instance.by_operation.items():
                calls = by_caller.get(number, ())
                known = dict(book.keys_of(row, KeyKind.CALL)) if made and calls else {}
                # among more calls than are told apart, one cannot be missed
                absent = UNKNOWN if book.keys_crowded or OTHER in known else NEVER
                for call, called in calls:
                    yield (*id_, call), i, known.get(called, absent) if made else row
