"""A small plot of canary against baseline, for messages; needs the extra ``plots``."""

import io

from rollbackd.notifiers.wording import clock
from rollbackd.views import SignalView, WatchView

MOST = 2
"""Signals in one picture: it is looked at on a phone."""
CANARY, BASELINE, INK = "#c2410c", "#1d4ed8", "#333333"


def draw(view: WatchView) -> bytes | None:
    """Return a PNG of the worst signals over time; None without points or without matplotlib."""
    signals = _worst(view)
    if not signals:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return None
    figure = Figure(figsize=(6.4, 2.2 * len(signals) + 0.3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(signals), 1, sharex=True, squeeze=False)
    for (axis,), signal in zip(axes, signals, strict=True):
        scale, unit = _unit(signal)
        times = [(p.at - view.started_at) / 60.0 for p in signal.points]
        sides = (
            ("baseline", BASELINE, [p.baseline for p in signal.points]),
            ("canary", CANARY, [p.canary for p in signal.points]),
        )
        for label, color, values in sides:
            shown = [float("nan") if v is None else scale * v for v in values]
            axis.plot(times, shown, color=color, label=label, linewidth=1.8)
        axis.set_ylim(bottom=0)
        axis.set_title(
            f"{signal.name}{unit}", loc="left", fontsize=10, color=INK, parse_math=False
        )
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=INK)
    axes[0][0].legend(fontsize=8, frameon=False, loc="upper left")
    began = f"minutes since {clock(view.started_at)}"
    axes[-1][0].set_xlabel(began, fontsize=8, color=INK)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _worst(view: WatchView) -> list[SignalView]:
    drawable = [s for s in view.signals if sum(p.canary is not None for p in s.points) > 1]
    return sorted(drawable, key=lambda s: -s.points[-1].e_value)[:MOST]


def _unit(signal: SignalView) -> tuple[float, str]:
    """Return what values are multiplied by, and how the unit is written."""
    match signal.unit, signal.kind:
        case ("share", _) | ("", "ratio"):
            return 100.0, " (%)"
        case ("s", _):
            return 1000.0, " (ms)"
        case (unit, _):
            return 1.0, f" ({unit})" if unit else ""
