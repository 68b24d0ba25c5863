"""A range query's answer, from JSON lists to columns."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.native_histogram import cumulative

Row = NDArray[np.float64]
"""One value for each time of the whole grid."""

LE = "le"
"""The label of a bucket's upper bound."""
_OFF_GRID_S = 0.0015
"""Servers print times in milliseconds; more than a rounding away is another time than asked for."""


class Matrix:
    """The rows of one query, put together from the answers to its parts."""

    def __init__(self, by: tuple[str, ...], grid: Grid) -> None:
        self._by = by
        self._grid = grid
        self._rows: dict[tuple[str, ...], Row] = {}
        self._filled: set[tuple[int, tuple[str, ...]]] = set()

    def add(self, result: object, first: int, piece: Grid) -> None:
        """Add the ``result`` of an answer for the times from index ``first`` on.

        Raises:
            Trouble: ``INVALID``, the answer makes no sense; nothing of the query can be used.
        """
        if not isinstance(result, list):
            raise Trouble(Absence.INVALID, "the answer's result is no list of series")
        try:
            for entry in result:
                for metric, points in _rows(entry, self._by):
                    self._add_row(metric, points, first, piece)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise Trouble(Absence.INVALID, f"the answer is malformed: {error!r}") from error

    def reply(self, query: Query) -> Reply:
        """Return all rows in the order of their keys."""
        if not self._rows:
            return Missing(Absence.NO_SERIES, f"nothing matches {query.selector} at these times")
        keys = sorted(self._rows)
        return Series(
            self._by, tuple(keys), np.stack([self._rows[key] for key in keys]), self._grid
        )

    def _add_row(
        self, metric: dict[str, str], points: Sequence[Sequence[Any]], first: int, piece: Grid
    ) -> None:
        key = tuple(metric.get(label, "") for label in self._by)
        if not all(isinstance(value, str) for value in key):
            raise TypeError(f"label values must be strings, not {key}")
        if (first, key) in self._filled:
            raise Trouble(
                Absence.INVALID,
                f"two series in the answer are both {dict(zip(self._by, key, strict=True))}",
            )
        self._filled.add((first, key))
        times = np.fromiter((point[0] for point in points), np.float64, len(points))
        values = np.fromiter((float(point[1]) for point in points), np.float64, len(points))
        places = np.rint((times - piece.start) / piece.step)
        near = np.abs(piece.start + places * piece.step - times) <= _OFF_GRID_S
        if not np.all(near & (places >= 0) & (places < piece.count)):
            raise Trouble(
                Absence.INVALID,
                "the server answered for other times than it was asked for; if a query front end "
                "aligns ranges to their step, turn that off for us",
            )
        values[~np.isfinite(values)] = np.nan
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = np.full(self._grid.count, np.nan)
        row[first + places.astype(np.int64)] = values


def _rows(
    entry: dict[str, Any], by: tuple[str, ...]
) -> Iterator[tuple[dict[str, str], Sequence[Sequence[Any]]]]:
    """Yield the labels and the ``[time, value]`` pairs of a series, or of a histogram's bounds."""
    metric = entry["metric"]
    if "histograms" not in entry:
        points = entry["values"]
        if not isinstance(points, list):
            raise TypeError("values is no list")
        yield metric, points
        return
    if LE not in by:
        raise Trouble(
            Absence.INVALID,
            "the series are native histograms, which only a histogram signal reads",
        )
    for bound, counts in cumulative(entry["histograms"]):
        yield {**metric, LE: bound}, counts
