"""Trains over HTTP, and what one daemon asks another: to take a release back."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actions.ports import Fenced, Transient
from analyzer.events import Approved, Rejected
from analyzer.train import Train
from analyzer.train_events import Continued, Halted, TrainEvent
from rollbackd.http import Doors, authorised_body
from rollbackd.trains.conductor import Conductor, train_to_json
from rollbackd.withdrawals import State, Withdrawn

Wish = Literal["approve", "reject", "stop", "continue"]
STATUS = {
    State.UNKNOWN: HTTPStatus.NOT_FOUND,
    State.UNDER_WAY: HTTPStatus.ACCEPTED,
    State.DONE: HTTPStatus.OK,
    State.REFUSED: HTTPStatus.CONFLICT,
    State.FAILED: HTTPStatus.CONFLICT,
}


class TrainOrder(BaseModel):
    """What a person wants of a train, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    train: str
    wish: Wish
    by: str = Field(min_length=1, max_length=200)
    plan: str = ""

    def event(self) -> TrainEvent:
        """Return the event that this is."""
        match self.wish:
            case "approve":
                return Approved(self.plan, self.by)
            case "reject":
                return Rejected(self.plan, self.by)
            case "stop":
                return Halted(self.by)
            case "continue":
                return Continued(self.by)


class WithdrawalOrder(BaseModel):
    """The wish to take back what a watch followed, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str
    by: str = Field(min_length=1, max_length=200)


def withdrawal_routes(withdraw: Callable[[str, str], Withdrawn], doors: Doors) -> list[Route]:
    """Return the route by which a release is taken back: by a person, or another daemon's train.

    Args:
        withdraw: begins it, or tells how it is going.
        doors: they know the token of those who may order.
    """

    async def answer(request: Request) -> Response:
        body = await authorised_body(doors, request)
        if isinstance(body, Response):
            return body
        try:
            wanted = WithdrawalOrder.model_validate_json(body)
        except ValueError as error:
            return _json({"error": f"not a withdrawal: {error}"}, 422)
        try:
            found = await run_in_threadpool(withdraw, wanted.watch, wanted.by)
        except Transient as error:
            return _json({"error": f"ask again: {error}"}, 503)
        return _json({"state": found.state.value, "text": found.text}, STATUS[found.state])

    return [Route("/api/v1/withdrawals", answer, methods=["POST"])]


def train_routes(conductor: Conductor, doors: Doors, permit: Callable[[], None]) -> list[Route]:
    """Return the routes by which trains are seen and ordered about.

    Args:
        conductor: of the trains.
        doors: they know the token of those who may order.
        permit: raises Fenced while another replica leads: only that one knows how trains stand.
    """

    def see(_: Request) -> Response:
        try:
            permit()
        except Fenced:
            return _json({"error": "another replica leads, and knows of the trains"}, 503)
        return _json([train_to_json(train) for train in conductor.trains()])

    async def order(request: Request) -> Response:
        body = await authorised_body(doors, request)
        if isinstance(body, Response):
            return body
        try:
            wanted = TrainOrder.model_validate_json(body)
        except ValueError as error:
            return _json({"error": f"not an order: {error}"}, 422)
        if _named(conductor, wanted.train) is None:
            return _json({"error": f'there is no train "{wanted.train}"'}, 404)
        try:  # it writes to disk: not on the thread that answers everybody
            permit()
            applied = await run_in_threadpool(conductor.handle, wanted.train, wanted.event())
        except Transient as error:
            return _json({"error": f"not recorded, ask again: {error}"}, 503)
        after = _named(conductor, wanted.train)
        assert after is not None, "trains come and go with the configuration"  # noqa: S101
        if not applied:
            what = f"{wanted.train} is {after.phase.value}: {wanted.wish} does not apply"
            return _json({"error": what, **train_to_json(after)}, 409)
        return _json(train_to_json(after))

    return [
        Route("/api/v1/trains", see),
        Route("/api/v1/trains", order, methods=["POST"]),
    ]


def _named(conductor: Conductor, name: str) -> Train | None:
    return next((train for train in conductor.trains() if train.name == name), None)


def _json(content: Any, status: int = 200) -> JSONResponse:  # noqa: ANN401 - any JSON
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
