"""Rows as tables: on a terminal, and in Markdown."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table as Screen

from benchmarks.calibration.summary import Figures, Row

OURS = "rollbackd"


def percent(share: float | None) -> str:
    """Return a share as people read it: one digit below 10 %, none above."""
    if share is None:
        return "–"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def seconds(median: float | None, p90: float | None) -> str:
    """Return a median and a 90 % quantile in seconds."""
    if median is None:
        return "–"
    text = f"{median:.0f} s" if p90 is None else f"{median:.0f}/{p90:.0f} s"
    return text.replace("-", "−")


def beside_peers(row: Row) -> dict[str, str]:
    """Return the cells of a row that compare judges, by their heads."""
    cells = {"situation": row.name, "n": str(row.runs)} | {
        name: _found(figures) if row.harmful else _false(figures, interval=name == OURS)
        for name, figures in row.judges.items()
    }
    if row.harmful and row.healthy:
        cells[OURS] += f" ({percent(row.healthy)} called healthy before)"
    return cells


def beside_design(row: Row) -> dict[str, str]:
    """Return the cells of a row that compare the daemon with the design note, by their heads."""
    ours, design = row.judges[OURS], row.design
    kept = {"situation": row.name, "n": str(row.runs)}
    if row.harmful:
        kept[OURS] = _found(ours)
        kept["design"] = _said(design.rate, design.median_s, design.p90_s)
    else:
        kept[OURS] = _false(ours, interval=True)
        kept["design"] = percent(design.rate)
    kept["called healthy"] = _said(row.healthy, row.healthy_median_s, row.healthy_p90_s)
    if not row.harmful:
        healthy = _said(design.healthy, design.healthy_median_s, design.healthy_p90_s)
        kept["healthy, design"] = healthy
    return kept | {"shared incident": _said(row.shared or None, row.shared_median_s, None)}


def show(rows: Iterable[Row]) -> None:
    """Print tables on the terminal."""
    console = Console(width=200)
    for (table, _), group in groupby(rows, key=lambda r: (r.table, r.harmful)):
        found = list(group)
        for cells, title in (
            (beside_peers, table),
            (beside_design, f"{table}: beside the design"),
        ):
            lines = [cells(row) for row in found]
            screen = Screen(title=title)
            for i, head in enumerate(lines[0]):
                screen.add_column(head, justify="right" if i else "left")
            for line in lines:
                screen.add_row(*line.values())
            console.print(screen)


def markdown(lines: Sequence[dict[str, str]]) -> str:
    """Return cells as a Markdown table; all lines have the same heads."""
    heads = list(lines[0])
    table = [heads, ["---", *("--:" for _ in heads[1:])], *(list(x.values()) for x in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _found(figures: Figures) -> str:
    text = _said(figures.rate, figures.median_s, figures.p90_s)
    return f"{text} ({figures.early} early)" if figures.early else text


def _false(figures: Figures, *, interval: bool) -> str:
    if not interval:
        return percent(figures.rate)
    return f"{percent(figures.rate)} [{100 * figures.low:.1f}, {100 * figures.high:.1f}]"


def _said(share: float | None, median: float | None, p90: float | None) -> str:
    """Return a share and, if it is not nothing, how long it took."""
    return "–" if share is None else f"{percent(share)} {seconds(median, p90)}".removesuffix(" –")
