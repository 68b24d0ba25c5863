"""The pictures of the page "How it decides", drawn from rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from benchmarks.calibration.drawing import FAINT, GRID, INK, Drawing
from benchmarks.calibration.situations import TICK_S, WARM_TICKS, Table
from benchmarks.calibration.summary import Figures, Row
from rollbackd.report.scale import Linear, Logarithmic

COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rollbackd": "#0969da",
        "Kayenta": "#bc4c00",
        "PipeCD": "#8250df",
        "Argo Rollouts": "#1a7f37",
        "Flagger": "#57606a",
        "z-test": "#cf222e",
        "mSPRT": "#bf8700",
    }
)
HARM, FINE = "#cf222e", "#0969da"
WIDTH, NAMES, RIGHT, TOP, ROW, BOTTOM = 860.0, 290.0, 24.0, 64.0, 24.0, 40.0
LEAST_SHARE, DECIDES = 0.002, 100.0
EVIDENCE_LOW, EVIDENCE_HIGH = 1e-2, 1e4


def false_rollbacks(rows: Sequence[Row]) -> Drawing:
    """Draw every judge's share of rolled back healthy releases, situation by situation."""
    shown = [row for row in rows if row.table in {Table.ERRORS_FINE, Table.LATENCY_FINE}]
    axis = Logarithmic(LEAST_SHARE, 1.0, NAMES, WIDTH - RIGHT)
    drawing = _frame(
        "Healthy releases rolled back within an hour",
        "For each situation without harm, the share of releases that each judge would have rolled "
        "back. rollbackd stays near zero; the others reach 100 %.",
        len(shown),
    )
    _legend(drawing, COLOURS)
    _scale(drawing, axis, [0.01, 0.1, 1.0], lambda v: f"{100 * v:g} %", len(shown))
    bottom = TOP + ROW * len(shown)
    drawing.text((NAMES, bottom + 18), "none", anchor="middle", colour=FAINT)
    alpha = axis.position(0.01)
    drawing.line((alpha, TOP - 6), (alpha, bottom), INK, 1.0, "4 3")
    for i, row in enumerate(shown):
        y = TOP + ROW * (i + 0.5)
        _name(drawing, row, y)
        for judge, figures in row.judges.items():
            if judge != "rollbackd":
                x = axis.position(max(figures.rate, LEAST_SHARE))
                drawing.dot((x, y), 4, COLOURS[judge], hollow=True)
        ours = row.judges["rollbackd"]
        span = [(axis.position(max(v, LEAST_SHARE)), y) for v in (ours.low, ours.high)]
        drawing.line(span[0], span[1], COLOURS["rollbackd"], 2.5)
        drawing.dot((axis.position(max(ours.rate, LEAST_SHARE)), y), 5.5, COLOURS["rollbackd"])
    return drawing


def delays(rows: Sequence[Row]) -> Drawing:
    """Draw from median to 90 % quantile how long it took to find harm."""
    shown = [row for row in rows if row.table in {Table.ERRORS_HARM, Table.LATENCY_HARM}]
    axis = Logarithmic(10.0, 3600.0, NAMES, WIDTH - RIGHT)
    drawing = _frame(
        "Time until harm is found",
        "For each harmful canary, the time from the first comparable request to the alarm, from "
        "median to 90 % quantile, and the share found where it is not all.",
        len(shown),
    )
    judges = {name: COLOURS[name] for name in ("rollbackd", "Kayenta", "Flagger")}
    _legend(drawing, judges)
    marks = [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]
    _scale(drawing, axis, marks, _duration, len(shown))
    for i, row in enumerate(shown):
        middle = TOP + ROW * (i + 0.5)
        _name(drawing, row, middle)
        for judge, shift in (("Kayenta", -6), ("Flagger", 6), ("rollbackd", 0)):
            _delay(drawing, row.judges[judge], axis, middle + shift, judge)
    return drawing


def evidence(rows: Sequence[Row]) -> Drawing:
    """Draw the evidence of healthy and of harmful releases over time."""
    shown = [row for row in rows if row.paths]
    drawing = Drawing(
        WIDTH,
        380,
        "Evidence over time",
        "Evidence against twenty healthy canaries stays below 100, mostly below 1; against twenty "
        "canaries with twice the errors it crosses 100.",
    )
    ticks = max((len(path) for row in shown for path in row.paths), default=1)
    across = Linear(0.0, ticks * TICK_S / 60, 62.0, WIDTH - RIGHT)
    up = Logarithmic(EVIDENCE_LOW, EVIDENCE_HIGH, 380 - BOTTOM, TOP)
    drawing.text((62, 24), drawing.title, bold=True, size=15)
    for i, row in enumerate(shown):
        x, what = 62.0 + 300 * i, "harmful" if row.harmful else "nothing wrong"
        drawing.line((x, 44), (x + 18, 44), _mood(row), 2.5)
        drawing.text((x + 24, 48), f"{what}: {row.name}")
    for value in up.ticks(8):
        drawing.line((62, up.position(value)), (WIDTH - RIGHT, up.position(value)), GRID)
        label = f"{value:,.0f}" if value >= 1 else f"{value:g}"
        drawing.text((56, up.position(value) + 4), label, anchor="end", colour=FAINT)
    for minute in across.ticks(8):
        words = f"{minute:g} min"
        drawing.text((across.position(minute), 380 - 18), words, anchor="middle", colour=FAINT)
    for row in shown:
        for path in row.paths:
            known = [(t, e) for t, e in enumerate(path) if e is not None and t >= WARM_TICKS]
            points = [(across.position((t + 1) * TICK_S / 60), up.position(e)) for t, e in known]
            drawing.path(points, _mood(row), 1.4, 0.55)
    limit = up.position(DECIDES)
    drawing.line((62, limit), (WIDTH - RIGHT, limit), INK, 1.5, "6 4")
    drawing.text((WIDTH - RIGHT, limit - 6), "decides: 1/α", anchor="end")
    return drawing


PICTURES: Final[Mapping[str, Callable[[Sequence[Row]], Drawing]]] = MappingProxyType(
    {
        "calibration-false-rollbacks": false_rollbacks,
        "calibration-delays": delays,
        "calibration-evidence": evidence,
    }
)
"""Picture by the name of its file."""


def _mood(row: Row) -> str:
    return HARM if row.harmful else FINE


def _frame(title: str, description: str, rows: int) -> Drawing:
    drawing = Drawing(WIDTH, TOP + ROW * rows + BOTTOM, title, description)
    drawing.text((16, 24), title, bold=True, size=15)
    return drawing


def _legend(drawing: Drawing, judges: Mapping[str, str]) -> None:
    x = 16.0
    for name, colour in judges.items():
        drawing.dot((x + 5, 44), 4.5, colour, hollow=name != "rollbackd")
        drawing.text((x + 14, 48), name, bold=name == "rollbackd")
        x += 30 + 7.2 * len(name)


def _scale(
    drawing: Drawing,
    axis: Logarithmic,
    values: Iterable[float],
    write: Callable[[float], str],
    rows: int,
) -> None:
    bottom = TOP + ROW * rows
    drawing.line((NAMES, TOP), (NAMES, bottom), GRID)
    for value in values:
        x = axis.position(value)
        drawing.line((x, TOP), (x, bottom), GRID)
        drawing.text((x, bottom + 18), write(value), anchor="middle", colour=FAINT)


def _name(drawing: Drawing, row: Row, y: float) -> None:
    signal = row.table.split(",")[0]
    drawing.text((NAMES - 14, y + 4), f"{signal}: {row.name}", anchor="end")


def _delay(drawing: Drawing, figures: Figures, axis: Logarithmic, y: float, judge: str) -> None:
    if figures.median_s is None or figures.p90_s is None:
        return
    ours = judge == "rollbackd"
    colour = COLOURS[judge]
    start, end = axis.position(figures.median_s), axis.position(figures.p90_s)
    drawing.line((start, y), (end, y), colour, 4.0 if ours else 1.2)
    drawing.dot((start, y), 5.5 if ours else 3.5, colour, hollow=not ours)
    if ours and figures.rate < 0.995:
        drawing.text((end + 8, y + 4), f"{100 * figures.rate:.0f} % found", colour=colour, size=11)


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"
