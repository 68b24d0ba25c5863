"""What is on the report's page, and writing it to a file."""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from analyzer.signal import TraceSignal
from analyzer.wording import duration, e_value, factor, quantity
from rollbackd.report.charts import (
    Chart,
    Moment,
    Span,
    evidence_chart,
    ratio_chart,
    span_of,
    values_chart,
)
from rollbackd.views import SignalPoint, SignalView, TimelineItem, WatchView

MOMENTS = {
    "degraded": ("decision", "decision"),
    "rollback demanded": ("decision", "demanded"),
    "acting": ("action", "action"),
    "rolled back": ("recovery", "recovery verified"),
    "healthy": ("recovery", "healthy"),
    "needs a human": ("decision", "people called"),
    "held": ("decision", "held"),
}
"""From the phase that a timeline item enters to the style and label of its marker."""

LABELLED = "marker"
"""Kind of timeline items that are markers by themselves, with their text as the label."""

MANY = TraceSignal.kind
"""The kind of signal that sums up many operations."""

MAX_ROWS = 24
"""Rows of a signal's table; the charts show every point."""

TONES = {
    "healthy": ("good", "✔"),
    "rolled back": ("good", "↩"),
    "needs a human": ("bad", "!"),
    "awaiting approval": ("bad", "!"),
    "degraded": ("bad", "!"),
    "acting": ("bad", "↩"),
    "held": ("bad", "!"),
    "inconclusive": ("open", "?"),
}
"""From a phase to how its badge looks; a sign as well as a colour."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a signal's table, all as text."""

    after: str
    canary: str
    baseline: str
    ratio: str
    evidence: str


@dataclass(frozen=True, slots=True)
class SignalSection:
    """One signal: its charts, and the same in numbers."""

    signal: SignalView
    charts: tuple[tuple[str, Chart], ...]
    rows: tuple[Row, ...]
    threshold: str
    margin: str


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One line of the timeline."""

    clock: str
    after: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class WatchSection:
    """Everything on the page about one watch."""

    watch: WatchView
    tone: str
    sign: str
    signals: tuple[SignalSection, ...]
    timeline: tuple[TimelineRow, ...]
    evidence: str
    limit: str
    healthy_acted_on: str
    lasted: str


def render(
    views: Sequence[WatchView],
    *,
    title: str,
    generated_at: float,
    outcome: str,
    facts: Mapping[str, str],
) -> str:
    """Return the report as one HTML document that needs nothing else.

    Args:
        views: the watches, in the order in which they are shown.
        title: of the document.
        generated_at: seconds since the epoch.
        outcome: how it ended, in one sentence.
        facts: what else is worth knowing, from a name to a text.
    """
    return _template().render(
        title=title,
        generated=clock(generated_at),
        outcome=outcome,
        facts=facts,
        watches=[section(view) for view in views],
    )


def write(path: Path, html: str) -> None:
    """Write the report; a reader sees the old file or the whole new one.

    Raises:
        OSError: the directory cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(html)
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("rollbackd.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def section(view: WatchView) -> WatchSection:
    """Return what the page shows of a watch, ready to be put into a template."""
    moments = tuple(moment for item in view.timeline if (moment := _moment(item)))
    times = [p.at for s in view.signals for p in s.points]
    span = span_of(times, view.started_at, moments)
    tone, sign = TONES.get(view.phase, ("open", "…"))
    return WatchSection(
        watch=view,
        tone=tone,
        sign=sign,
        signals=tuple(
            SignalSection(
                signal=s,
                charts=_charts(s, span),
                rows=tuple(_row(p, s, span.zero) for p in _thinned(s.points)),
                threshold=e_value(s.threshold) if math.isfinite(s.threshold) else "",
                margin=factor(s.margin),
            )
            for s in view.signals
        ),
        timeline=tuple(
            TimelineRow(clock(i.at), after(i.at, span.zero), i.kind, i.text) for i in view.timeline
        ),
        evidence=e_value(view.evidence),
        limit=e_value(view.limit),
        healthy_acted_on=f"{100 / view.limit:.2g} %" if view.limit > 0 else "unknown",
        lasted=after(view.updated_at, view.started_at).lstrip("+"),
    )


def _charts(signal: SignalView, span: Span) -> tuple[tuple[str, Chart], ...]:
    """Return the charts with their captions; many operations have no value in common."""
    evidence = ("Evidence of harm (e-value)", evidence_chart(signal, span))
    if signal.kind == MANY:
        return (evidence,)
    return (
        ("Canary and baseline", values_chart(signal, span)),
        ("Ratio of canary to baseline", ratio_chart(signal, span)),
        evidence,
    )


def _moment(item: TimelineItem) -> Moment | None:
    """Return the marker of a timeline item, or None when it has none."""
    if item.kind == LABELLED:
        return Moment(item.at, "fault", item.text)
    found = MOMENTS.get(item.text.partition(":")[0]) if item.kind == "phase" else None
    return Moment(item.at, *found) if found else None


def _thinned(points: Sequence[SignalPoint]) -> Sequence[SignalPoint]:
    """Return evenly spread points, the first and the last among them."""
    if len(points) <= MAX_ROWS:
        return points
    last = len(points) - 1
    return [points[round(i * last / (MAX_ROWS - 1))] for i in range(MAX_ROWS)]


def _row(point: SignalPoint, signal: SignalView, zero: float) -> Row:
    ratio = known(point.ratio, factor)
    if point.low is not None or point.high is not None:
        ratio += f" [{known(point.low, factor)}, {known(point.high, factor)}]"
    return Row(
        after=after(point.at, zero),
        canary=known(point.canary, lambda v: quantity(v, signal.unit)),
        baseline=known(point.baseline, lambda v: quantity(v, signal.unit)),
        ratio=ratio,
        evidence=known(point.e_value, e_value),
    )


def known(value: float | None, write_value: object) -> str:
    """Return a value as text, or a dash when there is none."""
    if value is None or math.isnan(value) or not callable(write_value):
        return "–"
    return str(write_value(value))


def clock(at: float) -> str:
    """Return a time of day for people, in UTC, or a dash when it is none."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "–"


def after(at: float, zero: float) -> str:
    """Return how long after another time something happened: "+12 s"."""
    if not math.isfinite(at - zero):
        return "–"
    return f"{'+' if at >= zero else '−'}{duration(abs(at - zero))}"
