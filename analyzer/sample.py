"""What a source is asked for and what it answers: series on a common grid, or a reason why not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from analyzer.signal import Selector


class Absence(StrEnum):
    """Why something could not be measured. Closed set: it labels a metric."""

    NO_SERIES = "no_series"
    """The source answered, and has no such series for these instances."""
    TOO_FEW = "too_few"
    """There are series, but too few events or instances to say anything."""
    NO_TRAFFIC = "no_traffic"
    """The baseline is served and the canary is not."""
    WARMING = "warming"
    """The instances are too young to be compared."""
    STALE = "stale"
    """The newest sample is too old."""
    SOURCE_DOWN = "source_down"
    """The source did not answer, or answered 5xx."""
    TIMEOUT = "timeout"
    """The source did not answer in time."""
    UNAUTHORISED = "unauthorised"
    """The source refused our credentials (401, 403)."""
    THROTTLED = "throttled"
    """The source asked us to come back later (429)."""
    PARTIAL = "partial"
    """The source said that its answer is incomplete."""
    TOO_LARGE = "too_large"
    """The answer exceeds what we are willing to read."""
    INVALID = "invalid"
    """The source refused the query, or its answer makes no sense."""
    NO_BASELINE = "no_baseline"
    """There is no baseline instance to compare with."""
    NO_CANARY = "no_canary"
    """There is no canary instance to judge."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing was measured, and why. Never evidence of harm."""

    reason: Absence
    detail: str = ""

    def __str__(self) -> str:
        """Return the reason for people."""
        reason = self.reason.value.replace("_", " ")
        return f"{reason}: {self.detail}" if self.detail else reason


@dataclass(frozen=True, slots=True)
class Grid:
    """``count`` equally spaced times: ``start, start + step, …`` in seconds since the epoch."""

    start: float
    step: float
    count: int

    def __post_init__(self) -> None:
        """Refuse grids that cannot be walked."""
        if not (self.step > 0 and self.count >= 1):
            raise ValueError(f"a grid needs step > 0 and count >= 1, not {self}")

    @property
    def end(self) -> float:
        """The last time of the grid."""
        return self.start + self.step * (self.count - 1)

    @property
    def times(self) -> NDArray[np.float64]:
        """All times, shape (count,)."""
        return self.start + self.step * np.arange(self.count, dtype=np.float64)


Restriction = tuple[tuple[str, frozenset[str]], ...]
"""For some labels, the values that are wanted."""


def restricted_to(labels: Sequence[str], ids: Iterable[tuple[str, ...]]) -> Restriction:
    """Return the restriction to some instances, by the labels that identify them."""
    # by columns: there may be a hundred thousand
    columns = list(zip(*ids, strict=True)) or [()] * len(labels)
    return tuple(
        (label, frozenset(column)) for label, column in zip(labels, columns, strict=False)
    )


@dataclass(frozen=True, slots=True)
class Query:
    """Raw values of one selector, summed by some labels, at each time of a grid.

    Attributes:
        selector: which series. by: label names that are kept (instance labels, and ``le`` for
            buckets); all series that agree on them are summed.
        restrict: for some of the ``by`` labels, the values we are interested in. Sources may
            answer with more, never with less.
        earlier_s: the values of so many seconds earlier are wanted, at the times of the grid;
            whoever asks a source moves the grid, sources know nothing of it.
    """

    selector: Selector
    by: tuple[str, ...]
    restrict: Restriction = ()
    earlier_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """A columnar answer.

    Attributes:
        by: label names of the keys. keys: one tuple of label values per row, unique.
        values: float64 of shape (rows, grid.count), a row for each key: at each grid time the newest sample at
            or before it (not older than the source's look-back), NaN where there is none.
        grid: the times.
        bounds: of buckets that every key has all of, where it is told like that: a key then has no
            ``le``, and as many rows of values as there are bounds, one after the other.
    """

    by: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    values: NDArray[np.float64]
    grid: Grid
    bounds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shapes that do not agree."""
        rows = len(self.keys) * max(1, len(self.bounds))
        if self.values.shape != (rows, self.grid.count):
            raise ValueError(
                f"values of shape {self.values.shape} do not fit {rows} rows "
                f"at {self.grid.count} times"
            )


Reply = Series | Missing
