"""What ``sum by`` means, in the plainest words: loops, no arrays, no look at our own code."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analyzer.sample import Grid, Query

LOOK_BACK_MS = 300_000


@dataclass(frozen=True, slots=True)
class Observed:
    """A series as it was observed: (milliseconds, value), value None where it ended."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[int, float | None]]


def expected(
    observed: Sequence[Observed], query: Query, grid: Grid
) -> dict[tuple[str, ...], list[float]]:
    """Return the values of each key at each time; NaN where there is none; {} = no series."""
    answer: dict[tuple[str, ...], list[float | None]] = {}
    for series in observed:
        if not _selected(series.labels, query):
            continue
        key = tuple(series.labels.get(label, "") for label in query.by)
        for place, time in enumerate(grid.times):
            value = _value_at(series, round(float(time) * 1000))
            if value is not None:
                row = answer.setdefault(key, [None] * grid.count)
                row[place] = value + (row[place] or 0.0)
    return {
        key: [v if v is not None and math.isfinite(v) else math.nan for v in row]
        for key, row in answer.items()
    }


def _value_at(series: Observed, moment: int) -> float | None:
    before = [sample for sample in series.samples if sample[0] <= moment]
    if not before or moment - before[-1][0] > LOOK_BACK_MS:
        return None
    return before[-1][1]


def _selected(labels: Mapping[str, str], query: Query) -> bool:
    if labels["__name__"] != query.selector.metric:
        return False
    for matcher in query.selector.matchers:
        value = labels.get(matcher.label, "")
        holds = {
            "=": value == matcher.value,
            "!=": value != matcher.value,
            "=~": re.fullmatch(matcher.value, value) is not None,
            "!~": re.fullmatch(matcher.value, value) is None,
        }
        if not holds[matcher.op]:
            return False
    return all(labels.get(label, "") in values for label, values in query.restrict)
