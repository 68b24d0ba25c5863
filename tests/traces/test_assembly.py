"""Parents and children: self times, calls and depths as a plain reference finds them, whatever comes."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rollbackd.traces.assembly import MOST_DEEP, Counts, assemble
from rollbackd.traces.measures import (
    ALL_TIME,
    ASSEMBLED,
    COUNTERS,
    DEPTH,
    DURATIONS,
    FAILED,
    REPEATS,
    RETRIED,
    SELF_TIME,
    SELF_TIMES,
    SPANS,
)
from rollbackd.traces.spans import Fields, SpanColumns

MS = 1_000_000


@dataclass(frozen=True)
class One:
    """A span by small numbers; times in milliseconds."""

    span: int
    parent: int
    start: int
    end: int
    row: int = 0
    failed: bool = False
    trace: int = 1


def columns(spans: list[One]) -> SpanColumns:
    fields = Fields(
        [s.trace.to_bytes(16, "big") for s in spans],
        [s.span.to_bytes(8, "big") for s in spans],
        [s.parent.to_bytes(8, "big") for s in spans],
        [(1000 + s.start) * MS for s in spans],
        [(1000 + s.end) * MS for s in spans],
        [],
        [],
    )
    errors = [(i, "error") for i, s in enumerate(spans) if s.failed]
    return SpanColumns.of(fields, [s.row for s in spans], errors)


def counted(
    ripe: list[One], *, older: list[One] | None = None, newer: list[One] | None = None
) -> Counts:
    return assemble(columns(older or []), columns(ripe), columns(newer or []), longest_s=10.0)


def table(counts: Counts, rows: int = 4) -> NDArray[np.float64]:
    out = np.zeros(rows * COUNTERS)
    out[counts.place] = counts.amount
    return out.reshape(rows, COUNTERS)


def test_children_that_overlap_are_counted_once_in_the_time() -> None:
    spans = [One(1, 0, 0, 100), One(2, 1, 10, 40, 1), One(3, 1, 30, 60, 1), One(4, 1, 80, 90, 2)]
    counts = counted(spans)
    root = table(counts)[0]
    assert root[SELF_TIME] == pytest.approx(0.040)
    assert root[ALL_TIME] == pytest.approx(0.100)
    assert (root[REPEATS], root[DEPTH]) == (1, 2)
    assert counts.calls.tolist() == [[0, 1], [0, 2]]
    assert (counts.callers.tolist(), counts.called.tolist()) == ([1, 1], [2, 1])


def test_a_call_nobody_waits_for_takes_nothing_from_the_self_time() -> None:
    assert table(counted([One(1, 0, 0, 50), One(2, 1, 60, 500, 1)]))[0][SELF_TIME] == (
        pytest.approx(0.050)
    )


def test_children_are_found_before_and_after_their_parent() -> None:
    counts = counted(
        [One(1, 0, 0, 100)], older=[One(2, 1, 0, 30, 1)], newer=[One(3, 1, 30, 70, 1)]
    )
    seen = table(counts)
    assert seen[0][SELF_TIME] == pytest.approx(0.030)
    assert (seen[0][SPANS], seen[1][SPANS]) == (1, 0)


def test_a_failed_call_that_is_made_again_is_a_retry() -> None:
    again = [One(2, 1, 0, 10, 1, failed=True), One(3, 1, 20, 30, 1)]
    assert table(counted([One(1, 0, 0, 100), *again]))[0][RETRIED] == 1
    other = [One(2, 1, 0, 10, 1, failed=True), One(3, 1, 20, 30, 2)]
    assert table(counted([One(1, 0, 0, 100), *other]))[0][RETRIED] == 0


def test_duplicates_count_once_even_across_generations() -> None:
    twice = [One(1, 0, 0, 100), One(1, 0, 0, 100), One(2, 1, 0, 50, 1)]
    counts = counted(twice)
    assert counts.duplicates == 1
    assert table(counts)[0][SPANS] == 1
    assert table(counts)[0][REPEATS] == 0
    assert counts.called.tolist() == [1]
    assert counted([One(1, 0, 0, 100)], older=[One(1, 0, 0, 100)]).duplicates == 1


def test_cycles_orphans_and_skewed_clocks_end_and_are_counted() -> None:
    loop = [One(1, 2, 0, 10), One(2, 1, 0, 10, 1), One(3, 3, 0, 10, 2)]
    assert table(counted(loop))[0][DEPTH] == MOST_DEEP + 1
    assert counted([One(1, 99, 0, 10)]).orphans == 1
    skewed = counted([One(1, 0, 1000, 1100), One(2, 1, 0, 100, 1)])
    assert skewed.skewed == 1
    assert table(skewed)[0][SELF_TIME] == pytest.approx(0.1)


@pytest.mark.parametrize("skew", [-900, -12, -3, 0, 3, 12, 5000])
def test_clocks_that_disagree_change_no_self_time(skew: int) -> None:
    """A caller asks another machine twice; the clocks of both differ by ``skew`` milliseconds."""
    caller = [One(1, 0, skew, 100 + skew), One(4, 1, 5 + skew, 15 + skew, 2)]
    answers = [One(2, 1, 20, 50, 1), One(3, 1, 60, 90, 1)]
    process = np.array([7, 8, 7, 7])
    every = columns([*caller, *answers])
    empty = SpanColumns.empty()
    seen = table(assemble(empty, every, empty, longest_s=10.0, process=process))
    # what of the caller's own work overlaps with the answers cannot be known beyond the wrong clock
    assert 0.030 - 1e-9 <= seen[0][SELF_TIME] <= 0.040 + 1e-9
    assert seen[0][ALL_TIME] == pytest.approx(0.100)
    alone = assemble(empty, columns([caller[0], *answers]), empty, longest_s=10.0, process=process)
    assert table(alone)[0][SELF_TIME] == pytest.approx(0.040)


def test_a_span_longer_than_its_children_are_remembered_has_no_self_time() -> None:
    seen = table(counted([One(1, 0, 0, 11_000)]))[0]
    assert (seen[SPANS], seen[ASSEMBLED]) == (1, 0)


ids = st.integers(1, 12)
spans = st.builds(
    lambda span, parent, start, length, row, failed, trace: One(
        span, parent, start, start + length, row, failed, trace
    ),
    ids,
    st.integers(0, 12),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 3),
    st.booleans(),
    st.integers(1, 2),
)


def reference_self_ms(all_spans: list[One], parent: One) -> int:
    """Milliseconds of the parent in which no child ran, counted one by one."""
    seen: dict[tuple[int, int], One] = {}
    for span in all_spans:
        seen.setdefault((span.trace, span.span), span)
    children = [
        s
        for s in seen.values()
        if s.trace == parent.trace and s.parent == parent.span and s.span != parent.span
    ]
    return sum(
        not any(c.start <= t < c.end for c in children) for t in range(parent.start, parent.end)
    )


@settings(deadline=None)
@given(st.lists(spans, max_size=30), st.lists(spans, max_size=10), st.lists(spans, max_size=10))
def test_any_spans_are_counted_as_a_plain_reference_does(
    ripe: list[One], older: list[One], newer: list[One]
) -> None:
    counts = counted(ripe, older=older, newer=newer)
    seen = table(counts)
    taken = {(s.trace, s.span) for s in older}
    mine: list[One] = []
    for span in ripe:
        if (span.trace, span.span) not in taken:
            taken.add((span.trace, span.span))
            mine.append(span)
    every = [*older, *ripe, *newer]
    assert counts.duplicates == len(ripe) - len(mine)
    for row in range(4):
        here = [s for s in mine if s.row == row]
        assert seen[row][SPANS] == len(here)
        assert seen[row][FAILED] == sum(s.failed for s in here)
        assert seen[row][DURATIONS].sum() == len(here)
        assert seen[row][SELF_TIMES].sum() == seen[row][ASSEMBLED] == len(here)
        alone = sum(reference_self_ms(every, s) for s in here) / 1000
        assert seen[row][SELF_TIME] == pytest.approx(alone, abs=1e-6)
        assert len(here) <= seen[row][DEPTH] <= (MOST_DEEP + 1) * len(here)


@settings(deadline=None)
@given(st.permutations(list(range(8))))
def test_the_order_of_arrival_changes_nothing(order: list[int]) -> None:
    chain = [One(i + 1, i // 2, i * 5, 200 - i * 5, i % 4) for i in range(8)]
    plain, mixed = counted(chain), counted([chain[i] for i in order])
    np.testing.assert_allclose(table(plain), table(mixed), atol=1e-9)
    assert plain.calls.tolist() == mixed.calls.tolist()
