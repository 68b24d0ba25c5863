"""``rollbackd demo``: the whole thing on this machine, in a minute."""

import sys
from pathlib import Path

import click

from rollbackd.cli.logs import LogSettings

FAULTS = ("errors", "latency", "crash", "n-plus-one", "dependency", "none")


@click.command()
@click.option(
    "--fault",
    type=click.Choice(FAULTS),
    default="errors",
    show_default=True,
    help="What goes wrong with the canary, or with what both versions depend on.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("demo-report/report.html"),
    show_default=True,
    help="Where the HTML report is written.",
)
@click.option("--no-nginx", is_flag=True, help="Use the built-in splitter even if NGINX is here.")
@click.option("--plain", is_flag=True, help="Print lines instead of a live view.")
@click.option("--seconds", type=click.IntRange(min=1), help="Give up after this long.")
@click.pass_obj
def demo(
    logs: LogSettings, fault: str, report: Path, no_nginx: bool, plain: bool, seconds: int | None
) -> None:
    """Roll out a bad canary on this machine and watch it being caught.

    Real services, real traffic, the real daemon. Exits with 0 when the outcome was the expected
    one: the traffic is switched back, or with --fault none and --fault dependency nothing is done.
    """
    logs.configure()
    from rollbackd import demo as demonstration  # noqa: PLC0415 - SciPy, and much more

    sys.exit(
        demonstration.run(
            fault=fault, report=report, seconds=seconds, no_nginx=no_nginx, plain=plain
        )
    )
