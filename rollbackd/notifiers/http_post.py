"""Sending JSON to a web service, with its errors translated by the reaction to them."""

from collections.abc import Mapping

import requests

from actions.ports import Permanent, Transient
from rollbackd.notifiers.port import Throttled

TIMEOUT_S = 10.0
DEFAULT_RETRY_S = 30.0
MAX_RETRY_S = 3600.0
_OF_CONTENT = frozenset({400, 413, 415, 422})
"""The same body will never be taken. Anything else can be mended while the daemon runs."""
_BUSY = frozenset({429, 503})


class Gone(Permanent):
    """What was to be changed is not there any more."""


def send(
    session: requests.Session,
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    what: str,
) -> requests.Response:
    """Send a body; return the answer.

    ``what`` names the receiver in errors, for addresses and headers may hold secrets.

    Raises:
        Transient: no answer, or one that may be another next time. Throttled: the receiver asks
            for patience. Gone: 404 or 410. Permanent: it will never take this body.
    """
    try:
        answer = session.request(
            method,
            url,
            data=body,
            headers=dict(headers),
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise Transient(f"{what} does not answer ({type(error).__name__})") from None
    if answer.ok and not answer.is_redirect:
        return answer
    said = f"{what} answered {answer.status_code}"
    if answer.status_code in _BUSY:
        raise Throttled(said, _patience(answer.headers.get("retry-after", "")))
    if answer.status_code in {404, 410}:
        raise Gone(said)
    raise (Permanent if answer.status_code in _OF_CONTENT else Transient)(said)


def _patience(value: str) -> float:
    return min(float(value), MAX_RETRY_S) if value.isdigit() else DEFAULT_RETRY_S
