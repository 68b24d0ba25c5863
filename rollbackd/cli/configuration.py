"""Loading the configuration for a command: the file, or everything that is wrong with it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rollbackd.config import Config, ConfigError

DEFAULT = Path("rollbackd.yaml")
BAD_CONFIGURATION = 2
"""Exit code for a file with problems; the same that click uses for a bad command line."""

config_option = click.option(
    "--config",
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="ROLLBACKD_CONFIG",
    help=f"Configuration file.  [env: ROLLBACKD_CONFIG; default: {DEFAULT}]",
)


def load_or_exit(file: Path) -> "Config":
    """Return the configuration; print its problems and exit with 2 when there are any."""
    from rollbackd.config import ConfigError, load  # noqa: PLC0415 - pydantic, when needed

    try:
        return load(file)
    except ConfigError as error:
        print_problems(error)
        sys.exit(BAD_CONFIGURATION)


def is_manifest_or_exit(file: Path) -> bool:
    """Tell whether a file holds objects of a cluster; print its problems and exit with 2 when any."""
    from rollbackd.config import ConfigError  # noqa: PLC0415 - pydantic, when needed
    from rollbackd.config.manifests import is_manifest  # noqa: PLC0415

    try:
        return is_manifest(file)
    except ConfigError as error:
        print_problems(error)
        sys.exit(BAD_CONFIGURATION)


def print_problems(error: "ConfigError") -> None:
    """Print every problem of a file on stderr: line and key, what is wrong, what to do."""
    count = len(error.problems)
    click.secho(f"{error.file}: {count} problem{'s' * (count > 1)}", fg="red", err=True)
    for problem in error.problems:
        place = f"line {problem.line}" if problem.line else ""
        key = click.style(problem.path, bold=True) if problem.path else ""
        heading = "  ".join(filter(None, (place, key)))
        click.echo(f"\n  {heading}" if heading else "", err=True)
        click.echo(f"    {problem.what}", err=True)
        if problem.hint:
            click.secho(f"    → {problem.hint}", fg="cyan", err=True)
