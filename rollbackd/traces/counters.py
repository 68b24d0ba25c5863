"""Answers to the analyzer's questions, from the book: counters on a grid, and what is behind them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyzer.rollout import Side
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Restriction, Series
from analyzer.traces import operations as names
from analyzer.traces.operations import (
    Call,
    Detail,
    InstanceId,
    Instances,
    Seen,
    SideDetail,
    TraceExample,
)
from rollbackd.traces.absences import COUNTER, Absences
from rollbackd.traces.answers import Answers
from rollbackd.traces.book import KeyKind, TraceBook
from rollbackd.traces.catalogue import Instance
from rollbackd.traces.ledger import Floats
from rollbackd.traces.measures import (
    ALL_TIME,
    ASSEMBLED,
    BOUNDS,
    DEPTH,
    DURATIONS,
    FAILED,
    KEY_EVENTS,
    KEY_SPANS,
    REPEATS,
    RETRIED,
    SELF_TIME,
    SELF_TIMES,
    SPANS,
)
from rollbackd.traces.selection import Found, Keyed, Looked

PLAIN: Final = {
    names.SPANS: SPANS,
    names.FAILED: FAILED,
    names.ASSEMBLED: ASSEMBLED,
    names.RETRIED: RETRIED,
    names.REPEATS: REPEATS,
}
BY_KEY: Final = {
    names.ERRORS: KeyKind.ERROR,
    names.CALLERS_BY_CALLED: KeyKind.CALL,
}
BUCKETED: Final = {names.DURATIONS: DURATIONS, names.SELF_TIMES: SELF_TIMES}
LE: Final = "le"
CANARY_EXAMPLES, BASELINE_EXAMPLES = 3, 1

Link = Callable[[str], str]
"""From a trace id to an address people can open, "" when none is configured."""


KEPT_ANSWERS: Final = 256
"""Selections of rows that are kept from tick to tick: families ask the same again."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A selection that holds for one restriction and one version of the catalogue."""

    labels: tuple[str, ...]
    restrict: Restriction
    version: int
    found: "Found | Missing"


class TraceCounters:
    """The book as a source of counters and as a source of traces. Thread-safe.

    Args:
        book: what spans told. link: makes addresses of trace ids.
    """

    def __init__(self, book: TraceBook, link: Link = lambda _: "") -> None:
        self._book = book
        self._link = link
        self._kept: Answers[_Kept] = Answers(KEPT_ANSWERS)
        self._looked: Answers[Looked] = Answers(KEPT_ANSWERS)
        self._absences = Absences(book)
        self._by_labels: dict[tuple[str, ...], tuple[int, dict[InstanceId, list[Instance]]]] = {}

    # MetricSource

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer queries for the counters of operations."""
        with self._book.lock:
            return [self._answer(query, grid) for query in queries]

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, query: Query, grid: Grid) -> Reply:
        if query.selector.metric in COUNTER:
            return self._absences.answer(query, grid)
        labels = tuple(label for label in query.by if label not in {LE, names.KEY})
        found = self._selected(labels, query)
        if isinstance(found, Missing):
            return found
        metric = query.selector.metric
        if metric in PLAIN:
            values = self._values(found, grid.times, slice(PLAIN[metric], PLAIN[metric] + 1))
            series = Series(query.by, found.keys, values[:, 0], grid)
        elif metric == names.STEPS:
            values = self._values(found, grid.times, slice(ASSEMBLED, DEPTH + 1))
            series = Series(query.by, found.keys, values[:, -1] - values[:, 0], grid)
        elif metric in BUCKETED:
            series = self._buckets(query, found, grid, BUCKETED[metric])
        elif metric in BY_KEY:
            series = self._by_key(query, found, grid, BY_KEY[metric])
        else:
            return Missing(Absence.INVALID, f"traces have no {metric}")
        return series

    def _selected(self, labels: tuple[str, ...], query: Query) -> Found | Missing:
        """Return the rows that answer a query, as they were found before if nothing changed."""
        key = (labels, id(query.restrict))
        version = self._book.catalogue.version
        kept = self._kept.get(key)
        if kept is None or kept.restrict is not query.restrict or kept.version != version:
            found = self._alike(labels, query.restrict)
            if found is None:
                found = self._find(labels, dict(query.restrict))
            kept = _Kept(labels, query.restrict, version, found)
            self._kept.put(key, kept)
        return kept.found

    def _alike(self, labels: tuple[str, ...], restrict: Restriction) -> Found | Missing | None:
        """Return what was found for somebody else who asked for the same."""
        version = self._book.catalogue.version
        same = (
            kept.found
            for kept in self._kept
            if kept.version == version and kept.labels == labels and kept.restrict == restrict
        )
        return next(same, None)

    def _find(
        self, labels: tuple[str, ...], restrict: Mapping[str, frozenset[str]]
    ) -> Found | Missing:
        catalogue = self._book.catalogue
        unknown = [x for x in labels if x != names.OPERATION and x not in catalogue.names]
        if unknown:
            have = ", ".join(catalogue.names)
            what = f"spans are not known by {', '.join(unknown)}, only by {have}"
            return Missing(Absence.INVALID, what)
        wanted = self._numbered(restrict.get(names.OPERATION))
        place: dict[tuple[str, ...], int] = {}
        rows: list[tuple[int, int, int]] = []
        instances: list[Instance] = []
        for instance in self._book.instances():
            of = dict(zip(catalogue.names, instance.labels, strict=True))
            if any(label in of and of[label] not in some for label, some in restrict.items()):
                continue
            parts = [of.get(label) for label in labels]
            for number, row in instance.by_operation.items():
                operation = wanted.get(number)
                if operation is not None:
                    key = tuple([operation if part is None else part for part in parts])
                    rows.append((row, place.setdefault(key, len(place)), len(instances)))
            instances.append(instance)
        if not rows:
            return Missing(Absence.NO_SERIES, "no spans of these instances")
        row, owner, teller = np.array(rows, dtype=np.int64).T.copy()
        return Found(tuple(place), row, owner, tuple(instances), teller)

    def _numbered(self, wanted: frozenset[str] | None) -> dict[int, str]:
        """Return the labels of the operations that are wanted by their numbers; None: of all."""
        catalogue = self._book.catalogue
        if wanted is None:
            return {n: operation.label for n, operation in enumerate(catalogue.operations)}
        numbers = ((catalogue.number_of(label), label) for label in wanted)
        return {number: label for number, label in numbers if number is not None}

    def _values(self, found: Found, times: Floats, columns: slice) -> Floats:
        """Return counters by key, (keys, counters, times); NaN while its process is silent."""
        values = found.summed(self._book.rows.at(found.rows, times, columns))
        silent = times > found.silent_after()[:, None]
        if silent.any():
            values[np.broadcast_to(silent[:, None, :], values.shape)] = np.nan
        return values

    def _buckets(self, query: Query, found: Found, grid: Grid, columns: slice) -> Series:
        values = self._values(found, grid.times, columns)
        np.cumsum(values, axis=1, out=values)
        flat = values.reshape(-1, grid.count)
        return Series(query.by, found.keys, flat, grid, BOUNDS)

    def _by_key(self, query: Query, found: Found, grid: Grid, kind: KeyKind) -> Series:
        keyed = found.keyed.get(kind)
        if keyed is None or keyed.version != self._book.keys_version:
            keyed = found.keyed[kind] = self._keyed(found, kind)
        values = np.zeros((len(keyed.keys), grid.count))
        several = self._book.keys.at(keyed.numbers, grid.times, slice(KEY_SPANS, KEY_EVENTS))
        np.add.at(values, keyed.owner, np.nan_to_num(several[:, 0]))
        return Series(query.by, keyed.keys, values, grid)

    def _keyed(self, found: Found, kind: KeyKind) -> Keyed:
        entries = [
            ((*found.keys[owner], text), number)
            for row, owner in zip(found.rows.tolist(), found.owner.tolist(), strict=True)
            for text, number in self._book.keys_of(row, kind)
        ]
        place = {key: i for i, key in enumerate(dict.fromkeys(key for key, _ in entries))}
        return Keyed(
            self._book.keys_version,
            tuple(place),
            np.array([number for _, number in entries], dtype=np.int64),
            np.array([place[key] for key, _ in entries], dtype=np.int64),
        )

    # TraceSource

    def seen(self, instances: Instances) -> Seen | Missing:
        """Return the operations of some instances and how many spans each side sent."""
        with self._book.lock:
            looked = self._look(instances)
            if isinstance(looked, Missing):
                return looked
            if not looked.operations and self._book.caveats:
                return Missing(Absence.PARTIAL, "; ".join(sorted(self._book.caveats)))
            now = self._book.rows.now(looked.rows, slice(SPANS, ASSEMBLED + 1))
            count = len(looked.operations)
            cell = 2 * looked.operation + looked.side
            spans: Floats = np.bincount(cell, now[:, SPANS], 2 * count).astype(np.float64)
            whole = np.where(looked.side == 1, now[:, ASSEMBLED], 0.0)
            assembled = np.bincount(looked.operation, whole, count).astype(np.float64)
            return Seen(looked.operations, spans[0::2], spans[1::2], assembled)

    def _look(self, instances: Instances) -> Looked | Missing:
        """Return the rows of some instances, as they were if nothing changed."""
        both = frozenset(instances.canary), frozenset(instances.baseline)
        key = (instances.labels, *both)
        version = self._book.catalogue.version
        looked = self._looked.get(key)
        if looked is None or looked.version != version:
            sides = self._sides(instances)
            if isinstance(sides, Missing):
                return sides
            place: dict[int, int] = {}
            found = [
                (row, place.setdefault(number, len(place)), side)
                for side, of in enumerate((sides[Side.CANARY], sides[Side.BASELINE]))
                for instance in of
                for number, row in instance.by_operation.items()
            ]
            rows, operation, side = np.array(found, dtype=np.int64).reshape(-1, 3).T.copy()
            operations = self._book.catalogue.operations
            told = tuple(operations[n].label for n in place)
            looked = Looked(version, told, rows, operation, side)
            self._looked.put(key, looked)
        return looked

    def detail(self, instances: Instances, operation: str) -> Detail | Missing:
        """Return what both sides did in one operation, with examples."""
        with self._book.lock:
            sides = self._sides(instances)
            if isinstance(sides, Missing):
                return sides
            number = self._book.catalogue.number_of(operation)
            rows = {
                side: [i.by_operation[number] for i in of if number in i.by_operation]
                for side, of in sides.items()
            }
            worst = self._book.examples.worst(rows[Side.CANARY], CANARY_EXAMPLES)
            usual = self._book.examples.ordinary(rows[Side.BASELINE], BASELINE_EXAMPLES)
            shown = [(Side.CANARY, e) for e in worst] + [(Side.BASELINE, e) for e in usual]
            return Detail(
                self._side(rows[Side.CANARY]),
                self._side(rows[Side.BASELINE]),
                tuple(
                    TraceExample(side, operation, e.trace_id, self._link(e.trace_id), e.span_id)
                    for side, e in shown
                ),
                tuple(sorted(self._book.caveats)),
            )

    def _sides(self, instances: Instances) -> dict[Side, list[Instance]] | Missing:
        known = self._book.catalogue.names
        unknown = [label for label in instances.labels if label not in known]
        if unknown:
            what = f"spans are not known by {', '.join(unknown)}, only by {', '.join(known)}"
            return Missing(Absence.INVALID, what)
        by_id = self._instances_by(instances.labels)
        both = {Side.CANARY: instances.canary, Side.BASELINE: instances.baseline}
        return {side: [i for id_ in ids for i in by_id.get(id_, ())] for side, ids in both.items()}

    def _instances_by(self, labels: tuple[str, ...]) -> Mapping[InstanceId, list[Instance]]:
        """Return the instances by their values of some labels, as they were if nothing changed."""
        catalogue = self._book.catalogue
        version, found = self._by_labels.get(labels, (-1, {}))
        if version != catalogue.version:
            places = [catalogue.names.index(label) for label in labels]
            found = {}
            for instance in self._book.instances():
                found.setdefault(tuple(instance.labels[p] for p in places), []).append(instance)
            self._by_labels[labels] = (catalogue.version, found)
        return found

    def _side(self, rows: Sequence[int]) -> SideDetail:
        total = self._book.rows.now(rows).sum(axis=0)
        spans, assembled = float(total[SPANS]), float(total[ASSEMBLED])
        each = 1.0 / assembled if assembled else np.nan
        calls: dict[str, tuple[float, float]] = {}
        errors: dict[str, float] = {}
        for row in rows:
            for text, number in self._book.keys_of(row, KeyKind.CALL):
                callers, called = self._book.keys.now([number])[0].tolist()
                before = calls.get(text, (0.0, 0.0))
                calls[text] = (before[0] + callers, before[1] + called)
            for text, number in self._book.keys_of(row, KeyKind.ERROR):
                count = float(self._book.keys.now([number])[0, KEY_SPANS])
                errors[text] = errors.get(text, 0.0) + count
        return SideDetail(
            spans=spans,
            assembled=assembled,
            self_s=float(total[SELF_TIME]) * each,
            whole_s=float(total[ALL_TIME]) * each,
            depth=float(total[DEPTH]) * each,
            calls={t: Call(c * each, n * each) for t, (c, n) in calls.items()}
            if assembled
            else {},
            errors={text: count / spans for text, count in errors.items()} if spans else {},
        )
