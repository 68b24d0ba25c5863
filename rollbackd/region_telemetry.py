"""Metrics of regions and release trains: their number is that of the configuration."""

from collections.abc import Callable, Iterator, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from analyzer.regions.life import Region, RegionPhase
from analyzer.trains.life import Train, TrainPhase

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

    def train_phases(_: CallbackOptions) -> Iterator[Observation]:
        for train in trains():
            for phase in TrainPhase:
                labels = {"train": train.name, "phase": phase.value}
                yield Observation(int(train.phase is phase), labels)

    meter.create_observable_gauge(
        "rollbackd.region.phase", [region_phases], "", "1 for the phase that a region is in."
    )
    meter.create_observable_gauge(
        "rollbackd.region.away", [away], "", "Whether a region's traffic was moved away."
    )
    meter.create_observable_gauge(
        "rollbackd.train.phase", [train_phases], "", "1 for the phase that a release train is in."
    )
