"""The store answers what Prometheus would; here against a reference too plain to be wrong."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Matcher, Selector
from rollbackd.sources.series_store import STALE, SeriesStore, StoreFull
from tests.sources.conftest import UNHURRIED
from tests.sources.reference import Observed, expected

VALUES = st.sampled_from(["", "a", "b", "ab", "a.b", "é\n"])
LABELS = st.dictionaries(st.sampled_from(["pod", "code"]), VALUES).map(
    lambda labels: {"__name__": "x", **{name: value for name, value in labels.items() if value}}
)
SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 900_000),
        st.one_of(
            st.none(), st.integers(-1000, 1000).map(float), st.sampled_from([math.nan, math.inf])
        ),
    ),
    unique_by=lambda sample: sample[0],
    max_size=12,
).map(sorted)
OBSERVED = st.lists(
    st.builds(Observed, LABELS, SAMPLES),
    unique_by=lambda series: frozenset(series.labels.items()),
    max_size=6,
)
MATCHERS = st.one_of(
    st.builds(
        Matcher, st.sampled_from(["pod", "code", "no"]), st.sampled_from(["=", "!="]), VALUES
    ),
    st.builds(
        Matcher,
        st.sampled_from(["pod", "code", "no"]),
        st.sampled_from(["=~", "!~"]),
        st.sampled_from(["", "a", "a|b", "a.*", ".+", "[ab]*", "(a|b)?b"]),
    ),
)
QUERIES = st.builds(
    Query,
    st.builds(Selector, st.sampled_from(["x", "y"]), st.lists(MATCHERS, max_size=2).map(tuple)),
    st.just(("pod", "code")),
    st.lists(
        st.tuples(st.sampled_from(["pod", "code"]), st.frozensets(VALUES)),
        max_size=2,
        unique_by=lambda one: one[0],
    ).map(tuple),
)
GRIDS = st.builds(
    lambda start, step, count: Grid(start / 1000, step / 1000, count),
    st.integers(0, 1_200_000),
    st.integers(1, 400_000),
    st.integers(1, 20),
)


@UNHURRIED
@given(OBSERVED, QUERIES, GRIDS)
def test_equals_the_reference(observed: list[Observed], query: Query, grid: Grid) -> None:
    store = SeriesStore(None, 100)
    for series in observed:
        column = store.series(series.labels)
        for time_ms, value in series.samples:
            store.append(time_ms, [(column, STALE if value is None else value)])
    reply = store.evaluate(query, grid)
    rows = expected(observed, query, grid)
    if not rows:
        assert isinstance(reply, Missing)
        assert reply.reason is Absence.NO_SERIES
        return
    assert isinstance(reply, Series)
    assert list(reply.keys) == sorted(rows)
    np.testing.assert_array_equal(reply.values, [rows[key] for key in reply.keys])


@UNHURRIED
@given(SAMPLES, GRIDS)
def test_many_at_once_is_as_one_by_one(
    samples: list[tuple[int, float | None]], grid: Grid
) -> None:
    query = Query(Selector("x"), ())
    values = [STALE if value is None else value for _, value in samples]
    one_by_one, at_once = SeriesStore(None, 1), SeriesStore(None, 1)
    for (time_ms, _), value in zip(samples, values, strict=True):
        one_by_one.append(time_ms, [(one_by_one.series({"__name__": "x"}), value)])
    at_once.extend(
        at_once.series({"__name__": "x"}),
        np.array([time_ms for time_ms, _ in samples], dtype=np.int64),
        np.array(values, dtype=np.float64),
    )
    replies = [store.evaluate(query, grid) for store in (one_by_one, at_once)]
    if isinstance(replies[0], Series) and isinstance(replies[1], Series):
        np.testing.assert_array_equal(replies[0].values, replies[1].values)
    else:
        assert isinstance(replies[0], Missing)
        assert isinstance(replies[1], Missing)


def test_a_sample_that_is_not_newer_is_refused_and_the_old_one_kept() -> None:
    store = SeriesStore(None, 1)
    series = store.series({"__name__": "x"})
    assert store.append(1000, [(series, 1.0)]) == 0
    assert store.append(1000, [(series, 2.0)]) == 1
    assert store.append_dated([(500, series, 3.0), (1500, series, 4.0)]) == 1
    reply = store.evaluate(Query(Selector("x"), ()), Grid(1.0, 0.5, 2))
    assert isinstance(reply, Series)
    assert reply.values.tolist() == [[1.0, 4.0]]


def test_times_that_do_not_increase_are_refused_as_a_whole() -> None:
    store = SeriesStore(None, 1)
    series = store.series({"__name__": "x"})
    store.append(1000, [(series, 1.0)])
    for times in ([2000, 2000], [1000, 2000], [500]):
        with pytest.raises(ValueError, match="increase"):
            store.extend(series, np.array(times), np.zeros(len(times)))
    assert len(series) == 1


def test_what_is_too_old_is_forgotten_and_makes_room() -> None:
    store = SeriesStore(retention_s=100, max_series=2)
    query = Query(Selector("x"), ("pod",))
    gone = store.series({"__name__": "x", "pod": "gone"})
    store.append(0, [(gone, 1.0)])
    kept = store.series({"__name__": "x", "pod": "kept"})
    for second in range(1000):
        store.append(second * 1000, [(kept, float(second))])
    assert len(store) == 1
    assert 100 <= len(kept) <= 115
    times, _ = kept.view()
    assert times.base is not None
    assert times.base.size < 500
    reply = store.evaluate(query, Grid(995.0, 1.0, 5))
    assert isinstance(reply, Series)
    assert reply.values.tolist() == [[995.0, 996.0, 997.0, 998.0, 999.0]]
    store.series({"__name__": "x", "pod": "new"})
    with pytest.raises(StoreFull):
        store.series({"__name__": "x", "pod": "one too many"})
    assert store.series({"__name__": "x", "pod": "kept"}) is kept


def test_a_selector_without_a_name_looks_through_all() -> None:
    store = SeriesStore(None, 10)
    for name in ("x", "y", "z"):
        store.append(0, [(store.series({"__name__": name}), 1.0)])
    query = Query(Selector("", (Matcher("__name__", "=~", "x|y"),)), ("__name__",))
    reply = store.evaluate(query, Grid(0.0, 1.0, 1))
    assert isinstance(reply, Series)
    assert reply.keys == (("x",), ("y",))


def test_readers_and_writers_do_not_disturb_each_other() -> None:
    """Every answer is a state the store was in: values never go back and have no holes."""
    store = SeriesStore(retention_s=None, max_series=10)
    series = [store.series({"__name__": "x", "pod": str(n)}) for n in range(5)]
    store.append(0, [(one, 0.0) for one in series])
    done = threading.Event()

    def write() -> None:
        for second in range(1, 3000):
            store.append(second * 1000, [(one, float(second)) for one in series])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    query = Query(Selector("x"), ())
    last = 0.0
    while not done.is_set():
        reply = store.evaluate(query, Grid(0.0, 10.0, 300))
        assert isinstance(reply, Series)
        seen = reply.values[0][~np.isnan(reply.values[0])]
        assert (np.diff(seen) >= 0).all()
        assert (seen % 5 == 0).all()
        assert seen[-1] >= last
        last = float(seen[-1])
    writer.join()
