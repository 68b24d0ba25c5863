"""``rollbackd dns``: regions and their records, seen and moved by hand."""

import getpass
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.cli.decide import order
from rollbackd.cli.watches import Unreachable, get_json

if TYPE_CHECKING:
    from actions.dns.ports import DnsBackend
    from actions.dns.record import Record
    from rollbackd.config import Config
    from rollbackd.config.region_settings import RegionsSettings

_REGION = click.argument("region")
_BY = click.option("--by", default=getpass.getuser, help="Your name.  [default: your login]")


@click.group()
def dns() -> None:
    """Show regions and DNS records, and move traffic by hand."""


@dns.command()
@config_option
def show(config_file: Path | None) -> None:
    """Show how regions stand, and where their records lead."""
    config, settings = _configured(config_file)
    try:
        regions = get_json(f"{config.http.url}/api/v1/regions")
    except Unreachable as error:
        click.secho(f"rollbackd at {config.http.url}: {error}", fg="yellow", err=True)
        regions = []
    for region in regions:
        click.secho(f"{region['name']}: {region['phase']}", bold=True, nl=False)
        click.echo(f" ({region['standing']}: {region['text']})")
        click.echo(f"  {region['note']}")
        left = (region["drained_at"] or 0) - time.time()
        if left > 0:
            click.echo(f"  resolvers will have followed in {left:.0f} s")
        if region["phase"].startswith("awaiting"):
            click.echo(f"  plan {region['plan_key']}: rollbackd dns approve {region['name']}")
    from actions.ports import ActionError  # noqa: PLC0415 - as below

    with ExitStack() as stack:
        for record, backend in _records(config, settings, stack):
            click.echo(f"{record.describe()} (TTL {record.ttl} s)")
            try:
                click.echo(f"  {backend.propagation(record).describe()}")
            except ActionError as error:
                click.secho(f"  nobody could be asked: {error}", fg="yellow")


def _wishing(name: str, wish: str, text: str) -> None:
    @dns.command(name, help=text)
    @_REGION
    @config_option
    @_BY
    def command(region: str, config_file: Path | None, by: str) -> None:
        _wish(config_file, region, wish, by)


_wishing("fail-over", "fail over", "Move the traffic of REGION away; guards still apply.")
_wishing("fail-back", "fail back", "Bring the traffic of REGION back; guards still apply.")
_wishing("approve", "approve", "Let the plan of REGION be carried out.")
_wishing("reject", "reject", "Forbid the plan of REGION; it then needs a human.")
_wishing("release", "release", "Let REGION be followed again after it needed a human.")


def _wish(config_file: Path | None, region: str, wish: str, by: str) -> None:
    config, _ = _configured(config_file)
    order(config, "region", region, wish, by)


@dns.command()
@_REGION
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(region: str, config_file: Path | None, yes: bool) -> None:
    """Put back the records that REGION had before its last move away, as the journal tells.

    Works without the daemon. A record that is not as our last step left it is not touched.
    """
    from actions.ports import ActionError  # noqa: PLC0415 - as below
    from rollbackd.regions.journey import journey  # noqa: PLC0415 - the store, when needed
    from rollbackd.store import JournalReader  # noqa: PLC0415

    config, settings = _configured(config_file)
    try:
        with JournalReader.open(config.journal.address()) as reader, ExitStack() as stack:
            past = journey(reader, region)
            if not past.origin:
                raise click.ClickException(f"the journal knows of no move of {region}")
            backends = _backends(config, settings, stack)
            for (where, name, type_), origin in past.origin.items():
                now = backends[where].read(name, type_)
                if now == origin:
                    click.echo(f"{origin.describe()}: is as it was")
                    continue
                left = past.left[where, name, type_]
                if now != left:
                    raise click.ClickException(
                        f"somebody changed {name}: it is {now.describe()}, and our last step left "
                        f"it as {left.describe()}. Nothing was written."
                    )
                click.echo(f"{now.describe()}\n  becomes {origin.describe()}")
                if not yes:
                    click.confirm("Put it back?", abort=True)
                backends[where].swap(now, origin)
                click.echo(f"  done; resolvers follow within {settings.limits.drain_s(now):.0f} s")
    except ActionError as error:
        raise click.ClickException(str(error)) from error


def _configured(config_file: Path | None) -> "tuple[Config, RegionsSettings]":
    config = load_or_exit(config_file or DEFAULT)
    if config.regions is None:
        raise click.ClickException(f"{config.file} has no regions")
    return config, config.regions


def _backends(
    config: "Config", settings: "RegionsSettings", stack: ExitStack
) -> "dict[str, DnsBackend]":
    from rollbackd.regions.wiring import dns_backends  # noqa: PLC0415 - providers, when needed

    try:
        return dict(dns_backends(config, settings, stack))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _records(
    config: "Config", settings: "RegionsSettings", stack: ExitStack
) -> "list[tuple[Record, DnsBackend]]":
    from actions.ports import ActionError  # noqa: PLC0415 - as above

    backends = _backends(config, settings, stack)
    try:
        return [(backends[r.dns].read(r.name, r.type), backends[r.dns]) for r in settings.records]
    except ActionError as error:
        raise click.ClickException(str(error)) from error
