"""Axes: from values to positions, and the round values that are written beside them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

ROOMY = 300.0
"""On a logarithmic axis no longer than this factor, 2 and 5 times powers of ten are written too."""

MAX_DECADES_WITH_ALL_TICKS = 7
"""On a longer logarithmic axis only every n-th power of ten is written."""


@dataclass(frozen=True, slots=True)
class Linear:
    """An axis on which equal differences are equally long.

    Attributes:
        low, high: the values at its ends, low < high.
        start, end: their positions.
    """

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Return where a value is drawn; what lies beyond an end is drawn at the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int) -> Iterator[float]:
        """Yield about so many round values, in order."""
        step = round_step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        yield from (i * step for i in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """An axis on which equal factors are equally long; see ``Linear``. Needs 0 < low < high."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Return where a value is drawn; what lies beyond an end is drawn at the end."""
        inside = min(max(value, self.low), self.high)
        share = math.log(inside / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int) -> Iterator[float]:
        """Yield round values: powers of ten, and 2 and 5 times them where there is room."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, math.ceil((last - first) / max(count, MAX_DECADES_WITH_ALL_TICKS)))
        roomy = self.high / self.low <= ROOMY
        between = (1.0, 2.0, 5.0) if roomy else (1.0,)
        for power in range(first, last + 1, every):
            for digit in between:
                value = digit * 10.0**power
                if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9):
                    yield value


def round_step(step: float) -> float:
    """Return the next larger number of the form 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(step) and step > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(d * power for d in (1, 2, 5, 10) if d * power >= step * (1 - 1e-9))


def time_step(span_s: float, count: int) -> float:
    """Return a step of seconds that people count in, for about so many steps in a span."""
    wanted = span_s / max(count, 1)
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
    return next((float(s) for s in steps if s >= wanted), 86400.0 * math.ceil(wanted / 86400))
