"""``rollbackd replay``: one watch judged again from the journal and the source's samples."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli import evidence
from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.cli.terminal import console
from rollbackd.cli.watches import place

if TYPE_CHECKING:
    from rollbackd.config import Config
    from rollbackd.replay import Look, Replay

ROWS = 24
"""Looks shown, spread over the whole watch; the last one is always among them."""
DIFFERENT = 1


@click.command()
@click.argument("watch")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print every look as JSON.")
def replay(watch: str, config_file: Path | None, as_json: bool) -> None:
    """Judge WATCH again from its record, and compare with what was decided then.

    Reads the journal and asks the configured metric source for the samples of that time; writes and
    changes nothing. Ends with 1 when the outcome differs.
    """
    config = load_or_exit(config_file or DEFAULT)
    view, _ = place(config_file or DEFAULT, None, None).watch(watch)
    again = _replayed(config, view.id)
    if as_json:
        click.echo(json.dumps(_as_json(again), ensure_ascii=False))
    else:
        _show(view.id, again)
    if not again.same:
        sys.exit(DIFFERENT)


def _replayed(config: "Config", watch_id: str) -> "Replay":
    from actions.ports import ActionError  # noqa: PLC0415 - only this command pays for these
    from rollbackd.config.settings import ScrapeSettings  # noqa: PLC0415
    from rollbackd.replay import KINDS, NotReplayable, record_of  # noqa: PLC0415
    from rollbackd.replay import replay as judge_again  # noqa: PLC0415
    from rollbackd.store import JournalReader  # noqa: PLC0415
    from rollbackd.wiring import metric_source  # noqa: PLC0415

    if isinstance(config.source, ScrapeSettings):
        raise click.ClickException(
            "the built-in scraper keeps samples in the daemon's memory only; a replay needs a "
            "source that keeps them, such as Prometheus. rollbackd explain shows what is recorded."
        )
    try:
        with JournalReader.open(config.journal.url) as reader:
            record = record_of(reader.entries(watch_id=watch_id, kinds=KINDS))
        source = metric_source(config)
        try:
            return judge_again(record, source)
        finally:
            source.close()
    except (ActionError, NotReplayable, ValueError) as error:
        raise click.ClickException(f"{watch_id} cannot be replayed: {error}") from error


def _show(watch_id: str, again: "Replay") -> None:
    from rich.table import Table  # noqa: PLC0415 - see terminal.console
    from rich.text import Text  # noqa: PLC0415

    out = console()
    table = Table(title=watch_id, title_justify="left", box=None, pad_edge=False)
    for heading in ("time", "verdict", "evidence", "strongest reason"):
        table.add_column(heading, no_wrap=heading != "strongest reason")
    for look in _spread(again.looks):
        judgement = look.judgement
        verdict = judgement.verdict.value
        table.add_row(
            evidence.clock(look.at),
            Text(verdict, evidence.VERDICT_STYLE[verdict]),
            evidence.e_value(judgement.e_value),
            judgement.reasons[0].text if judgement.reasons else "",
        )
    out.print(table)
    out.print(again.text, style="green" if again.same else "bold red")
    out.print("The same decision." if again.same else "Not the same decision.")


def _spread(looks: "tuple[Look, ...]") -> "list[Look]":
    stride = max(1, -(-len(looks) // ROWS))
    return [*looks[: len(looks) - 1 : stride], looks[-1]]


def _as_json(again: "Replay") -> dict[str, object]:
    return {
        "same": again.same,
        "text": again.text,
        "looks": [
            {
                "at": look.at,
                "phase": look.phase.value,
                "verdict": look.judgement.verdict.value,
                "e_value": look.judgement.e_value,
                "limit": look.judgement.limit,
                "reasons": [reason.text for reason in look.judgement.reasons],
            }
            for look in again.looks
        ],
    }
