"""Like with like: a tick by route such that both sides can be compared, and what it adds up to."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.route_noise import REST, SMOOTHING
from detectors.rows import TINY, Bools, Floats, Ints, sum_nodes
from detectors.share import ShareCounts

KNOWN_ROUTE: Final = 20.0
"""Requests on a route from which a side counts as serving it."""

EXPECTED: Final = 200.0
"""A baseline that should have had so many requests on a route, by the canary's part of them, and had
fewer than `KNOWN_ROUTE`, does not serve it."""

UNLIKE_REST: Final = 2.0
"""The rest is many routes, nobody knows which. A canary with more than twice the baseline's part of
it serves others there than the baseline does ..."""

REST_DOUBT: Final = 10.0
"""... and so many requests more: a few may be chance."""

_DOUBT: Final = 2.0
"""Errors that a route is suspected of where its past is not known: the worst must not be missed."""


def comparable(counts: ShareCounts, sums: Floats, past: Floats) -> ShareCounts:
    """Return a tick by stratum such that like is compared with like.

    The canary's requests on routes that the baseline does not serve join those of the baseline's
    worst route. Which these are depends on requests and on earlier ticks only, never on the
    errors of this one.
    """
    strange, worst = _strange(counts, sums, past)
    place = (np.arange(len(worst)), worst)
    parts = []
    for name in ("canary_events", "baseline_events", "canary_exposure", "baseline_exposure"):
        value = getattr(counts, name)
        kept = np.where(strange, 0.0, value)
        if name.startswith("canary"):
            kept[place] += np.where(worst >= 0, added(np.where(strange, value, 0.0)), 0.0)
        parts.append(kept)
    return ShareCounts(*parts)


def _strange(counts: ShareCounts, sums: Floats, past: Floats) -> tuple[Bools, Ints]:
    """Return the routes that the baseline does not serve, (rows, 11), and its worst one, (rows,).

    The latter is -1 where it serves none yet.
    """
    canary = sums[:, 2] + counts.canary_exposure
    baseline = sums[:, 3] + counts.baseline_exposure
    scale = (added(baseline) / np.maximum(added(canary), TINY))[:, None]
    strange = (baseline < KNOWN_ROUTE) & (canary * scale >= EXPECTED)
    most = UNLIKE_REST * baseline[:, REST] / np.maximum(scale[:, 0], TINY) + REST_DOUBT
    strange[:, REST] |= canary[:, REST] > most
    served = ~strange & (baseline >= KNOWN_ROUTE)
    return strange, np.where(served.any(axis=1), _worst(sums, served, past), -1)


def _worst(sums: Floats, served: Bools, past: Floats) -> Ints:
    """Return the route of the baseline's highest error rate, (rows,), steadied by its past."""
    bad, all_ = sums[:, 1], sums[:, 3]
    weight = np.where(np.isnan(past), _DOUBT, SMOOTHING)
    rate = (bad + weight * np.where(np.isnan(past), 1.0, past)) / (all_ + weight)
    worst: Ints = np.where(served, rate, -1.0).argmax(axis=1)
    return worst


def standardised(sums: Floats, past: Floats) -> tuple[Floats, Floats]:
    """Return the canary's error rate, and that of the baseline's routes with the canary's mix."""
    nothing = np.zeros_like(sums[:, 0])
    empty = ShareCounts(nothing, nothing, nothing, nothing)
    strange, worst = _strange(empty, sums, past)
    bad, all_ = sums[:, 1], sums[:, 3]
    rate = bad / np.maximum(all_, 1.0)
    of_worst = np.take_along_axis(rate, np.maximum(worst, 0)[:, None], axis=1)
    expected = added(np.where(strange, of_worst, rate) * sums[:, 2])
    served = added(sums[:, 2])
    known = np.where((served > 0) & ~((worst < 0) & strange.any(axis=1)), served, np.nan)
    return added(sums[:, 0]) / np.where(served > 0, served, np.nan), expected / known


def matched_sums(strata: ShareCounts) -> Floats:
    """Return the sums of the Mantel-Haenszel ratio, (rows, 4)."""
    share = strata.canary_share
    return np.stack(
        [
            added(strata.canary_events * (1.0 - share)),
            added(strata.baseline_events * share),
            added(strata.exposure * share * (1.0 - share)),
            added(strata.exposure),
        ],
        axis=1,
    )


def log_matched(matched: Floats) -> Floats:
    """Return the log of the Mantel-Haenszel ratio, (rows,); nan where no route has both sides.

    Half an event is added, split like the requests: without events the ratio is 1, and with one
    stratum it is the ratio of `log_ratio`.
    """
    canary, baseline, weight, requests = matched.T
    known = weight > 0
    half = 0.5 * weight / np.where(known, requests, 1.0)
    ratio = np.where(known, canary + half, 1.0) / np.where(known, baseline + half, 1.0)
    return np.where(known, np.log(ratio), np.nan)


def added(values: Floats) -> Floats:
    """Return the sum over routes, (rows,), in order."""
    return sum_nodes(np.moveaxis(values, -1, 0))
