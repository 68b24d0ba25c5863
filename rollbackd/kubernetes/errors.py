"""The API server's refusals, translated into errors that are named by the reaction to them."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from actions.ports import ActionError, Conflict, Permanent, Transient


class Denied(Permanent):
    """The server does not let us do this (401, 403): somebody must grant it."""


class NotFound(Permanent):
    """There is no such object (404)."""


class Expired(Transient):
    """The version asked for is no longer kept (410), or not known yet: list anew."""


class Throttled(Transient):
    """The server wants fewer calls (429, or 503 with Retry-After).

    Attributes:
        retry_after_s: seconds the server asked us to wait; 0 when it did not say.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def refusal(
    call: str, status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> ActionError:
    """Return the error that an HTTP refusal stands for.

    Args:
        call: method and path, for the message.
        status: HTTP status of 300 or more.
        body: the answer, normally a ``Status`` object.
        headers: the answer's headers; only ``Retry-After`` is read.
    """
    return status_error(call, status, _status_object(body), headers or {})


def status_error(
    call: str, code: int, status: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> ActionError:
    """Return the error that a ``Status`` object stands for, as sent in an answer or in a watch."""
    said = str(status.get("message") or status.get("reason") or "no reason given")
    message = f"{call}: {code} {said}"
    match code:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Denied(message)
        case HTTPStatus.NOT_FOUND:
            return NotFound(message)
        case HTTPStatus.CONFLICT:
            return Conflict(message)
        case HTTPStatus.GONE:
            return Expired(message)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(message, _retry_after_s(headers))
        case HTTPStatus.UNPROCESSABLE_ENTITY if _is_failed_patch(status):
            return Conflict(message)
        case HTTPStatus.REQUEST_TIMEOUT:
            return Transient(message)
        case HTTPStatus.GATEWAY_TIMEOUT if _is_from_the_future(status):
            return Expired(message)
        case _ if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait_s = _retry_after_s(headers)
            return Throttled(message, wait_s) if wait_s else Transient(message)
        case _:
            return Permanent(message)


def _is_failed_patch(status: Mapping[str, Any]) -> bool:
    """Tell a patch that did not apply (a ``test`` failed) from an object that breaks the rules.

    Both are 422 ``Invalid``; only the validation of an object names the fields that are wrong.
    """
    return not _causes(status)


def _is_from_the_future(status: Mapping[str, Any]) -> bool:
    """Tell whether the server does not know our version yet: it was restored from a backup."""
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in _causes(status))


def _causes(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (status.get("details") or {}).get("causes") or []


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        # Proxies and load balancers answer in their own words.
        return {"message": body[:200].decode(errors="replace").strip()}
    return parsed if isinstance(parsed, dict) else {}


def _retry_after_s(headers: Mapping[str, str] | None) -> float:
    """Read ``Retry-After`` in seconds; its form as a date is not used by API servers."""
    try:
        return max(0.0, float((headers or {}).get("Retry-After", "0")))
    except ValueError:
        return 0.0
