"""Trains over HTTP, and what one daemon asks another: to take a release back."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actions.ports import Transient
from analyzer.events import Approved, Rejected
from analyzer.trains.events import Continued, Halted, TrainEvent
from rollbackd.http import Doors, authorised_body
from rollbackd.orders import Kept, OrderModel, json_answer, order_routes
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


class TrainOrder(OrderModel):
    """What a person wants of a train, as it comes in."""

    train: str
    wish: Wish

    @property
    def about(self) -> str:
        """Name the train."""
        return self.train

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
            return json_answer({"error": f"not a withdrawal: {error}"}, 422)
        try:
            found = await run_in_threadpool(withdraw, wanted.watch, wanted.by)
        except Transient as error:
            return json_answer({"error": f"ask again: {error}"}, 503)
        return json_answer({"state": found.state.value, "text": found.text}, STATUS[found.state])

    return [Route("/api/v1/withdrawals", answer, methods=["POST"])]


def train_routes(conductor: Conductor, doors: Doors, permit: Callable[[], None]) -> list[Route]:
    """Return the routes by which trains are seen and ordered about.

    Args:
        conductor: of the trains.
        doors: they know the token of those who may order.
        permit: raises Fenced while another replica leads: only that one knows how trains stand.
    """
    kept = Kept(
        "train",
        TrainOrder.model_validate_json,
        lambda: {train.name: train_to_json(train) for train in conductor.trains()},
        conductor.handle,
        permit,
    )
    return order_routes(kept, doors)
