"""What is known of each signal of a watch: measured, or missing with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass

from analyzer.sample import Missing
from analyzer.traces.operations import TraceExample


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector says of one signal of one watch.

    Attributes:
        e_value: evidence against "the canary's instances are just more baseline instances";
            under that hypothesis it exceeds 1/α with probability at most α, at any look.
        tested: there were enough informative ticks for the e-value to mean anything.
        ratio: canary to baseline since the start; recent_ratio: over the last five minutes.
        low, high: 95 % time-uniform confidence sequence of the ratio (0 and inf when open).
        harmful: the estimate is at or beyond the margin (and the floor, for rates).
        harmless: the interval excludes the harm margin: the signal is healthy.
        canary_value, baseline_value: in the signal's unit. quantile: of a distribution, else "".
        detectable: smallest harmful ratio this traffic would reveal in the time left, or None.
        drift_e: evidence that the baseline is worse than its own history (1 when unknown).
        ticks: how many ticks carried information.
        told: what is to be said instead of these numbers, when they sum up many comparisons.
        drifting: what of it drifts, when they sum up many comparisons.
        examples: traces to look at.
        mix: that the canary gets other requests than the baseline, "" while that is not known.
        note: what else is to be known of these numbers.
    """

    e_value: float
    tested: bool
    ratio: float
    recent_ratio: float
    low: float
    high: float
    harmful: bool
    harmless: bool
    canary_value: float
    baseline_value: float
    quantile: str = ""
    detectable: float | None = None
    drift_e: float = 1.0
    ticks: int = 0
    told: str = ""
    drifting: str = ""
    examples: tuple[TraceExample, ...] = ()
    mix: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The signal was measured."""

    finding: Finding


Evidence = Measured | Missing
EvidenceOf = Mapping[str, Evidence]
"""Evidence by the signal's name."""
