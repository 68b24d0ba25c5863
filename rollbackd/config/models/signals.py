"""``policies[].signals``: what is measured, and which change of it is harm."""

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from analyzer.signal import (
    Direction,
    HistogramSignal,
    IntervalSignal,
    LevelSignal,
    RatioSignal,
    Reading,
    Signal,
    Tier,
    TraceSignal,
)
from rollbackd.config.models.base import LabelName, Model, Name, Text, default
from rollbackd.config.quantities import Increase, Share, fault, parse_ratio
from rollbackd.config.selectors import BucketsText, SelectorText

MARGIN_AND_HARM = {
    "ratio": ("+25%", "2"),
    "histogram": ("+10%", "+25%"),
    "interval": ("+25%", "2"),
    "level": ("+25%", "+50%"),
    "traces": ("+25%", "2"),
}
"""Defaults by kind of signal: error counts and single levels are noisier than typical latencies."""


class RatioModel(Model):
    """Bad events out of all events, both raw counters."""

    total: SelectorText
    """PromQL selector of the counter of all events."""
    bad: SelectorText
    """PromQL selector of the counter of harmful events; where only total exists, there are none."""


class HistogramModel(Model):
    """A distribution in cumulative buckets; slower is worse."""

    buckets: BucketsText
    """PromQL selector of the buckets, ..._bucket, without le."""
    unit: Text = "s"
    """Unit of the bucket bounds, for people."""


class IntervalModel(Model):
    """Bad events told interval by interval by gauges, where there are no counters."""

    bad: SelectorText
    """PromQL selector of the harmful events, or of their share."""
    total: SelectorText | None = None
    """PromQL selector of all events; without it, bad events are counted per time."""
    bad_reading: Reading = Reading.COUNT
    """What a value of bad means: count, rate, share, percent, good share or good percent."""
    total_reading: Reading = Reading.COUNT
    """What a value of total means: count or rate."""


class LevelModel(Model):
    """A gauge, an average or a quantile, told interval by interval."""

    values: SelectorText
    """PromQL selector of the series."""
    reading: Reading = Reading.LEVEL
    """What a value means: level, share, percent, good share or good percent."""
    direction: Direction = Direction.HIGHER
    """Which change is harmful."""
    unit: str = ""
    """Unit of the values, for people."""


class TracesSignalModel(Model):
    """Every operation that traces tell of: errors, times, calls."""

    services: list[Text] = Field(default_factory=list)
    """Only operations of these services; default: all that the rollout's instances report as."""
    operations: Annotated[int, Field(ge=1, le=2000, strict=True)] = 50
    """How many operations are compared, the baseline's busiest first."""
    min_spans: Annotated[int, Field(ge=1, strict=True)] = 20
    """An operation with fewer spans on either side says nothing."""
    growth: Increase = default("+50%")
    """Smallest harmful growth of what an operation calls, itself counted, too."""


def kind_of(values: dict[str, Any]) -> str:
    """Return which kind of signal is given; cross_checks.py lets exactly one pass."""
    return next((kind for kind in MARGIN_AND_HARM if values.get(kind) is not None), "ratio")


class SignalModel(Model):
    """One thing that is measured: a name and exactly one of the kinds."""

    name: Name
    """Unique within the policy; used in messages, metrics and the journal."""
    ratio: RatioModel | None = None
    """Counted events, such as errors."""
    histogram: HistogramModel | None = None
    """A distribution, such as latency."""
    interval: IntervalModel | None = None
    """Events per interval, such as CloudWatch sums or recording rules."""
    level: LevelModel | None = None
    """A gauge or a quantile, such as a queue's length; best at steps of 15 s and more."""
    traces: TracesSignalModel | None = None
    """Every operation that traces tell of; the key traces at the top says where they come from."""
    tier: Tier | None = None
    """critical acts alone, supporting needs company, info is only shown. Default: supporting for
    traces, critical for the others."""
    weight: Annotated[float, Field(ge=0, strict=True)] | None = None
    """Share of the error budget alpha, relative to the other signals. Default: 0.15 for traces,
    0.5 for the others."""
    margin: Increase | None = None
    """Smallest harmful ratio of canary to baseline; inside it nothing is degraded. Default: +10%
    for histograms, +25% for the others."""
    harm: Increase | None = None
    """Ratio that must be excluded before the signal is called healthy; at least margin. Default:
    2 for ratios and intervals, +25% for histograms, +50% for levels."""
    floor: Share = default("0.1%")
    """Events only: a canary at or below this share of bad events is never harmful."""
    harm_rate: Share = default("0.5%")
    """Events only: a canary proved to be below this share of bad events is healthy."""
    id_labels: list[LabelName] = Field(default_factory=list)
    """Labels that identify an instance in these series; default: those of the rollout."""

    @field_validator("harm")
    @classmethod
    def _beyond_margin(cls, harm: float | None, info: ValidationInfo) -> float | None:
        margin_default, harm_default = MARGIN_AND_HARM[kind_of(info.data)]
        margin = info.data.get("margin") or parse_ratio(margin_default)
        effective = harm or parse_ratio(harm_default)
        if "margin" in info.data and effective < margin:
            is_default = "" if harm else " (its default)"
            raise fault(
                f"harm {effective:g}{is_default} is less than the margin {margin:g}",
                "harm is what must be ruled out, margin the smallest change that matters",
            )
        return harm

    @field_validator("harm_rate")
    @classmethod
    def _beyond_floor(cls, harm_rate: float, info: ValidationInfo) -> float:
        if kind_of(info.data) not in {"ratio", "interval", "traces"}:
            return harm_rate  # it has no meaning; cross_checks.py says so when it is given
        floor = info.data.get("floor", 0.0)
        if harm_rate < floor or harm_rate == 0:
            raise fault(
                f"harm_rate {harm_rate:.6g} must be more than 0 and at least floor {floor:.6g}",
                "shares of all events: below floor nothing is harmful, below harm_rate all is well",
            )
        return harm_rate

    def signal(self) -> Signal:
        """Return the signal."""
        margin, harm = (parse_ratio(text) for text in MARGIN_AND_HARM[kind_of(vars(self))])
        traced = self.traces is not None
        shared: dict[str, Any] = {
            "name": self.name,
            "tier": self.tier or (Tier.SUPPORTING if traced else Tier.CRITICAL),
            "weight": self.weight if self.weight is not None else (0.15 if traced else 0.5),
            "margin": self.margin or margin,
            "harm": self.harm or harm,
            "id_labels": tuple(self.id_labels) or None,
        }
        rates: dict[str, Any] = {"floor": self.floor, "harm_rate": self.harm_rate}
        if self.ratio is not None:
            return RatioSignal(total=self.ratio.total, bad=self.ratio.bad, **rates, **shared)
        if self.interval is not None:
            return IntervalSignal(**dict(self.interval), **rates, **shared)
        if self.level is not None:
            return LevelSignal(**dict(self.level), **shared)
        if self.histogram is not None:
            return HistogramSignal(**dict(self.histogram), **shared)
        if self.traces is not None:
            services = tuple(self.traces.services)
            return TraceSignal(**(dict(self.traces) | {"services": services}), **rates, **shared)
        raise AssertionError("cross_checks.py lets exactly one kind of signal pass")
