"""Charts as geometry: what is drawn where. Drawing it is the template's business.

Unknown values (None, NaN) are gaps, infinities go to the edge of the plot, and a value alone
between two gaps is a dot: a chart never invents what was not measured.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analyzer.wording import duration, e_value, factor, quantity
from rollbackd.report.scale import Linear, Logarithmic, time_step
from rollbackd.views import SignalPoint, SignalView

WIDTH, PLOT_HEIGHT = 720.0, 170.0
LEFT, RIGHT, BOTTOM = 62.0, 14.0, 26.0
ROW = 15.0
"""Height of one row of marker labels above the plot."""

CHARACTER = 6.1
"""Width of a character of a marker's label, on average and rounded up."""

MAX_RATIO = 100.0
"""Ratios are drawn up to here, and down to its inverse: beyond, only "a lot" is of interest."""

BEYOND_LIMIT = 1e4
"""Evidence is drawn up to so many times its limit."""

LARGEST = 1e15
"""No axis of values goes beyond; such a value is a mistake of whoever measured it."""

FLOOR = 1e-2
"""Evidence below this is drawn at it: how strongly nothing was found is of no interest."""

TIME_TICKS, VALUE_TICKS = 7, 6


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at one time, drawn as a vertical line through every chart.

    ``kind`` is a name for style sheets: ``fault``, ``decision``, ``action`` or ``recovery``.
    """

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A round value beside an axis."""

    position: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A series: the path through its known values, and those that stand alone."""

    kind: str
    label: str
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line at a value that matters."""

    kind: str
    label: str
    y: float


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment's vertical line and where its label stands."""

    kind: str
    text: str
    x: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart; lengths in the units of the view box.

    ``description`` says in words what the picture shows.
    """

    title: str
    description: str
    width: float
    height: float
    top: float
    bottom: float
    left: float
    right: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    band: str
    rules: tuple[Rule, ...]
    markers: tuple[Marker, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The time that all charts of a watch show, and what happened in it.

    Attributes:
        start, end: seconds since the epoch, start < end.
        zero: the time that the axis counts from.
    """

    start: float
    end: float
    zero: float
    moments: tuple[Moment, ...] = ()

    @property
    def axis(self) -> Linear:
        """The horizontal axis."""
        return Linear(self.start, self.end, LEFT, WIDTH - RIGHT)


def span_of(times: Iterable[float], zero: float, moments: Sequence[Moment]) -> Span:
    """Return the span that holds all finite times and moments; a second at least."""
    known = [t for t in [*times, *(m.at for m in moments), zero] if math.isfinite(t)]
    start, end = min(known, default=0.0), max(known, default=0.0)
    inside = tuple(sorted((m for m in moments if math.isfinite(m.at)), key=lambda m: m.at))
    return Span(start, max(end, start + 1.0), zero if math.isfinite(zero) else start, inside)


def values_chart(signal: SignalView, span: Span) -> Chart:
    """Draw the canary's values against the baseline's, from zero up, in the signal's unit."""
    points = signal.points
    known = [v for p in points for v in (p.canary, p.baseline) if v is not None]
    high = max((v for v in known if math.isfinite(v)), default=0.0)
    frame = _Frame(span)
    top = min(high * 1.12, LARGEST) if high > 0 else 1.0
    axis = Linear(0.0, top, frame.bottom, frame.top)
    what = "share of events" if signal.unit == "share" else f"typical value in {signal.unit}"
    return frame.chart(
        title=f"{signal.name}: canary and baseline",
        description=f"{what} over time. At the end: canary {_last(points, 'canary', signal.unit)}, "
        f"baseline {_last(points, 'baseline', signal.unit)}.",
        y_ticks=_ticks(axis, lambda v: quantity(v, signal.unit)),
        lines=(
            _line("baseline", "baseline", points, lambda p: p.baseline, axis, span),
            _line("canary", "canary", points, lambda p: p.canary, axis, span),
        ),
    )


def ratio_chart(signal: SignalView, span: Span) -> Chart:
    """Draw the ratio of canary to baseline with its confidence band and the margin of harm."""
    points = signal.points
    ends = [v for p in points for v in (p.ratio, p.low, p.high) if _positive(v)]
    known = [v for v in ends if v is not None] + [signal.margin, 1.0]
    frame = _Frame(span)
    axis = Logarithmic(
        max(min([*known, 0.5]) / 1.15, 1 / MAX_RATIO),
        min(max([*known, 2.0]) * 1.15, MAX_RATIO),
        frame.bottom,
        frame.top,
    )
    last = next((p for p in reversed(points) if _positive(p.ratio)), None)
    now = "not measured" if last is None or last.ratio is None else factor(last.ratio)
    rules = [Rule("even", "", axis.position(1.0))]
    if math.isfinite(signal.margin) and signal.margin > 0:
        label = f"margin {factor(signal.margin)}"
        rules.append(Rule("limit", label, axis.position(signal.margin)))
    return frame.chart(
        title=f"{signal.name}: ratio with 95 % confidence sequence",
        description="Canary divided by baseline, logarithmic. Harm begins above the margin of "
        f"{factor(signal.margin)}. At the end: {now}.",
        y_ticks=_ticks(axis, factor),
        lines=(_line("ratio", "ratio", points, lambda p: p.ratio, axis, span),),
        band=_band(points, axis, span),
        rules=tuple(rules),
    )


def evidence_chart(signal: SignalView, span: Span) -> Chart:
    """Draw the e-value on a logarithmic axis against the value at which it decides alone."""
    points = signal.points
    known = [p.e_value for p in points if math.isfinite(p.e_value)]
    decides = math.isfinite(signal.threshold) and signal.threshold > 0
    limit = signal.threshold if decides else 100.0
    frame = _Frame(span)
    high = min(max([*known, limit]) * 10, limit * BEYOND_LIMIT)
    axis = Logarithmic(FLOOR, high, frame.bottom, frame.top)
    rules = [Rule("even", "", axis.position(1.0))]
    if decides:
        rules.append(Rule("limit", f"decides at {e_value(limit)}", axis.position(limit)))
    most = max((p.e_value for p in points if not math.isnan(p.e_value)), default=0.0)
    return frame.chart(
        title=f"{signal.name}: evidence of harm",
        description="e-value, logarithmic: 1 means none, "
        + (f"{e_value(limit)} decides alone. " if decides else "this signal is only shown. ")
        + f"Highest: {e_value(most)}.",
        y_ticks=_ticks(axis, lambda v: f"{v:g}" if v < 1 else e_value(v).removesuffix(".0")),
        lines=(_line("evidence", "evidence", points, lambda p: p.e_value, axis, span),),
        rules=tuple(rules),
    )


class _Frame:
    """The parts that all charts over one span share: the plot's box, time axis and markers."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._markers, rows = _markers(span)
        self.top = rows * ROW + 6.0
        self.bottom = self.top + PLOT_HEIGHT

    def chart(
        self,
        *,
        title: str,
        description: str,
        y_ticks: tuple[Tick, ...],
        lines: tuple[Line, ...],
        band: str = "",
        rules: tuple[Rule, ...] = (),
    ) -> Chart:
        """Put a chart together."""
        return Chart(
            title=title,
            description=description,
            width=WIDTH,
            height=self.bottom + BOTTOM,
            top=self.top,
            bottom=self.bottom,
            left=LEFT,
            right=WIDTH - RIGHT,
            x_ticks=self._time_ticks(),
            y_ticks=y_ticks,
            lines=lines,
            band=band,
            rules=rules,
            markers=self._markers,
        )

    def _time_ticks(self) -> tuple[Tick, ...]:
        span = self._span
        step = time_step(span.end - span.start, TIME_TICKS)
        first = math.ceil((span.start - span.zero) / step - 1e-9)
        last = math.floor((span.end - span.zero) / step + 1e-9)
        return tuple(
            Tick(
                span.axis.position(span.zero + i * step),
                f"{'−' if i < 0 else ''}{duration(abs(i * step))}",
            )
            for i in range(first, last + 1)
        )


def _ticks(axis: Linear | Logarithmic, write: Callable[[float], str]) -> tuple[Tick, ...]:
    return tuple(Tick(axis.position(v), write(v)) for v in axis.ticks(VALUE_TICKS))


def _line(
    kind: str,
    label: str,
    points: Sequence[SignalPoint],
    value: Callable[[SignalPoint], float | None],
    axis: Linear | Logarithmic,
    span: Span,
) -> Line:
    """Return the path through the known values; each gap begins a new stroke."""
    strokes: list[list[tuple[float, float]]] = [[]]
    for point in points:
        y = value(point)
        if y is None or math.isnan(y) or not math.isfinite(point.at):
            strokes.append([])
        else:
            strokes[-1].append((_round(span.axis.position(point.at)), _round(axis.position(y))))
    path = " ".join(_path(stroke) for stroke in strokes if len(stroke) > 1)
    return Line(kind, label, path, tuple(stroke[0] for stroke in strokes if len(stroke) == 1))


def _band(points: Sequence[SignalPoint], axis: Logarithmic, span: Span) -> str:
    """Return the closed path between the confidence bounds; an open side reaches the edge."""
    pieces: list[list[SignalPoint]] = [[]]
    for point in points:
        if point.low is None and point.high is None:
            pieces.append([])
        elif math.isfinite(point.at):
            pieces[-1].append(point)
    paths = []
    for piece in pieces:
        upper = [(span.axis.position(p.at), axis.position(_or(p.high, axis.high))) for p in piece]
        lower = [(span.axis.position(p.at), axis.position(_or(p.low, axis.low))) for p in piece]
        if len(piece) > 1:
            outline = [(_round(x), _round(y)) for x, y in [*upper, *reversed(lower)]]
            paths.append(f"{_path(outline)} Z")
    return " ".join(paths)


def _markers(span: Span) -> tuple[tuple[Marker, ...], int]:
    """Place labels from the top row down, none over another; return them and the rows.

    A label goes below all that reach to its right, so that its line, which begins at the label,
    crosses none of them.
    """
    ends: list[float] = []  # by row, where its last label ends
    markers = []
    for moment in span.moments:
        x = span.axis.position(moment.at)
        width = CHARACTER * len(moment.text) + 10
        fits_right = x + width <= WIDTH
        start = x if fits_right else x - width
        row = max((i + 1 for i, end in enumerate(ends) if end > start), default=0)
        ends[row : row + 1] = [start + width]
        markers.append(
            Marker(
                kind=moment.kind,
                text=moment.text,
                x=_round(x),
                label_x=_round(x + (4 if fits_right else -4)),
                label_y=(row + 1) * ROW - 3,
                anchor="start" if fits_right else "end",
            )
        )
    return tuple(markers), len(ends)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g},{y:g}" for x, y in points)


def _round(position: float) -> float:
    return round(position, 1)


def _positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or math.isnan(value) else value


def _last(points: Sequence[SignalPoint], name: str, unit: str) -> str:
    values = (getattr(p, name) for p in reversed(points))
    last = next((v for v in values if v is not None and not math.isnan(v)), None)
    return "unknown" if last is None else quantity(last, unit)
