"""Trains over HTTP, and what one daemon asks another: to take a release back."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actions.ports import Transient
from analyzer.trains.life import Train
from rollbackd.decisions import Verb, offers
from rollbackd.http import Doors, let_in
from rollbackd.orders import Kept, OrderModel, json_answer, order_routes
from rollbackd.trains.conductor import Conductor
from rollbackd.views import WatchView
from rollbackd.withdrawals import State, Withdrawn

Wish = Literal["approve", "reject", "continue", "stop", "take back"]
_VERBS: Mapping[Wish, Verb] = {
    "approve": Verb.APPROVE,
    "reject": Verb.REJECT,
    "continue": Verb.CONTINUE,
    "stop": Verb.STOP,
    "take back": Verb.TAKE_BACK,
}
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

    def verb(self, view: WatchView) -> Verb:
        """Return what is wanted; a train that waits for an answer is stopped by a no."""
        verb = _VERBS[self.wish]
        return Verb.REJECT if verb is Verb.STOP and Verb.REJECT in offers(view) else verb


class WithdrawalOrder(BaseModel):
    """The wish to take back what a watch followed, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str
    by: str = Field(min_length=1, max_length=200)


def withdrawal_routes(withdraw: Callable[[str, str], Withdrawn], doors: Doors) -> list[Route]:
    """Return the route by which a release is taken back: by a person, or another daemon's train.

    Args:
        withdraw: begins it, or tells how it is going.
        doors: they let those in who may order.
    """

    async def answer(request: Request) -> Response:
        asked = await let_in(doors, request)
        if isinstance(asked, Response):
            return asked
        try:
            wanted = WithdrawalOrder.model_validate_json(asked.body)
        except ValueError as error:
            return json_answer({"error": f"not a withdrawal: {error}"}, 422)
        try:
            if asked.person is not None:
                why = await run_in_threadpool(doors.objection, wanted.watch, asked.person)
                if why:
                    return json_answer({"error": why}, 403)
            found = await run_in_threadpool(withdraw, wanted.watch, asked.by(wanted.by).name)
        except Transient as error:
            return json_answer({"error": f"ask again: {error}"}, 503)
        return json_answer({"state": found.state.value, "text": found.text}, STATUS[found.state])

    return [Route("/api/v1/withdrawals", answer, methods=["POST"])]


def train_routes(conductor: Conductor, doors: Doors, permit: Callable[[], None]) -> list[Route]:
    """Return the routes by which trains are seen and ordered about.

    Args:
        conductor: of the trains.
        doors: they let people in, and take what those decide.
        permit: raises Fenced while another replica leads: only that one knows how trains stand.
    """
    kept = Kept(
        "train",
        TrainOrder.model_validate_json,
        lambda: {view.workload: view for view in conductor.views()},
        lambda: {train.name: _own(train) for train in conductor.trains()},
        permit,
    )
    return order_routes(kept, doors)


def _own(train: Train) -> dict[str, Any]:
    """Return what is told of a train besides its view."""
    return {
        "name": train.name,
        "release": train.release,
        "number": train.number,
        "place": train.place,
    }
