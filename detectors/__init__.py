"""Sequential detectors: arrays in, findings out.

May live here: pure functions and frozen values of NumPy arrays, one row per signal of one
watch. May not: I/O, clocks, logging, unseeded randomness, knowledge of rollouts or policies;
nothing of the layers above. Importing the package must not import SciPy, which costs seconds.

A detector is a frozen dataclass of parameters with these methods:

* ``start(noise, limits, canary_pods, baseline_pods) -> state``: rows that have seen nothing,
* ``update(state, pair, live) -> state``: one tick of all rows at once, a pure function; detectors
  of very many rows write over a state that their caller has no more use for (``consume``),
* ``findings(state) -> Findings``: what is known by now,
* ``weigh(state) -> Weights``: the part of it that sums over very many rows need, where there is one.

`noise` is learned from the baseline's history by the ``fit_…`` functions. A state is a value:
taking rows, concatenating, storing and replaying all lead to the same evidence.
"""

from detectors.cadence import Cadence
from detectors.counts import CountNoise, CountRatio, CountRatioState, PairCounts, fit_count_noise
from detectors.event_shift import EventShift, EventShiftState
from detectors.findings import Findings, Limits
from detectors.latency import (
    LatencyFindings,
    LatencyNoise,
    LatencyShift,
    LatencyShiftState,
    PairHistograms,
    fit_latency_noise,
)
from detectors.leaks import (
    LeakTrend,
    LeakTrendState,
    PairTrends,
    TrendNoise,
    fit_trend_noise,
)
from detectors.level_noise import LevelNoise
from detectors.levels import LevelShift, LevelShiftState, PairLevels
from detectors.means import MeanNoise, MeanShift, MeanShiftState, PairMeans, fit_mean_noise
from detectors.registry import DETECTORS, Detector, detector
from detectors.route_noise import RouteNoise, fit_route_noise
from detectors.routes import PairRoutes, RouteMix, RouteState

__all__ = [
    "DETECTORS",
    "Cadence",
    "CountNoise",
    "CountRatio",
    "CountRatioState",
    "Detector",
    "EventShift",
    "EventShiftState",
    "Findings",
    "LatencyFindings",
    "LatencyNoise",
    "LatencyShift",
    "LatencyShiftState",
    "LeakTrend",
    "LeakTrendState",
    "LevelNoise",
    "LevelShift",
    "LevelShiftState",
    "Limits",
    "MeanNoise",
    "MeanShift",
    "MeanShiftState",
    "PairCounts",
    "PairHistograms",
    "PairLevels",
    "PairMeans",
    "PairRoutes",
    "PairTrends",
    "RouteMix",
    "RouteNoise",
    "RouteState",
    "TrendNoise",
    "detector",
    "fit_count_noise",
    "fit_latency_noise",
    "fit_mean_noise",
    "fit_route_noise",
    "fit_trend_noise",
]
