"""What comes from Slack: pressed buttons, the command, the home tab. A Bolt app.

Bolt acknowledges at once and does the rest on its own threads, so that Slack's three seconds are
kept whatever a decision takes. Who pressed is what Slack says; what they may do is decided by
``rollbackd.decisions`` and by nothing that the request carries.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import filterfalse
from typing import Any

import structlog
from slack_bolt import Ack, App, Respond
from slack_sdk import WebClient

from actions.ports import ActionError
from rollbackd.choice import NoSuchWatch, chosen, exact
from rollbackd.decisions import (
    MAX_SNOOZE_S,
    SNOOZE_S,
    Answer,
    Decision,
    Decisions,
    Outcome,
    Verb,
    offers,
)
from rollbackd.notifiers.links import Links
from rollbackd.notifiers.wording import is_rollout
from rollbackd.slack import blocks
from rollbackd.slack.directory import Directory
from rollbackd.slack.errors import translated
from rollbackd.slack.mrkdwn import escape
from rollbackd.views import WatchView

log = structlog.get_logger()

COMMAND = "/rollbackd"
WORKERS = 4
HELP = (
    "`/rollbackd status`  what is being watched\n"
    "`/rollbackd explain WATCH`  why, with numbers\n"
    "`/rollbackd rollback WATCH`  shows it and offers to roll it back\n"
    "`/rollbackd snooze WATCH [MINUTES]`  holds it, for 30 minutes when you do not say"
)
Body = dict[str, Any]


class Door:
    """Answers Slack.

    Args:
        client: with the bot's token. decisions: takes what people decide.
        links: what explanations link to. signing_secret: of requests over HTTP; "" in Socket Mode,
            where nothing is taken over HTTP.
    """

    def __init__(
        self, client: WebClient, decisions: Decisions, links: Links, signing_secret: str = ""
    ) -> None:
        self._client = client
        self._decisions = decisions
        self._links = links
        self._directory = Directory(client, time.monotonic)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="slack")
        logger = logging.getLogger("rollbackd.slack.bolt")
        logger.setLevel(logging.WARNING)  # below, Bolt logs what strangers send
        self.app = App(
            logger=logger,
            client=client,
            name="rollbackd",
            signing_secret=signing_secret,
            token_verification_enabled=False,  # it would ask Slack, which may be down, at start
            listener_executor=self._pool,
        )
        self.app.action(re.compile(f"^{blocks.ACTION}"))(self._pressed)
        self.app.command(COMMAND)(self._commanded)
        self.app.event("app_home_opened")(self._opened)

    def close(self) -> None:
        """Take nothing more, and end what is in hand."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    # Buttons

    def _pressed(self, ack: Ack, body: Body, respond: Respond) -> None:
        ack()
        self._answer(respond, lambda: self._press(body))

    def _press(self, body: Body) -> str:
        action, user = body["actions"][0], body["user"]
        claimed = str(action["action_id"]).removeprefix(blocks.ACTION)
        if claimed not in set(Verb):
            return "this button is of another version of rollbackd, nothing was done"
        by = self._directory.person(str(user["id"]), str(user.get("username", "")))
        return _told(self._decisions.press(str(action.get("value", "")), Verb(claimed), by))

    # The command

    def _commanded(self, ack: Ack, body: Body, respond: Respond) -> None:
        ack()
        words = str(body.get("text", "")).split()
        match words:
            case ["status"]:
                self._show(respond, blocks.listing(self._watches()))
            case ["explain" | "rollback" as verb, wanted]:
                self._answer(respond, lambda: self._show_one(respond, verb, wanted))
            case ["snooze", wanted, *rest] if len(rest) <= 1:
                self._answer(respond, lambda: self._snooze(body, wanted, rest))
            case _:
                respond(text=HELP)

    def _show_one(self, respond: Respond, verb: str, wanted: str) -> str:
        view = self._meant(wanted)
        if verb == "explain":
            self._show(respond, blocks.explanation(view, self._links))
        elif Verb.ROLL_BACK in offers(view):
            self._show(respond, blocks.offer(view, Verb.ROLL_BACK))
        else:
            return f"{view.workload} is {view.phase}: there is nothing to roll back now"
        return ""

    def _snooze(self, body: Body, wanted: str, rest: Sequence[str]) -> str:
        if rest and not (rest[0].isascii() and rest[0].isdigit() and int(rest[0]) > 0):
            return f"{rest[0]} is no number of minutes"
        for_s = min(60.0 * int(rest[0]), MAX_SNOOZE_S) if rest else SNOOZE_S
        view = self._meant(wanted)
        by = self._directory.person(str(body["user_id"]), str(body.get("user_name", "")))
        decision = Decision(view.id, Verb.SNOOZE, by, view.plan_key, view.turn, for_s)
        return _told(self._decisions.decide(decision))

    def _meant(self, wanted: str) -> WatchView:
        """Return what a person means: a rollout before a region or a train of that name.

        Raises:
            NoSuchWatch: nothing fits, or several do.
        """
        views = self._watches()
        for some in (filter(is_rollout, views), filterfalse(is_rollout, views)):
            if (found := exact(wanted, list(some))) is not None:
                return found
        return chosen(wanted, views)

    def _watches(self) -> list[WatchView]:
        return sorted(self._decisions.views(), key=lambda view: -view.started_at)

    # The home tab

    def _opened(self, event: Body) -> None:
        if event.get("tab") != "home":
            return
        try:
            with translated("home tab not shown"):
                self._client.views_publish(
                    user_id=event["user"], view=blocks.home(self._watches(), time.time())
                )
        except ActionError as error:
            log.warning("slack not answered", error=str(error))

    # Answers

    def _answer(self, respond: Respond, work: Callable[[], str]) -> None:
        """Do it, and tell the person what became of it; nobody else sees that."""
        try:
            text = work()
        except NoSuchWatch as error:
            text = str(error)
        except ActionError as error:
            log.warning("decision not taken", error=str(error))
            text = f"nothing was done, try again: {error}"
        except Exception:
            log.exception("slack request broke")
            text = "nothing was done: an internal error, see the daemon's log"
        if text:
            _say(respond, text=escape(text, 1000))

    def _show(self, respond: Respond, content: list[blocks.Block]) -> None:
        _say(respond, text="rollbackd", blocks=content)


def _say(respond: Respond, **message: object) -> None:
    try:
        with translated("answer not shown"):
            respond(response_type="ephemeral", replace_original=False, **message)  # type: ignore[arg-type]
    except ActionError as error:
        log.warning("slack not answered", error=str(error))


def _told(outcome: Outcome) -> str:
    """Return an outcome in words for the person."""
    return f"Done: {outcome.text}" if outcome.answer is Answer.TAKEN else outcome.text
