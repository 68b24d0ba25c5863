"""What HTTP servers answer, and how their troubles become reasons."""

import time
from collections.abc import Callable
from typing import Protocol

import requests
from urllib3.exceptions import DecodeError, ReadTimeoutError

from analyzer.sample import Absence, Missing

_CHUNK_BYTES = 1 << 16
_QUOTED_CHARS = 300
"""How much of a server's own words goes into a reason: enough to recognise it, fit for a message."""


class Trouble(Exception):
    """A source could not answer one request.

    Attributes:
        reason: the reason in the closed set. detail: what happened, for people.
        unreachable: nobody answered at the address, so no other request would be answered either.
        retry_after_s: how long the server asked us to stay away, if it did.
    """

    def __init__(
        self,
        reason: Absence,
        detail: str,
        *,
        unreachable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.unreachable = unreachable
        self.retry_after_s = retry_after_s

    @property
    def missing(self) -> Missing:
        """The same as a value, which is how it crosses the port."""
        return Missing(self.reason, self.detail)


class Body(Protocol):
    """A reply's body as it arrives (``urllib3.response.BaseHTTPResponse``)."""

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Return at most ``amt`` bytes, as soon as some are there; ``b""`` at the end."""

    def drain_conn(self) -> None:
        """Read what is left and give the connection back."""


def read_limited(
    body: Body,
    max_bytes: int,
    timeout_s: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> bytes:
    """Read a body that is neither larger nor slower than allowed.

    A socket time-out bounds the wait for the *next* byte only; a server that trickles would hold
    us for ever, hence the bound on the whole. The size is that after decompression.

    Raises:
        Trouble: ``TOO_LARGE`` or ``TIMEOUT``; the rest of the body is left unread.
    """
    deadline = monotonic() + timeout_s
    chunks: list[bytes] = []
    size = 0
    while chunk := body.read1(_CHUNK_BYTES, decode_content=True):
        size += len(chunk)
        if size > max_bytes:
            raise Trouble(
                Absence.TOO_LARGE,
                f"the reply is larger than the {max_bytes:,} bytes allowed and was not read to its "
                "end; ask for fewer series or raise the limit",
            )
        if monotonic() > deadline:
            raise Trouble(
                Absence.TIMEOUT, f"the reply had not ended after {timeout_s:g} s ({size:,} bytes)"
            )
        chunks.append(chunk)
    # read1 leaves the last step to us; without it the connection would not be used again
    body.drain_conn()
    return b"".join(chunks)


def trouble_of_status(status: int, words: str, retry_after: str | None = None) -> Trouble:
    """Return the trouble that a status other than 200 means.

    Args:
        status: the HTTP status.
        words: the server's own explanation, as far as it gave one.
        retry_after: the ``Retry-After`` header; only its form in seconds is understood.
    """
    said = f"HTTP {status}: {shortened(words)}" if words.strip() else f"HTTP {status}"
    match status:
        case 401 | 403:
            return Trouble(Absence.UNAUTHORISED, f"{said}; check the credentials and their rights")
        case 429:
            seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
            return Trouble(Absence.THROTTLED, said, retry_after_s=seconds)
        case _ if status >= 500:  # noqa: PLR2004  the class of server errors
            return Trouble(Absence.SOURCE_DOWN, said)
        case _ if 300 <= status < 400:  # noqa: PLR2004  the class of redirects
            return Trouble(
                Absence.INVALID,
                f"HTTP {status}: the server redirects, perhaps to a login page; "
                "redirects are not followed because they would carry our credentials along; "
                "configure the final address",
            )
        case _:
            return Trouble(Absence.INVALID, said)


def trouble_of_error(error: Exception, address: str) -> Trouble:
    """Return the trouble that an exception of requests or urllib3 means.

    Args:
        error: what was raised.
        address: whom we asked, without credentials, for the message.
    """
    cause = _root_cause(error)
    match error:
        case Trouble():
            return error
        case requests.exceptions.Timeout() | ReadTimeoutError() | TimeoutError():
            return Trouble(Absence.TIMEOUT, f"{address} did not answer in time: {cause}")
        case requests.exceptions.SSLError():
            return Trouble(Absence.SOURCE_DOWN, f"no trusted TLS connection to {address}: {cause}")
        case (
            requests.exceptions.ContentDecodingError()
            | requests.exceptions.InvalidURL()
            | DecodeError()
        ):
            return Trouble(Absence.INVALID, f"{address}: {cause}")
        case requests.exceptions.ConnectionError():
            return Trouble(
                Absence.SOURCE_DOWN, f"no connection to {address}: {cause}", unreachable=True
            )
        case _:
            return Trouble(Absence.SOURCE_DOWN, f"{address} broke off its answer: {cause}")


def shortened(text: str) -> str:
    """Return the beginning of a server's words on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 1] + "…"


def _root_cause(error: BaseException) -> str:
    """Return the innermost cause: ``Connection refused`` says more than what wraps it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return shortened(str(error)) or type(error).__name__
