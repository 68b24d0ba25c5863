"""How often an operation repeats its calls, as one batch for all watches: E2 on the logarithm.

What is compared is spans per span, the operation itself counted with the calls it made more than
once, so that an operation without any has a logarithm, too (detectors.md 10). A call that is made once
is no fan-out: whether it should be made at all is another question. The lengths of critical paths are
compared likewise.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member, Tally
from analyzer.families.increments import Floats
from analyzer.families.ratio import Pairing
from analyzer.families.rows import limits_of
from analyzer.recovery import HarmCounts, Share
from analyzer.sample import Missing, Query, Series
from analyzer.signal import Selector
from analyzer.traces.operations import ASSEMBLED, REPEATS
from detectors.findings import Findings, Weights
from detectors.means import MeanNoise, MeanShift, MeanShiftState, PairMeans, fit_mean_noise
from detectors.rows import Index

LEAST_VARIANCE = 0.04
"""No tick is trusted to better than 20 %. Most operations make the same calls each time: their ticks
vary by nothing, and what never varied is not known to never vary. The figures of docs/traces.md are
made with it."""


class FanOutFamily(Family[MeanNoise, MeanShiftState]):
    """Watches whose operations call others.

    Args:
        id_labels: labels that identify an operation of an instance.
        tick_s: distance of grid points. horizon_s: how long a watch lasts at most.
        counted: what is counted of each span: its direct children, or the rest of its critical path.
    """

    SPANS: ClassVar = 0
    CALLED: ClassVar = 1

    def __init__(
        self, id_labels: tuple[str, ...], tick_s: float, horizon_s: float, counted: str = REPEATS
    ) -> None:
        super().__init__(id_labels, tick_s)
        self._queries = (
            Query(Selector(ASSEMBLED), id_labels),
            Query(Selector(counted), id_labels),
        )
        self._detector = MeanShift(tick_s=tick_s, horizon_s=horizon_s)
        self._pairing = Pairing.of((), ())

    def selectors(self) -> tuple[Query, ...]:
        """Return the queries of the spans and of their children."""
        return self._queries

    def _counters(self) -> int:
        return 2

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        self._pairing, values = self._pairing.stacked(*replies)
        return self._pairing.totals, values

    def _fit(self, member: Member[MeanNoise], gained: Floats) -> Armed[MeanNoise] | Missing:
        del member
        level, variance = _level(gained[:, self.SPANS].T, gained[:, self.CALLED].T)
        return Armed(self.past_until, fit_mean_noise(level, variance))

    def _start(self, member: Member[MeanNoise], armed: Armed[MeanNoise]) -> MeanShiftState:
        limits = limits_of(
            member.policy, member.signal, self.tick_s, floor=np.nan, harm_rate=np.nan
        )
        return self._detector.start(armed.noise, limits, 1.0, 1.0)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        level, variance = _level(sums[..., self.SPANS], sums[..., self.CALLED])
        pair = PairMeans(
            difference=level[:, 0] - level[:, 1],
            sampling_variance=np.maximum(variance, LEAST_VARIANCE).sum(axis=1),
            canary_pods=pods[:, 0],
            baseline_pods=pods[:, 1],
        )
        self._state = self._detector.update(self._state, pair, live, consume=True)

    def _examine(self, state: MeanShiftState) -> Findings:
        return self._detector.findings(state)

    def _weigh(self, state: MeanShiftState, heed: Floats) -> Weights:
        del heed
        return self._detector.weigh(state)

    def _completed(self, findings: Findings, rows: Index) -> Findings:
        return self._with_recent(findings, rows)

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., self.SPANS]
        return exposure

    def harm_counts(self, tally: Tally[MeanNoise]) -> HarmCounts:
        """Return spans with those that are counted of them, and spans."""
        sums = (tally.canary, tally.before, tally.after)
        return HarmCounts(*(Share(s.sum(), s[self.SPANS]) for s in sums))

    def values(self, sums: Floats) -> Floats:
        """Return spans per span."""
        level, _ = _level(sums[:, self.SPANS], sums[:, self.CALLED])
        values: Floats = np.exp(level)
        return values


def _level(spans: Floats, calls: Floats) -> tuple[Floats, Floats]:
    """Return log(1 + calls per span) and its sampling variance; nan without spans.

    The variance is that of Poisson counts by the delta method, at least that of one call more:
    most operations call more regularly, and some far less, which the history shows.
    """
    some = spans > 0
    safe = np.where(some, spans, 1.0)
    mean = calls / safe
    variance = np.maximum(mean, 1.0 / safe) / (safe * (1.0 + mean) ** 2)
    return np.where(some, np.log1p(mean), np.nan), np.where(some, variance, np.nan)
