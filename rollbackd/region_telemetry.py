"""Metrics of regions and release trains: their number is that of the configuration."""

from collections.abc import Callable, Iterator, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from analyzer.regions.life import Region, RegionPhase
from analyzer.trains.life import Train, TrainPhase
from analyzer.trains.standing import StopState, stop_state

Regions = Callable[[], Sequence[Region]]
Trains = Callable[[], Sequence[Train]]


def export_regions(meter: Meter, regions: Regions, trains: Trains) -> None:
    """Create the metrics of regions and trains.

    Args:
        meter: creates the instruments.
        regions: how they stand; empty on a replica that follows.
        trains: as ``regions``.
    """

    def region_phases(_: CallbackOptions) -> Iterator[Observation]:
        for region in regions():
            for phase in RegionPhase:
                labels = {"region": region.name, "phase": phase.value}
                yield Observation(int(region.phase is phase), labels)

    def away(_: CallbackOptions) -> Iterator[Observation]:
        for region in regions():
            yield Observation(int(region.away), {"region": region.name})

    meter.create_observable_gauge(
        "rollbackd.region.phase", [region_phases], "", "1 for the phase that a region is in."
    )
    meter.create_observable_gauge(
        "rollbackd.region.away", [away], "", "Whether a region's traffic was moved away."
    )
    _export_trains(meter, trains)


def _export_trains(meter: Meter, trains: Trains) -> None:
    def train_phases(_: CallbackOptions) -> Iterator[Observation]:
        for train in trains():
            for phase in TrainPhase:
                labels = {"train": train.name, "phase": phase.value}
                yield Observation(int(train.phase is phase), labels)

    def train_stops(_: CallbackOptions) -> Iterator[Observation]:
        for train in trains():
            for place, stop in enumerate(train.stops):
                now, _since = stop_state(train, place)
                for state in StopState:
                    labels = {"train": train.name, "region": stop.region, "state": state.value}
                    yield Observation(int(now is state), labels)

    def train_since(_: CallbackOptions) -> Iterator[Observation]:
        for train in trains():
            yield Observation(train.since, {"train": train.name})

    def trains_departed(_: CallbackOptions) -> Iterator[Observation]:
        for train in trains():
            yield Observation(train.number, {"train": train.name})

    meter.create_observable_gauge(
        "rollbackd.train.phase", [train_phases], "", "1 for the phase that a release train is in."
    )
    meter.create_observable_gauge(
        "rollbackd.train.region",
        [train_stops],
        "",
        "1 for how a region stands to the release that a train carries.",
    )
    meter.create_observable_gauge(
        "rollbackd.train.phase.since.timestamp",
        [train_since],
        "s",
        "When a release train entered its phase.",
    )
    meter.create_observable_counter(
        "rollbackd.train.departures", [trains_departed], "", "Releases that a train carried."
    )
