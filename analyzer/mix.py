"""What evidence is worth when the canary gets other requests than the baseline.

A canary that gets more of what fails or is slow anyway looks worse with nothing wrong in it, and one
that gets less of it looks well while it is not (Simpson's paradox). Errors that are counted by route
are then compared within the routes. What is not counted by route decides only as far as other
requests cannot explain it. An unlike mix is told, and never harm by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from analyzer.evidence import Evidence, Finding, Measured
from analyzer.sample import Missing
from analyzer.signal import (
    HistogramSignal,
    LeakSignal,
    PastSignal,
    RatioSignal,
    Signal,
    TraceSignal,
    TrafficSignal,
)
from analyzer.wording import e_value as write_e
from analyzer.wording import factor, share

ENOUGH = 0.9
"""Part of the baseline's requests that must be on routes which the canary has served, too, for it to
be called healthy: of the others nothing is known."""
TOLD_ROUTES = 3
"""Routes that are named, the strongest first; more is a wall of numbers."""
REST = "other routes"

Mixes = Mapping[str, "Mix"]
"""By the name of the signal whose requests are told apart."""
Excess = Callable[[str], float]
"""How much larger the canary's share of slow requests is, by the name of a histogram signal."""


@dataclass(frozen=True, slots=True)
class RouteShare:
    """One route's parts of the canary's and of the baseline's requests, and how sure they differ."""

    route: str
    canary: float
    baseline: float
    e_value: float


@dataclass(frozen=True, slots=True)
class Mix:
    """What is known of both sides' requests.

    Attributes:
        differs: they are other ones, proved at α. e_value: evidence of it.
        distance: part of the canary's requests that the baseline does not get in that proportion.
        covered: part of the baseline's requests on routes that the canary has served, too.
        routes: those that differ, the strongest first.
        within: errors compared within routes, or why they cannot be now.
    """

    differs: bool
    e_value: float
    distance: float
    covered: float
    routes: tuple[RouteShare, ...]
    within: Evidence

    def told(self) -> str:
        """Say in one line which requests differ."""
        named = "; ".join(
            f"{r.route} is {share(r.canary)} of them, {share(r.baseline)} of the baseline's "
            f"({_times(r)})"
            for r in self.routes[:TOLD_ROUTES]
        )
        return (
            f"the canary gets other requests than the baseline: {named} (e-value "
            f"{write_e(self.e_value)}); differences in errors, latency or load may come from that: "
            "check routes, headers and sticky sessions"
        )


def weighed(
    signals: Mapping[str, Signal], found: Mapping[str, Evidence], mixes: Mixes, excess: Excess
) -> dict[str, Evidence]:
    """Return a watch's evidence as far as other requests cannot explain it.

    Args:
        signals: the watch's, by name.
        found: its evidence, as if both sides got the same requests.
        mixes: of the signals whose requests may differ; empty when none do.
        excess: see there; NaN when unknown.
    """
    if not mixes:
        return dict(found)
    distance = max(mix.distance for mix in mixes.values())
    return {
        name: _by_route(what, mixes[name])
        if name in mixes
        else _elsewhere(signals[name], what, distance, excess)
        for name, what in found.items()
    }


def _by_route(found: Evidence, mix: Mix) -> Evidence:
    """Return errors as compared within routes."""
    if isinstance(found, Missing) or isinstance(mix.within, Missing):
        return found if isinstance(found, Missing) else mix.within
    within, whole = mix.within.finding, found.finding
    covered = mix.covered >= ENOUGH
    note = "within routes" if covered else f"within routes; {_uncovered(mix)}"
    return Measured(
        replace(
            within,
            harmless=within.harmless and covered,
            drift_e=whole.drift_e,
            mix=mix.told() if mix.differs else "",
            note=note,
        )
    )


def _uncovered(mix: Mix) -> str:
    return f"the canary serves only the routes of {share(mix.covered)} of the baseline's requests"


def _elsewhere(signal: Signal, found: Evidence, distance: float, excess: Excess) -> Evidence:
    """Return what is not counted by route as far as other requests cannot explain it."""
    if isinstance(found, Missing) or not _depends(signal):
        return found
    finding = found.finding
    if isinstance(signal, HistogramSignal) and excess(signal.name) > distance:
        return Measured(
            replace(finding, harmless=False, note="more than other requests could explain")
        )
    return Measured(_set_aside(finding, distance))


def _set_aside(finding: Finding, distance: float) -> Finding:
    note = f"not counted: up to {share(distance)} of the canary's requests are other ones"
    return replace(finding, harmful=False, harmless=False, note=note)


def _depends(signal: Signal) -> bool:
    """Tell whether other requests alone can move a signal.

    Traces are compared operation by operation, growth that does not end is of no request, and the
    amount of traffic and another time are other questions.
    """
    return not isinstance(signal, TraceSignal | LeakSignal | TrafficSignal | PastSignal)


def _times(route: RouteShare) -> str:
    if not route.baseline > 0:
        return "it gets none"
    return factor(route.canary / route.baseline)


def told_apart(signal: Signal) -> bool:
    """Tell whether a signal's events are counted by route."""
    return isinstance(signal, RatioSignal) and bool(signal.route and signal.routes)
