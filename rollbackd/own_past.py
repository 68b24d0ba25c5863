"""Does the source still hold a stretch of a workload's past, and which requests were slow then?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analyzer.families.histogram import SLOW_SHARE, Layout
from analyzer.families.increments import increments
from analyzer.families.past import INTERVAL_S
from analyzer.policy import Policy
from analyzer.ports import MetricSource
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series, restricted_to
from analyzer.signal import HistogramSignal, RatioSignal, Selector, Tier

PROBE_S = 1800.0
"""Length of the stretch that is looked at, before the one that will be compared with."""
HELD = 0.5
"""Share of its times at which some instance must have a sample."""

Floats = NDArray[np.float64]


def slow_bounds(
    source: MetricSource,
    policy: Policy,
    id_labels: tuple[str, ...],
    ran: Sequence[tuple[str, ...]],
    until: float,
) -> dict[str, float] | Missing | None:
    """Return the bounds of slow requests, by histogram.

    Args:
        source: where samples come from.
        policy: whose signals are to be compared with that time.
        id_labels: metric labels of an instance.
        ran: the instances that ran then.
        until: end of the stretch that must be held, seconds since the epoch.

    Returns:
        None when the source holds no critical signal of that time, Missing when it cannot tell now.
    """
    asked = [
        (signal, _query(signal, id_labels, ran))
        for signal in policy.signals
        if isinstance(signal, RatioSignal | HistogramSignal) and signal.tier is not Tier.INFO
    ]
    if not ran or not asked:
        return None
    grid = Grid(until - PROBE_S, INTERVAL_S, round(PROBE_S / INTERVAL_S) + 1)
    bounds: dict[str, float] = {}
    is_comparable = False
    replies = source.fetch([query for _, query in asked], grid)
    for (signal, _), reply in zip(asked, replies, strict=True):
        if isinstance(reply, Missing):
            if reply.reason is not Absence.NO_SERIES:
                return reply
            continue
        if not _is_held(reply) or not _has_traffic(reply):
            continue
        if isinstance(signal, HistogramSignal):
            bound = slow_bound(reply)
            if bound is None:
                continue
            bounds[signal.name] = bound
        is_comparable |= signal.tier is Tier.CRITICAL
    return bounds if is_comparable else None


def _query(
    signal: RatioSignal | HistogramSignal,
    id_labels: tuple[str, ...],
    ran: Sequence[tuple[str, ...]],
) -> Query:
    labels = by = signal.id_labels or id_labels
    selector: Selector
    match signal:
        case HistogramSignal(buckets=selector):
            by = (*labels, "le")
        case RatioSignal(total=selector):
            pass
    return Query(selector, by, restricted_to(labels, ran))


def _is_held(reply: Reply) -> bool:
    if isinstance(reply, Missing) or not reply.keys:
        return False
    return bool(np.isfinite(reply.values).mean(axis=1).max() >= HELD)


def _has_traffic(series: Series) -> bool:
    """Tell whether anything was counted: a colour that waits is no past to compare with."""
    values: Floats = series.values[:, None]
    gained, _ = increments(values, np.full(values.shape[:2], np.nan))
    return bool(np.nansum(gained) > 0)


def slow_bound(series: Series) -> float | None:
    """Return the bucket bound that about a tenth of the requests exceed, None without requests.

    Args:
        series: cumulative buckets by instance and ``le`` over a stretch of time.
    """
    layout = Layout.of(series.keys)
    values: Floats = series.values[layout.row][:, None]
    gained, _ = increments(values, np.full(values.shape[:2], np.nan))
    counted = np.nansum(gained, axis=(1, 2))
    whole = float(counted[layout.bound == np.inf].sum())
    shares = {
        bound: 1.0 - float(counted[layout.bound == bound].sum()) / max(whole, 1.0)
        for bound in np.unique(layout.bound[np.isfinite(layout.bound)]).tolist()
    }
    usable = {bound: share for bound, share in shares.items() if 0.0 < share < 1.0}
    if not whole or not usable:
        return None
    nearest: float = min(usable, key=lambda bound: abs(np.log(usable[bound] / SLOW_SHARE)))
    return nearest
