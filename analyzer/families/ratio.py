"""Bad events out of all events, as one batch for all watches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member, Tally
from analyzer.families.increments import Floats
from analyzer.families.rows import limits_of
from analyzer.recovery import HarmCounts, Share
from analyzer.sample import Missing, Query, Series
from analyzer.signal import RatioSignal, Selector
from detectors.counts import CountNoise, CountRatio, CountRatioState, PairCounts, fit_count_noise
from detectors.findings import Findings, Weights
from detectors.rows import Rows

S = TypeVar("S", bound=Rows)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which rows of two replies are of one instance."""

    totals: tuple[InstanceId, ...]
    bads: tuple[InstanceId, ...]
    total: NDArray[np.intp]
    bad: NDArray[np.intp]

    @classmethod
    def of(cls, totals: tuple[InstanceId, ...], bads: tuple[InstanceId, ...]) -> "Pairing":
        """Pair the keys of two replies."""
        place = {key: i for i, key in enumerate(bads)}
        rows = [(i, place[key]) for i, key in enumerate(totals) if key in place]
        ours, theirs = np.array(rows, dtype=np.intp).reshape(-1, 2).T
        return cls(totals, bads, ours, theirs)

    def again(self, totals: tuple[InstanceId, ...], bads: tuple[InstanceId, ...]) -> "Pairing":
        """Return the pairing of these keys: this one for as long as they are the same."""
        if totals is self.totals and bads is self.bads:
            return self
        return self if (totals, bads) == (self.totals, self.bads) else Pairing.of(totals, bads)

    def stacked(self, total: Series, bad: Series) -> "tuple[Pairing, Floats]":
        """Return (instances, [total, bad], times); no bad counter beside a total one is 0.

        The pairing is this one again for as long as the replies have the same keys.
        """
        pairing = self.again(total.keys, bad.keys)
        counted = np.zeros(total.values.shape)
        counted[pairing.total] = np.nan_to_num(
            bad.values[pairing.bad], nan=0.0, posinf=np.nan, neginf=np.nan
        )
        counted[np.isnan(total.values)] = np.nan
        return pairing, np.stack([total.values, counted], axis=1)


class CountedFamily(Family[CountNoise, S]):
    """Watches that read the same two series of counted events: all of them, and the bad ones.

    Args:
        total: series of all events. bad: series of the bad ones.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points.
    """

    TOTAL: ClassVar = 0
    BAD: ClassVar = 1

    def __init__(
        self, total: Selector, bad: Selector, id_labels: tuple[str, ...], tick_s: float
    ) -> None:
        super().__init__(id_labels, tick_s)
        self._queries = (Query(total, id_labels), Query(bad, id_labels))
        self._pairing = Pairing.of((), ())

    def selectors(self) -> tuple[Query, ...]:
        """Return the queries of all events and of the bad ones."""
        return self._queries

    def _counters(self) -> int:
        return 2

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, [total, bad], times); no bad counter beside a total one is 0."""
        self._pairing, values = self._pairing.stacked(*replies)
        return self._pairing.totals, values

    def _fit(self, member: Member[CountNoise], gained: Floats) -> Armed[CountNoise] | Missing:
        del member
        events, exposure = _consistent(gained[:, self.BAD].T, gained[:, self.TOTAL].T)
        noise = fit_count_noise(events, exposure, tail=False)
        return Armed(self.past_until, noise)

    def _pair(self, sums: Floats, pods: Floats) -> PairCounts:
        """Return one tick as the detector wants it."""
        events, exposure = _consistent(sums[:, :, self.BAD], sums[:, :, self.TOTAL])
        return PairCounts(
            canary_events=events[:, 0],
            baseline_events=events[:, 1],
            canary_exposure=exposure[:, 0],
            baseline_exposure=exposure[:, 1],
            canary_pods=pods[:, 0],
            baseline_pods=pods[:, 1],
        )

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., self.TOTAL]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the shares of bad events."""
        total, bad = sums[:, self.TOTAL], sums[:, self.BAD]
        share: Floats = np.minimum(1.0, bad / np.where(total > 0, total, np.nan))
        return share

    def harm_counts(self, tally: Tally[CountNoise]) -> HarmCounts:
        """Return bad events and all events, before the action and since."""
        return HarmCounts(
            *(Share(s[self.BAD], s[self.TOTAL]) for s in (tally.canary, tally.before, tally.after))
        )


class RatioFamily(CountedFamily[CountRatioState]):
    """Watches that read the same two counters.

    Args:
        signal: any of the signals of this family; only its selectors are read.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points. horizon_s: how long a watch lasts at most.
    """

    def __init__(
        self, signal: RatioSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        super().__init__(signal.total, signal.bad, id_labels, tick_s)
        self._detector = CountRatio(tick_s=tick_s, horizon_s=horizon_s)

    def _start(self, member: Member[CountNoise], armed: Armed[CountNoise]) -> CountRatioState:
        signal = member.signal
        if not isinstance(signal, RatioSignal):
            raise TypeError(f"{signal.name} is not a ratio")
        limits = limits_of(
            member.policy, signal, self.tick_s, floor=signal.floor, harm_rate=signal.harm_rate
        )
        return self._detector.start(armed.noise, limits, 1.0, 1.0)

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is not None:
            self._state = self._detector.update(
                self._state, self._pair(sums, pods), live, consume=True
            )

    def _examine(self, state: CountRatioState) -> Findings:
        return self._detector.findings(state)

    def _weigh(self, state: CountRatioState, heed: Floats) -> Weights:
        del heed
        return self._detector.weigh(state)


def _consistent(events: Floats, exposure: Floats) -> tuple[Floats, Floats]:
    """Return events that do not exceed their exposure.

    Counters of one scrape are not read at one instant: a bad event may be counted an instant
    before its total, and a tick may then show one event too many.
    """
    return np.minimum(events, exposure), exposure
