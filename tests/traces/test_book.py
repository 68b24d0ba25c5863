"""The book and what is told from it: exact at every time, bounded, and silent about the silent."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.rollout import Side
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Selector
from analyzer.traces import operations as names
from analyzer.traces.operations import Instances
from rollbackd.traces.book import LATE_S, SILENT_S, Busy, TraceBook
from rollbackd.traces.catalogue import Bounds, Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.fates import Fate
from rollbackd.traces.ledger import Ledger
from rollbackd.traces.otlp import decode
from tests.traces.building import NOW, Made, one_call, request, spans_by_operation

ID = ("pod", names.OPERATION)
BOTH = Instances(("pod",), [("canary",)], [("old",)])
ROOT, QUERY = "shop|server|GET /", "shop|client|SELECT items"


def write(book: TraceBook, spans: list[Made], at: float, pod: str = "old") -> None:
    made = request(spans, pod=pod)
    out = decode(made, book.catalogue, made.SerializeToString(), at)
    book.take(out.columns, at)
    book.fates[Fate.INVALID] += out.invalid


def settle(book: TraceBook, at: float) -> None:
    """Close the generation, and the empty one after it, so that all of it is counted."""
    book.turn(at)
    book.turn(at)


def ask(book: TraceBook, metric: str, grid: Grid, by: tuple[str, ...] = ID) -> Reply:
    (reply,) = TraceCounters(book).fetch([Query(Selector(metric), by)], grid)
    return reply


def series(book: TraceBook, metric: str, grid: Grid, by: tuple[str, ...] = ID) -> Series:
    reply = ask(book, metric, grid, by)
    assert isinstance(reply, Series), reply
    return reply


def test_counters_are_told_as_they_were_at_each_time() -> None:
    book = TraceBook(Catalogue())
    for i in range(4):
        write(book, one_call(calls=i), NOW + 10 * i)
        settle(book, NOW + 10 * i)
    told = series(book, names.SPANS, Grid(NOW - 10, 10.0, 5))
    values = dict(zip(told.keys, told.values, strict=True))
    np.testing.assert_equal(values["old", ROOT], [np.nan, 1, 2, 3, 4])
    np.testing.assert_equal(values["old", QUERY], [np.nan, 0, 1, 3, 6])
    calls = series(book, names.REPEATS, Grid(NOW, 10.0, 4))
    again = dict(zip(calls.keys, calls.values, strict=True))["old", ROOT]
    np.testing.assert_equal(again, [0, 0, 1, 3])


def test_buckets_are_cumulative_and_errors_are_told_by_type() -> None:
    book = TraceBook(Catalogue())
    write(book, [Made(end=0.004, failed=True, exception="KeyError"), Made(end=2.0)], NOW)
    settle(book, NOW)
    grid = Grid(NOW, 10.0, 1)
    told = series(book, names.DURATIONS, grid, (*ID, "le"))
    by_bound = dict(zip(told.bounds, told.values[:, 0], strict=True))
    assert [by_bound[bound] for bound in (0.003, 0.005, 1.5, 2.0, inf)] == [0, 1, 1, 2, 2]
    errors = series(book, names.ERRORS, grid, (*ID, names.KEY))
    assert errors.keys == (("old", ROOT, "KeyError"),)
    assert errors.values.tolist() == [[1.0]]


def test_a_process_that_is_silent_or_unknown_has_no_values() -> None:
    book = TraceBook(Catalogue())
    write(book, one_call(), NOW)
    settle(book, NOW)
    later = series(book, names.SPANS, Grid(NOW + SILENT_S + 1, 10.0, 1))
    assert np.isnan(later.values).all()
    nobody = Query(Selector(names.SPANS), ID, (("pod", frozenset({"other"})),))
    assert TraceCounters(book).fetch([nobody], Grid(NOW, 10.0, 1)) == [
        Missing(Absence.NO_SERIES, "no spans of these instances")
    ]
    wrong = ask(book, names.SPANS, Grid(NOW, 10.0, 1), ("upstream", names.OPERATION))
    assert isinstance(wrong, Missing)
    assert wrong.reason is Absence.INVALID


def test_details_tell_calls_errors_and_examples_of_both_sides() -> None:
    book = TraceBook(Catalogue())
    for _ in range(10):
        write(book, one_call(calls=1), NOW, "old")
        write(book, one_call(calls=10, failed=True), NOW, "canary")
    settle(book, NOW)
    counters = TraceCounters(book, lambda trace_id: f"http://see/{trace_id}")
    seen = counters.seen(BOTH)
    assert not isinstance(seen, Missing)
    assert spans_by_operation(seen) == {
        ROOT: (10, 10),
        QUERY: (100, 10),
    }
    detail = counters.detail(BOTH, ROOT)
    assert not isinstance(detail, Missing)
    assert detail.canary.calls[QUERY].often == pytest.approx(10)
    assert detail.canary.calls[QUERY].share == 1
    assert detail.baseline.calls[QUERY].often == pytest.approx(1)
    assert detail.canary.self_s == pytest.approx(0.02, rel=0.01)
    assert detail.canary.whole_s == pytest.approx(0.12, rel=0.01)
    assert detail.canary.errors == {"error": 1.0}
    sides = [e.side for e in detail.examples]
    assert sides.count(Side.BASELINE) == 1
    assert 1 <= sides.count(Side.CANARY) <= 3
    assert all(
        e.url == f"http://see/{e.trace_id}" and len(e.trace_id) == 32 for e in detail.examples
    )


def test_late_and_early_spans_are_counted_apart_and_never_evidence() -> None:
    book = TraceBook(Catalogue())
    write(book, [Made(failed=True), Made()], NOW + LATE_S + 1)
    write(book, [Made(failed=True)], NOW - LATE_S - 1)
    settle(book, NOW)
    assert book.fates[Fate.LATE] == 3
    assert book.fates[Fate.COUNTED] == 0


def test_what_cannot_wait_is_refused() -> None:
    book = TraceBook(Catalogue(), max_spans=3)
    write(book, [Made(), Made()], NOW)
    with pytest.raises(Busy):
        book.admit(2)
    assert book.fates[Fate.REFUSED] == 2
    settle(book, NOW)
    book.admit(3)


def test_processes_that_are_gone_make_room_and_leave_nothing_behind() -> None:
    book = TraceBook(Catalogue(bounds=Bounds(instances=2)), retention_s=60.0)
    later = NOW
    for generation in range(5):
        pods = [f"pod-{generation}-{i}" for i in range(2)]
        shift = later - NOW
        for pod in pods:
            spans = [Made(start=shift, end=shift + 0.1, failed=True, exception="KeyError")]
            write(book, spans, later, pod)
        settle(book, later)
        told = series(book, names.SPANS, Grid(later, 10.0, 1))
        assert {key[0] for key in told.keys} == set(pods)
        assert told.values.tolist() == [[1.0], [1.0]]
        errors = series(book, names.ERRORS, Grid(later, 10.0, 1), (*ID, names.KEY))
        assert errors.values.tolist() == [[1.0], [1.0]]
        later += 60.0 + SILENT_S + 1
        settle(book, later)
    assert book.catalogue.rows == 2
    assert book.fates[Fate.COUNTED] == 10


additions = st.lists(
    st.tuples(st.floats(0, 50), st.dictionaries(st.integers(0, 7), st.integers(1, 9), max_size=4)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(additions, st.floats(10, 100))
def test_a_ledger_tells_every_time_what_was_added_until_then(
    added: list[tuple[float, dict[int, int]]], retention: float
) -> None:
    added.sort(key=lambda pair: pair[0])
    ledger = Ledger(2, retention)
    for row in range(4):
        ledger.begin(row, 0.0)
    for at, amounts in added:
        place = np.array(sorted(amounts), dtype=np.int64)
        ledger.add(at, place, np.array([float(amounts[p]) for p in sorted(amounts)]))
    times = np.linspace(0, 60, 7)
    told = ledger.at(range(4), times, slice(0, 2))
    newest = added[-1][0]
    for column, time in enumerate(times):
        until = [amounts for at, amounts in added if at <= time]
        known = any(newest - retention <= at <= time for at, _ in added)
        for row in range(4):
            for counter in range(2):
                wanted = sum(a.get(2 * row + counter, 0) for a in until)
                got = told[row, counter, column]
                assert got == wanted if known else np.isnan(got) or got == wanted
