"""Regions over HTTP: ``GET /api/v1/regions``, and what a person wants: ``POST /api/v1/regions``."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Literal

from starlette.routing import Route

from analyzer.regions.life import Region
from rollbackd.decisions import Verb
from rollbackd.http import Doors
from rollbackd.orders import Kept, OrderModel, order_routes
from rollbackd.regions.keeper import RegionKeeper
from rollbackd.views import WatchView

Wish = Literal["fail over", "fail back", "approve", "reject", "release"]
_VERBS: Mapping[Wish, Verb] = {
    "fail over": Verb.FAIL_OVER,
    "fail back": Verb.FAIL_BACK,
    "approve": Verb.APPROVE,
    "reject": Verb.REJECT,
    "release": Verb.FOLLOW,
}


class RegionOrder(OrderModel):
    """What a person wants of a region, as it comes in."""

    region: str
    wish: Wish

    @property
    def about(self) -> str:
        """Name the region."""
        return self.region

    def verb(self, _view: WatchView) -> Verb:
        """Return what is wanted."""
        return _VERBS[self.wish]


def region_routes(keeper: RegionKeeper, doors: Doors, permit: Callable[[], None]) -> list[Route]:
    """Return the routes by which regions are seen and ordered about.

    Args:
        keeper: of the regions.
        doors: they let people in, and take what those decide.
        permit: raises Fenced while another replica leads: only that one knows how regions stand.
    """
    kept = Kept(
        "region",
        RegionOrder.model_validate_json,
        lambda: {view.workload: view for view in keeper.views()},
        lambda: {region.name: region_view(region) for region in keeper.regions()},
        permit,
    )
    return order_routes(kept, doors)


def region_view(region: Region) -> dict[str, Any]:
    """Return what is told of a region besides its view, as plain JSON values; null is unknown."""
    data = asdict(region) | {"phase": region.phase.value, "standing": region.standing.value}
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in data.items()
    }
