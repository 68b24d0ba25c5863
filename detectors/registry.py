"""Which detector judges which kind of signal: add a detector = a file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from detectors.counts import CountRatio
from detectors.event_shift import EventShift
from detectors.latency import LatencyShift
from detectors.leaks import LeakTrend
from detectors.levels import LevelShift
from detectors.means import MeanShift
from detectors.routes import RouteMix

Detector: TypeAlias = (
    CountRatio | EventShift | LatencyShift | LeakTrend | LevelShift | MeanShift | RouteMix
)

DETECTORS: Final[Mapping[str, type[Detector]]] = MappingProxyType(
    {
        "ratio": CountRatio,
        "histogram": LatencyShift,
        "gauge": MeanShift,
        "leak": LeakTrend,
        "interval": EventShift,
        "level": LevelShift,
        "routes": RouteMix,
    }
)
"""Detector by signal kind."""


def detector(kind: str, *, tick_s: float, horizon_s: float) -> Detector:
    """Return the detector of a signal kind for the given tick and horizon, in seconds.

    Raises:
        KeyError: no detector is registered for this kind.
    """
    return DETECTORS[kind](tick_s=tick_s, horizon_s=horizon_s)
