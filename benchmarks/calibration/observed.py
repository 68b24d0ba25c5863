"""What other judges see of a simulated deployment: values of each minute, counts of each tick."""

import numpy as np

from benchmarks.calibration.deployments import comparable
from benchmarks.calibration.peers import MINUTE, Observed
from benchmarks.calibration.simulator import Array, Counts, Fleet, Histograms

SLOW_S = 0.25
"""Requests above this bucket bound are what count tests of latency count."""
SHOWN_QUANTILE = 0.99
ARGO_ERROR_LIMIT, FLAGGER_ERROR_LIMIT = 0.05, 0.01
P99_LIMIT_S = 0.5


def observed_counts(counts: Counts, warm_up_s: float) -> Observed:
    """Return what is seen of error counts."""
    requests = _sides(counts.requests[..., None], counts.fleet, warm_up_s)
    events = _sides(counts.events[..., None], counts.fleet, warm_up_s)
    (n1, n0), (c, b) = ((side[..., 0] for side in part) for part in (requests, events))
    return Observed(
        c,
        b,
        n1,
        n0,
        _rate(_by_minute(c[..., None]), _by_minute(n1[..., None])),
        _rate(_by_minute(b[..., None]), _by_minute(n0[..., None])),
        ARGO_ERROR_LIMIT,
        FLAGGER_ERROR_LIMIT,
    )


def observed_histograms(histograms: Histograms, warm_up_s: float) -> Observed:
    """Return what is seen of latency: slow requests, and the p99 of each minute."""
    canary, baseline = _sides(histograms.counts, histograms.fleet, warm_up_s)
    slow = histograms.bounds > SLOW_S
    return Observed(
        canary[..., slow].sum(axis=-1),
        baseline[..., slow].sum(axis=-1),
        canary.sum(axis=-1),
        baseline.sum(axis=-1),
        histogram_quantile(_by_minute(canary), histograms.bounds, SHOWN_QUANTILE),
        histogram_quantile(_by_minute(baseline), histograms.bounds, SHOWN_QUANTILE),
        P99_LIMIT_S,
        P99_LIMIT_S,
    )


def histogram_quantile(counts: Array, bounds: Array, level: float) -> Array:
    """Return a quantile of (..., buckets) as Prometheus does: linear inside a bucket, NaN if empty.

    In the open bucket it is the highest finite bound.
    """
    below = np.cumsum(counts, axis=-1)
    rank = level * below[..., -1]
    bucket = np.minimum((below < rank[..., None]).sum(axis=-1), len(bounds) - 1)
    lower = np.concatenate([[0.0], bounds[:-1]])[bucket]
    inside = np.take_along_axis(counts, bucket[..., None], axis=-1)[..., 0]
    before = np.take_along_axis(below, bucket[..., None], axis=-1)[..., 0] - inside
    open_ended = ~np.isfinite(bounds[bucket])
    width = np.where(open_ended, 0.0, np.where(open_ended, 0.0, bounds[bucket]) - lower)
    value = lower + width * (rank - before) / np.maximum(inside, 1.0)
    return np.where(below[..., -1] > 0, value, np.nan)


def _sides(increments: Array, fleet: Fleet, warm_up_s: float) -> tuple[Array, Array]:
    """Sum (runs, ticks, pods, series) by side over the pods that count, (runs, ticks, series)."""
    begin = round(warm_up_s / fleet.tick_s)
    counted = comparable(fleet, warm_up_s)[None, begin:, :, None]
    part = np.where(counted, increments[:, fleet.history + begin :], 0.0)
    k = fleet.canary_pods
    return part[:, :, :k].sum(axis=2), part[:, :, k:].sum(axis=2)


def _by_minute(ticks: Array) -> Array:
    """Sum (runs, ticks, series) by whole minutes."""
    runs, count, series = ticks.shape
    minutes = count // MINUTE
    summed: Array = ticks[:, : minutes * MINUTE].reshape(runs, minutes, MINUTE, series).sum(axis=2)
    return summed


def _rate(events: Array, requests: Array) -> Array:
    known = requests[..., 0] > 0
    return np.where(known, events[..., 0] / np.maximum(requests[..., 0], 1.0), np.nan)
