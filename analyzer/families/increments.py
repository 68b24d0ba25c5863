"""From monotonic counters to exact increments: resets, missing scrapes, nonsense."""

import numpy as np
from numpy.typing import NDArray

from detectors.rows import BLOCK_ROWS

Floats = NDArray[np.float64]


def increments(values: Floats, carry: Floats) -> tuple[Floats, Floats]:
    """Return what counters that are scraped together gained at each time, and the new carry.

    A scrape that is missing arrives merged into the next increment. When any counter of a series
    fell, its process was restarted and all of them began at 0 again: the increment is the value
    (what was counted between the last scrape and the restart is lost for all alike). What is
    seen for the first time has no increment yet.

    Args:
        values: (series, counters, times); a scrape counts only when all its counters are there.
            NaN, infinite and negative values are missing.
        carry: (series, counters), the last values known before; NaN where there are none.

    Returns:
        Increments of the shape of ``values`` (NaN where there is no new scrape), and the last
        known values of shape ``carry``.
    """
    if values.shape[2] == 1:
        gained, kept = _one(values[:, :, 0], carry)
        return gained[:, :, None], kept
    usable: NDArray[np.bool_] = np.all(np.isfinite(values) & (values >= 0), axis=1, keepdims=True)
    known = np.all(np.isfinite(carry), axis=1)[:, None, None]
    full = np.concatenate([carry[:, :, None], values], axis=2)
    present = np.concatenate([known, usable], axis=2)
    at = np.where(present, np.arange(full.shape[2]), -1)
    newest = np.maximum.accumulate(at, axis=2)
    before = np.broadcast_to(newest[:, :, :-1], values.shape)
    previous = np.take_along_axis(full, np.maximum(before, 0), axis=2)
    with np.errstate(invalid="ignore"):
        reset = (values < previous).any(axis=1, keepdims=True)
        gained = np.where(reset, values, values - previous)
    last = np.broadcast_to(newest[:, :, -1:], (*carry.shape, 1))
    kept = np.take_along_axis(full, np.maximum(last, 0), axis=2)[:, :, 0]
    return (
        np.where(usable & (before >= 0), gained, np.nan),
        np.where(last[:, :, 0] >= 0, kept, np.nan),
    )


def _one(values: Floats, carry: Floats) -> tuple[Floats, Floats]:
    """Return the same for a single time, which is what comes with every tick; (series, counters)."""
    gained, kept = np.empty_like(values), np.empty_like(carry)
    for start in range(0, len(values), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        now, before = values[rows], carry[rows]
        # NaN is neither
        with np.errstate(invalid="ignore"):
            usable: NDArray[np.bool_] = np.all((now >= 0) & (now < np.inf), axis=1)
            reset = (now < before).any(axis=1)
            fresh = now - before
        known: NDArray[np.bool_] = np.all(np.isfinite(before), axis=1)
        if reset.any():
            fresh[reset] = now[reset]
        both = usable & known
        if not both.all():
            fresh[~both] = np.nan
        gained[rows] = fresh
        kept[rows] = now
        if not usable.all():
            last: Floats = np.where(known[:, None], before, np.nan)
            kept[rows] = np.where(usable[:, None], now, last)
    return gained, kept
