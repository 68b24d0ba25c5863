"""Finding each span's parent and children, and what follows from them. Arrays in, counts out.

Traces need not be whole. The children of a span that does not call out of its process are reported
by the same process, before it or with it; what a span's own instance tells within a short time is
all that is needed for its self time and its calls.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rollbackd.traces.measures import (
    ALL_TIME,
    ASSEMBLED,
    COUNTERS,
    DEPTH,
    DURATIONS,
    FAILED,
    INNER_BOUNDS,
    REPEATS,
    RETRIED,
    SELF_TIME,
    SELF_TIMES,
    SPANS,
    TIME,
)
from rollbackd.traces.spans import NANOSECONDS, SpanColumns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_DEEP = 32
"""Steps of a critical path that are followed: enough for any call chain, and a cycle ends there."""
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class Counts:
    """What a stretch of spans adds to the counters.

    Attributes:
        place: flat places (row * COUNTERS + counter), unique. amount: what is added to each.
        calls: (n, 2) parent row and child row, unique pairs. callers: spans that made the call;
            called: how often in all.
        fresh: which of the spans were counted: no duplicates.
        duplicates, orphans, skewed: spans that came twice, whose parent was not seen, that are not
            inside their parent's time.
    """

    place: Ints
    amount: Floats
    calls: Ints
    callers: Floats
    called: Floats
    fresh: NDArray[np.bool_]
    duplicates: int = 0
    orphans: int = 0
    skewed: int = 0


@dataclass(frozen=True, slots=True)
class _Family:
    """Children with their parents, both as positions among all spans."""

    child: NDArray[np.intp]
    parent: NDArray[np.intp]


def assemble(
    older: SpanColumns,
    ripe: SpanColumns,
    newer: SpanColumns,
    *,
    longest_s: float,
    process: Ints | None = None,
) -> Counts:
    """Count the ripe spans; those that came before and after them serve as children and parents.

    Args:
        older: counted before.
        ripe: to be counted.
        newer: come since, to be counted later.
        longest_s: spans longer than this are not assembled: their first children may be forgotten
            already.
        process: by row, whose clock its times are of; None where there is one clock only.
    """
    spans = SpanColumns.joined([older, ripe, newer])
    first, parent = _parents(spans)
    begin, end = len(older), len(older) + len(ripe)
    mine = np.zeros(len(spans), dtype=np.bool_)
    mine[begin:end] = first[begin:end]
    length = (spans.end - spans.start).astype(np.float64) / NANOSECONDS
    whole = mine & (length <= longest_s)

    child = np.flatnonzero(first & (parent >= 0))
    kin = _Family(child, parent[child])
    close = whole[kin.parent]
    near = _Family(kin.child[close], kin.parent[close])
    begun, ended, skewed = _inside(spans, near, length, process)
    # to the nanosecond, which is what times are told in
    alone = np.round(length - _covered(near.parent, begun, ended, len(spans)), 9)
    retried = _retried(spans, near)
    depth = _depths(spans, kin)

    row = spans.row.astype(np.int64)
    pairs, callers, called, repeats = _edges(row, near)
    place, amount = _sum_up(
        (row[mine], SPANS, None),
        (row[mine & spans.failed], FAILED, None),
        (row[mine], TIME, length[mine]),
        (row[mine], DURATIONS.start + _bucket(length[mine]), None),
        (row[whole], ASSEMBLED, None),
        (row[whole], REPEATS, repeats[whole]),
        (row[whole], DEPTH, depth[whole]),
        (row[whole], ALL_TIME, length[whole]),
        (row[whole], SELF_TIME, alone[whole]),
        (row[whole], SELF_TIMES.start + _bucket(alone[whole]), None),
        (row[retried], RETRIED, None),
    )
    return Counts(
        place,
        amount,
        pairs,
        callers,
        called,
        fresh=mine[begin:end],
        duplicates=int(len(ripe) - mine.sum()),
        orphans=int((mine & (parent < 0) & (spans.parent != 0)).sum()),
        skewed=skewed,
    )


def _parents(spans: SpanColumns) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which spans are the first with their id, and the position of each one's parent.

    Ids are mixed into 64 bits: among a million spans two differing ids meet once in 30 million
    times, and then one span is counted less.
    """
    trace = _mixed(_mixed(spans.trace[:, 0]) ^ spans.trace[:, 1])
    own, wanted = _mixed(trace ^ spans.span), _mixed(trace ^ spans.parent)
    order = np.argsort(own)
    ranked = own[order]
    leads = np.ones(len(ranked), dtype=np.bool_)
    leads[1:] = ranked[1:] != ranked[:-1]
    first = np.zeros(len(ranked), dtype=np.bool_)
    if not len(ranked):
        return first, np.empty(0, dtype=np.intp)
    known, at = ranked[leads], np.minimum.reduceat(order, np.flatnonzero(leads))
    first[at] = True
    found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    parent = np.where((known[found] == wanted) & (spans.parent != 0), at[found], -1)
    parent[parent == np.arange(len(parent))] = -1  # its own parent: a root
    return first, parent


def _mixed(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread ids over all 64 bits (splitmix64's finaliser, Steele et al. 2014): some are counted up."""
    first, second, third = _SHIFTS
    ids = (ids ^ (ids >> first)) * _FACTORS[0]
    ids = (ids ^ (ids >> second)) * _FACTORS[1]
    return ids ^ (ids >> third)


def _inside(
    spans: SpanColumns, near: _Family, length: Floats, process: Ints | None
) -> tuple[Floats, Floats, int]:
    """Return the children's begin and end in seconds since their parent's start, cut to its time.

    Clocks of two machines disagree, and calls that nobody waits for go on after their parent.
    """
    zero = spans.start[near.parent].astype(np.int64)
    begun = (spans.start[near.child].astype(np.int64) - zero) / NANOSECONDS
    ended = (spans.end[near.child].astype(np.int64) - zero) / NANOSECONDS
    most = length[near.parent]
    outside = (begun < 0) | (ended > most)
    if process is not None and outside.any():
        foreign = process[spans.row[near.child]] != process[spans.row[near.parent]]
        shift = _disagreement(near.parent, begun, ended, most, foreign, len(spans))
        begun, ended = begun + shift, ended + shift
    return np.clip(begun, 0.0, most), np.clip(ended, 0.0, most), int(outside.sum())


def _disagreement(
    parent: NDArray[np.intp],
    begun: Floats,
    ended: Floats,
    most: Floats,
    foreign: NDArray[np.bool_],
    spans: int,
) -> Floats:
    """Return by how much to move each child of another process, so that its parent's time holds it.

    All such children of a parent move alike, and no further than they must. Else a canary whose
    machine's clock is a little wrong would seem to do itself what it waits for.
    """
    first, last = np.full(spans, np.inf), np.full(spans, -np.inf)
    np.minimum.at(first, parent[foreign], begun[foreign])
    np.maximum.at(last, parent[foreign], ended[foreign])
    early, late = first[parent], last[parent]
    shift = np.where(early < 0, -early, np.minimum(0.0, np.maximum(most - late, -early)))
    return np.where(foreign, shift, 0.0)


def _covered(parent: NDArray[np.intp], begun: Floats, ended: Floats, spans: int) -> Floats:
    """Return the seconds in which at least one child of each span ran: children may overlap."""
    order = np.lexsort((begun, parent))
    parent, begun, ended = parent[order], begun[order], ended[order]
    leads = np.ones(len(parent), dtype=np.bool_)
    leads[1:] = parent[1:] != parent[:-1]
    # each parent's children on a stretch of their own, so that one running maximum serves all
    shift = np.cumsum(leads) * (ended.max(initial=0.0) + 1.0)
    until = np.maximum.accumulate(ended + shift)
    before = np.empty_like(until)
    before[1:] = until[:-1]
    before[leads] = shift[leads]
    added = np.maximum(until - np.maximum(before, begun + shift), 0.0)
    seconds: Floats = np.bincount(parent, added, minlength=spans).astype(np.float64)
    return seconds


def _retried(spans: SpanColumns, near: _Family) -> NDArray[np.intp]:
    """Return the spans that called something again after the same call had failed."""
    row, start = spans.row[near.child], spans.start[near.child]
    order = np.lexsort((start, row, near.parent))
    parent, row, failed = near.parent[order], row[order], spans.failed[near.child][order]
    again = (parent[1:] == parent[:-1]) & (row[1:] == row[:-1]) & failed[:-1]
    return np.unique(parent[1:][again])


def _depths(spans: SpanColumns, kin: _Family) -> Floats:
    """Return how many spans the critical path from each span has: always the child that ends last."""
    order = np.lexsort((spans.end[kin.child], kin.parent))
    parent, child = kin.parent[order], kin.child[order]
    lasts = np.ones(len(parent), dtype=np.bool_)
    lasts[:-1] = parent[1:] != parent[:-1]
    heir = np.full(len(spans), -1, dtype=np.intp)
    heir[parent[lasts]] = child[lasts]
    depth = np.ones(len(spans))
    walking = np.flatnonzero(heir >= 0)
    at = heir[walking]
    for _ in range(MOST_DEEP):
        if not len(walking):
            break
        depth[walking] += 1.0
        at = heir[at]
        on = at >= 0
        walking, at = walking[on], at[on]
    return depth


def _bucket(seconds: Floats) -> Ints:
    return np.searchsorted(INNER_BOUNDS, seconds, side="left").astype(np.int64)


def _sum_up(*parts: tuple[Ints, int | Ints, Floats | None]) -> tuple[Ints, Floats]:
    """Add up amounts (None: ones) by flat place."""
    places = np.concatenate([row * COUNTERS + counter for row, counter, _ in parts])
    amounts = np.concatenate([np.ones(len(r)) if a is None else a for r, _, a in parts])
    return _grouped(places, amounts)


def _grouped(places: Ints, amounts: Floats) -> tuple[Ints, Floats]:
    """Return the distinct places and the sum of the amounts at each."""
    if not len(places):
        return places, amounts
    size = int(places.max()) + 1
    if size <= 16 * len(places) + 4096:  # few places beside the spans: counting beats sorting
        sums = np.bincount(places, amounts, minlength=size)
        distinct = np.flatnonzero(np.bincount(places, minlength=size)).astype(np.int64)
        return distinct, sums[distinct].astype(np.float64)
    distinct, inverse = np.unique(places, return_inverse=True)
    return distinct, np.bincount(inverse, amounts).astype(np.float64)


def _edges(row: Ints, near: _Family) -> tuple[Ints, Floats, Floats, Floats]:
    """Return which rows call which, by how many spans, and how often; and each span's repeats."""
    wide = int(row.max(initial=0)) + 1
    calls = near.parent * wide + row[near.child]
    each, often = np.unique(calls, return_counts=True)
    repeats = np.bincount(each // wide, often - 1, minlength=len(row))
    pair = row[each // wide] * wide + each % wide
    pairs, inverse, callers = np.unique(pair, return_inverse=True, return_counts=True)
    called = np.bincount(inverse, often, minlength=len(pairs))
    both = np.stack([pairs // wide, pairs % wide], axis=1) if len(pairs) else np.empty((0, 2))
    return (
        both.astype(np.int64),
        callers.astype(np.float64),
        called.astype(np.float64),
        repeats.astype(np.float64),
    )
