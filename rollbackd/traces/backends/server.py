"""Asking a trace backend over HTTP: bounded, with few retries, and left alone while it is down."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from analyzer.sample import Absence
from rollbackd.sources.breaker import Backoff, Breaker
from rollbackd.sources.http_access import HttpAccess, PromptAdapter, refuse_bad_url
from rollbackd.sources.http_reply import (
    Trouble,
    read_limited,
    trouble_of_error,
    trouble_of_status,
)
from rollbackd.sources.prometheus_session import QueryLimits, query_retry

Asked = Mapping[str, str | int | Sequence[str]]
"""The query of a request; a sequence is asked as the same parameter several times."""

_HTTP_OK, _BAD_REQUEST = 200, 400
_ABSENT = frozenset({404, 405, 501})
"""Not found, not allowed, not implemented: 405 and 501 are Jaeger's words for metrics that it has none of."""
_ADDRESSED = re.compile(r"remoteAddr: .*?; requestURI: .*?; ", re.DOTALL)
"""What VictoriaTraces puts before each of its errors; it can be longer than what is read of them."""
_UNKNOWN_PATH = b"unsupported path requested"
"""What VictoriaTraces says, with a 400, where others say 404."""


class NotThere(Exception):
    """The server does not know the path, or it has nothing there.

    Attributes:
        said: the server's own words.
    """

    def __init__(self, path: str, said: str) -> None:
        super().__init__(f"{path} does not exist")
        self.said = said


class Backend:
    """One server's HTTP API.

    Args:
        url: its base address. access: as whom we come. limits: what a request may cost.
        monotonic: seconds of a clock that never jumps.

    Raises:
        ValueError: the address cannot be used.
    """

    def __init__(
        self,
        url: str,
        access: HttpAccess,
        limits: QueryLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_bad_url(url)
        self._url = url.rstrip("/")
        self._limits = limits
        self._session = access.open_session()
        adapter = PromptAdapter(
            pool_connections=1,
            pool_maxsize=limits.connections,
            max_retries=query_retry(limits.retries),
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)
        self._breaker = Breaker(Backoff(), monotonic)

    def document(self, path: str, query: Asked) -> object:
        """Return the JSON document of an answer.

        Raises:
            Trouble: there is no complete answer. NotThere: the path does not exist.
        """
        found = self.documents(path, query)
        if not found:
            raise Trouble(Absence.INVALID, f"the answer of {path} is empty")
        return found[0]

    def documents(self, path: str, query: Asked) -> Sequence[object]:
        """Return the JSON documents of an answer: one, or one a line where it is a stream, even none.

        Raises:
            Trouble: there is no complete answer. NotThere: the path does not exist.
        """
        refusal = self._breaker.refusal()
        if refusal is not None:
            raise Trouble(refusal.reason, refusal.detail)
        try:
            status, body, retry_after = self._get(path, query)
            absent = _absent(status, body)
            if status != _HTTP_OK and not absent:
                raise trouble_of_status(status, _said(body), retry_after)
        except Trouble as trouble:
            self._breaker.failed(trouble)
            raise
        self._breaker.succeeded()
        if absent:
            raise NotThere(path, _said(body[:1000]))
        return _parsed(body)

    def _get(self, path: str, query: Asked) -> tuple[int, bytes, str | None]:
        limits = self._limits
        try:
            reply = self._session.get(
                self._url + path,
                params={k: v if isinstance(v, Sequence) else str(v) for k, v in query.items()},
                timeout=(limits.connect_timeout_s, limits.timeout_s),
                stream=True,
                allow_redirects=False,
                headers={"Accept": "application/json"},
            )
            with reply:
                body = read_limited(reply.raw, limits.max_answer_bytes, limits.timeout_s)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise trouble_of_error(error, urlsplit(self._url).netloc) from error
        return reply.status_code, body, reply.headers.get("Retry-After")

    def close(self) -> None:
        """Release the connections; idempotent."""
        self._session.close()


def _absent(status: int, body: bytes) -> bool:
    """Tell whether an answer says that the path is not known.

    Jaeger answers unknown paths with the page of its user interface.
    """
    page = status == _HTTP_OK and body.lstrip()[:1] == b"<"
    unsupported = status == _BAD_REQUEST and _UNKNOWN_PATH in body
    return status in _ABSENT or page or unsupported


def _said(body: bytes) -> str:
    return _ADDRESSED.sub("", body.decode(errors="replace"), count=1)


def _parsed(body: bytes) -> list[object]:
    try:
        return [json.loads(body)]
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in body.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise Trouble(Absence.INVALID, f"the answer is no JSON: {str(error)[:200]}") from error
