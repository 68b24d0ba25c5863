"""``rollbackd train``: release trains, seen and ordered about by hand."""

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer.wording import duration
from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.cli.decide import order, told_of

if TYPE_CHECKING:
    from rollbackd.config import Config

_TRAIN = click.argument("train")
_BY = click.option("--by", default=getpass.getuser, help="Your name.  [default: your login]")


@click.group()
def train() -> None:
    """Show releases that travel over regions, and decide about them."""


@train.command()
@config_option
def show(config_file: Path | None) -> None:
    """Show where every train is."""
    for each in told_of(_configured(config_file), "train"):
        click.secho(f"{each['name']}: {each['phase']}", bold=True, nl=False)
        click.echo(f" {each['release']}".rstrip())
        click.echo(f"  {each['note']}")
        for place, stop in enumerate(each["stops"]):
            click.echo(f"  {_stop(stop)}{' ←' if place == each['place'] else ''}")
        if each["hold"]:
            click.echo(f"  held: {each['hold']}")
        if each["phase"].startswith("awaiting"):
            click.echo(f"  plan {each['plan_key']}: rollbackd train approve {each['name']}")
        elif each["offered"]:
            click.echo(f"  you may: {', '.join(each['offered'])}")


_SIGNS = {
    "waiting": "·", "not released": "·", "healthy": "✓", "vouched for": "✓", "failed": "✗",
    "taken back": "↩", "going back": "↩",
}  # fmt: skip


def _stop(stop: dict[str, Any]) -> str:
    """Return how a region stands, in one line."""
    lasted = "" if stop["since"] is None else f" for {duration(time.time() - stop['since'])}"
    text = f": {stop['text']}" if stop["text"] else ""
    return f"{_SIGNS.get(stop['state'], '…')} {stop['region']} {stop['state']}{lasted}{text}"


def _wishing(wish: str, text: str) -> None:
    @train.command(wish.replace(" ", "-"), help=text)
    @_TRAIN
    @config_option
    @_BY
    def command(train: str, config_file: Path | None, by: str) -> None:
        _wish(config_file, train, wish, by)


_wishing("approve", "Let the plan of TRAIN be carried out.")
_wishing("reject", "Forbid the plan of TRAIN, which stops it.")
_wishing("stop", "Stop TRAIN: nothing more is released.")
_wishing(
    "take back",
    "Have every region that has the release of TRAIN go back, the last one first; their own "
    "guards still apply.",
)
_wishing(
    "continue",
    "Let TRAIN go on after it needed a human; where a region ended without a verdict, you vouch "
    "for it.",
)


def _wish(config_file: Path | None, name: str, wish: str, by: str) -> None:
    order(_configured(config_file), "train", name, wish, by)


def _configured(config_file: Path | None) -> "Config":
    config = load_or_exit(config_file or DEFAULT)
    if not config.trains:
        raise click.ClickException(f"{config.file} has no trains")
    return config
