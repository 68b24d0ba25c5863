"""``rollbackd run``: the daemon."""

import sys
from pathlib import Path

import click

from rollbackd.cli.configuration import (
    BAD_CONFIGURATION,
    DEFAULT,
    config_option,
    load_or_exit,
)
from rollbackd.cli.logs import LogSettings


@click.command()
@config_option
@click.pass_obj
def run(logs: LogSettings, config_file: Path | None) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    from rollbackd.config.secrets import SecretError  # noqa: PLC0415 - pydantic, when needed

    config = load_or_exit(config_file or DEFAULT)
    unreadable = False
    for key, secret in config.secrets().items():
        try:
            secret.read()
        except SecretError as error:
            click.echo(f"{config.file}: {key}: {error}", err=True)
            unreadable = True
    if unreadable:
        sys.exit(BAD_CONFIGURATION)
    logs.configure()
    # The daemon stands on everything: SciPy, the Kubernetes client, the HTTP server.
    from rollbackd import daemon  # noqa: PLC0415

    sys.exit(daemon.run(config))
