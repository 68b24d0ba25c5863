"""Calls to one API server: raw JSON, a time-out on each, errors named by the reaction."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import urllib3

from actions.apply import always
from actions.credentials import without_credentials
from actions.ports import Permanent, Transient
from rollbackd.kubernetes.credentials import ClusterAccess, configuration
from rollbackd.kubernetes.errors import NotFound, refusal, status_error

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

JsonObject = dict[str, Any]

PAGE_LIMIT = 100
"""Objects in one page of a list: bounds the memory that raw JSON takes before it is slimmed. What a
page took stays with the process: for 5,000 pods of 9 kB, pages of 500 cost 123 MB, pages of 100
cost 36 MB, and no more time (``benchmarks.big_cluster``)."""

WATCH_GRACE_S = 10.0
"""Seconds that a watch may be silent beyond the end it was given, before it counts as broken."""

_LOST = (urllib3.exceptions.HTTPError, HTTPException, OSError)
"""What the layers below raise when a connection fails, breaks off or takes too long."""


class Connection:
    """Calls to one API server.

    Opens nothing before the first call; may be used from several threads at once.

    Args:
        access: to which server, as whom.
        permit: raises Fenced when this process may change nothing; asked right before each call
            that writes, so it holds for every feature that writes through this connection.
    """

    def __init__(self, access: ClusterAccess, permit: Callable[[], None] = always) -> None:
        self._access = access
        self._permit = permit
        self._opening = threading.Lock()
        self._client: ApiClient | None = None

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        """Send one request and return the answer's JSON.

        Args:
            method: HTTP method.
            path: absolute path such as ``/api/v1/pods``.
            query: query parameters.
            body: plain JSON values, or None for no body.
            content_type: type of the body.

        Raises:
            Transient: time-out, lost connection, 429 or 5xx; a write may have happened.
            Conflict: 409, or a JSON patch that did not apply (422).
            Permanent: any other refusal; ``Denied`` for 401 and 403, ``NotFound`` for 404.
            Fenced: a write, and this process may not; it was not sent.
        """
        if method != "GET":
            self._permit()
        call = f"{method} {path}"
        reply, signed = self._send(call, query, body, content_type, self._access.timeout_s)
        content = _content(call, reply, signed)
        if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise refusal(call, reply.status, content, reply.headers)
        return _json_object(call, content)

    def get(self, path: str) -> JsonObject | None:
        """Return one object, or None when there is no such object. Raises as ``request``."""
        try:
            return self.request("GET", path)
        except NotFound:
            return None

    def items(self, path: str, label_selector: str = "") -> list[JsonObject]:
        """Return all objects of a collection that the selector matches. Raises as ``request``."""
        query = {"labelSelector": label_selector} if label_selector else {}
        return [item for page, _ in self.pages(path, query) for item in page]

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> JsonObject:
        """Apply a JSON patch to one object and return what it became. Raises as ``request``."""
        operations = [dict(operation) for operation in operations]
        return self.request(
            "PATCH", path, body=operations, content_type="application/json-patch+json"
        )

    def create(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        """Create an object and return what it became. Raises as ``request``."""
        return self.request("POST", path, body=dict(body))

    def delete(self, path: str, uid: str, version: str) -> None:
        """Delete one object, if it is still this one in this version. Raises as ``request``."""
        preconditions = {"uid": uid, "resourceVersion": version}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        self.request("DELETE", path, body=options)

    def pages(self, path: str, query: Mapping[str, str]) -> Iterator[tuple[list[JsonObject], str]]:
        """Yield a collection page by page, each with the version of the whole list.

        Raises as ``request``; ``Expired`` when a page was asked for too late.
        """
        query = {**query, "limit": str(PAGE_LIMIT)}
        while True:
            page = self.request("GET", path, query)
            metadata = page.get("metadata") or {}
            yield page.get("items") or [], str(metadata.get("resourceVersion", ""))
            if not (further := metadata.get("continue")):
                return
            query["continue"] = further

    def watch(
        self, path: str, query: Mapping[str, str], version: str, last_s: float
    ) -> "WatchStream":
        """Open a watch on a collection that the server ends after ``last_s`` seconds.

        Args:
            path: of the collection.
            query: as it was listed with.
            version: resource version after which events are wanted.
            last_s: seconds; silence for longer counts as a lost connection.

        Raises: as ``request``.
        """
        query = {
            **query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(last_s))),
        }
        call = f"GET {path}"
        reply, signed = self._send(call, query, None, "", last_s + WATCH_GRACE_S)
        if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise refusal(call, reply.status, _content(call, reply, signed), reply.headers)
        return WatchStream(f"watch of {path}", reply)

    def close(self) -> None:
        """Release the idle connections; idempotent. A later call opens new ones."""
        with self._opening:
            if self._client is not None:
                self._client.close()  # type: ignore[no-untyped-call]
                self._client = None

    def _send(
        self,
        call: str,
        query: Mapping[str, str] | None,
        body: object,
        content_type: str,
        silence_s: float,
    ) -> tuple[urllib3.HTTPResponse, str]:
        """Send a request; return when the head of the answer is there, with what was signed by."""
        method, path = call.split(" ", 1)
        client = self._opened()
        headers = {"Accept": "application/json", "User-Agent": "rollbackd"}
        if body is not None:
            headers["Content-Type"] = content_type
        url = f"{client.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        timeouts_s = (self._access.timeout_s, silence_s)
        from kubernetes.client import ApiException  # noqa: PLC0415  loaded by _opened
        from kubernetes.config import ConfigException  # noqa: PLC0415  loaded by _opened

        try:
            # Renews an expiring token, so it is done for each call.
            client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            reply = client.call_api(method, url, headers, body, _request_timeout=timeouts_s)
        except ConfigException as error:
            raise Transient(f"{call}: cannot renew the credentials: {error}") from error
        except ApiException as error:
            # The client library wraps TLS errors, and only those, in its own.
            raise _tls_error(call, error) from error
        except _LOST as error:
            raise Transient(f"{call}: {error}") from error
        response: urllib3.HTTPResponse = reply.response
        signed = next((v for k, v in headers.items() if k.lower() == "authorization"), "")
        return response, signed

    def _opened(self) -> "ApiClient":
        with self._opening:
            if self._client is None:
                made = configuration(self._access)
                from kubernetes.client import ApiClient  # noqa: PLC0415  see the package

                self._client = ApiClient(made)
            return self._client


class WatchStream:
    """The events of one watch as raw JSON; a context manager that closes its connection."""

    def __init__(self, name: str, response: urllib3.HTTPResponse) -> None:
        self._name = name
        self._response = response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # An unread rest would be taken for the next answer, so the connection is not kept.
        self._response.close()

    def __iter__(self) -> Iterator[JsonObject]:
        """Yield events until the server ends the watch.

        Raises:
            Expired: events since the version asked for are no longer kept.
            Transient: the connection broke, was silent for too long or was interrupted.
            Permanent: the server withdrew the watch for another reason.
        """
        for line in self._lines():
            event = _json_object(self._name, line)
            if event.get("type") == "ERROR":
                status = event.get("object") or {}
                code = int(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR)
                raise status_error(self._name, code, status)
            yield event

    def interrupt(self) -> None:
        """End the iteration that another thread is in, without waiting for the server."""
        try:
            self._response.shutdown()
        except (ValueError, RuntimeError, OSError):
            # It ended by itself in the meantime.
            return

    def _lines(self) -> Iterator[bytes]:
        unfinished: list[bytes] = []
        try:
            # A part at a time as it arrives: reading fixed sizes would hold events back.
            while part := self._response.read1(2**16):
                *finished, rest = part.split(b"\n")
                for line in finished:
                    whole = b"".join([*unfinished, line])
                    unfinished.clear()
                    if whole.strip():
                        yield whole
                unfinished.append(rest)
        except _LOST as error:
            raise Transient(f"{self._name}: the connection broke: {error}") from error


def _content(call: str, reply: urllib3.HTTPResponse, signed: str) -> bytes:
    """Return an answer; what is no object may repeat the request, and is freed of our token."""
    try:
        content: bytes = reply.data
        if reply.status < HTTPStatus.MULTIPLE_CHOICES and content.startswith(b"{"):
            return content
        return without_credentials(content.decode(errors="replace"), signed).encode()
    except _LOST as error:
        raise Transient(f"{call}: the answer broke off: {error}") from error
    finally:
        reply.release_conn()


def _json_object(call: str, content: bytes) -> JsonObject:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise Transient(f"{call}: the answer is not JSON: {content[:80]!r}") from error
    if not isinstance(parsed, dict):
        raise Transient(f"{call}: the answer is not a JSON object: {content[:80]!r}")
    return parsed


def _tls_error(call: str, error: Exception) -> Transient | Permanent:
    """Tell a certificate we do not trust, which stays so, from a handshake that broke off."""
    message = f"{call}: {' '.join(str(error).split())}"
    return Permanent(message) if "CERTIFICATE_VERIFY_FAILED" in message else Transient(message)
