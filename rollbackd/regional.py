"""What this daemon does beyond the rollouts it watches: regions it keeps, trains it conducts."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pydantic import BaseModel
from starlette.routing import Route

from analyzer.events import Approved, Rejected
from analyzer.regions.events import RegionWish
from analyzer.regions.life import Region
from analyzer.trains.events import TrainWish
from analyzer.trains.life import Train
from rollbackd.config.settings import Config, Deciders
from rollbackd.decisions import Deed
from rollbackd.http import BODIES, Doors
from rollbackd.leadership.role import Role
from rollbackd.regions.doors import RegionOrder, region_routes
from rollbackd.regions.keeper import RegionKeeper
from rollbackd.regions.portrait import POLICY as REGION_POLICY
from rollbackd.regions.portrait import region_of
from rollbackd.store.journal import SqlJournal
from rollbackd.telemetry import Telemetry
from rollbackd.trains.conductor import Conductor
from rollbackd.trains.doors import (
    TrainOrder,
    WithdrawalOrder,
    train_routes,
    withdrawal_routes,
)
from rollbackd.trains.portrait import policy_name, train_of
from rollbackd.views import WatchView
from rollbackd.web.openapi import Bodies
from rollbackd.withdrawals import Withdrawals


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What it works with.

    Attributes:
        config, role, journal, telemetry, withdrawals: the daemon's.
        views: of the rollouts. pause: waits so many seconds; False when it is time to end.
    """

    config: Config
    role: Role
    journal: SqlJournal
    telemetry: Telemetry
    withdrawals: Withdrawals
    views: Callable[[], tuple[WatchView, ...]]
    pause: Callable[[float], bool]


class Regional:
    """Regions and trains, as far as they are configured. Only the leader knows how they stand.

    Raises:
        ActionError, SecretError: when a part cannot be built.
    """

    def __init__(self, around: Circumstances, stack: ExitStack) -> None:
        self._role = around.role
        self._withdrawals = around.withdrawals
        self._keeper = _keeper(around, stack)
        self._conductor = _conductor(around, stack)
        config = around.config
        self._deciders = {policy_name(train.name): train.deciders for train in config.trains}
        if config.regions is not None:
            self._deciders[REGION_POLICY] = config.regions.deciders
        around.telemetry.follow_regions(self._regions, self._trains)

    def routes(self, doors: Doors) -> list[Route]:
        """Return the routes of regions, trains and withdrawals."""
        routes = withdrawal_routes(self._withdrawals.withdraw, doors)
        if self._keeper is not None:
            routes += region_routes(self._keeper, doors, self._role.permit)
        if self._conductor is not None:
            routes += train_routes(self._conductor, doors, self._role.permit)
        return routes

    def bodies(self) -> Bodies:
        """Return what the daemon takes over HTTP, that of ``routes`` included."""
        orders: dict[str, type[BaseModel]] = {}
        if self._keeper is not None:
            orders["region"] = RegionOrder
        if self._conductor is not None:
            orders["train"] = TrainOrder
        return replace(BODIES, orders=orders, withdrawal=WithdrawalOrder)

    def regions(self) -> tuple[WatchView, ...]:
        """Return how regions stand; nothing while another replica leads, which knows them."""
        if self._keeper is None or not self._role.leads:
            return ()
        return self._keeper.views()

    def trains(self) -> tuple[WatchView, ...]:
        """Return how trains stand; as ``regions``."""
        if self._conductor is None or not self._role.leads:
            return ()
        return self._conductor.views()

    def deciders(self, policy: str) -> Deciders | None:
        """Return who may decide about what has this policy's name; None when it is none of ours."""
        return self._deciders.get(policy)

    def _regions(self) -> tuple[Region, ...]:
        if self._keeper is None or not self._role.leads:
            return ()
        return self._keeper.regions()

    def _trains(self) -> tuple[Train, ...]:
        if self._conductor is None or not self._role.leads:
            return ()
        return self._conductor.trains()

    def handle(self, id_: str, deed: Deed) -> bool:
        """Let a decision happen to the region or the train that it is about.

        Returns:
            Whether it was about one of them. Of a train that left since, nothing is changed.
        """
        if (region := region_of(id_)) is not None:
            if self._keeper is not None and isinstance(deed, Approved | Rejected | RegionWish):
                self._keeper.handle(region, deed)
            return True
        if (train := train_of(id_)) is not None:
            if self._conductor is not None and isinstance(deed, Approved | Rejected | TrainWish):
                self._conductor.decided(*train, deed)
            return True
        return False

    def restore(self) -> None:
        """Take up where an earlier process left. Raises Transient."""
        for each in (self._keeper, self._conductor):
            if each is not None:
                each.restore()

    def jobs(self) -> dict[str, Callable[[], None]]:
        """Return what is to be done at every tick, by name; only who leads does it."""
        parts = {"regions": self._keeper, "trains": self._conductor}
        return {name: self._tick_of(part) for name, part in parts.items() if part is not None}

    def _tick_of(self, part: RegionKeeper | Conductor) -> Callable[[], None]:
        def tick() -> None:
            if self._role.leads:
                part.tick()

        return tick

    def close(self) -> None:
        """Finish or hand over what is being done."""
        for each in (self._conductor, self._keeper, self._withdrawals):
            if each is not None:
                each.close()


def _keeper(around: Circumstances, stack: ExitStack) -> RegionKeeper | None:
    """Build the keeper of the configured regions."""
    settings = around.config.regions
    if settings is None:
        return None
    from rollbackd.regions.wiring import Surroundings, region_keeper  # noqa: PLC0415  if used

    surroundings = Surroundings(
        journal=around.journal,
        telemetry=around.telemetry,
        now=time.time,
        pause=around.pause,
        permit=around.role.permit,
        views=around.views,
    )
    return region_keeper(around.config, settings, surroundings, stack)


def _conductor(around: Circumstances, stack: ExitStack) -> Conductor | None:
    """Build the conductor of the configured trains."""
    if not around.config.trains:
        return None
    from rollbackd.trains.wiring import Surroundings, conductor  # noqa: PLC0415  if used

    surroundings = Surroundings(
        journal=around.journal,
        now=time.time,
        pause=around.pause,
        permit=around.role.permit,
        views=around.views,
        withdraw=around.withdrawals.withdraw,
    )
    return conductor(around.config.trains, surroundings, stack)
