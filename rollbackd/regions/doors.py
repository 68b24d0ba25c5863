"""Regions over HTTP: ``GET /api/v1/regions``, and what a person wants: ``POST /api/v1/regions``."""

from collections.abc import Callable
from dataclasses import asdict
from math import isfinite
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actions.ports import Fenced, Transient
from analyzer.events import Approved, Rejected
from analyzer.region import Region
from analyzer.region_events import Direction, Ordered, RegionEvent, Released
from rollbackd.http import Doors, authorised_body
from rollbackd.regions.keeper import RegionKeeper

Wish = Literal["fail over", "fail back", "approve", "reject", "release"]


class RegionOrder(BaseModel):
    """What a person wants of a region, as it comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    region: str
    wish: Wish
    by: str = Field(min_length=1, max_length=200)
    plan: str = ""

    def event(self) -> RegionEvent:
        """Return the event that this is."""
        match self.wish:
            case "approve":
                return Approved(self.plan, self.by)
            case "reject":
                return Rejected(self.plan, self.by)
            case "release":
                return Released(self.by)
            case _:
                return Ordered(Direction(self.wish), self.by)


def region_routes(keeper: RegionKeeper, doors: Doors, permit: Callable[[], None]) -> list[Route]:
    """Return the routes by which regions are seen and ordered about.

    Args:
        keeper: of the regions.
        doors: they know the token of those who may order.
        permit: raises Fenced while another replica leads: only that one knows how regions stand.
    """

    def see(_: Request) -> Response:
        try:
            permit()
        except Fenced:
            return _json({"error": "another replica leads, and knows of the regions"}, 503)
        return _json([region_view(region) for region in keeper.regions()])

    async def order(request: Request) -> Response:
        body = await authorised_body(doors, request)
        if isinstance(body, Response):
            return body
        try:
            wanted = RegionOrder.model_validate_json(body)
        except ValueError as error:
            return _json({"error": f"not an order: {error}"}, 422)
        if wanted.region not in {region.name for region in keeper.regions()}:
            return _json({"error": f'there is no region "{wanted.region}"'}, 404)
        try:  # it writes to disk: not on the thread that answers everybody
            permit()
            applied = await run_in_threadpool(keeper.handle, wanted.region, wanted.event())
        except Transient as error:
            return _json({"error": f"not recorded, ask again: {error}"}, 503)
        after = next(r for r in keeper.regions() if r.name == wanted.region)
        if not applied:
            what = f"{wanted.region} is {after.phase.value}: {wanted.wish} does not apply"
            return _json({"error": what, **region_view(after)}, 409)
        return _json(region_view(after))

    return [
        Route("/api/v1/regions", see),
        Route("/api/v1/regions", order, methods=["POST"]),
    ]


def region_view(region: Region) -> dict[str, Any]:
    """Return what people are shown of a region, as plain JSON values; null is unknown."""
    data = asdict(region) | {"phase": region.phase.value, "standing": region.standing.value}
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in data.items()
    }


def _json(content: object, status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
