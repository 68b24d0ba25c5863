"""``rollbackd status``: all watches in a table."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli import evidence
from rollbackd.cli.terminal import console
from rollbackd.cli.watches import Watches, place, place_options

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from rollbackd.views import WatchView

NARROW = 100
"""Below this many columns the table would wrap; watches are then written in two lines each."""


@click.command()
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
def status(config_file: Path | None, url: str | None, journal: Path | None, as_json: bool) -> None:
    """List what is watched, and how it stands."""
    found = place(config_file, url, journal).watches()
    if as_json:
        from rollbackd.views_json import views_to_json  # noqa: PLC0415 - pydantic, when needed

        click.echo(json.dumps(views_to_json(found.views), ensure_ascii=False))
        return
    if not found.live:
        click.secho(f"From {found.origin}.", fg="yellow", err=True)
    if not found.views:
        click.echo("Nothing is watched: no rollout has been seen yet.")
        return
    show(found, time.time())


def show(found: Watches, now: float) -> None:
    """Print the table, or two lines a watch on a narrow terminal."""
    out = console()
    if out.width >= NARROW:
        out.print(_table(found, now))
        return
    for view in found.views:
        out.print(_short(view, now))


def _table(found: Watches, now: float) -> "Table":
    from rich import box  # noqa: PLC0415 - see terminal.console
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in ("WORKLOAD", "FROM → TO", "PHASE", "VERDICT", "EVIDENCE", "AGE", "MODE"):
        table.add_column(heading, overflow="fold")
    for view in found.views:
        table.add_row(
            view.workload,
            f"{view.baseline} → {view.canary}",
            view.phase,
            _verdict(view),
            f"{evidence.bar(view.evidence, view.limit)} {_against(view)}",
            evidence.age(now - view.started_at),
            view.mode,
        )
    return table


def _short(view: "WatchView", now: float) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - see terminal.console

    text = Text(overflow="fold")
    text.append(view.workload, "bold").append(f"  {view.baseline} → {view.canary}\n  ")
    text.append(view.phase).append(" · ").append(_verdict(view))
    text.append(f" · {evidence.bar(view.evidence, view.limit, 6)} {_against(view)}")
    text.append(f" · {evidence.age(now - view.started_at)} · {view.mode}")
    return text


def _verdict(view: "WatchView") -> "Text":
    from rich.text import Text  # noqa: PLC0415 - see terminal.console

    return Text(view.verdict, evidence.VERDICT_STYLE.get(view.verdict, ""))


def _against(view: "WatchView") -> str:
    return f"{evidence.e_value(view.evidence)} of {evidence.e_value(view.limit)}"
