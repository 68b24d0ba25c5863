"""Plots in the terminal: canary against baseline, and evidence against its limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import plotext

from rollbackd.cli.evidence import age, amount, e_value
from rollbackd.views import SignalPoint, SignalView

HEIGHT = 12
MIN_WIDTH, MAX_WIDTH = 36, 100
LEAST = 0.01
"""Smaller e-values are drawn here: a log axis has no zero."""

X_TICKS, Y_TICKS = 5, 4
"""About how many intervals an axis has."""
TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot: times, values (None = unknown: the line is broken), and its look."""

    values: Sequence[float | None]
    marker: str
    colour: str
    joined: bool = True


def sides_plot(signal: SignalView, started_at: float, width: int, coloured: bool) -> str:
    """Return canary against baseline, in the signal's unit; "" when nothing was measured."""
    curves = (
        # Different marks, because there may be no colours; the dots go over the line.
        Curve([p.canary for p in signal.points], "braille", "red"),
        Curve([p.baseline for p in signal.points], "•", "blue", joined=False),
    )
    measured = [v for c in curves for v in c.values if v is not None and math.isfinite(v)]
    if not measured:
        return ""
    figure = _figure(width, f"{signal.name}: canary (line) against baseline (dots)")
    _draw(figure, curves, signal.points, started_at)
    step = _round_step(max(measured) / Y_TICKS)
    ticks = [step * i for i in range(math.ceil(max(measured) / step) + 1)]
    figure.ruler("y").lim(0, ticks[-1])
    figure.ruler("y").ticks(ticks, [amount(tick, signal.unit) for tick in ticks])
    return _text(figure, coloured)


def evidence_plot(signal: SignalView, started_at: float, width: int, coloured: bool) -> str:
    """Return the e-value against its threshold, on a log axis; "" when nothing was measured."""
    # Logarithms on a linear axis: plotext's own log axis does not get along with set limits.
    logs = [
        math.log10(max(p.e_value, LEAST)) if math.isfinite(p.e_value) else None
        for p in signal.points
    ]
    known = [value for value in logs if value is not None]
    if not known:
        return ""
    figure = _figure(width, f"{signal.name}: evidence (line) against its limit (dotted)")
    _draw(figure, [Curve(logs, "braille", "magenta")], signal.points, started_at)
    limit = math.log10(max(signal.threshold, LEAST))
    figure.line(limit, "horizontal", pixel="default", style="dotted")
    low, high = math.floor(min(*known, 0.0)), math.ceil(max(*known, limit) + 0.1)
    figure.ruler("y").lim(low, high)
    ticks = range(low, high + 1, math.ceil((high - low) / Y_TICKS))
    figure.ruler("y").ticks(list(ticks), [_power(tick) for tick in ticks])
    return _text(figure, coloured)


def _power(exponent: int) -> str:
    return (
        "0.01"
        if exponent < -1
        else "0.1"
        if exponent < 0
        else e_value(10.0**exponent).removeprefix("1·")
    )


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not less."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(
        power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= least * (1 - 1e-9)
    )


def _figure(width: int, title: str) -> plotext.figure:
    figure = plotext.figure
    figure.clear()
    figure.plot_size(max(MIN_WIDTH, min(width, MAX_WIDTH)), HEIGHT)
    figure.theme("colorless")  # the terminal's own colours, whatever they are
    figure.title(title)
    return figure


def _draw(
    figure: plotext.figure,
    curves: Sequence[Curve],
    points: Sequence[SignalPoint],
    started_at: float,
) -> None:
    """Draw curves over the age of the watch."""
    times = [point.at - started_at for point in points]
    for curve in curves:
        known = [i for i, v in enumerate(curve.values) if v is not None and math.isfinite(v)]
        if not known:
            continue
        signal = figure.signal(
            [times[i] for i in known],
            [curve.values[i] for i in known],
            marker=plotext.marker(curve.marker, curve.colour),
        ).lines(curve.joined)
        for position, (before, after) in enumerate(pairwise(known), start=1):
            if curve.joined and after != before + 1:
                signal.line(position, active=False)
        figure.draw(signal)
    span = times[-1] - times[0]
    step = next((s for s in TIME_STEPS_S if span / s <= X_TICKS), span / X_TICKS)
    first = math.ceil(times[0] / step)
    ticks = [step * i for i in range(first, math.floor(times[-1] / step) + 1)]
    figure.ruler("x").ticks(ticks, [age(tick) for tick in ticks])


def _text(figure: plotext.figure, coloured: bool) -> str:
    lines = figure.build().string(colorless=not coloured).splitlines()
    return "\n".join(line.rstrip() for line in lines)
