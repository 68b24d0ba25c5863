"""Raw samples in memory, and their evaluation on a grid exactly as Prometheus does it."""

from collections.abc import Callable, Iterable, Mapping
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Matcher, Selector
from rollbackd.sources.label_regex import predicate

LOOK_BACK_S = 300.0
"""Prometheus' ``--query.lookback-delta``: how long a sample speaks for its series."""

NAME = "__name__"

_STALE_BITS = np.uint64(0x7FF8_0000_0000_0057)
"""A NaN that no parser produces; it stands where a series is known to have ended."""

STALE = float(np.array([_STALE_BITS]).view(np.float64)[0])
"""The value to append where a series ends: from then on it is absent, without look-back."""

_FIRST_CAPACITY = 16


class StoreFull(Exception):
    """The store holds as many series as it may; the new one was not taken, the others are kept."""


class SeriesSamples:
    """The samples of one series, times increasing.

    Attributes:
        labels: all of them, the name as ``__name__``.
        forgotten: the store has given it up; whoever still holds it must ask the store anew.

    Arrays only grow by being replaced, and filled places are never written again: a reader's views
    stay true while the writer goes on.
    """

    __slots__ = ("_begin", "_end", "_times", "_values", "forgotten", "labels")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.forgotten = False
        self._times: NDArray[np.int64] = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._values: NDArray[np.float64] = np.empty(_FIRST_CAPACITY, dtype=np.float64)
        self._begin = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, time_ms: int, value: float) -> bool:
        """Append one sample; return False, and keep what is there, when it is not newer."""
        end = self._end
        if end > self._begin and time_ms <= self._times[end - 1]:
            return False
        if end == self._times.size:
            self._reserve(1)
            end = self._end
        self._times[end] = time_ms
        self._values[end] = value
        self._end = end + 1
        return True

    def extend(self, times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Append many samples.

        Raises:
            ValueError: the times do not increase; nothing was taken.
        """
        newest = self._times[self._end - 1 : self._end] if len(self) else times_ms[:0]
        if np.any(np.diff(np.concatenate((newest, times_ms))) <= 0):
            raise ValueError("the times of a series must increase")
        self._reserve(times_ms.size)
        stop = self._end + times_ms.size
        self._times[self._end : stop] = times_ms
        self._values[self._end : stop] = values
        self._end = stop

    def view(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times (ms since the epoch) and values, without copying."""
        live = slice(self._begin, self._end)
        return self._times[live], self._values[live]

    def forget_before(self, time_ms: int) -> None:
        """Give up samples older than this; their memory is freed at the next growth."""
        times, _ = self.view()
        self._begin += int(np.searchsorted(times, time_ms))

    def _reserve(self, more: int) -> None:
        times, values = self.view()
        if self._end + more <= self._times.size:
            return
        capacity = max(2 * times.size, times.size + more, _FIRST_CAPACITY)
        self._times = np.empty(capacity, dtype=np.int64)
        self._values = np.empty(capacity, dtype=np.float64)
        self._times[: times.size] = times
        self._values[: times.size] = values
        self._begin, self._end = 0, times.size


class SeriesStore:
    """A bounded, thread-safe store of raw samples, found by metric name and label matchers.

    Args:
        retention_s: samples older than the newest one by more are forgotten, and series without
            samples with them; None keeps all.
        max_series: how many series may be held at once.
        look_back_s: how long a sample speaks for its series.
    """

    def __init__(
        self,
        retention_s: float | None,
        max_series: int,
        look_back_s: float = LOOK_BACK_S,
    ) -> None:
        self._retention_ms = None if retention_s is None else round(retention_s * 1000)
        self._max_series = max_series
        self._look_back_ms = round(look_back_s * 1000)
        self._lock = Lock()
        self._by_labels: dict[frozenset[tuple[str, str]], SeriesSamples] = {}
        self._by_metric: dict[str, dict[int, SeriesSamples]] = {}
        self._forgotten_to_ms: int | None = None

    def __len__(self) -> int:
        return len(self._by_labels)

    def series(self, labels: Mapping[str, str]) -> SeriesSamples:
        """Return the series with exactly these labels (the name is ``__name__``), new if need be.

        Labels with an empty value count as absent, as in Prometheus.

        Raises:
            StoreFull: it would be one series too many.
        """
        kept = {label: value for label, value in labels.items() if value}
        key = frozenset(kept.items())
        with self._lock:
            known = self._by_labels.get(key)
            if known is not None:
                return known
            if len(self._by_labels) >= self._max_series:
                raise StoreFull(f"the store already holds {self._max_series:,} series")
            new = SeriesSamples(kept)
            self._by_labels[key] = new
            self._by_metric.setdefault(kept.get(NAME, ""), {})[id(new)] = new
            return new

    def discard_empty(self, candidates: Iterable[SeriesSamples]) -> None:
        """Give up those of some series that never got a sample, to make room for others."""
        with self._lock:
            for series in candidates:
                if not len(series) and not series.forgotten:
                    self._drop(series)

    def append(self, time_ms: int, samples: Iterable[tuple[SeriesSamples, float]]) -> int:
        """Append samples of one moment; return how many were refused because they are not newer."""
        refused = 0
        with self._lock:
            for series, value in samples:
                refused += not series.append(time_ms, value)
            self._forget(time_ms)
        return refused

    def append_dated(self, samples: Iterable[tuple[int, SeriesSamples, float]]) -> int:
        """Append samples that bring their own times; return how many were refused.

        Apart from ``append`` because such a time, being somebody else's, must not drive what is
        forgotten.
        """
        with self._lock:
            return sum(not series.append(time_ms, value) for time_ms, series, value in samples)

    def extend(
        self, series: SeriesSamples, times_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        """Append many samples of one series; raises ValueError unless the times increase."""
        with self._lock:
            series.extend(times_ms, values)

    def evaluate(self, query: Query, grid: Grid) -> Reply:
        """Answer ``sum by (query.by) (query.selector)`` at every time of the grid.

        Sums that are not finite are NaN, like absent ones: no test can use an infinite value.
        """
        foreign = [label for label, _ in query.restrict if label not in query.by]
        if foreign:
            return Missing(
                Absence.INVALID, f"restricted by {', '.join(foreign)}, which the sum does not keep"
            )
        try:
            tests = _tests(query)
        except ValueError as error:
            return Missing(Absence.INVALID, str(error))
        with self._lock:
            chosen = [
                (tuple(series.labels.get(label, "") for label in query.by), *series.view())
                for series in self._candidates(query.selector)
                if all(accepts(series.labels.get(label, "")) for label, accepts in tests)
            ]
        if not chosen:
            return Missing(Absence.NO_SERIES, f"no series matches {query.selector}")
        keys, values = _summed(chosen, grid_ms(grid), self._look_back_ms)
        if not keys:
            return Missing(Absence.NO_SERIES, f"no sample of {query.selector} at these times")
        return Series(query.by, keys, values, grid)

    def _candidates(self, selector: Selector) -> Iterable[SeriesSamples]:
        """Return the series of the metric; a selector without a name looks through all."""
        if selector.metric:
            return self._by_metric.get(selector.metric, {}).values()
        return self._by_labels.values()

    def _forget(self, newest_ms: int) -> None:
        """Apply the retention, but not on every append: looking at all series has its price."""
        if self._retention_ms is None:
            return
        oldest = newest_ms - self._retention_ms
        if self._forgotten_to_ms is None:
            self._forgotten_to_ms = oldest
        if oldest - self._forgotten_to_ms < self._retention_ms // 8:
            return
        self._forgotten_to_ms = oldest
        for series in list(self._by_labels.values()):
            series.forget_before(oldest)
            if not len(series):
                self._drop(series)

    def _drop(self, series: SeriesSamples) -> None:
        series.forgotten = True
        del self._by_labels[frozenset(series.labels.items())]
        metric = series.labels.get(NAME, "")
        del self._by_metric[metric][id(series)]
        if not self._by_metric[metric]:
            del self._by_metric[metric]


def grid_ms(grid: Grid) -> NDArray[np.int64]:
    """Return the grid's times in whole milliseconds, the resolution of samples."""
    return np.rint(grid.times * 1000).astype(np.int64)


def _tests(query: Query) -> list[tuple[str, Callable[[str], bool]]]:
    matchers: list[Matcher] = list(query.selector.matchers)
    tests = [(matcher.label, predicate(matcher)) for matcher in matchers]
    tests += [(label, wanted.__contains__) for label, wanted in query.restrict]
    return tests


def _summed(
    chosen: list[tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float64]]],
    moments: NDArray[np.int64],
    look_back_ms: int,
) -> tuple[tuple[tuple[str, ...], ...], NDArray[np.float64]]:
    """Sum series of equal key at each moment; keys without any sample are left out."""
    chosen = [(key, times, values) for key, times, values in chosen if times.size]
    keys = sorted({key for key, _, _ in chosen})
    row_of = {key: row for row, key in enumerate(keys)}
    sums = np.zeros((len(keys), moments.size))
    seen = np.zeros((len(keys), moments.size), dtype=np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        for key, times, values in chosen:
            # -1 where no sample is old enough: that is the last one, whose age is then negative
            newest = np.searchsorted(times, moments, side="right") - 1
            age = moments - times[newest]
            value = values[newest]
            present = (age >= 0) & (age <= look_back_ms)
            present &= value.view(np.uint64) != _STALE_BITS
            row = row_of[key]
            np.add(sums[row], value, out=sums[row], where=present)
            seen[row] |= present
    sums[~(seen & np.isfinite(sums))] = np.nan
    answered = np.flatnonzero(seen.any(axis=1))
    return tuple(keys[row] for row in answered), sums[answered]
