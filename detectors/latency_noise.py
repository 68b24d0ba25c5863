"""What the baseline's latency history teaches: which tails to watch, and how noisy they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from detectors.count_noise import (
    LEAST_EXPOSURE,
    MAX_COUNT,
    PRIOR_KAPPA,
    PRIOR_NU,
    PRIOR_TAU,
    CountNoise,
    fit_count_noise,
)
from detectors.mean_noise import PRIOR_TAU_SCORE, MeanNoise, fit_mean_noise
from detectors.rows import Bools, Floats, Ints, Rows, padded

TAIL_TARGETS: Final = np.array([0.5, 0.1, 0.05, 0.01, 0.002])
"""Tail shares worth watching: typical, slow and very slow requests."""

TAILS: Final = len(TAIL_TARGETS)

_NEAR: Final = float(np.log(3.5))
"""A bound serves a target when its tail share is within this factor of it."""

_LEAST_SHARE: Final = 1e-5
"""Rarer tails never gather evidence within an hour."""

_FIRST_MIDDLE: Final = 0.5
"""The first bucket counts as half its bound: there is no lower bound to take a mean with."""

_LAST_MIDDLE: Final = 1.5
"""The open bucket counts as reaching to 1.5 times the last bound."""

MIN_SCORE_VARIANCE: Final = 1e-3
"""Requests that all fall into one bucket still differ inside it (sd 3 %)."""

MIN_REQUESTS: Final = 500.0
"""Requests needed before tails are chosen: five of them lie in the slowest per cent."""

UNUSED: Final = -1
"""Entry of `tail_bounds` for a target no bound serves."""


@dataclass(frozen=True, slots=True)
class LatencyNoise(Rows):
    """Noise and layout of histogram signals, J buckets wide (the widest row of the batch).

    Attributes:
        bounds: (rows, J) upper bounds in seconds; inf from the last bucket on.
        scores: (rows, J) log of each bucket's geometric middle; 0 in the padding.
        tail_bounds: (rows, 5) index of the bound that serves each of `TAIL_TARGETS`, or -1.
        tails: noise of those tails, arrays (rows, 5).
        score: noise of the mean score.
        score_variance: (rows,) variance of one request's score; nan while unknown.

    Raises:
        ValueError: shapes do not fit, or bounds do not increase up to inf.
    """

    bounds: Floats
    scores: Floats
    tail_bounds: Ints
    tails: CountNoise
    score: MeanNoise
    score_variance: Floats

    def __post_init__(self) -> None:
        rows = len(self.bounds)
        if self.bounds.ndim != 2 or self.scores.shape != self.bounds.shape:  # noqa: PLR2004  # (rows, J)
            raise ValueError("bounds and scores must share a shape (rows, J)")
        if not rows == len(self.tails) == len(self.score) == len(self.score_variance):
            raise ValueError("bounds, tails, score and score_variance differ in rows")
        if self.tail_bounds.shape != (rows, TAILS) or self.tails.kappa.shape != (rows, TAILS):
            raise ValueError(f"tail_bounds and tails must have shape (rows, {TAILS})")

    @classmethod
    def prior(cls, bounds: Floats) -> LatencyNoise:
        """Return what is assumed of one histogram without history.

        Tails and score variance are then learned from the pooled first requests of both
        sides, see `LatencyShift`.

        Args:
            bounds: (J,) upper bounds in seconds, the last inf.

        Raises:
            ValueError: fewer than two bounds, not increasing, not positive, or no inf.
        """
        checked = _checked(bounds)
        shape = (1, TAILS)
        tails = CountNoise(
            np.full(shape, PRIOR_KAPPA),
            np.full(shape, PRIOR_TAU**2),
            np.full(shape, PRIOR_NU),
            np.full(shape, np.nan),
            np.ones(shape),
        )
        return cls(
            checked[None],
            bucket_scores(checked)[None],
            np.full(shape, UNUSED, np.int64),
            tails,
            MeanNoise.prior(1, tau=PRIOR_TAU_SCORE),
            np.array([np.nan]),
        )

    @classmethod
    def concat(cls, parts: Sequence[LatencyNoise]) -> LatencyNoise:
        """Stack rows; narrower histograms are padded with buckets that stay empty."""
        width = max((part.bounds.shape[1] for part in parts), default=0)
        return super(LatencyNoise, cls).concat([part.widened(width) for part in parts])

    def widened(self, width: int) -> LatencyNoise:
        """Return the same rows padded to `width` buckets."""
        bounds, scores = padded(self.bounds, width, np.inf), padded(self.scores, width)
        return replace(self, bounds=bounds, scores=scores)


def bucket_scores(bounds: Floats) -> Floats:
    """Return the log of each bucket's geometric middle, (J,)."""
    finite = bounds[:-1]
    edges = np.log(
        np.concatenate([[finite[0] * _FIRST_MIDDLE], finite, [finite[-1] * _LAST_MIDDLE]])
    )
    middles: Floats = (edges[1:] + edges[:-1]) / 2
    return middles


def choose_tail_bounds(counts: Floats, bounds: Floats) -> Ints:
    """Return for each of `TAIL_TARGETS` the bound whose tail share is nearest, or -1.

    Nearest on the log scale and within a factor 3.5; a bound serves one target only.

    Args:
        counts: (rows, J) requests per bucket.
        bounds: (rows, J).
    """
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    share = (total - np.cumsum(counts[:, :-1], axis=1)) / total
    share = np.where(np.isfinite(bounds[:, :-1]), share, 0.0)
    distance = np.abs(
        np.log(np.maximum(share, _LEAST_SHARE**2))[:, None] - np.log(TAIL_TARGETS)[:, None]
    )
    nearest = distance.argmin(axis=2)
    fits = np.take_along_axis(distance, nearest[..., None], axis=2)[..., 0] < _NEAR
    fits &= np.take_along_axis(share, nearest, axis=1) > _LEAST_SHARE
    chosen: Ints = np.where(fits, nearest, UNUSED)
    for later in range(1, TAILS):
        twice = (chosen[:, :later] == chosen[:, later : later + 1]).any(axis=1)
        chosen[:, later] = np.where(twice, UNUSED, chosen[:, later])
    return chosen


def tail_events(counts: Floats, tail_bounds: Ints) -> tuple[Floats, Floats]:
    """Return the requests above each chosen bound and all requests, (rows, 5) both.

    Both are zero for tails that are not used.
    """
    upto = np.cumsum(counts, axis=1)
    used = tail_bounds >= 0
    total = np.where(used, upto[:, -1:], 0.0)
    return total - np.where(
        used, np.take_along_axis(upto, np.maximum(tail_bounds, 0), axis=1), 0.0
    ), total


def score_variance(counts: Floats, scores: Floats) -> Floats:
    """Return the variance of one request's score, (rows,).

    Args:
        counts: (rows, J) requests per bucket, some in every row.
        scores: (rows, J).
    """
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = (share * scores).sum(axis=1, keepdims=True)
    variance: Floats = (share * (scores - mean) ** 2).sum(axis=1)
    return np.maximum(variance, MIN_SCORE_VARIANCE)


def fit_latency_noise(bucket_counts: Floats, bounds: Floats) -> LatencyNoise:
    """Choose the tails of one histogram and estimate their noise and the score's.

    Args:
        bucket_counts: (H, m, J) requests per tick, pod and bucket, not cumulative; nan in any
            bucket means that the pod was not there or not scraped.
        bounds: (J,) upper bounds in seconds, the last inf.

    Returns:
        The noise of one row; without usable history `LatencyNoise.prior`.

    Raises:
        ValueError: the shapes do not fit or the bounds do not increase up to inf.
    """
    prior = LatencyNoise.prior(bounds)
    counts = np.asarray(bucket_counts, dtype=np.float64)
    if counts.ndim != 3 or counts.shape[2] != prior.bounds.shape[1]:  # noqa: PLR2004  # (H, m, J)
        raise ValueError(f"expected (ticks, pods, {prior.bounds.shape[1]}), got {counts.shape}")
    sane: Bools = (counts >= 0) & (counts <= MAX_COUNT)
    known = np.asarray(sane.all(axis=2), dtype=np.bool_)
    counts = np.where(known[..., None], counts, 0.0)
    pooled = counts.sum(axis=(0, 1))[None]
    if not pooled.sum() >= MIN_REQUESTS:
        return prior
    chosen = choose_tail_bounds(pooled, prior.bounds)
    requests = counts.sum(axis=2)
    exposure = np.where(known, requests, np.nan)
    above = requests[..., None] - np.cumsum(counts, axis=2)
    fits = [
        fit_count_noise(above[..., bound], exposure, tail=True)
        if bound >= 0
        else CountNoise.prior(1)
        for bound in chosen[0]
    ]
    stacked = CountNoise.concat(fits)
    tails = CountNoise(*(getattr(stacked, f.name)[None] for f in fields(stacked)))
    variance = score_variance(pooled, prior.scores)
    seen = requests >= LEAST_EXPOSURE
    safe = np.where(seen, requests, 1.0)
    mean = np.where(seen, (counts * prior.scores[0]).sum(axis=2) / safe, np.nan)
    score = fit_mean_noise(mean, np.where(seen, variance[0] / safe, np.nan), tau=PRIOR_TAU_SCORE)
    return LatencyNoise(prior.bounds, prior.scores, chosen, tails, score, variance)


def _checked(bounds: Floats) -> Floats:
    bounds = np.asarray(bounds, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or bounds[-1] != np.inf:  # noqa: PLR2004  # one finite bound
        raise ValueError("bounds must be one axis, at least one finite bound, the last inf")
    if not (bounds[0] > 0 and (np.diff(bounds) > 0).all()):
        raise ValueError("bounds must be positive and increasing")
    return bounds
