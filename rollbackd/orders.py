"""What is kept by name, seen and ordered about over HTTP: regions, release trains.

An order is a decision like any other, said by the thing's name: the same people may take it, and it
is taken once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actions.ports import Fenced, Transient
from rollbackd.decisions import Answer, Decision, Person, Verb
from rollbackd.http import STATUS, Doors, let_in
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json

OrderT = TypeVar("OrderT", bound="Order")
_OF_A_PLAN = frozenset({Verb.APPROVE, Verb.REJECT})


class OrderModel(BaseModel):
    """What every order says, as it comes in.

    ``turn`` binds it to the state that was seen; without it, it is about the present one.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    by: str = Field(min_length=1, max_length=200)
    plan: str = ""
    turn: int | None = None


class Order(Protocol):
    """What a person wants of one thing."""

    by: str
    plan: str
    turn: int | None

    @property
    def about(self) -> str:
        """Name the thing."""

    def verb(self, view: WatchView) -> Verb:
        """Return what is wanted of the thing as it stands."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[OrderT]):
    """Things of one kind.

    Attributes:
        kind: what one of them is called. order: reads what somebody wants.
        views: each by its name, as people are shown it.
        own: what else is told of each, as plain JSON values.
        permit: raises Fenced while another replica leads: only that one knows how they stand.
    """

    kind: str
    order: Callable[[bytes], OrderT]
    views: Callable[[], Mapping[str, WatchView]]
    own: Callable[[], Mapping[str, Mapping[str, Any]]]
    permit: Callable[[], None]

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return each by its name, as plain JSON values."""
        own = self.own()
        return {name: {**view_to_json(v), **own[name]} for name, v in self.views().items()}


def order_routes(kept: Kept[OrderT], doors: Doors) -> list[Route]:
    """Return the routes by which things are seen and ordered about.

    Args:
        kept: the things.
        doors: they let people in, and take what those decide.
    """

    def see(_: Request) -> Response:
        try:
            kept.permit()
        except Fenced:
            text = f"another replica leads, and knows of the {kept.kind}s"
            return json_answer({"error": text}, 503)
        return json_answer(list(kept.shown().values()))

    async def order(request: Request) -> Response:
        asked = await let_in(doors, request)
        if isinstance(asked, Response):
            return asked
        try:
            wanted = kept.order(asked.body)
        except ValueError as error:
            return json_answer({"error": f"not an order: {error}"}, 422)
        view = kept.views().get(wanted.about)
        if view is None:
            return json_answer({"error": f'there is no {kept.kind} "{wanted.about}"'}, 404)
        decision = _decision(wanted, view, asked.by(wanted.by))
        try:  # it writes to disk: not on the thread that answers everybody
            outcome = await run_in_threadpool(doors.decide, decision)
        except Transient as error:
            return json_answer({"error": f"not recorded, ask again: {error}"}, 503)
        after = kept.shown()[wanted.about]
        if outcome.answer is not Answer.TAKEN:
            return json_answer({"error": outcome.text, **after}, STATUS[outcome.answer])
        return json_answer(after)

    path = f"/api/v1/{kept.kind}s"
    return [Route(path, see), Route(path, order, methods=["POST"])]


def _decision(wanted: Order, view: WatchView, by: Person) -> Decision:
    verb = wanted.verb(view)
    plan = wanted.plan if verb in _OF_A_PLAN else view.plan_key
    turn = view.turn if wanted.turn is None else wanted.turn
    return Decision(view.id, verb, by, plan, turn)


def json_answer(content: object, status: int = 200) -> JSONResponse:
    """Return plain JSON values that nobody is to keep."""
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
