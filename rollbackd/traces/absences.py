"""Counters that are 0, not missing, where an instance never did a thing.

That an operation is not asked for any more, or a call is not made any more, shows in nothing that is
sent. It is told only of processes that do send spans, and never where what was sent may not have
been counted because a bound was reached.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.traces import operations as names
from rollbackd.traces.book import SILENT_S, KeyKind, TraceBook
from rollbackd.traces.catalogue import Instance
from rollbackd.traces.ledger import Floats, Ledger
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

Restrict = Mapping[str, frozenset[str]]


class _Who(NamedTuple):
    """An instance with its values of the labels that are asked for."""

    id: tuple[str, ...]
    instance: Instance


class _Term(NamedTuple):
    """A row of a ledger that is part of the value of a key."""

    key: tuple[str, ...]
    instance: Instance
    row: int


class Absences:
    """Answers queries for such counters. The caller holds the book's lock.

    Args:
        book: what spans told.
    """

    def __init__(self, book: TraceBook) -> None:
        self._book = book

    def answer(self, query: Query, grid: Grid) -> Reply:
        """Return the series of every wanted operation or call of every instance that sends."""
        metric, restrict = query.selector.metric, dict(query.restrict)
        *labels, part = query.by
        wanted = restrict.pop(part, None)
        if wanted is None:
            return Missing(Absence.INVALID, f"{metric} must be asked for with the {part}s wanted")
        terms = list(self._terms(metric, self._selected(labels, restrict), wanted))
        if not terms:
            return Missing(Absence.NO_SERIES, "no spans of these instances")
        ledger = self._book.keys if metric == names.CALL_MADE else self._book.rows
        place = {key: i for i, key in enumerate(dict.fromkeys(term.key for term in terms))}
        values = _values(terms, ledger, COUNTER[metric], grid.times)
        return Series(query.by, tuple(place), _summed(terms, values, place, grid.times), grid)

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

    def _terms(
        self, metric: str, selected: Sequence[_Who], wanted: frozenset[str]
    ) -> Iterator[_Term]:
        if metric in {names.CALL_MADE, names.CALL_POSSIBLE}:
            return self._of_calls(selected, wanted, made=metric == names.CALL_MADE)
        return self._of_requests(selected, wanted, every=metric == names.ENTRIES)

    def _of_requests(
        self, selected: Sequence[_Who], wanted: frozenset[str], *, every: bool
    ) -> Iterator[_Term]:
        """Yield the row of each operation that an instance's service can be asked for.

        Args:
            selected: instances.
            wanted: operations.
            every: yield the rows of all that the instance is asked for instead.
        """
        catalogue = self._book.catalogue
        of_service: dict[str, list[str]] = defaultdict(list)
        for operation in sorted(wanted):
            of_service[names.service_of(operation)].append(operation)
        absent = UNKNOWN if catalogue.crowded else NEVER
        entries = {
            number
            for number, operation in enumerate(catalogue.operations)
            if operation.kind in names.ENTRY_KINDS
        }
        for id_, instance in selected:
            asked = [row for n, row in instance.by_operation.items() if n in entries]
            for operation in of_service[instance.service] if asked else ():
                number = catalogue.number_of(operation)
                own = [instance.by_operation.get(-1 if number is None else number, absent)]
                for row in asked if every else own:
                    yield _Term((*id_, operation), instance, row)

    def _of_calls(
        self, selected: Sequence[_Who], wanted: frozenset[str], *, made: bool
    ) -> Iterator[_Term]:
        """Yield the row of each call, or of the calling operation, of instances that have it."""
        book = self._book
        by_caller: dict[int | None, list[tuple[str, str]]] = defaultdict(list)
        for call in sorted(wanted):
            caller, _, called = call.partition(names.ARROW)
            by_caller[book.catalogue.number_of(caller)].append((call, called))
        for id_, instance in selected:
            for number, row in instance.by_operation.items():
                calls = by_caller.get(number, ())
                known = dict(book.keys_of(row, KeyKind.CALL)) if made and calls else {}
                # among more calls than are told apart, one cannot be missed
                absent = UNKNOWN if book.keys_crowded or OTHER in known else NEVER
                for call, called in calls:
                    yield _Term((*id_, call), instance, known.get(called, absent) if made else row)


def _values(terms: Sequence[_Term], ledger: Ledger, counter: int, times: Floats) -> Floats:
    """Return each term's counter, (terms, times); NaN where it cannot be told."""
    rows = np.array([term.row for term in terms])
    there = rows >= 0
    values = np.zeros((len(terms), len(times)))
    values[rows == UNKNOWN] = np.nan
    distinct, position = np.unique(rows[there], return_inverse=True)
    told = np.nan_to_num(ledger.at(distinct, times, slice(counter, counter + 1))[:, 0])
    # what is older than the ledger goes back is part of its sums, and not known by itself
    told[:, times < ledger.oldest] = np.nan
    values[there] = told[position]
    return values


def _summed(
    terms: Sequence[_Term], values: Floats, place: Mapping[tuple[str, ...], int], times: Floats
) -> Floats:
    """Return the sum of each key's terms; NaN while none of its instances tells anything."""
    owner = np.array([place[term.key] for term in terms])
    sums = np.zeros((len(place), len(times)))
    np.add.at(sums, owner, values)
    first = np.full(len(place), np.inf)
    np.minimum.at(first, owner, [term.instance.first for term in terms])
    seen = np.zeros(len(place))
    np.maximum.at(seen, owner, [term.instance.seen for term in terms])
    telling = (times >= first[:, None]) & (times <= SILENT_S + seen[:, None])
    return np.where(telling, sums, np.nan)
