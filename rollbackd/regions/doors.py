"""Regions over HTTP: ``GET /api/v1/regions``, and what a person wants: ``POST /api/v1/regions``."""

from collections.abc import Callable
from dataclasses import asdict
from math import isfinite
from typing import Any, Literal

from starlette.routing import Route

from analyzer.events import Approved, Rejected
from analyzer.regions.events import Direction, Ordered, RegionEvent, Released
from analyzer.regions.life import Region
from rollbackd.http import Doors
from rollbackd.orders import Kept, OrderModel, order_routes
from rollbackd.regions.keeper import RegionKeeper

Wish = Literal["fail over", "fail back", "approve", "reject", "release"]


class RegionOrder(OrderModel):
    """What a person wants of a region, as it comes in."""

    region: str
    wish: Wish

    @property
    def about(self) -> str:
        """Name the region."""
        return self.region

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
    kept = Kept(
        "region",
        RegionOrder.model_validate_json,
        lambda: {region.name: region_view(region) for region in keeper.regions()},
        keeper.handle,
        permit,
    )
    return order_routes(kept, doors)


def region_view(region: Region) -> dict[str, Any]:
    """Return what people are shown of a region, as plain JSON values; null is unknown."""
    data = asdict(region) | {"phase": region.phase.value, "standing": region.standing.value}
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in data.items()
    }
