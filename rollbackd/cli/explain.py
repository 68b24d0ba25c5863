"""``rollbackd explain``: one watch in full, with its numbers, plots and time line."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli import evidence
from rollbackd.cli.terminal import console
from rollbackd.cli.watches import place, place_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from rollbackd.views import SignalView, WatchView

MANY = "trace"
"""The kind of signal that sums up many operations: it has no value or ratio of its own."""
SIDE_BY_SIDE = 110
"""From this many columns on, a signal's two plots stand beside each other."""


@click.command()
@click.argument("watch")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
def explain(
    watch: str, config_file: Path | None, url: str | None, journal: Path | None, as_json: bool
) -> None:
    """Say why WATCH stands as it does, with numbers and plots.

    WATCH is an id as in `status --json`, or simply the workload: shop/checkout, or checkout.
    """
    view, found = place(config_file, url, journal).watch(watch)
    if as_json:
        from rollbackd.views_json import view_to_json  # noqa: PLC0415 - pydantic, when needed

        click.echo(json.dumps(view_to_json(view), ensure_ascii=False))
        return
    if not found.live:
        click.secho(f"From {found.origin}.", fg="yellow", err=True)
    show(view, time.time())


def show(view: "WatchView", now: float) -> None:
    """Print everything there is to say of a watch."""
    out = console()
    _headline(out, view, now)
    for signal in view.signals:
        _signal(out, signal, view.started_at)
    if view.timeline:
        _heading(out, f"Time line, since {evidence.day_and_clock(view.started_at)}")
        kinds = max(len(item.kind) for item in view.timeline)
        for item in view.timeline:
            _hanging(out, f"  {evidence.clock(item.at)}  {item.kind:{kinds}}  ", item.text)
    if view.plan:
        _heading(out, "Plan")
        _hanging(out, "  ", view.plan)
    _guards(out, view)
    _heading(out, "What happens next")
    _hanging(out, "  ", view.outlook)


def _headline(out: "Console", view: "WatchView", now: float) -> None:
    from rich.text import Text  # noqa: PLC0415 - see terminal.console

    title = Text(view.workload, "bold")
    title.append(f"  {view.baseline} → {view.canary}", "not bold")
    out.print(title)
    verdict = Text(view.verdict, evidence.VERDICT_STYLE.get(view.verdict, "bold"))
    verdict.append(f", {view.phase}", "default not bold")
    out.print(verdict)
    updated = now - view.updated_at
    out.print(
        f"policy {view.policy} ({view.mode}) · started {evidence.age(now - view.started_at)} ago · "
        f"looked at {evidence.age(updated)} ago",
        style="dim",
    )
    out.print(
        f"evidence {evidence.bar(view.evidence, view.limit)} {evidence.e_value(view.evidence)} "
        f"of the {evidence.e_value(view.limit)} that decide"
    )
    if view.reasons:
        _heading(out, "Why")
        for reason in view.reasons:
            _hanging(out, "  • ", reason)


def _signal(out: "Console", signal: "SignalView", started_at: float) -> None:
    _heading(out, f"Signal {signal.name} ({signal.kind}, {signal.tier})")
    if signal.summary:
        _hanging(out, "  ", signal.summary)
    if signal.missing:
        _hanging(out, "  ", f"not measured at the last look: {signal.missing}")
    last = next((p for p in reversed(signal.points) if p.ratio is not None), None)
    if last is not None and signal.kind != MANY:
        growth = " a minute" if signal.kind == "leak" else ""
        _hanging(
            out,
            "  ",
            f"canary {evidence.amount(last.canary, signal.unit)}, "
            f"baseline {evidence.amount(last.baseline, signal.unit)}: "
            f"×{_ratio(last.ratio)} [×{_ratio(last.low)}, ×{_ratio(last.high)}]{growth}, "
            f"harmful from ×{signal.margin:g}; "
            f"e-value {evidence.e_value(last.e_value)} of {evidence.e_value(signal.threshold)}",
        )
    for example in signal.examples:
        where = example.url or f"trace {example.trace_id}"
        _hanging(out, f"  {example.side:8}  ", f"{example.operation}  {where}")
    if signal.points:
        _plots(out, signal, started_at)


def _plots(out: "Console", signal: "SignalView", started_at: float) -> None:
    from rich.text import Text  # noqa: PLC0415 - see terminal.console

    from rollbackd.cli.plots import evidence_plot, sides_plot  # noqa: PLC0415 - plotext

    beside = out.width >= SIDE_BY_SIDE
    width = (out.width - 2) // 2 if beside else out.width
    coloured = out.color_system is not None
    drawn = [
        plot(signal, started_at, width, coloured).splitlines()
        for plot in (sides_plot, evidence_plot)
    ]
    left, right = (Text.from_ansi("\n".join(lines)).split() for lines in drawn)
    if not beside or not left or not right:
        for line in [*left, *right]:
            out.print(line, no_wrap=True, overflow="ignore", crop=False)
        return
    for one, other in zip(left, right, strict=True):
        one.pad_right(width + 2 - len(one))
        out.print(one + other, no_wrap=True, overflow="ignore", crop=False)


GUARD_STYLE = {"warned": "yellow", "asks": "yellow", "refused": "red"}


def _guards(out: "Console", view: "WatchView") -> None:
    """Print what the guards said of the plan: those that objected in full, the others by name."""
    if not view.guards:
        return
    from rich.text import Text  # noqa: PLC0415 - see terminal.console

    _heading(out, "Guards")
    passed = [guard.guard for guard in view.guards if guard.outcome == "passed"]
    for guard in view.guards:
        if guard.outcome != "passed":
            lead = Text(f"  {guard.outcome:7}  ", GUARD_STYLE[guard.outcome])
            _hanging(out, lead, f"{guard.guard}: {guard.text}")
    if passed:
        _hanging(out, Text("  passed   ", "dim"), ", ".join(passed))


def _ratio(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"


def _heading(out: "Console", text: str) -> None:
    out.print()
    out.print(text, style="bold")


def _hanging(out: "Console", lead: "str | Text", text: str) -> None:
    """Print a paragraph whose further lines stand under the first word after the lead."""
    from rich.padding import Padding  # noqa: PLC0415 - see terminal.console
    from rich.text import Text  # noqa: PLC0415

    indent = len(lead)
    lines = Text(text).wrap(out, max(20, out.width - indent))
    for i, line in enumerate(lines):
        line.rstrip()
        first = Text(lead) if isinstance(lead, str) else lead
        out.print(first + line if i == 0 else Padding(line, (0, 0, 0, indent), expand=False))
