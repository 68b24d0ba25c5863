"""Answers to the analyzer's questions, from the book: counters on a grid, and what is behind them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyzer.rollout import Side
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
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
from rollbackd.traces.book import SILENT_S, KeyKind, TraceBook
from rollbackd.traces.catalogue import Instance
from rollbackd.traces.ledger import Floats, Ints
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
LE_TEXTS: Final = tuple("+Inf" if np.isinf(b) else f"{b:g}" for b in BOUNDS)
CANARY_EXAMPLES, BASELINE_EXAMPLES = 3, 1

Link = Callable[[str], str]
"""From a trace id to an address people can open, "" when none is configured."""


KEPT_ANSWERS: Final = 256
"""Selections of rows that are kept from tick to tick: families ask the same again."""

Keys = tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class _Found:
    """Rows of the book that answer a query, and whose they are.

    Attributes:
        keys: without what the metric adds. rows: of the book; owner: which key each belongs to.
        instances: who tells of each key. bucketed: the keys with every bound, once asked for.
    """

    keys: Keys
    rows: Ints
    owner: Ints
    instances: tuple[tuple[Instance, ...], ...]
    bucketed: Keys = ()

    def silent_after(self) -> Floats:
        """Return until when each key's values mean something."""
        last = [of[0].seen if len(of) == 1 else max(i.seen for i in of) for of in self.instances]
        return SILENT_S + np.array(last)

    def with_bounds(self) -> Keys:
        """Return the keys with every bound; the same object each time."""
        if not self.bucketed:
            self.bucketed = tuple((*key, le) for key in self.keys for le in LE_TEXTS)
        return self.bucketed


@dataclass(frozen=True, slots=True)
class _Kept:
    """A selection that holds for one restriction and one version of the catalogue."""

    restrict: object
    version: int
    found: "_Found | Missing"


class TraceCounters:
    """The book as a source of counters and as a source of traces. Thread-safe.

    Args:
        book: what spans told. link: makes addresses of trace ids.
    """

    def __init__(self, book: TraceBook, link: Link = lambda _: "") -> None:
        self._book = book
        self._link = link
        self._kept: dict[object, _Kept] = {}
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

    def _selected(self, labels: tuple[str, ...], query: Query) -> _Found | Missing:
        """Return the rows that answer a query, as they were found before if nothing changed."""
        key = (labels, id(query.restrict))
        version = self._book.catalogue.version
        kept = self._kept.get(key)
        if kept is None or kept.restrict is not query.restrict or kept.version != version:
            if len(self._kept) >= KEPT_ANSWERS:
                self._kept.clear()
            found = self._find(labels, dict(query.restrict))
            kept = self._kept[key] = _Kept(query.restrict, version, found)
        return kept.found

    def _find(
        self, labels: tuple[str, ...], restrict: Mapping[str, frozenset[str]]
    ) -> _Found | Missing:
        catalogue = self._book.catalogue
        unknown = [x for x in labels if x != names.OPERATION and x not in catalogue.names]
        if unknown:
            have = ", ".join(catalogue.names)
            what = f"spans are not known by {', '.join(unknown)}, only by {have}"
            return Missing(Absence.INVALID, what)
        wanted = restrict.get(names.OPERATION)
        place: dict[tuple[str, ...], int] = {}
        rows: list[tuple[int, int]] = []
        instances: list[list[Instance]] = []
        for instance in self._book.instances():
            of = dict(zip(catalogue.names, instance.labels, strict=True))
            if any(label in of and of[label] not in some for label, some in restrict.items()):
                continue
            for number, row in instance.by_operation.items():
                operation = catalogue.operations[number].label
                if wanted is None or operation in wanted:
                    key = tuple(of.get(label, operation) for label in labels)
                    owner = place.setdefault(key, len(place))
                    if owner == len(instances):
                        instances.append([])
                    rows.append((row, owner))
                    instances[owner].append(instance)
        if not rows:
            return Missing(Absence.NO_SERIES, "no spans of these instances")
        both = np.array(rows, dtype=np.int64)
        return _Found(tuple(place), both[:, 0], both[:, 1], tuple(map(tuple, instances)))

    def _values(self, found: _Found, times: Floats, columns: slice) -> Floats:
        """Return counters by key, (keys, counters, times); NaN while its process is silent."""
        values = self._book.rows.at(found.rows, times, columns)
        if len(found.rows) == len(found.keys):
            out = values
        else:
            out = np.full((len(found.keys), *values.shape[1:]), np.nan)
            for i, one in zip(found.owner.tolist(), values, strict=True):
                out[i] = np.where(np.isnan(out[i]), one, out[i] + np.nan_to_num(one))
        silent = times > found.silent_after()[:, None]
        out[np.broadcast_to(silent[:, None, :], out.shape)] = np.nan
        return out

    def _buckets(self, query: Query, found: _Found, grid: Grid, columns: slice) -> Series:
        values = np.cumsum(self._values(found, grid.times, columns), axis=1)
        keys = found.with_bounds()
        return Series(query.by, keys, values.reshape(len(keys), grid.count), grid)

    def _by_key(self, query: Query, found: _Found, grid: Grid, kind: KeyKind) -> Series:
        entries = [
            ((*found.keys[owner], text), number)
            for row, owner in zip(found.rows.tolist(), found.owner.tolist(), strict=True)
            for text, number in self._book.keys_of(row, kind)
        ]
        keys = tuple(dict.fromkeys(key for key, _ in entries))
        place = {key: i for i, key in enumerate(keys)}
        values = np.zeros((len(keys), grid.count))
        several = self._book.keys.at(
            [n for _, n in entries], grid.times, slice(KEY_SPANS, KEY_EVENTS)
        )
        owner = np.array([place[key] for key, _ in entries], dtype=np.intp)
        np.add.at(values, owner, np.nan_to_num(several[:, 0]))
        return Series(query.by, keys, values, grid)

    # TraceSource

    def seen(self, instances: Instances) -> Sequence[Seen] | Missing:
        """Return the operations of some instances and how many spans each side sent."""
        with self._book.lock:
            sides = self._sides(instances)
            if isinstance(sides, Missing):
                return sides
            counts: dict[int, list[float]] = {}
            for i, of in enumerate((sides[Side.CANARY], sides[Side.BASELINE])):
                pairs = [pair for instance in of for pair in instance.by_operation.items()]
                now = self._book.rows.now([row for _, row in pairs])[:, [SPANS, ASSEMBLED]]
                for (number, _), (spans, whole) in zip(pairs, now.tolist(), strict=True):
                    sums = counts.setdefault(number, [0.0, 0.0, 0.0])
                    sums[i] += spans
                    sums[2] += whole * i
            operations = self._book.catalogue.operations
            if not counts and self._book.caveats:
                return Missing(Absence.PARTIAL, "; ".join(sorted(self._book.caveats)))
            return [Seen(operations[n].label, *sums) for n, sums in counts.items()]

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
