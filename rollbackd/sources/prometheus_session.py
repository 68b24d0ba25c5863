"""The ``requests.Session`` given to ``prometheus-api-client``: it mends what the client leaves open.

The client puts queries of a POST into the URL, throws warnings away, reads answers of any size,
reports a status only inside a message, and retries for as long as the server wishes. All of this
happens below it, in the transport adapter, so that is where it is put right.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util.retry import Retry

from actions.credentials import without_credentials
from analyzer.sample import Absence
from rollbackd.sources.http_access import PromptAdapter
from rollbackd.sources.http_reply import (
    Trouble,
    read_limited,
    shortened,
    trouble_of_error,
    trouble_of_status,
)

_SUCCESS = b'{"status":"success"'
"""How Prometheus begins an answer that is one."""
_HTTP_OK = 200


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What queries may cost, and how they are cut into requests.

    Attributes:
        connect_timeout_s: to be connected.
        timeout_s: to the first byte of the answer, and from there to its last.
        max_answer_bytes: after decompression.
        retries: further attempts when the connection fails or a gateway says 502 or 503.
        connections: requests under way at the same time, and connections kept open.
        max_query_bytes: longer PromQL is split by the values it is restricted to.
        max_points: longer grids are split; Prometheus refuses more than 11,000 points.
    """

    connect_timeout_s: float = 3.0
    timeout_s: float = 10.0
    max_answer_bytes: int = 32 << 20
    retries: int = 1
    connections: int = 4
    max_query_bytes: int = 100_000
    max_points: int = 11_000

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if min(self.connect_timeout_s, self.timeout_s) <= 0:
            raise ValueError(f"times must be positive: {self}")
        counts = (self.max_answer_bytes, self.connections, self.max_query_bytes, self.max_points)
        if min(counts) < 1 or self.retries < 0:
            raise ValueError(f"limits must be at least 1, retries at least 0: {self}")


class QueryRetry(Retry):
    """Few, quick, jittered retries of requests that change nothing."""

    def increment(self, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401  the base decides
        """Count an attempt, but never repeat a query that was too slow: it would be slow again."""
        error = kwargs.get("error")
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(*args, **kwargs)


def query_retry(retries: int) -> QueryRetry:
    """Return the retry rule; its pauses are bounded by us alone, not by ``Retry-After``."""
    return QueryRetry(
        total=retries,
        allowed_methods=None,
        status_forcelist=(502, 503),
        raise_on_status=False,
        respect_retry_after_header=False,
        backoff_factor=0.1,
        backoff_jitter=0.1,
        backoff_max=1.0,
        redirect=False,
    )


class QueryAdapter(PromptAdapter):
    """Sends range queries as forms and lets only complete, sound answers through.

    Args:
        limits: what a request may cost. clock: seconds since the epoch, to compare the server's.
    """

    def __init__(self, limits: QueryLimits, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self.clock_skew_s: float | None = None
        """The server's clock minus ours at its last answer, to the second; None = not known."""
        super().__init__(
            pool_connections=1,
            pool_maxsize=limits.connections,
            max_retries=query_retry(limits.retries),
            pool_block=True,
        )

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002  the body is read here, within limits
        timeout: Any = None,  # noqa: ANN401
        verify: Any = True,  # noqa: ANN401
        cert: Any = None,  # noqa: ANN401
        proxies: Any = None,  # noqa: ANN401
    ) -> requests.Response:
        """Send a request and return its checked answer.

        Raises:
            Trouble: anything but a complete, successful matrix.
        """
        _move_query_into_form(request)
        address = urlunsplit(urlsplit(request.url or "")._replace(path="", query=""))
        try:
            reply = super().send(
                request, stream=True, timeout=timeout, verify=verify, cert=cert, proxies=proxies
            )
            with reply:
                body = read_limited(
                    reply.raw, self._limits.max_answer_bytes, self._limits.timeout_s
                )
        except (requests.RequestException, HTTPError, OSError) as error:
            raise trouble_of_error(error, str(address)) from error
        self._compare_clocks(reply.headers.get("Date"))
        if reply.status_code != _HTTP_OK or not body.startswith(_SUCCESS):
            # a proxy's own words may repeat what it was sent
            signed = str(request.headers.get("Authorization", ""))
            body = without_credentials(body.decode(errors="replace"), signed).encode()
        return CheckedAnswer(_checked(reply, body))

    def _compare_clocks(self, date: str | None) -> None:
        try:
            server = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        self.clock_skew_s = float(round(server - self._clock()))


class CheckedAnswer(requests.Response):
    """An answer that was read, parsed and checked; ``json`` does not do it again."""

    def __init__(self, payload: dict[str, Any]) -> None:
        super().__init__()
        self.status_code = _HTTP_OK
        self._payload = payload

    def json(self, **_: Any) -> Any:  # noqa: ANN401  the base decides
        """Return the parsed answer."""
        return self._payload


def _move_query_into_form(request: requests.PreparedRequest) -> None:
    """Put the URL's query into the body: a long list of pods fits into no URL."""
    if request.method != "POST":
        return
    parts = urlsplit(str(request.url))
    if not parts.query:
        return
    request.url = urlunsplit(parts._replace(query=""))
    request.body = parts.query.encode()
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    request.headers["Content-Length"] = str(len(request.body))


def _checked(reply: requests.Response, body: bytes) -> dict[str, Any]:
    """Return the payload of a complete, successful matrix answer; raise Trouble for others."""
    if reply.status_code != _HTTP_OK:
        raise trouble_of_status(
            reply.status_code, _server_words(body), reply.headers.get("Retry-After")
        )
    try:
        payload: dict[str, Any] = json.loads(body)
    except ValueError as error:
        raise Trouble(
            Absence.INVALID,
            f"the answer is no JSON ({error}): {shortened(body[:400].decode(errors='replace'))!r}",
        ) from error
    match payload:
        case {"status": "success", "warnings": [*warnings]} if warnings:
            words = shortened("; ".join(map(str, warnings)))
            raise Trouble(Absence.PARTIAL, f"the server warns: {words}")
        case {"status": "success", "data": {"resultType": "matrix", "result": list()}}:
            return payload
        case {"status": "success", "data": {"resultType": other}}:
            raise Trouble(Absence.INVALID, f"expected a matrix, the answer is a {other!r}")
        case {"status": "error", "error": error}:
            raise Trouble(
                Absence.INVALID, f"the server refused the query: {shortened(str(error))}"
            )
        case _:
            raise Trouble(Absence.INVALID, "the answer is JSON, but not that of a range query")


def _server_words(body: bytes) -> str:
    """Return the error text of Prometheus' JSON, or whatever else the server wrote."""
    try:
        payload = json.loads(body)
    except ValueError:
        return body[:2000].decode(errors="replace")
    return str(payload.get("error", "")) if isinstance(payload, dict) else ""
