"""Which counters a row has, and their places."""

from typing import Final

import numpy as np

BOUNDS: Final[tuple[float, ...]] = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1,
    0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, float("inf"),
)  # fmt: skip
"""Upper bounds of the buckets of durations, in seconds: ×1.33 to ×2 apart."""
BUCKETS: Final = len(BOUNDS)

SPANS, FAILED, ASSEMBLED, REPEATS, RETRIED, DEPTH, TIME, ALL_TIME, SELF_TIME = range(9)
"""SPANS and FAILED: all spans and the failed ones. ASSEMBLED: spans whose children could be seen;
of these: REPEATS their children after the first of each operation, RETRIED those that called again after a failure, DEPTH the sum of
the lengths of their critical paths, ALL_TIME and SELF_TIME seconds with and without their children.
TIME: seconds of all spans."""
DURATIONS: Final = slice(9, 9 + BUCKETS)
"""Spans by duration, one counter a bucket, not cumulative."""
SELF_TIMES: Final = slice(9 + BUCKETS, 9 + 2 * BUCKETS)
"""Assembled spans by self time."""
COUNTERS: Final = 9 + 2 * BUCKETS

KEY_SPANS, KEY_EVENTS = range(2)
"""Of an error type: spans that had it, twice. Of a call: spans that made it, and how often."""
KEY_COUNTERS: Final = 2

INNER_BOUNDS: Final = np.array(BOUNDS[:-1])
