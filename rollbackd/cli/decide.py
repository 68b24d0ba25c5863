"""``rollbackd approve`` and ``rollbackd reject``: a person's answer to a plan that waits for one."""

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.cli.watches import TIMEOUT_S, Place

if TYPE_CHECKING:
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


def _decide(
    wanted: str, config_file: Path | None, plan: str | None, by: str, *, allowed: bool
) -> None:
    config = load_or_exit(config_file or DEFAULT)
    if config.http.token is None:
        raise click.ClickException(
            f"{config.file} sets no http.token_file or http.token_env: nobody may decide over HTTP"
        )
    view, found = Place(config.http.url, None).watch(wanted)
    if not found.live:
        raise click.ClickException("the daemon does not answer, so nothing was decided")
    if view.phase != AWAITING:
        raise click.ClickException(f"{view.workload} is {view.phase}: there is nothing to decide")
    if plan is None:
        _ask(view, allowed=allowed)
    decision = {"watch": view.id, "plan": plan or view.plan_key, "approve": allowed, "by": by}
    after = post(f"{config.http.url}/api/v1/decisions", decision, config.http.token.read())
    phase = str(after["phase"])
    if phase == AWAITING:
        raise click.ClickException(f"plan {plan} is not the one in force: nothing was decided")
    click.echo(f"{view.workload}: {phase}")


def _ask(view: "WatchView", *, allowed: bool) -> None:
    """Show the plan and the case for it; leave when the person does not agree."""
    click.echo(f"{view.workload}  {view.baseline} → {view.canary}")
    for reason in view.reasons:
        click.echo(f"  • {reason}")
    click.echo(f"Plan: {view.plan}")
    click.confirm("Carry it out?" if allowed else "Forbid it?", abort=True)


def post(url: str, decision: dict[str, object], token: str) -> dict[str, object]:
    """Return what the daemon answers to a person's decision.

    Raises:
        click.ClickException: it refused, in its words, or did not answer.
    """
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
    if not reply.ok:
        raise click.ClickException(str(answer.get("error", reply.status_code)))
    return dict(answer)
