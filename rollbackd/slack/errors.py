"""What Slack's errors mean for us: translated where they cross our border."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from slack_sdk.errors import SlackApiError, SlackClientError

from actions.ports import Permanent, Transient
from rollbackd.notifiers.port import Throttled

_CODE = re.compile(r"[a-z][a-z0-9_]{0,80}")
"""What Slack's errors look like."""
DEFAULT_RETRY_S = 30.0
"""Patience when Slack asks for some and does not say how much."""
_OF_CONTENT = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "too_many_attachments",
        "invalid_arguments",
        "invalid_metadata_format",
    }
)
"""Errors that the same call will always meet. All others may pass: an invitation to the channel, a
token, a right can be given while the daemon runs, and people are then told what they missed."""


class Gone(Permanent):
    """The message is not there any more, or cannot be changed: a new one has to be posted."""


_OF_MESSAGE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class Lacking(Transient):
    """The app has not been given the right to do this."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate the errors of a call to Slack.

    Raises:
        Throttled, Gone, Lacking, Permanent or Transient.
    """
    try:
        yield
    except SlackApiError as error:
        raise _reaction(what, error) from None  # its text holds the whole answer
    except (SlackClientError, HTTPException, OSError) as error:  # no answer, or none of Slack's
        raise Transient(f"{what}: Slack does not answer ({type(error).__name__})") from error


def _reaction(what: str, error: SlackApiError) -> Exception:
    response = error.response
    headers = {k.lower(): v for k, v in (getattr(response, "headers", None) or {}).items()}
    reason = str(response.get("error", "")) if hasattr(response, "get") else ""
    if not _CODE.fullmatch(reason):  # a proxy's own words, which may repeat what it was sent
        reason = ""
    said = f"{what}: Slack says {reason or response.status_code}"
    if response.status_code == 429 or reason in {"ratelimited", "rate_limited"}:  # noqa: PLR2004
        value = headers.get("retry-after", "")
        seconds = float(value) if str(value).isdigit() else DEFAULT_RETRY_S
        return Throttled(said, seconds)
    if reason in _OF_MESSAGE:
        return Gone(said)
    if reason in {"missing_scope", "not_allowed_token_type"}:
        return Lacking(f"{said} ({response.get('needed', 'unknown scope')})")
    return Permanent(said) if reason in _OF_CONTENT else Transient(said)
