"""What is kept by name, seen and ordered about over HTTP: regions, release trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actions.ports import Fenced, Transient
from rollbackd.http import Doors, authorised_body

EventT_co = TypeVar("EventT_co", covariant=True)
OrderT = TypeVar("OrderT", bound="Order[Any]")


class OrderModel(BaseModel):
    """What every order says, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: str = Field(min_length=1, max_length=200)
    plan: str = ""


class Order(Protocol[EventT_co]):
    """What a person wants of one thing."""

    @property
    def about(self) -> str:
        """Name the thing."""

    @property
    def wish(self) -> str:
        """Name the wish."""

    def event(self) -> EventT_co:
        """Return the event that this is."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[OrderT]):
    """Things of one kind.

    Attributes:
        kind: what one of them is called. order: reads what somebody wants.
        shown: each by its name, as plain JSON values, its phase among them.
        handle: lets an event happen to one; tells whether that changed anything. May raise Transient.
        permit: raises Fenced while another replica leads: only that one knows how they stand.
    """

    kind: str
    order: Callable[[bytes], OrderT]
    shown: Callable[[], Mapping[str, dict[str, Any]]]
    handle: Callable[[str, Any], bool]
    permit: Callable[[], None]


def order_routes(kept: Kept[OrderT], doors: Doors) -> list[Route]:
    """Return the routes by which things are seen and ordered about.

    Args:
        kept: the things.
        doors: they know the token of those who may order.
    """

    def see(_: Request) -> Response:
        try:
            kept.permit()
        except Fenced:
            text = f"another replica leads, and knows of the {kept.kind}s"
            return json_answer({"error": text}, 503)
        return json_answer(list(kept.shown().values()))

    async def order(request: Request) -> Response:
        body = await authorised_body(doors, request)
        if isinstance(body, Response):
            return body
        try:
            wanted = kept.order(body)
        except ValueError as error:
            return json_answer({"error": f"not an order: {error}"}, 422)
        name = wanted.about
        if name not in kept.shown():
            return json_answer({"error": f'there is no {kept.kind} "{name}"'}, 404)
        try:  # it writes to disk: not on the thread that answers everybody
            kept.permit()
            applied = await run_in_threadpool(kept.handle, name, wanted.event())
        except Transient as error:
            return json_answer({"error": f"not recorded, ask again: {error}"}, 503)
        after = kept.shown()[name]
        if not applied:
            what = f"{name} is {after['phase']}: {wanted.wish} does not apply"
            return json_answer({"error": what, **after}, 409)
        return json_answer(after)

    path = f"/api/v1/{kept.kind}s"
    return [Route(path, see), Route(path, order, methods=["POST"])]


def json_answer(content: object, status: int = 200) -> JSONResponse:
    """Return plain JSON values that nobody is to keep."""
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
