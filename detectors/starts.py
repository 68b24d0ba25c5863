"""From which intervals on evidence is gathered, when a watch has few of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.rows import Floats, Ints

KEPT_STARTS: Final = 7
"""Restarted instances kept beside the first one; the q-th holds the newest restart whose number
2^q divides, so that the kept ones reach back 2, 4, 8, … restarts."""

STARTS: Final = KEPT_STARTS + 1
"""The first one and the kept restarts."""

ODD: Final = 2
"""Intervals that may be odd, at most: three must agree then."""

LONG_S: Final = 120.0
"""Intervals of at least this length average many scrapes."""


def odd_intervals(persistence: Floats, tick_s: float) -> Floats:
    """Return how many of the most accusing intervals must not decide by themselves, (rows,).

    One less than must agree. An interval of two minutes and more is an average of many scrapes:
    none is suspected there.
    """
    odd = np.clip(persistence - 1.0, 1.0, float(ODD))
    return np.zeros_like(odd) if tick_s >= LONG_S else odd


def odd_bound(threshold: Floats, odd: Floats) -> Floats:
    """Return the log evidence that odd intervals may add: their part of what decides, (rows,).

    Of n intervals that must agree, n - 1 bring at most (n - 1)/n of the threshold's logarithm,
    however large they are.
    """
    bound: Floats = np.log(threshold) * odd / (odd + 1.0)
    return bound


def restarting(age: Ints, every: int) -> tuple[Ints, Ints]:
    """Return the rows that start a new instance at this age, and the slot it goes to.

    Args:
        age: intervals lived, (rows,).
        every: intervals between two restarts.
    """
    rows = np.flatnonzero((age > 0) & (age % every == 0))
    number = age[rows] // every
    # how often 2 divides the number: 1 → 0, 2 → 1, 3 → 0, 4 → 2
    slot: Ints = np.log2(np.maximum(number & -number, 1)).astype(np.int64)
    return rows, np.minimum(slot, KEPT_STARTS - 1)


def weights(age: Ints, every: int) -> Floats:
    """Return the weight of the first start and of each kept restart, (8, rows).

    The j-th start weighs 1/((j+1)(j+2)): all together sum to one without knowing how long the
    watch will last. 0 for a slot that holds nothing yet.
    """
    newest = np.maximum(age - 1, 0) // every
    found = np.zeros((STARTS, len(age)))
    found[0] = 0.5
    for slot in range(KEPT_STARTS):
        number = _newest_in_slot(newest, slot)
        found[slot + 1] = np.where(number > 0, 1.0 / ((number + 1) * (number + 2)), 0.0)
    return found


def forgotten(age: Ints, every: int) -> Floats:
    """Return the weight of all restarts that are no longer kept, (rows,).

    What was staked on them is gone: they count as nothing, not as one. Else forgetting a start
    that spoke for the canary would be evidence against it.
    """
    newest = np.maximum(age - 1, 0) // every
    staked = 0.5 - 1.0 / (newest + 2.0)  # the sum of 1/((j+1)(j+2)) up to the newest
    found: Floats = np.maximum(staked - weights(age, every)[1:].sum(axis=0), 0.0)
    return found


def _newest_in_slot(newest: Ints, slot: int) -> Ints:
    """Return the number of the newest restart that a slot holds, 0 when none."""
    unit = 1 << slot
    number = newest - newest % unit
    odd = (number // unit) % 2 == 1
    found: Ints = number if slot == KEPT_STARTS - 1 else np.where(odd, number, number - unit)
    return np.maximum(found, 0)
