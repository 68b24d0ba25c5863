"""``rollbackd release``: let go of what a watch holds."""

from pathlib import Path

import click

from rollbackd.cli.decide import tell, who_and_what


@click.command()
@who_and_what
def release(watch: str, config_file: Path | None, by: str) -> None:
    """Let go of what WATCH holds.

    Puts back the automatic sync of the GitOps owner that was stopped for a rollback, and lets a
    rollout go on that is held back. What somebody changed since is left alone.
    """
    post, view = tell(watch, config_file)
    answer = post("/api/v1/releases", {"watch": view.id, "by": by})
    for text in answer.get("done", ()):
        click.echo(f"{view.workload}: {text}")
    for text in answer.get("failed", ()):
        click.echo(f"{view.workload}: NOT done: {text}", err=True)
    if answer.get("failed"):
        raise click.exceptions.Exit(1)
    if not answer.get("done"):
        click.echo(f"{view.workload}: nothing is held")
