"""Recorded data: OpenMetrics files with timestamps, for replays, backtests and examples."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analyzer.sample import Grid, Query, Reply
from rollbackd.sources.exposition import Exposition, TextFormat, labels_of, parse
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.series_store import LOOK_BACK_S, SeriesStore, StoreFull


class RecordingInvalid(ValueError):
    """A recorded file cannot be used; says which, where, and why. Nothing of it is served."""


class RecordedSource:
    """A ``MetricSource`` over recorded files; everything is read on construction.

    A recording has no marks for series that end: as after ``promtool tsdb create-blocks-from``, a
    series' last sample speaks for ``look_back_s``.

    Args:
        paths: OpenMetrics text, every sample with a timestamp (seconds since the epoch) and
            those of a series in order of time; gzip when the name ends in ``.gz``. Several
            files may continue each other's series, in the order given.
        look_back_s: how long a sample speaks for its series; 300 is Prometheus' own.
        max_series: more than these refuse the recording.

    Raises:
        RecordingInvalid: a file cannot be read, parsed, or ordered.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        look_back_s: float = LOOK_BACK_S,
        max_series: int = 1_000_000,
    ) -> None:
        self._store = SeriesStore(None, max_series, look_back_s)
        for path in paths:
            _load(path, self._store)

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer from the recording; see ``analyzer.ports.MetricSource``."""
        return [self._store.evaluate(query, grid) for query in queries]

    def close(self) -> None:
        """Do nothing: the files are closed already."""


def _load(path: Path, store: SeriesStore) -> None:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        page = parse(content.decode("utf-8"), TextFormat.OPENMETRICS)
        _store_page(page, store)
    except Trouble as trouble:
        raise RecordingInvalid(f"recording {path}: {trouble.detail}") from trouble
    except (OSError, EOFError, zlib.error, StoreFull, ValueError) as error:
        raise RecordingInvalid(f"recording {path}: {error}") from error


def _store_page(page: Exposition, store: SeriesStore) -> None:
    """Append each series' samples in one go: positions of equal series are gathered first."""
    number_of: dict[str, int] = {}
    numbers = np.fromiter(
        (number_of.setdefault(text, len(number_of)) for text in page.series),
        dtype=np.int64,
        count=len(page.series),
    )
    if None in page.times_ms:
        text = page.series[page.times_ms.index(None)]
        raise ValueError(f"a sample of {text} has no timestamp")
    times_ms = np.array(page.times_ms, dtype=np.int64)
    values = np.array(page.values, dtype=np.float64)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(number_of) + 1))
    for text, number in number_of.items():
        mine = order[bounds[number] : bounds[number + 1]]
        try:
            store.extend(store.series(labels_of(text)), times_ms[mine], values[mine])
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from error
