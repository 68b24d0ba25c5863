"""What the daemon answers over HTTP: metrics, health, the API. Reads only immutable snapshots."""

import hmac
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
import uvicorn
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from actions.ports import Transient
from analyzer.events import Approved, Event, Rejected
from rollbackd.config.secrets import SecretError
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json, views_to_json

log = structlog.get_logger()

MAX_BODY = 4096
"""Bytes of a request's body that are read; an approval needs a hundred."""


class Decision(BaseModel):
    """A person's answer to a plan, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str
    plan: str
    approve: bool
    by: str = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the HTTP server may ask the daemon.

    Attributes:
        views: the newest snapshot. metrics: the exposition.
        unready: why the daemon is not ready, or "".
        decide: lets a person's decision happen to a watch.
        token: who may decide; None when nobody may over HTTP. Read at every request, so that a
            token can be changed without a restart.
    """

    views: Callable[[], tuple[WatchView, ...]]
    metrics: Callable[[], bytes]
    unready: Callable[[], str]
    decide: Callable[[str, Event], None]
    token: Callable[[], str] | None = None


def application(doors: Doors, more: Sequence[Route] = ()) -> Starlette:
    """Return the ASGI application; ``more``: routes of parts that are not always there."""

    def metrics(_: Request) -> Response:
        return Response(doors.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(_: Request) -> Response:
        why = doors.unready()
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    def watches(_: Request) -> Response:
        return _strict_json(views_to_json(doors.views()))

    def watch(request: Request) -> Response:
        found = _find(doors, request.path_params["watch_id"])
        if found is None:
            return _strict_json({"error": "there is no such watch"}, 404)
        return _strict_json(view_to_json(found))

    async def decide(request: Request) -> Response:
        return await _decide(doors, request)

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/watches", watches),
            Route("/api/v1/decisions", decide, methods=["POST"]),
            Route("/api/v1/watches/{watch_id:path}", watch),
            *more,
        ]
    )


def _strict_json(content: object, status: int = 200) -> JSONResponse:
    """Answer in JSON; Starlette refuses NaN and infinity, which views do not hold."""
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _find(doors: Doors, watch_id: str) -> WatchView | None:
    return next((v for v in doors.views() if v.id == watch_id), None)


async def _decide(doors: Doors, request: Request) -> Response:
    """Approve or reject one plan: ``{"watch", "plan", "approve", "by"}`` with a bearer token."""
    decision = await authorised_body(doors.token, request, Decision)
    if isinstance(decision, Response):
        return decision
    if _find(doors, decision.watch) is None:
        return _strict_json({"error": "there is no such watch"}, 404)
    kind = Approved if decision.approve else Rejected
    try:  # it writes to disk: not on the thread that answers everybody
        await run_in_threadpool(doors.decide, decision.watch, kind(decision.plan, decision.by))
    except Transient as error:
        return _strict_json({"error": f"not recorded, decide again: {error}"}, 503)
    after = _find(doors, decision.watch)
    return _strict_json({"phase": after.phase if after else "unknown"})


B = TypeVar("B", bound=BaseModel)


async def authorised_body(
    token: Callable[[], str] | None, request: Request, model: type[B]
) -> B | Response:
    """Return what a person who may decide sent, or the answer that refuses it."""
    try:
        authorised = _authorised(token, request)
    except SecretError as error:
        log.warning("token not readable", error=str(error))
        return _strict_json({"error": "the daemon cannot read its token now"}, 503)
    if not authorised:
        return _strict_json({"error": "not authorised to decide"}, 403)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return _strict_json({"error": f"the body is longer than {MAX_BODY} bytes"}, 413)
    try:
        return model.model_validate_json(body)
    except ValueError as error:
        return _strict_json({"error": f"not a decision: {error}"}, 422)


def _authorised(token: Callable[[], str] | None, request: Request) -> bool:
    if token is None:
        return False
    wanted = f"Bearer {token()}".encode()
    return hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted)


class HttpServer:
    """Serves an application on a thread.

    Args:
        application: what is served.
        host: address to listen on. port: 0 for any free one.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, application: Starlette, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen()  # only now the address is ours: two may bind, one may listen
        except OSError as error:
            self._socket.close()
            raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        settings = uvicorn.Config(
            application, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=5
        )
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering, after the requests in hand."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._socket.close()
