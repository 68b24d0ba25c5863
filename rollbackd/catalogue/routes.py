"""By which label requests can be told apart, and which of its values are worth it: one look tells.

What was asked for has a label of another name in every library, and some services put an id into it,
so that there is no end of values. The look is at a few instances of the baseline, at one moment.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from analyzer.ports import MetricSource
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series, restricted_to
from analyzer.signal import RatioSignal
from detectors.route_noise import ROUTES

LOOKED_AT: Final = 3
"""Instances that are looked at: their requests are alike, and a label with ids has many values."""
MOST_VALUES: Final = 200
"""A label with more values tells no routes: it holds ids, or whole addresses."""
LONGEST: Final = 200
"""Characters of a value that can still be a route."""
LEAST_VALUES: Final = 2
"""A label with one value tells nothing apart; one that a person named may begin so."""

PLACEHOLDERS: Final = frozenset(
    {
        "",
        "*",
        "/**",
        "/*",
        "/404",
        "/500",
        "/_error",
        "/error",
        "n/a",
        "none",
        "null",
        "not found",
        "not_found",
        "not-found",
        "other",
        "redirection",
        "undefined",
        "unknown",
        "unmatched",
        "_other",
    }
)
"""Values, in lower case, that say that no route was found. They tell what became of a request, not
what was asked for: a release that fails before it finds the route must not hide behind them."""

UNTOLD: Final = frozenset({Absence.NO_SERIES, Absence.TOO_LARGE, Absence.INVALID})
"""Answers that asking again will not change soon."""


def with_routes(
    source: MetricSource,
    candidates: Mapping[RatioSignal, Sequence[str]],
    id_labels: tuple[str, ...],
    baseline: Iterable[tuple[str, ...]],
    at: float,
) -> dict[RatioSignal, RatioSignal] | Missing:
    """Return each signal with the label and the routes that the baseline's requests have.

    A signal of which nothing is known keeps no routes; over all of them it is compared anyway.

    Args:
        source: asked once.
        candidates: labels that may tell routes, the preferred first, by signal.
        id_labels: labels that identify an instance, unless the signal has its own.
        baseline: the values of these labels.
        at: seconds since the epoch.

    Returns:
        The signals, or why that is not known yet.
    """
    some = sorted(baseline)[:LOOKED_AT]
    asked = {signal: labels for signal, labels in candidates.items() if labels}
    if not some or not asked:
        return {signal: signal for signal in candidates}
    queries = [
        Query(
            signal.total,
            (*(own := signal.id_labels or id_labels), *(la for la in labels if la not in own)),
            restricted_to(own, some),
        )
        for signal, labels in asked.items()
    ]
    replies = source.fetch(queries, Grid(at, 1.0, 1))
    for reply in replies:
        if isinstance(reply, Missing) and reply.reason not in UNTOLD:
            return reply
    told = {s: _told(s, asked[s], reply) for s, reply in zip(asked, replies, strict=True)}
    return {signal: told.get(signal, signal) for signal in candidates}


def _told(signal: RatioSignal, labels: Sequence[str], reply: Reply) -> RatioSignal:
    """Return a signal with the first label that tells routes, and its busiest values."""
    if isinstance(reply, Missing):
        return signal
    least = 1 if signal.route is not None else LEAST_VALUES
    for label in labels:
        counted = _counted(reply, label)
        if least <= len(counted) <= MOST_VALUES:
            busiest = sorted(counted, key=lambda value: (-counted[value], value))
            return replace(signal, route=label, routes=tuple(busiest[:ROUTES]))
    return signal


def _counted(series: Series, label: str) -> Counter[str]:
    """Return the events by the values of a label that name a route."""
    counted: Counter[str] = Counter()
    place = series.by.index(label)
    for key, value in zip(series.keys, series.values[:, -1].tolist(), strict=True):
        route = key[place]
        if value > 0 and route.lower() not in PLACEHOLDERS and _is_route(route):
            counted[route] += value
    return counted


def _is_route(value: str) -> bool:
    return len(value) <= LONGEST and value.isprintable()
