"""Levels that every scrape tells, CPU, queues, memory: as one batch for all watches."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from analyzer.families.family import Armed, Family, InstanceId, Member
from analyzer.families.increments import Floats, increments
from analyzer.families.ratio import Pairing
from analyzer.families.rows import limits_of
from analyzer.sample import Missing, Query, Series
from analyzer.signal import Direction, GaugeSignal
from detectors.findings import Findings
from detectors.means import MeanNoise, MeanShift, MeanShiftState, PairMeans, fit_mean_noise
from detectors.rows import Index, Rows
from detectors.sided import Sided


class GaugeFamily(Family[MeanNoise, Rows]):
    """Watches that read the same gauge.

    Each instance's level enters on the log scale, so that unlike instances can be compared and a
    unit means nothing. The increase of a counter is a level, too: per second, or per event of
    another counter.

    Args:
        signal: any of the signals of this family; only what it reads and its direction are used.
        id_labels: metric labels that identify an instance.
        tick_s: distance of grid points. horizon_s: how long a watch lasts at most.
    """

    VALUE: ClassVar = 0
    ONE: ClassVar = 1
    """Columns of what was gained: log level, and whether there is one."""

    def __init__(
        self, signal: GaugeSignal, id_labels: tuple[str, ...], tick_s: float, horizon_s: float
    ) -> None:
        super().__init__(id_labels, tick_s)
        self._signal = signal
        selectors = [signal.values, *([signal.per] if signal.per is not None else [])]
        self._queries = tuple(Query(selector, id_labels) for selector in selectors)
        self._detector = MeanShift(tick_s=tick_s, horizon_s=horizon_s)
        self._sided: Sided[MeanShiftState, PairMeans] = Sided(
            self._detector,
            rise=signal.direction is not Direction.LOWER,
            fall=signal.direction is not Direction.HIGHER,
        )
        self._pairing = Pairing.of((), ())

    def selectors(self) -> tuple[Query, ...]:
        """Return the query of the gauge, and of what it is divided by."""
        return self._queries

    def _counters(self) -> int:
        return 2

    def _stack(self, replies: Sequence[Series]) -> tuple[Sequence[InstanceId], Floats]:
        """Return (instances, [value, what it is divided by], times); seconds where time is."""
        values, *others = replies
        per = others[0] if others else values
        pairing = self._pairing = self._pairing.again(values.keys, per.keys)
        under = np.full(values.values.shape, np.nan)
        if others:
            under[pairing.total] = per.values[pairing.bad]
        else:
            under[:] = values.grid.times
        under[~(np.isfinite(values.values) & (values.values >= 0))] = np.nan
        return pairing.totals, np.stack([values.values, under], axis=1)

    def _gain(self, values: Floats, carry: Floats) -> tuple[Floats, Floats]:
        """Return (instances, [log level, 1], times) and the new carry."""
        signal, kept = self._signal, carry
        level, under = values[:, 0], np.ones(values[:, 0].shape)
        if signal.counter and signal.per is not None:
            gained, kept = increments(values, carry)
            level, under = gained[:, 0], gained[:, 1]
        elif signal.counter:
            # time does not begin anew when a counter does
            parts = [increments(values[:, [i]], carry[:, [i]]) for i in (0, 1)]
            (level, under), kept = (
                (parts[0][0][:, 0], parts[1][0][:, 0]),
                np.concatenate([parts[0][1], parts[1][1]], axis=1),
            )
        elif signal.per is not None:
            under = values[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.where((under > 0) & (level >= 0), level / under, np.nan)
            logs = np.log(np.maximum(level, signal.least) if signal.least > 0 else level)
        logs = np.where(np.isfinite(logs), logs, np.nan)
        return np.stack([logs, np.where(np.isnan(logs), np.nan, 1.0)], axis=1), kept

    def _fit(self, member: Member[MeanNoise], gained: Floats) -> Armed[MeanNoise] | Missing:
        del member
        return Armed(self.past_until, fit_mean_noise(gained[:, self.VALUE].T))

    def _start(self, member: Member[MeanNoise], armed: Armed[MeanNoise]) -> Rows:
        signal = member.signal
        limits = limits_of(member.policy, signal, self.tick_s, floor=np.nan, harm_rate=np.nan)
        new = self._detector.start(armed.noise, limits, 1.0, 1.0)
        return self._sided.start(new, new.copy())

    def _update(self, sums: Floats, pods: Floats, live: NDArray[np.bool_]) -> None:
        if self._state is None:
            return
        with np.errstate(invalid="ignore"):
            mean = sums[:, :, self.VALUE] / np.where(pods > 0, pods, np.nan)
        difference = mean[:, 0] - mean[:, 1]
        up = PairMeans(difference, np.zeros(len(difference)), pods[:, 0], pods[:, 1])
        down = replace(up, difference=-difference)
        self._state = self._sided.update(self._state, up, down, live)

    def _examine(self, state: Rows) -> Findings:
        return self._sided.findings(state)

    def _completed(self, findings: Findings, rows: Index) -> Findings:
        return self._with_recent(findings, rows)

    def _exposure(self, sums: Floats) -> Floats:
        exposure: Floats = sums[..., self.ONE]
        return exposure

    def values(self, sums: Floats) -> Floats:
        """Return the geometric means of the levels."""
        count = sums[:, self.ONE]
        level: Floats = np.exp(sums[:, self.VALUE] / np.where(count > 0, count, np.nan))
        return level
