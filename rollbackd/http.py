"""What the daemon answers over HTTP: metrics, health, the API. Reads only immutable snapshots."""

import hmac
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

import structlog
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, Strict
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from actions.ports import ActionError, Transient
from rollbackd.config.secrets import SecretError
from rollbackd.decisions import (
    MAX_SNOOZE_S,
    SNOOZE_S,
    Answer,
    Decision,
    Outcome,
    Person,
    Verb,
)
from rollbackd.releases import Released
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json, views_to_json
from rollbackd.web.openapi import document

log = structlog.get_logger()

GRACE_S = 2
"""How long requests in hand may take at the end; a page that listens for news never ends itself."""
MAX_BODY = 4096
"""Bytes of a request's body that are read; an approval needs a hundred."""
STATUS = {Answer.STALE: 409, Answer.FORBIDDEN: 403, Answer.UNKNOWN: 404}


class DecisionModel(BaseModel):
    """A person's decision, as it comes in; ``plan`` and ``turn`` as in the view they saw."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str
    decision: Annotated[Verb, Strict(False)]
    plan: str = ""
    turn: int
    by: str = Field(min_length=1, max_length=200)
    for_s: float = Field(default=SNOOZE_S, gt=0, le=MAX_SNOOZE_S)

    def decision_(self) -> Decision:
        """Return the decision; whoever has the token is who they say."""
        by = Person(self.by, "http", self.by, trusted=True)
        return Decision(self.watch, self.decision, by, self.plan, self.turn, self.for_s)


class ReleaseModel(BaseModel):
    """A person's word to let go of what a watch holds, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str
    by: str = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the HTTP server may ask the daemon.

    Attributes:
        views: the newest snapshot. metrics: the exposition.
        unready: why the daemon is not ready, or "".
        decide: lets a person's decision happen.
        release: lets go of what a watch holds.
        token: who may decide; None when nobody may over HTTP. Read at every request, so that a
            token can be changed without a restart.
    """

    views: Callable[[], tuple[WatchView, ...]]
    metrics: Callable[[], bytes]
    unready: Callable[[], str]
    decide: Callable[[Decision], Outcome]
    release: Callable[[str, str], Released]
    token: Callable[[], str] | None = None


def application(doors: Doors, pages: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the ASGI application; ``pages`` are further routes, such as those of the web site."""

    def metrics(_: Request) -> Response:
        return Response(doors.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(_: Request) -> Response:
        why = doors.unready()
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    def watches(request: Request) -> Response:
        wanted = request.query_params.get("workload")
        found = (v for v in doors.views() if wanted in {None, v.workload})
        return _strict_json(views_to_json(found))

    def watch(request: Request) -> Response:
        found = _find(doors, request.path_params["watch_id"])
        if found is None:
            return _strict_json({"error": "there is no such watch"}, 404)
        return _strict_json(view_to_json(found))

    description = document(version("rollbackd"), DecisionModel, ReleaseModel)

    def openapi(_: Request) -> Response:
        return _strict_json(description)

    async def decide(request: Request) -> Response:
        return await _decide(doors, request)

    async def release(request: Request) -> Response:
        return await _release(doors, request)

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/openapi.json", openapi),
            Route("/api/v1/watches", watches),
            Route("/api/v1/decisions", decide, methods=["POST"]),
            Route("/api/v1/releases", release, methods=["POST"]),
            Route("/api/v1/watches/{watch_id:path}", watch),
            *pages,
        ],
        exception_handlers={HTTPException: _refused},
    )


def _refused(request: Request, error: Exception) -> Response:
    """Answer what no route did: to programs in JSON, as all the API."""
    if not isinstance(error, HTTPException):
        raise error
    answer: Response
    if request.url.path.startswith("/api/"):
        answer = _strict_json({"error": error.detail.lower()}, error.status_code)
    else:
        answer = PlainTextResponse(f"{error.detail.lower()}\n", error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _strict_json(content: object, status: int = 200) -> JSONResponse:
    """Answer in JSON; Starlette refuses NaN and infinity, which views do not hold."""
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _find(doors: Doors, watch_id: str) -> WatchView | None:
    return next((v for v in doors.views() if v.id == watch_id), None)


async def _decide(doors: Doors, request: Request) -> Response:
    """Take a decision: ``{"watch", "decision", "plan", "turn", "by"}`` with a bearer token."""
    body = await authorised_body(doors, request)
    if isinstance(body, Response):
        return body
    try:
        decision = DecisionModel.model_validate_json(body).decision_()
    except ValueError as error:
        return _strict_json({"error": f"not a decision: {error}"}, 422)
    try:  # it writes to disk: not on the thread that answers everybody
        outcome = await run_in_threadpool(doors.decide, decision)
    except Transient as error:
        return _strict_json({"error": f"not recorded, decide again: {error}"}, 503)
    if outcome.answer is not Answer.TAKEN:
        return _strict_json(
            {"error": outcome.text, "phase": outcome.phase}, STATUS[outcome.answer]
        )
    return _strict_json({"phase": outcome.phase, "text": outcome.text})


async def _release(doors: Doors, request: Request) -> Response:
    """Let go of what a watch holds: ``{"watch", "by"}`` with a bearer token."""
    body = await authorised_body(doors, request)
    if isinstance(body, Response):
        return body
    try:
        asked = ReleaseModel.model_validate_json(body)
    except ValueError as error:
        return _strict_json({"error": f"not a release: {error}"}, 422)
    if _find(doors, asked.watch) is None:
        return _strict_json({"error": "there is no such watch"}, 404)
    try:
        released = await run_in_threadpool(doors.release, asked.watch, asked.by)
    except ActionError as error:
        return _strict_json({"error": f"not all was let go, ask again: {error}"}, 503)
    answer = {"done": list(released.done), "failed": list(released.failed)}
    return _strict_json(answer, 409 if released.failed else 200)


async def authorised_body(doors: Doors, request: Request) -> bytes | Response:
    """Return what somebody with the token sent, or the answer that refuses it."""
    try:
        authorised = _authorised(doors, request)
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
    return body


def _authorised(doors: Doors, request: Request) -> bool:
    if doors.token is None:
        return False
    wanted = f"Bearer {doors.token()}".encode()
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
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE_S,
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
