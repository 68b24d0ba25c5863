"""What a person decides about a watch: ``approve``, ``reject``, ``rollback``, ``snooze``, ``resume``."""

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.cli.watches import TIMEOUT_S, Place, Unreachable, get_json

if TYPE_CHECKING:
    from rollbackd.config import Config
    from rollbackd.views import WatchView

AWAITING = "awaiting approval"
OWN_TOKEN = "ROLLBACKD_TOKEN"  # noqa: S105  its name
"""Variable with one's own token of the cluster (http.kubernetes); it counts before the file's."""


def who_and_what(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every decision needs to know: which watch, and who says so."""
    options = (
        click.argument("watch"),
        config_option,
        click.option(
            "--by", default=getpass.getuser, show_default="your user name", help="Who says so."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


_plan_option = click.option(
    "--plan", help="Key of the plan; without it, the plan is shown and asked about."
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command()
@who_and_what
@_plan_option
def approve(watch: str, config_file: Path | None, plan: str | None, by: str) -> None:
    """Let the plan of WATCH be carried out."""
    _answer(watch, config_file, plan, {"decision": "approve", "by": by}, "Carry it out?")


@click.command()
@who_and_what
@_plan_option
def reject(watch: str, config_file: Path | None, plan: str | None, by: str) -> None:
    """Forbid the plan of WATCH; the watch then ends as "needs a human"."""
    _answer(watch, config_file, plan, {"decision": "reject", "by": by}, "Forbid it?")


@click.command()
@who_and_what
@_yes_option
def rollback(watch: str, config_file: Path | None, yes: bool, by: str) -> None:
    """Roll WATCH back now, whatever the evidence says. The guards are asked all the same."""
    _demand(watch, config_file, {"decision": "rollback", "by": by}, None if yes else "Roll back?")


@click.command()
@who_and_what
@_yes_option
@click.option(
    "--minutes",
    type=click.FloatRange(0, 1440, min_open=True),
    default=30.0,
    show_default=True,
    help="How long.",
)
def snooze(watch: str, config_file: Path | None, yes: bool, by: str, minutes: float) -> None:
    """Hold WATCH: whatever happens, nothing is done until the time is over."""
    decision: dict[str, object] = {"decision": "snooze", "by": by, "for_s": 60 * minutes}
    question = f"Hold it for {minutes:g} minutes, without any protection?"
    _demand(watch, config_file, decision, None if yes else question)


@click.command()
@who_and_what
def resume(watch: str, config_file: Path | None, by: str) -> None:
    """End the snooze of WATCH."""
    _demand(watch, config_file, {"decision": "resume", "by": by}, None)


def _answer(
    wanted: str,
    config_file: Path | None,
    plan: str | None,
    decision: dict[str, object],
    question: str,
) -> None:
    """Answer the plan that waits for approval, or the one with this key."""
    post, view = _daemon(wanted, config_file)
    if view.phase != AWAITING:
        raise click.ClickException(f"{view.workload} is {view.phase}: there is nothing to decide")
    if plan is None:
        _show(view)
        click.echo(f"Plan: {view.plan}")
        click.confirm(question, abort=True)
    elif plan != view.plan_key:
        raise click.ClickException(f"plan {plan} is not the one in force: nothing was decided")
    post(decision | {"plan": view.plan_key})


def _demand(
    wanted: str, config_file: Path | None, decision: dict[str, object], question: str | None
) -> None:
    """Decide about a watch that is under way."""
    post, view = _daemon(wanted, config_file)
    if question is not None:
        _show(view)
        click.confirm(question, abort=True)
    post(decision | {"plan": view.plan_key})


def _daemon(
    wanted: str, config_file: Path | None
) -> tuple[Callable[[dict[str, object]], None], "WatchView"]:
    """Return how to tell the daemon a decision about a watch, and the watch as it is now."""
    post, view = tell(wanted, config_file)

    def decide(decision: dict[str, object]) -> None:
        about = {"watch": view.id, "turn": view.turn}
        answer = post("/api/v1/decisions", decision | about)
        click.echo(f"{view.workload}: {answer['phase']}")

    return decide, view


def tell(
    wanted: str, config_file: Path | None
) -> tuple[Callable[[str, dict[str, object]], dict[str, Any]], "WatchView"]:
    """Return how to post something about a watch to the daemon, and the watch as it is now."""
    config = load_or_exit(config_file or DEFAULT)
    known = _token(config)
    view, found = Place(config.http.url, None).watch(wanted)
    if not found.live:
        raise click.ClickException("the daemon does not answer, so nothing was decided")

    def post(path: str, content: dict[str, object]) -> dict[str, Any]:
        return posted(f"{config.http.url}{path}", content, known())

    return post, view


def _token(config: "Config") -> Callable[[], str]:
    """Return what reads the token that decisions are sent with: one's own, or the daemon's.

    Raises:
        click.ClickException: there is none.
    """
    token = config.http.token
    own = os.environ.get(OWN_TOKEN, "")
    if own:
        return lambda: own
    if token is None:
        raise click.ClickException(
            f"{config.file} sets no http.token_file or http.token_env, and there is no token of the "
            f"cluster in {OWN_TOKEN}: nobody may decide over HTTP"
        )
    return token.read


def _show(view: "WatchView") -> None:
    """Show what is being decided about, and the case for it."""
    click.echo(f"{view.workload}  {view.baseline} → {view.canary}  ({view.phase})")
    for reason in view.reasons:
        click.echo(f"  • {reason}")


def posted(url: str, decision: dict[str, object], token: str) -> dict[str, Any]:
    """Return what the daemon answers to a person.

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
    if not isinstance(answer, dict) or "error" in answer:
        why = answer.get("error") if isinstance(answer, dict) else None
        raise click.ClickException(str(why or f"the daemon answered {reply.status_code}"))
    return answer


def order(config: "Config", kind: str, name: str, wish: str, by: str) -> None:
    """Tell the daemon what a person wants of a region or a train; say how it stands then.

    Raises:
        click.ClickException: nobody may decide, or the daemon refuses or does not answer.
    """
    known = _token(config)
    body: dict[str, object] = {kind: name, "wish": wish, "by": by}
    if wish in {"approve", "reject"}:
        body["plan"] = _plan_of(config, kind, name)
    after = posted(f"{config.http.url}/api/v1/{kind}s", body, known())
    click.echo(f"{name}: {after['phase']}: {after['note']}")


def _plan_of(config: "Config", kind: str, name: str) -> str:
    """Return the key of the plan that waits, after a person has read it."""
    found = next((each for each in told_of(config, kind) if each["name"] == name), None)
    if found is None or not found["phase"].startswith("awaiting"):
        raise click.ClickException(f"{name} waits for no approval")
    told = f"{found['text']}\n" if "text" in found else ""
    click.echo(f"{name}: {told}{found['note']}")
    click.confirm("Is that the plan you mean?", abort=True)
    return str(found["plan_key"])


def told_of(config: "Config", kind: str) -> list[dict[str, Any]]:
    """Return what the daemon says of every region or train. Raises click.ClickException."""
    try:
        return list(get_json(f"{config.http.url}/api/v1/{kind}s"))
    except Unreachable as error:
        raise click.ClickException(f"rollbackd at {config.http.url}: {error}") from error
