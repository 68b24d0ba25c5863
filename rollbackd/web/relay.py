"""Passes what people decide on to the replica that leads, when it reaches one that follows.

A service in front of several replicas does not know which of them leads. So a follower sends a
request that would change something on to the leader, as it came, and returns the leader's answer:
whoever asks is known there by the same token, session or signature. A proxy's word about who
somebody is counts only where the proxy's requests arrive; there the follower vouches for it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import requests
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rollbackd.bodies import whole_body
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import TrustedProxy
from rollbackd.web import vouching
from rollbackd.web.visitors import word_of

log = structlog.get_logger()

RELAYED = "x-rollbackd-relayed"
"""Marks what another replica passed on: nothing is passed on twice."""
OWN = frozenset({"/sign-in", "/sign-out", "/policies"})
"""Forms that every replica answers itself: they change nothing that is shared."""
MAX_BODY = 512 * 1024
"""Bytes; a press in Slack carries the message it belongs to."""
TIMEOUT_S = 10.0
_OF_THE_CONNECTION = frozenset(
    {
        "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect",
        "accept-encoding", "content-length", "content-encoding", "date", "server", "set-cookie",
        vouching.HEADER,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Leader:
    """The replica that leads: its name, and the address by which others reach it; "" if unknown."""

    name: str
    address: str = ""

    def __str__(self) -> str:
        """Say who leads, for people."""
        return f"{self.name or 'nobody yet'} leads"


@dataclass(frozen=True, slots=True)
class Relay:
    """An ASGI application around another one.

    Attributes:
        app: answers everything else. leads: whether this replica leads.
        leader: who does; asked only by a follower, and may ask the database.
        token: reads the daemon's token, with which replicas vouch for people; None for none.
        proxies: those whose word about people counts here.
    """

    app: ASGIApp
    leads: Callable[[], bool]
    leader: Callable[[], Leader]
    token: Callable[[], str] | None = None
    proxies: Sequence[TrustedProxy] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the leader do so."""
        changes = scope["type"] == "http" and scope["method"] == "POST"
        if not changes or scope["path"] in OWN or self.leads():
            await self.app(scope, receive, send)
            return
        answer = await self._passed_on(Request(scope, receive))
        await answer(scope, receive, send)

    async def _passed_on(self, request: Request) -> Response:
        leader = await run_in_threadpool(self.leader)
        if RELAYED in request.headers or not leader.address:
            return _refused(request, f"this replica follows; {leader}: decide there")
        try:
            body = await whole_body(request, MAX_BODY)
        except ClientDisconnect:  # they went, or were too slow
            return PlainTextResponse("the request was not whole\n", 400)
        if body is None:
            return PlainTextResponse("the body is too long\n", 413)
        try:
            headers = await run_in_threadpool(self._headers, request)
        except SecretError as error:
            log.warning("token not readable", error=str(error))
            headers = None
        if headers is None:
            why = "it can vouch for nobody there without http.token_file, which replicas share"
            return _refused(request, f"this replica follows; {leader}, and {why}")
        try:
            return await run_in_threadpool(_sent, leader.address, request, headers, body)
        except requests.RequestException as error:
            log.warning("leader not reached", leader=leader.name, error=type(error).__name__)
            why = "did not answer: look whether it was done before you ask again"
            return _refused(request, f"this replica follows; {leader}, and {why}")

    def _headers(self, request: Request) -> dict[str, str] | None:
        """Return what is passed on with a request; None when the person would be lost.

        What a proxy says is never passed on as it is: strangers may have written it.
        """
        dropped = set(_OF_THE_CONNECTION)
        for proxy in self.proxies:
            dropped |= {proxy.user_header.lower(), proxy.groups_header.lower()}
        kept = {name: value for name, value in request.headers.items() if name not in dropped}
        client = request.client.host if request.client is not None else ""
        words = (word_of(proxy, request.headers, client) for proxy in self.proxies)
        word = next((word for word in words if word is not None), None)
        if word is not None and self.token is None:
            return None
        if word is not None and self.token is not None:
            kept[vouching.HEADER] = vouching.vouch(*word, time.time(), self.token())
        return kept | {RELAYED: "1"}


def _sent(address: str, request: Request, headers: Mapping[str, str], body: bytes) -> Response:
    """Return the leader's answer. Raises RequestException when there is none."""
    query = f"?{request.url.query}" if request.url.query else ""
    with requests.Session() as session:
        session.trust_env = False  # a proxy for the Internet does not know the other replica
        answer = session.post(
            f"{address}{request.url.path}{query}",
            data=body,
            headers=dict(headers),
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
    kept = {k: v for k, v in answer.headers.items() if k.lower() not in _OF_THE_CONNECTION}
    return Response(answer.content, answer.status_code, kept)


def _refused(request: Request, text: str) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": text}, 503, headers={"cache-control": "no-store"})
    return PlainTextResponse(f"Nothing was done: {text}\n", 503)
