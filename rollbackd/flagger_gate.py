"""Answers Flagger's question whether to roll a Canary back: ``POST /flagger/rollback``.

It only tells what is written on the Canary, so it needs no token: whoever asks learns what the API
tells everybody, and changes nothing. Flagger rolls back at a 2xx and goes on at anything else, so
trouble of any kind is no rollback.
"""

from collections.abc import Callable
from typing import Protocol

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actions.flagger_abort import GATE_PATH
from actions.flagger_abort import KIND as FLAGGER
from actions.ports import ActionError
from analyzer.watch import Phase
from rollbackd.bodies import whole_body
from rollbackd.views import WatchView

log = structlog.get_logger(__name__)

MAX_BODY = 65536
"""Bytes of a question that are read: Flagger adds what the webhook's metadata say."""


class Question(BaseModel):
    """What Flagger sends; the rest of it is not read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: str = Field(min_length=1, max_length=253)
    namespace: str = Field(min_length=1, max_length=253)


class Gate(Protocol):
    """Who knows what is written on a Canary; ``actions.flagger_abort``."""

    def asked_to_leave(self, namespace: str, name: str) -> bool:
        """Tell whether Flagger is to roll this Canary back now. Raises ActionErrors."""


def flagger_routes(gate: Gate, views: Callable[[], tuple[WatchView, ...]]) -> list[Route]:
    """Return the route that Flagger asks.

    Args:
        gate: looks at Canaries.
        views: the newest snapshot: the cluster is only asked about a Canary that a watch acts on,
            whoever asks and however often.
    """

    async def answer(request: Request) -> Response:
        body = await whole_body(request, MAX_BODY)
        if body is None:
            return PlainTextResponse("the question is too long\n", 413)
        try:
            asked = Question.model_validate_json(body)
        except ValueError:
            return PlainTextResponse("this is no question of Flagger\n", 400)
        if not _is_acted_on(views(), asked):
            return PlainTextResponse("nothing asks for a rollback\n", 403)
        try:
            leave = await run_in_threadpool(gate.asked_to_leave, asked.namespace, asked.name)
        except ActionError as error:
            log.warning("gate not looked at", canary=asked.name, error=str(error))
            return PlainTextResponse("not known now, ask again\n", 503)
        if not leave:
            return PlainTextResponse("nothing asks for a rollback\n", 403)
        log.warning("flagger told to roll back", namespace=asked.namespace, canary=asked.name)
        return PlainTextResponse("roll back\n")

    return [Route(GATE_PATH, answer, methods=["POST"])]


def _is_acted_on(views: tuple[WatchView, ...], asked: Question) -> bool:
    part = f"/{asked.namespace}/{FLAGGER}/{asked.name}@"
    return any(part in view.id and view.phase == Phase.ACTING.value for view in views)
