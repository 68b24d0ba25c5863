"""What the detector of slower requests is given of each tick, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, replace

from detectors.count_noise import LEAST_EXPOSURE, MAX_COUNT
from detectors.findings import Findings
from detectors.rows import Bools, Floats, Rows, as_floats, padded, some_pods


@dataclass(frozen=True, slots=True)
class PairHistograms(Rows):
    """One tick of both sides, in buckets (not cumulative).

    A row with a nan, infinite, negative or absurd bucket, or with no request or no pod on
    either side, says nothing in this tick.

    Attributes:
        canary_counts: (rows, J) requests per bucket, zeros beyond a row's own buckets; J may
            be less than the state's.
        baseline_counts: (rows, J).
        canary_pods: (rows,) eligible canary pods.
        baseline_pods: (rows,) eligible baseline pods.

    Raises:
        ValueError: shapes do not fit.
    """

    canary_counts: Floats
    baseline_counts: Floats
    canary_pods: Floats
    baseline_pods: Floats

    def __post_init__(self) -> None:
        as_floats(self)
        shapes = self.canary_counts.shape, self.baseline_counts.shape
        if self.canary_counts.ndim != 2 or shapes[0] != shapes[1]:  # noqa: PLR2004  # (rows, J)
            raise ValueError(f"bucket counts must share a shape (rows, J), got {shapes}")

    def widened(self, width: int) -> PairHistograms:
        """Return the same tick padded to `width` buckets.

        Raises:
            ValueError: there are more buckets already.
        """
        canary, baseline = (
            padded(side, width) for side in (self.canary_counts, self.baseline_counts)
        )
        return replace(self, canary_counts=canary, baseline_counts=baseline)

    def informative(self) -> Bools:
        """Return which rows say something in this tick."""
        known = some_pods(self.canary_pods) & some_pods(self.baseline_pods)
        for side in (self.canary_counts, self.baseline_counts):
            known &= ((side >= 0) & (side <= MAX_COUNT)).all(axis=1)
            known &= (side >= LEAST_EXPOSURE).any(axis=1)
        return known


@dataclass(frozen=True, slots=True)
class LatencyFindings(Findings):
    """Findings of histograms.

    `effect`, `recent_effect`, `low` and `high` are of one quantile, named by `quantile`. While
    the evidence is at most 1 no gate can matter, and `recent_effect` is not worked out (nan).

    Attributes:
        quantile: of p50, p90 and p99 (0.5, 0.9, 0.99) the one with the largest ratio, since
            the start or lately; nan where none can be had and the mean score stands in.
        tail_e: evidence of the tails alone.
        score_e: evidence of the mean score alone.
    """

    quantile: Floats
    tail_e: Floats
    score_e: Floats
