"""One call to a provider's JSON API, with its refusals named by the reaction to them."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

import requests

from actions.credentials import without_credentials
from actions.ports import ActionError, Conflict, Permanent, Transient

SHOWN = 200
"""Characters of a refusal that are repeated to people."""


class Session(Protocol):
    """What sends requests: ``requests.Session``, or google-auth's, which signs them."""

    def request(
        self, method: str, url: str, *, json: object = ..., timeout: float = ...
    ) -> requests.Response:
        """Send one request."""


class TokenSession(requests.Session):
    """A session that sends a bearer token, read anew for every request.

    Args:
        token: reads it.
    """

    def __init__(self, token: Callable[[], str]) -> None:
        super().__init__()
        self._token = token
        self.auth = self._signed

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


def call(
    session: Session,
    method: str,
    url: str,
    *,
    body: object = None,
    timeout_s: float,
    trouble: tuple[type[Exception], ...] = (),
) -> dict[str, Any]:
    """Return the JSON object that the API answers.

    Args:
        session: sends and signs.
        method: of the request.
        url: with its query.
        body: what is sent as JSON, or None.
        timeout_s: for the connection, and for each silence after it.
        trouble: further errors of this session that mean that credentials could not be had.

    Raises:
        Transient: no answer, 429 or 5xx. Conflict: 409 or 412. Permanent: anything else.
    """
    doing = f"{method} {url}"
    try:
        reply = session.request(method, url, json=body, timeout=timeout_s)
        answer = reply.json() if reply.content else {}
    except requests.Timeout as error:
        raise Transient(f"{doing}: no answer within {timeout_s:g} s") from error
    except requests.RequestException as error:
        raise Transient(f"{doing}: no answer ({type(error).__name__})") from error
    except trouble as error:
        kind = type(error).__name__
        raise Permanent(
            f"{doing}: no credentials ({kind}); check them, and this machine's clock"
        ) from error
    if reply.ok and isinstance(answer, dict):
        return answer
    if reply.ok:
        raise Transient(f"{doing}: no sensible answer")
    signed = str(reply.request.headers.get("Authorization", ""))
    said = without_credentials(_said(answer), signed)[:SHOWN]
    raise _refusal(f"{doing}: {reply.status_code} {said}".rstrip(), reply.status_code)


def _refusal(text: str, status: int) -> ActionError:
    match status:
        case HTTPStatus.CONFLICT | HTTPStatus.PRECONDITION_FAILED:
            return Conflict(f"{text}; nothing was written")
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.REQUEST_TIMEOUT:
            return Transient(text)
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Transient(text)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Permanent(f"{text}; the credentials do not allow this")
        case _:
            return Permanent(text)


def _said(answer: object) -> str:
    """Return a refusal's own words, as Google, Cloudflare and GitHub write them."""
    match answer:
        case {"error": {"message": str(message)}}:
            return message
        case {"errors": [{"message": str(message)}, *_]}:
            return message
        case {"message": str(message)}:
            return message
        case _:
            return ""
