"""What a detector says of each row, and the limits it is asked to judge by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.rows import Bools, Floats, Rows, as_floats, column


@dataclass(frozen=True, slots=True)
class Limits(Rows):
    """What counts as harm, one entry per row; every array has shape (rows,).

    Attributes:
        threshold: evidence at which the row alone may cause a rollback, 1/(w·α) > 1.
        margin: gate: log of the smallest ratio that matters, >= 0.
        harm: log of the ratio that must be excluded before the row is harmless, > 0.
        floor: absolute event rate below which no ratio matters; nan for none.
        harm_rate: absolute event rate that a harmless canary stays below; nan for none.
        persistence: ticks the evidence needs at least, >= 1: one odd tick proves nothing.

    Raises:
        ValueError: shapes differ or a value is outside its range.
    """

    threshold: Floats
    margin: Floats
    harm: Floats
    floor: Floats
    harm_rate: Floats
    persistence: Floats

    def __post_init__(self) -> None:
        as_floats(self)
        for name, ok in (
            (
                "threshold must be finite and above 1",
                (self.threshold > 1) & np.isfinite(self.threshold),
            ),
            ("margin must be finite and >= 0", (self.margin >= 0) & np.isfinite(self.margin)),
            ("harm must be above 0", self.harm > 0),
            ("floor must lie in (0, 1) or be nan", _rate_or_nan(self.floor)),
            ("harm_rate must lie in (0, 1) or be nan", _rate_or_nan(self.harm_rate)),
            (
                "persistence must be finite and >= 1",
                (self.persistence >= 1) & np.isfinite(self.persistence),
            ),
        ):
            if not ok.all():
                raise ValueError(name)

    @classmethod
    def of(
        cls,
        rows: int,
        *,
        threshold: object = 100.0,
        margin: object = np.log(1.25),
        harm: object = np.log(2.0),
        floor: object = 0.001,
        harm_rate: object = 0.005,
        persistence: object = 3.0,
    ) -> Limits:
        """Return limits for `rows` rows from scalars or columns.

        Defaults are those of error ratios (design 2.5): gate ×1.25, harm ×2, floor 0.1 %,
        harm rate 0.5 %, three ticks of 10 s.
        """
        return cls(
            *(
                column(value, rows)
                for value in (threshold, margin, harm, floor, harm_rate, persistence)
            )
        )


def _rate_or_nan(rate: Floats) -> Bools:
    return np.isnan(rate) | ((rate > 0) & (rate < 1))


@dataclass(frozen=True, slots=True)
class Findings(Rows):
    """What is known of each row by now; every array has shape (rows,).

    A row decides alone when `harmful` and `e_value >= threshold`. Rows are combined by the
    weighted mean of their e-values; a row that is not `harmful` then counts at most as one.

    Attributes:
        e_value: evidence against "no difference beyond pod noise"; 1.0 when nothing is known.
        tested: as many informative ticks as `persistence` asks for have been seen.
        effect: log ratio canary/baseline since the start; nan when unknown.
        recent_effect: the same for about the last five minutes.
        low: lower end of the 95 % time-uniform confidence sequence of the log ratio, or -inf.
        high: its upper end, or +inf.
        harmful: practical gate passed: max(effect, recent_effect) >= margin and, for rates,
            the canary is shown to exceed the absolute floor.
        harmless: the confidence sequence excludes the harm margin or, for rates, the canary
            is shown to stay below `harm_rate`.
        canary_value: event rate, or 95 % latency quantile in seconds; nan when unknown.
        baseline_value: the same of the baseline.
        detectable: smallest harmful log ratio this traffic would reveal within the remaining
            horizon; nan when none would.
        drift_e: evidence that the *baseline* is worse than its own history; 1.0 without one.
        ticks: informative ticks.
    """

    e_value: Floats
    tested: Bools
    effect: Floats
    recent_effect: Floats
    low: Floats
    high: Floats
    harmful: Bools
    harmless: Bools
    canary_value: Floats
    baseline_value: Floats
    detectable: Floats
    drift_e: Floats
    ticks: Floats


@dataclass(frozen=True, slots=True)
class Weights(Rows):
    """What of ``Findings`` a sum over many rows needs; every array has shape (rows,)."""

    e_value: Floats
    tested: Bools
    harmful: Bools
    drift_e: Floats
