"""The figures on a page: pictures beside it, and tables between its marks."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.calibration.pictures import PICTURES
from benchmarks.calibration.printed import beside_design, beside_peers, markdown, percent
from benchmarks.calibration.situations import Table
from benchmarks.calibration.summary import Row, binomial_interval

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Table.ERRORS_FINE: "errors",
        Table.ERRORS_HARM: "errors",
        Table.LATENCY_FINE: "latency",
        Table.LATENCY_HARM: "latency",
        Table.SHARED: "shared",
        Table.GAUGES_FINE: "gauges",
        Table.GAUGES_HARM: "gauges",
        Table.MIX: "mix",
        Table.RATES: "rates",
        Table.SUITE: "suite",
    }
)
PAGE = "how-it-decides.md"
_MARKS = re.compile(
    r"(<!-- (?P<name>[a-z-]+), made by benchmarks.calibration -->\n).*?(<!-- end -->)", re.DOTALL
)


def publish(docs: Path, rows: Sequence[Row], made: str) -> None:
    """Draw the pictures into a documentation folder, and fill in the tables of the page.

    Args:
        docs: the folder of the page.
        rows: what was measured.
        made: a sentence on how.
    """
    for name, draw in PICTURES.items():
        (docs / "images" / f"{name}.svg").write_text(draw(rows).svg(), encoding="utf-8")
    page = docs / PAGE
    parts = tables(rows) | {"made": made, "pooled": pooled(rows)}

    def filled(found: re.Match[str]) -> str:
        return f"{found[1]}{parts.get(found['name'], '*not measured in this run*')}\n{found[3]}"

    page.write_text(_MARKS.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


def pooled(rows: Sequence[Row]) -> str:
    """Return in a sentence how many healthy deployments were rolled back in all situations."""
    fine = [row for row in rows if not row.harmful and row.filtered]
    runs = sum(row.runs for row in fine)
    hits = sum(row.judges["rollbackd"].alarms for row in fine)
    low, high = binomial_interval(hits, runs)
    worst = max(fine, key=lambda row: row.judges["rollbackd"].rate)
    share = percent(worst.judges["rollbackd"].rate)
    return (
        f"All situations without harm together, incidents and rolling updates included: **{hits} "
        f"of {runs:,} healthy releases rolled back** ({100 * hits / runs:.2f} %, 95 % interval "
        f"{100 * low:.2f}–{100 * high:.2f} %); the worst situation: {share} ({worst.name})."
    )


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """Return Markdown tables by name, such as "errors-fine" and "errors-fine-design"."""
    found: dict[str, str] = {}
    for kind in sorted({(row.table, row.harmful) for row in rows}):
        table, harmful = kind
        some = [row for row in rows if (row.table, row.harmful) == kind]
        name = f"{NAMES[table]}-{'harm' if harmful else 'fine'}"
        found[name] = markdown([beside_peers(row) for row in some])
        found[f"{name}-design"] = markdown([beside_design(row) for row in some])
    return found
