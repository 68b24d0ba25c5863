"""Queries as PromQL text, and grids as ranges a server accepts."""

from collections.abc import Iterable, Iterator
from itertools import product

from analyzer.sample import Absence, Grid, Query
from analyzer.signal import Matcher, Selector
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.label_regex import quoted


def rendered(query: Query, max_bytes: int) -> list[str]:
    """Return the queries that together answer one: more than one when its values are many.

    The parts ask for disjoint values of labels the sum keeps, so that no key is in two answers.
    The same query always gives the same text, whatever the order of its sets.

    Args:
        query: what is asked.
        max_bytes: bound of each text; a single value may exceed it.

    Raises:
        Trouble: ``INVALID``, restricted by a label the sum does not keep.
    """
    foreign = [label for label, _ in query.restrict if label not in query.by]
    if foreign:
        raise Trouble(
            Absence.INVALID, f"restricted by {', '.join(foreign)}, which the sum does not keep"
        )
    room = max_bytes - len(_sum(query, ()).encode())
    each = max(1, room // max(1, len(query.restrict)))
    choices = [list(_alternations(label, values, each)) for label, values in query.restrict]
    return [_sum(query, matchers) for matchers in product(*choices)]


def pieces(grid: Grid, max_points: int) -> Iterator[tuple[int, Grid]]:
    """Yield (first index, grid) of consecutive parts of at most ``max_points`` times."""
    for first in range(0, grid.count, max_points):
        end = min(first + max_points, grid.count)
        yield first, Grid(grid.start + first * grid.step, grid.step, end - first)


def range_params(grid: Grid) -> dict[str, str]:
    """Return ``start``, ``end`` and ``step`` of a range query that visits exactly these times.

    Raises:
        Trouble: ``INVALID``, the step is no whole number of milliseconds; servers would truncate
            it and drift away from the grid.
    """
    start_ms, step_ms = round(grid.start * 1000), round(grid.step * 1000)
    if step_ms < 1 or abs(grid.step * 1000 - step_ms) > 1e-6:  # noqa: PLR2004  rounding of floats
        raise Trouble(Absence.INVALID, f"a step of {grid.step!r} s is no whole milliseconds")
    end_ms = start_ms + step_ms * (grid.count - 1)
    return {"start": _seconds(start_ms), "end": _seconds(end_ms), "step": _seconds(step_ms)}


def _sum(query: Query, restrictions: Iterable[Matcher]) -> str:
    selector = Selector(query.selector.metric, (*query.selector.matchers, *restrictions))
    return f"sum by ({', '.join(query.by)}) ({selector})"


def _alternations(label: str, values: Iterable[str], max_bytes: int) -> Iterator[Matcher]:
    """Yield ``label=~"a|b"`` matchers that together match exactly these values."""
    pending: list[str] = []
    size = overhead = len(f',{label}=~""'.encode())
    for value in sorted(values):
        pattern = quoted(value)
        # as it is written in the query, where backslashes and quotes are escaped once more
        cost = len(str(Matcher(label, "=~", pattern)).encode()) - overhead + 2
        if pending and size + cost > max_bytes:
            yield Matcher(label, "=~", "|".join(pending))
            pending, size = [], overhead
        pending.append(pattern)
        size += cost
    if pending:
        yield Matcher(label, "=~", "|".join(pending))


def _seconds(milliseconds: int) -> str:
    """Return seconds with exactly three decimals: floats of this size would not print so."""
    sign = "-" if milliseconds < 0 else ""
    whole, rest = divmod(abs(milliseconds), 1000)
    return f"{sign}{whole}.{rest:03d}"
