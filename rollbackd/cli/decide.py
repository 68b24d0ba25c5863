"""``rollbackd approve``, ``reject`` and ``release``: what a person decides."""

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.cli.watches import TIMEOUT_S, Place

if TYPE_CHECKING:
    from rollbackd.config import Config
    from rollbackd.views import WatchView

AWAITING = "awaiting approval"


def _decision_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what both answers need to know: which watch, which plan, and who says so."""
    plan = "Key of the plan; without it, the plan is shown and asked about."
    options = (
        click.argument("watch"),
        config_option,
        click.option("--plan", help=plan),
        click.option(
            "--by", default=getpass.getuser, show_default="your user name", help="Who says so."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_decision_options
def approve(watch: str, config_file: Path | None, plan: str | None, by: str) -> None:
    """Let the plan of WATCH be carried out."""
    _decide(watch, config_file, plan, by, allowed=True)


@click.command()
@_decision_options
def reject(watch: str, config_file: Path | None, plan: str | None, by: str) -> None:
    """Forbid the plan of WATCH; the watch then ends as "needs a human"."""
    _decide(watch, config_file, plan, by, allowed=False)


@click.command()
@click.argument("watch")
@config_option
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who says so.")
def release(watch: str, config_file: Path | None, by: str) -> None:
    """Let go of what WATCH holds.

    Puts back the automatic sync of the GitOps owner that was stopped for a rollback, and lets a
    rollout go on that is held back. What somebody changed since is left alone.
    """
    config = _deciding(config_file)
    view = _live(config, watch)
    letting: dict[str, object] = {"watch": view.id, "by": by}
    answer = _post(f"{config.http.url}/api/v1/releases", letting, _token(config))
    for text in answer.get("done", ()):
        click.echo(f"{view.workload}: {text}")
    for text in answer.get("failed", ()):
        click.echo(f"{view.workload}: NOT done: {text}", err=True)
    if answer.get("failed"):
        raise click.exceptions.Exit(1)
    if not answer.get("done"):
        click.echo(f"{view.workload}: nothing is held")


def _decide(
    wanted: str, config_file: Path | None, plan: str | None, by: str, *, allowed: bool
) -> None:
    config = _deciding(config_file)
    view = _live(config, wanted)
    if view.phase != AWAITING:
        raise click.ClickException(f"{view.workload} is {view.phase}: there is nothing to decide")
    if plan is None:
        _ask(view, allowed=allowed)
    decision = {"watch": view.id, "plan": plan or view.plan_key, "approve": allowed, "by": by}
    answer = _post(f"{config.http.url}/api/v1/decisions", decision, _token(config))
    phase = str(answer["phase"])
    if phase == AWAITING:
        raise click.ClickException(f"plan {plan} is not the one in force: nothing was decided")
    click.echo(f"{view.workload}: {phase}")


def _deciding(config_file: Path | None) -> "Config":
    """Load the configuration; leave when it lets nobody decide over HTTP."""
    config = load_or_exit(config_file or DEFAULT)
    if config.http.token is None:
        raise click.ClickException(
            f"{config.file} sets no http.token_file or http.token_env: nobody may decide over HTTP"
        )
    return config


def _token(config: "Config") -> str:
    return config.http.token.read() if config.http.token is not None else ""


def _live(config: "Config", wanted: str) -> "WatchView":
    """Return the one watch that is meant, from the daemon; leave when it does not answer."""
    view, found = Place(config.http.url, None).watch(wanted)
    if not found.live:
        raise click.ClickException("the daemon does not answer, so nothing was decided")
    return view


def _ask(view: "WatchView", *, allowed: bool) -> None:
    """Show the plan and the case for it; leave when the person does not agree."""
    click.echo(f"{view.workload}  {view.baseline} → {view.canary}")
    for reason in view.reasons:
        click.echo(f"  • {reason}")
    click.echo(f"Plan: {view.plan}")
    click.confirm("Carry it out?" if allowed else "Forbid it?", abort=True)


def _post(url: str, decision: dict[str, object], token: str) -> dict[str, Any]:
    import requests  # noqa: PLC0415 - only what asks the daemon pays for it

    session = requests.Session()
    session.trust_env = False  # a proxy for the Internet does not know this machine's daemon
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with (
            session,
            session.post(url, json=decision, headers=headers, timeout=TIMEOUT_S) as reply,
        ):
            answer = reply.json()
    except (requests.RequestException, ValueError) as error:
        text = f"no answer from the daemon ({error}); it may have decided: see rollbackd status"
        raise click.ClickException(text) from error
    if not isinstance(answer, dict) or "error" in answer:
        why = answer.get("error") if isinstance(answer, dict) else None
        raise click.ClickException(str(why or f"the daemon answered {reply.status_code}"))
    return answer
