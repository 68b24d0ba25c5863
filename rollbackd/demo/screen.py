"""What the audience sees: a live picture in a terminal, plain lines anywhere else."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from analyzer.wording import e_value, factor, quantity
from rollbackd.demo.stage import Actor
from rollbackd.views import SignalPoint, SignalView, WatchView

BAR = 28
"""Characters of an evidence bar."""

BAR_FROM, BAR_BEYOND = 0.1, 100.0
"""The bar begins at this e-value, and ends at so many times its limit."""

STATUS_EVERY_S = 5.0
"""Between two status lines of the plain output."""

SHOWN_EVENTS = 9

PHASE_STYLE = {
    "healthy": "bold green",
    "rolled back": "bold green",
    "degraded": "bold red",
    "acting": "bold red",
    "needs a human": "bold red",
    "verifying": "bold yellow",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One look at the stage.

    Attributes:
        title: what is played. elapsed: seconds since it began.
        actors: the processes. canary_share: of the traffic, from 0 to 1.
        view: the watch with the play's own events, or None before it begins.
    """

    title: str
    elapsed: float
    actors: Sequence[Actor]
    canary_share: float
    view: WatchView | None


class Screen(Protocol):
    """Where scenes are shown; a context manager."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""

    def show(self, scene: Scene) -> None:
        """Show a scene."""

    def say(self, text: str) -> None:
        """Print a line that stays."""


def screen(*, plain: bool) -> Screen:
    """Return the live picture in a terminal, or plain lines."""
    if plain or not sys.stdout.isatty():
        return PlainScreen()
    return LiveScreen()


class LiveScreen:
    """A picture that is drawn anew at each scene."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture and restore the cursor."""
        self._live.stop()

    def show(self, scene: Scene) -> None:
        """Draw the scene in place of the last one."""
        self._live.update(picture(scene), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above the picture, or below it when it is the last."""
        self._console.print(text, soft_wrap=True)


class PlainScreen:
    """Lines: each event once, and now and then where things stand."""

    def __init__(self) -> None:
        self._told: set[tuple[float, str]] = set()
        self._next_status = 0.0

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to restore."""

    def show(self, scene: Scene) -> None:
        """Print what is new."""
        view = scene.view
        for item in view.timeline if view is not None else ():
            if (item.at, item.text) not in self._told:
                self._told.add((item.at, item.text))
                self.say(f"{scene.elapsed:5.1f} s  * {item.text}")
        if scene.elapsed >= self._next_status:
            self._next_status = scene.elapsed + STATUS_EVERY_S
            self.say(f"{scene.elapsed:5.1f} s    {status_line(scene)}")

    def say(self, text: str) -> None:
        """Print a line at once, whatever stands behind the pipe."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def status_line(scene: Scene) -> str:
    """Say in one line where things stand."""
    if scene.view is None:
        return "collecting the baseline's history; the canary gets no traffic yet"
    view = scene.view
    signals = [
        s.summary or f"{s.name}: {s.missing or 'not measured'}"
        for s in view.signals
        if s.tier != "info"
    ]
    combined = f"evidence {e_value(view.evidence)} of {e_value(view.limit)}"
    return "; ".join([view.phase, *signals, combined])


def picture(scene: Scene) -> RenderableType:
    """Return a scene as something rich can draw."""
    parts: list[RenderableType] = [_actors(scene), Text("")]
    if scene.view is None:
        parts.append(Text("Collecting the baseline's history; no canary traffic yet.", "dim"))
    else:
        parts += [_signals(scene.view), _combined(scene.view), _events(scene.view)]
    title = f"{scene.title} · {scene.elapsed:.0f} s"
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim")


def _actors(scene: Scene) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for actor in scene.actors:
        state = Text("●", "green") if actor.pid else Text("○ down", "bold red")
        note = f"restarted {actor.restarts}×" if actor.restarts else ""
        if actor.name == "canary":
            share = Text(f"{scene.canary_share:.0%} of traffic", "yellow")
        else:
            share = Text("")
        table.add_row(state, actor.name, Text(actor.role, "dim"), share, Text(note, "red"))
    return table


def _signals(view: WatchView) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for heading in ("signal", "canary", "baseline", "ratio [95 %]", "evidence"):
        table.add_column(heading, no_wrap=True)
    for signal in view.signals:
        point = signal.points[-1] if signal.points else None
        shown_only = signal.tier == "info"
        name = Text(signal.name, "dim" if shown_only else "bold")
        if point is None:
            table.add_row(name, "–", "–", "–", Text(signal.missing or "not measured yet", "dim"))
            continue
        bar = evidence_bar(signal, point.e_value).append(f" {e_value(point.e_value)}", "dim")
        table.add_row(
            name,
            Text(_value(point.canary, signal.unit)),
            Text(_value(point.baseline, signal.unit), "dim"),
            Text(_interval(point)),
            Text("only shown", "dim") if shown_only else bar,
        )
    return table


def evidence_bar(signal: SignalView, value: float) -> Text:
    """Draw an e-value on a logarithmic bar; ``│`` is where the signal decides alone."""
    limit = signal.threshold if math.isfinite(signal.threshold) else 100.0
    span = math.log10(limit * BAR_BEYOND / BAR_FROM)

    def cell(amount: float) -> int:
        if math.isnan(amount) or amount <= BAR_FROM:
            return 0
        if math.isinf(amount):
            return BAR
        return min(BAR, round(BAR * math.log10(amount / BAR_FROM) / span))

    filled, mark = cell(value), min(cell(limit), BAR - 1)
    bar = Text()
    for i in range(BAR):
        over = filled > mark
        if i == mark:
            bar.append("│", "bold red")
        else:
            bar.append("█" if i < filled else "·", "red" if over and i < filled else "magenta")
    return bar


def _combined(view: WatchView) -> Text:
    text = Text("\n")
    text.append(view.phase, PHASE_STYLE.get(view.phase, "bold cyan"))
    text.append(f"  {view.workload} {view.baseline} → {view.canary}")
    text.append(f"  combined evidence {e_value(view.evidence)} of {e_value(view.limit)}")
    text.append(f"\n{view.outlook}\n", "dim")
    return text


def _events(view: WatchView) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for item in view.timeline[-SHOWN_EVENTS:]:
        table.add_row(Text(f"{item.at - view.started_at:+.0f} s", "cyan"), Text(item.text))
    return table


def _value(value: float | None, unit: str) -> str:
    return "–" if value is None else quantity(value, unit)


def _interval(point: SignalPoint) -> str:
    if point.ratio is None:
        return "–"
    low = "?" if point.low is None else factor(point.low)
    high = "?" if point.high is None else factor(point.high)
    return f"{factor(point.ratio)} [{low}, {high}]"
