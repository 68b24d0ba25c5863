"""Native (exponential) histograms in a range query's answer, read as cumulative buckets.

Their buckets are at powers of 2^(2^-schema), and only those that hold something are told. All are
brought to one set of bounds, every half power of two from 61 µs to 36 h (for values in seconds): the
bounds of a finer schema contain them exactly, so nothing is interpolated, and instances of
different schemas can be compared. A schema coarser than that has only some of them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP = 0.5
"""Distance of bounds as a power of two: a resolution of 41 %, finer than classic buckets."""
POWERS = np.arange(-14.0, 17.0 + STEP, STEP)
BOUNDS: Floats = 2.0**POWERS
LABELS = (*(repr(float(bound)) for bound in BOUNDS), "+Inf")
"""The ``le`` of each row."""
_ROUNDING = 1e-6
"""Servers print bounds as decimal fractions."""


def cumulative(points: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yield for each bound its ``le`` and its (time, count of what is at or below) pairs.

    Args:
        points: ``[time, {"count": …, "buckets": [[rule, left, right, count], …]}]``, as in
            https://prometheus.io/docs/prometheus/latest/querying/api/#native-histograms

    Raises:
        KeyError, TypeError, ValueError, IndexError: the answer is malformed.
    """
    times = [float(point[0]) for point in points]
    counts = np.array([_below(point[1]) for point in points])
    for column, label in zip(counts.T.tolist(), LABELS, strict=True):
        pairs = [(at, c) for at, c in zip(times, column, strict=True) if np.isfinite(c)]
        if pairs:
            yield label, pairs


def _below(histogram: dict[str, Any]) -> Floats:
    """Return the counts at or below every bound, and all; nan where a bound is inside a bucket."""
    total = float(histogram["count"])
    buckets = np.array(
        [[float(b[1]), float(b[2]), float(b[3])] for b in histogram.get("buckets") or ()]
    ).reshape(-1, 3)
    left, right, count = buckets[np.argsort(buckets[:, 1], kind="stable")].T
    below = np.concatenate([[0.0], np.cumsum(count)])
    place = np.searchsorted(right, BOUNDS * (1 + _ROUNDING), side="right")
    found = np.where(_is_bound(left, right), below[place], np.nan)
    return np.concatenate([found, [total]])


def _is_bound(left: Floats, right: Floats) -> NDArray[np.bool_]:
    """Return which bounds are bounds of the schema, too."""
    positive = left > 0
    if not positive.any():
        return np.ones(len(BOUNDS), dtype=np.bool_)
    width = float(np.log2(right[positive] / left[positive]).max())
    power = POWERS / max(width, STEP)
    aligned: NDArray[np.bool_] = np.abs(power - np.rint(power)) < _ROUNDING * len(BOUNDS)
    return aligned
