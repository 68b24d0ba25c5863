"""What the daemon answers over HTTP: metrics, health, the API. Reads only immutable snapshots."""

import asyncio
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
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from actions.ports import Transient
from rollbackd.bodies import whole_body
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
from rollbackd.slow_clients import impatient
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json, views_to_json
from rollbackd.web.openapi import Bodies, document
from rollbackd.web.visitors import ClusterWord

log = structlog.get_logger()

GRACE_S = 2
"""How long requests in hand may take at the end; a page that listens for news never ends itself."""
MAX_BODY = 4096
"""Bytes of a request's body that are read; an approval needs a hundred."""
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STATUS = {Answer.STALE: 409, Answer.FORBIDDEN: 403, Answer.UNKNOWN: 404, Answer.FAILED: 409}


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody sent who may decide; ``person``: whom the cluster vouches for, if it does."""

    body: bytes
    person: Person | None = None

    def by(self, name: str) -> Person:
        """Return who it is; whoever has the daemon's token is who they say."""
        return self.person or Person(name, "http", name, trusted=True)


class DecisionModel(BaseModel):
    """A person's decision, as it comes in; ``plan`` and ``turn`` as in the view they saw."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str
    decision: Annotated[Verb, Strict(False)]
    plan: str = ""
    turn: int
    by: str = Field(min_length=1, max_length=200)
    for_s: float = Field(default=SNOOZE_S, gt=0, le=MAX_SNOOZE_S)

    def decision_(self, asked: "Asked") -> Decision:
        """Return the decision."""
        by = asked.by(self.by)
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
        views: the newest snapshot.
        metrics: the exposition, in Prometheus' text format.
        open_metrics: the same in OpenMetrics, with exemplars; None where there is none.
        unready: why the daemon is not ready, or "".
        decide: lets a person's decision happen.
        release: lets go of what a watch holds.
        objection: says why a person may not decide about a watch, or ""; may raise Transient.
        token: who may decide; None when nobody may over HTTP. Read at every request, so that a
            token can be changed without a restart.
        cluster: knows people by their tokens of the cluster, or None; may raise Transient.
        refused: counts what was refused, by reason.
    """

    views: Callable[[], tuple[WatchView, ...]]
    metrics: Callable[[], bytes]
    unready: Callable[[], str]
    decide: Callable[[Decision], Outcome]
    release: Callable[[str, Person], Outcome]
    objection: Callable[[str, Person], str] = lambda _watch_id, _person: ""
    token: Callable[[], str] | None = None
    cluster: ClusterWord | None = None
    refused: Callable[[str], None] = lambda _reason: None
    open_metrics: Callable[[], bytes] | None = None


BODIES = Bodies(DecisionModel, ReleaseModel)
"""What every daemon takes."""


def application(
    doors: Doors, pages: Sequence[BaseRoute] = (), bodies: Bodies = BODIES
) -> Starlette:
    """Return the ASGI application.

    Args:
        doors: what it may ask the daemon.
        pages: further routes, such as those of the web site.
        bodies: what is taken, for the description of the API.
    """

    def metrics(request: Request) -> Response:
        accepted = request.headers.get("accept", "")
        if doors.open_metrics is not None and "application/openmetrics-text" in accepted:
            return Response(doors.open_metrics(), media_type=OPEN_METRICS)
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

    description = document(version("rollbackd"), bodies)

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
        exception_handlers={HTTPException: _refused, ClientDisconnect: _left},
    )


def _left(_request: Request, _error: Exception) -> Response:
    """Answer nobody: they went, or were too slow, before their request was whole."""
    return PlainTextResponse("the request was not whole\n", 400)


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
    asked = await let_in(doors, request)
    if isinstance(asked, Response):
        return asked
    try:
        decision = DecisionModel.model_validate_json(asked.body).decision_(asked)
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
    asked = await let_in(doors, request)
    if isinstance(asked, Response):
        return asked
    try:
        wanted = ReleaseModel.model_validate_json(asked.body)
    except ValueError as error:
        return _strict_json({"error": f"not a release: {error}"}, 422)
    try:
        outcome = await run_in_threadpool(doors.release, wanted.watch, asked.by(wanted.by))
    except Transient as error:
        return _strict_json({"error": f"not all was let go, ask again: {error}"}, 503)
    released = outcome.released
    if outcome.answer is Answer.TAKEN or released.failed:
        answer = {"done": list(released.done), "failed": list(released.failed)}
        return _strict_json(answer, 409 if released.failed else 200)
    said = {"error": outcome.text, "phase": outcome.phase}
    return _strict_json(said, STATUS[outcome.answer])


async def let_in(doors: Doors, request: Request) -> Asked | Response:
    """Return what somebody with a token sent, or the answer that refuses it."""
    person: Person | None = None
    try:
        if not _authorised(doors, request):
            person = await run_in_threadpool(_known_to_cluster, doors, request)
            if person is None:
                doors.refused("not authorised")
                client = request.client.host if request.client is not None else ""
                log.warning(
                    "request refused", reason="token", path=request.url.path, client=client
                )
                return _strict_json({"error": "not authorised to decide"}, 403)
    except SecretError as error:
        log.warning("token not readable", error=str(error))
        return _strict_json({"error": "the daemon cannot read its token now"}, 503)
    except Transient as error:
        return _strict_json({"error": f"read only for now: {error}"}, 503)
    body = await whole_body(request, MAX_BODY)
    if body is None:
        doors.refused("too large")
        log.warning("request refused", path=request.url.path, reason="too large")
        return _strict_json({"error": f"the body is longer than {MAX_BODY} bytes"}, 413)
    return Asked(body, person)


def _known_to_cluster(doors: Doors, request: Request) -> Person | None:
    """Return whose token of the cluster it is, or None. Raises Transient."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if doors.cluster is None or scheme.lower() != "bearer":
        return None
    return doors.cluster(token.strip(), "http")


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
        protocol: how connections are dealt with; None: by a protocol that closes slow ones.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        application: ASGIApp,
        host: str,
        port: int,
        protocol: type[asyncio.Protocol] | None = None,
    ) -> None:
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
            http=protocol or impatient(lambda _: None),
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
