"""Other judges of the same data, written anew after their sources, each as it is usually set up.

Every judge looks at what it looks at in its own system: a value per minute for each side (error
rate, p99), or the counts of each tick. It says when it first raises an alarm. None of them is given
the daemon's noise model; all of them are given its warm-up filter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from scipy.stats import mannwhitneyu, norm

from benchmarks.calibration.simulator import Array, Bools

MINUTE: Final = 6
"""Ticks of a minute; every situation has ticks of ten seconds."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What both sides showed, from the first comparable tick on.

    Attributes:
        canary_events, baseline_events, canary_requests, baseline_requests: (runs, ticks).
        canary_minutes, baseline_minutes: (runs, minutes), the value in each minute; NaN without
            traffic.
        argo_limit, flagger_limit: values above which a minute fails.
    """

    canary_events: Array
    baseline_events: Array
    canary_requests: Array
    baseline_requests: Array
    canary_minutes: Array
    baseline_minutes: Array
    argo_limit: float
    flagger_limit: float


Peer = Callable[[Observed], Array]
"""Says at which tick, counted from 1, each run raises its first alarm; NaN for never."""

KAYENTA_FIRST, KAYENTA_CONFIDENCE, KAYENTA_TOLERANCE = 5, 0.98, 0.25


def kayenta(seen: Observed) -> Array:
    """Judge all minutes so far, every minute from the fifth on.

    NetflixACAJudge of spinnaker/kayenta (MannWhitney.scala, MannWhitneyClassifier.scala at a69573be):
    a metric is "High" when the lower end of the 98 % interval of the Hodges-Lehmann shift exceeds a
    quarter of its estimate and the means' ratio is at least 1. The interval is Mann-Whitney's by
    its normal approximation. The metric is critical: "High" fails the canary.
    """
    canary, baseline = seen.canary_minutes, seen.baseline_minutes
    minutes = canary.shape[1]
    alarm = np.full(len(canary), np.nan)
    for end in range(KAYENTA_FIRST, minutes + 1):
        open_ = np.flatnonzero(np.isnan(alarm))
        if not len(open_):
            break
        high = _is_high(canary[open_, :end], baseline[open_, :end])
        alarm[open_[high]] = end * MINUTE
    return alarm


def _is_high(canary: Array, baseline: Array) -> Bools:
    """Tell which runs' canary is classified "High"."""
    shifts = (canary[:, :, None] - baseline[:, None, :]).reshape(len(canary), -1)
    shifts = np.sort(np.where(np.isnan(shifts), np.inf, shifts), axis=1)
    one, zero = np.isfinite(canary).sum(axis=1), np.isfinite(baseline).sum(axis=1)
    pairs = one * zero
    z = norm.isf((1 - KAYENTA_CONFIDENCE) / 2)
    half = z * np.sqrt(pairs * (one + zero + 1) / 12)
    low = np.maximum(np.floor(pairs / 2 - half - 0.5), 0).astype(np.intp)
    middle = np.clip(pairs // 2, 0, shifts.shape[1] - 1).astype(np.intp)
    row = np.arange(len(shifts))
    lower, estimate = shifts[row, low], shifts[row, middle]
    usable = (pairs > 0) & np.isfinite(lower) & np.isfinite(estimate)
    means_rise = _mean(canary) >= _mean(baseline)
    high: Bools = usable & (lower > KAYENTA_TOLERANCE * np.abs(estimate)) & means_rise
    return high


PIPECD_WINDOW, PIPECD_ALPHA = 5, 0.05


def pipecd(seen: Observed) -> Array:
    """Compare the last five minutes by a Mann-Whitney test, every five minutes.

    pipe-cd/pipecd, pkg/app/piped/executor/analysis/metrics_analyzer.go: at each interval the points
    of that interval alone (step one minute) are compared, p <= 0.05 is a failure, and more failures
    than ``failureLimit`` (0 unless set) end the analysis. Read here with an interval of 5 min, as in
    its examples, strategy CANARY_BASELINE and deviation HIGH. Exact p without ties, else normal.
    """
    canary, baseline = seen.canary_minutes, seen.baseline_minutes
    alarm = np.full(len(canary), np.nan)
    for end in range(PIPECD_WINDOW, canary.shape[1] + 1, PIPECD_WINDOW):
        window = np.s_[:, end - PIPECD_WINDOW : end]
        failed = _higher(canary[window], baseline[window]) <= PIPECD_ALPHA
        alarm[failed & np.isnan(alarm)] = end * MINUTE
    return alarm


def _higher(canary: Array, baseline: Array) -> Array:
    """Return the one-sided p-values of "canary is higher"; 1 where it cannot be told."""
    p = np.ones(len(canary))
    both = np.concatenate([canary, baseline], axis=1)
    gaps = np.isnan(both).any(axis=1)
    ordered = np.sort(both, axis=1)
    ties = (np.diff(ordered, axis=1) == 0).any(axis=1) & ~gaps
    same = ordered[:, 0] == ordered[:, -1]
    for rows, exact in ((~gaps & ~ties, True), (ties & ~same, False)):
        if rows.any():
            p[rows] = _p_values(canary[rows], baseline[rows], exact=exact)
    for row in np.flatnonzero(gaps):
        one, zero = (x[row][np.isfinite(x[row])][None] for x in (canary, baseline))
        if one.size and zero.size and len({*one[0], *zero[0]}) > 1:
            p[row] = _p_values(one, zero, exact=False)[0]
    return p


def _p_values(canary: Array, baseline: Array, *, exact: bool) -> Array:
    method: Literal["exact", "asymptotic"] = "exact" if exact else "asymptotic"
    found = mannwhitneyu(canary, baseline, alternative="greater", axis=1, method=method)
    return np.asarray(found.pvalue, dtype=np.float64)


ARGO_FAILURES, FLAGGER_FAILURES = 3, 5


def argo_rollouts(seen: Observed) -> Array:
    """Fail at the third minute beyond a fixed limit: success rate below 95 %, or p99 above 500 ms.

    argoproj/argo-rollouts, docs/features/analysis.md: ``successCondition: result[0] >= 0.95`` with
    ``failureLimit: 3``, measured every minute here, of the canary alone.
    """
    return _failing(seen.canary_minutes > seen.argo_limit, ARGO_FAILURES)


def flagger(seen: Observed) -> Array:
    """Fail at the fifth minute beyond a fixed limit: success rate below 99 %, or p99 above 500 ms.

    fluxcd/flagger: built-in metrics request-success-rate (99) and request-duration (500 ms), interval
    1 min, threshold 5; pkg/controller/scheduler.go adds up failed checks and never takes one back.
    """
    return _failing(seen.canary_minutes > seen.flagger_limit, FLAGGER_FAILURES)


Z_ALPHA, Z_MIN_REQUESTS = 0.01, 30


def peeking_z_test(seen: Observed) -> Array:
    """Test two proportions on everything so far, at 1 %, at every tick; the textbook's mistake."""
    c, b, n1, n0 = _totals(seen)
    pooled = (c + b) / np.maximum(n1 + n0, 1)
    variance = np.maximum(pooled * (1 - pooled), 1e-12)
    error = np.sqrt(variance * (1 / np.maximum(n1, 1) + 1 / np.maximum(n0, 1)))
    z = (c / np.maximum(n1, 1) - b / np.maximum(n0, 1)) / error
    return _first((z > norm.isf(Z_ALPHA)) & (n1 >= Z_MIN_REQUESTS) & (c + b > 0))


MSPRT_ALPHA, MSPRT_FIRST_WEIGHT = 0.01, 0.5
MSPRT_RATIOS = np.exp(np.array([0.18, 0.35, 0.6, 0.9, 1.3, 1.8, 2.4, 3.2, 4.2]))


def msprt(seen: Observed) -> Array:
    """Run a mixture sequential probability ratio test on the canary's share of each tick's events.

    Lindon & Malek 2022 (arXiv 2011.03567), conditional binomial with a mixture over nine ratios,
    against "the same rate", restarted at every tick (half the weight on the first) so that late
    faults are seen. Valid when errors are independent; alarms at 1/α = 100.
    """
    ticks = seen.canary_events.shape[1]
    likelihood = np.zeros((len(seen.canary_events), len(MSPRT_RATIOS)))
    later = (1 - MSPRT_FIRST_WEIGHT) / max(ticks - 1, 1)
    unspent = 1.0
    e_values = np.empty(seen.canary_events.shape)
    for tick in range(ticks):
        c, b = seen.canary_events[:, tick], seen.baseline_events[:, tick]
        n1, n0 = seen.canary_requests[:, tick], seen.baseline_requests[:, tick]
        share = (n1 / np.maximum(n1 + n0, 1))[:, None]
        told = c[:, None] * np.log(MSPRT_RATIOS) - (c + b)[:, None] * np.log1p(
            (MSPRT_RATIOS - 1) * share
        )
        told[(n1 == 0) | (n0 == 0)] = 0.0
        weight = MSPRT_FIRST_WEIGHT if tick == 0 else later
        unspent -= weight
        likelihood = np.minimum((likelihood + weight) * np.exp(told), 1e30)
        e_values[:, tick] = likelihood.mean(axis=1) + unspent
    return _first(e_values >= 1 / MSPRT_ALPHA)


PEERS: Final[Mapping[str, Peer]] = MappingProxyType(
    {
        "Kayenta": kayenta,
        "PipeCD": pipecd,
        "Argo Rollouts": argo_rollouts,
        "Flagger": flagger,
        "z-test": peeking_z_test,
        "mSPRT": msprt,
    }
)
"""Judge by the name of the system that works so."""


def _totals(seen: Observed) -> tuple[Array, Array, Array, Array]:
    """Return events and requests up to each tick: canary's and baseline's."""
    c, b, n1, n0 = (
        np.cumsum(part, axis=1)
        for part in (
            seen.canary_events,
            seen.baseline_events,
            seen.canary_requests,
            seen.baseline_requests,
        )
    )
    return c, b, n1, n0


def _failing(failed: Bools, failures: int) -> Array:
    """Return the tick that ends the minute with the so many-th failure."""
    return _first(np.cumsum(failed, axis=1) >= failures) * MINUTE


def _first(alarms: Bools) -> Array:
    """Return the first position, counted from 1, at which each row is true; NaN for never."""
    return np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1.0, np.nan)


def _mean(values: Array) -> Array:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    mean: Array = total / np.maximum(known.sum(axis=1), 1)
    return mean
