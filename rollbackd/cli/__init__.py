"""The command line. Every command has its module; what a command needs is imported when it runs.

So that ``--help``, ``validate`` and ``schema`` start at once: neither SciPy nor a client library is
imported for them.
"""

import click

from rollbackd.cli.decide import approve, reject, resume, rollback, snooze
from rollbackd.cli.demo import demo
from rollbackd.cli.dns import dns
from rollbackd.cli.explain import explain
from rollbackd.cli.logs import LogFormat, LogSettings
from rollbackd.cli.release import release
from rollbackd.cli.replay import replay
from rollbackd.cli.run import run
from rollbackd.cli.schema import schema
from rollbackd.cli.signals import signals
from rollbackd.cli.status import status
from rollbackd.cli.train import train
from rollbackd.cli.validate import validate
from rollbackd.cli.wait import wait


@click.group("rollbackd", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="rollbackd", prog_name="rollbackd")
@click.option(
    "--log-format",
    type=click.Choice([f.value for f in LogFormat]),
    default=LogFormat.AUTO.value,
    show_default=True,
    help="auto: console on a terminal, json elsewhere.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.pass_context
def main(context: click.Context, log_format: str, log_level: str) -> None:
    """Watch rollouts, compare canary with baseline, roll back real harm only."""
    context.obj = LogSettings(LogFormat(log_format), log_level)


COMMANDS = (
    run, validate, signals, status, explain, wait, replay, approve, reject, rollback, snooze, resume,
    release, dns, train, demo, schema,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
