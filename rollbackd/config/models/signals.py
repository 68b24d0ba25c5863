"""``policies[].signals``: what is measured, and which change of it is harm."""

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from analyzer.signal import (
    ChangedCalls,
    Direction,
    GaugeSignal,
    HistogramSignal,
    IntervalSignal,
    LeakSignal,
    LevelSignal,
    RateSignal,
    RatioSignal,
    Reading,
    Signal,
    Tier,
    TraceSignal,
    TrafficSignal,
)
from rollbackd.config.models.base import Bool, LabelName, Model, Name, Text, default
from rollbackd.config.quantities import Duration, Increase, Share, fault, parse_ratio
from rollbackd.config.selectors import BucketsText, SelectorText

MARGIN_AND_HARM = {
    "ratio": ("+25%", "2"),
    "histogram": ("+10%", "+25%"),
    "interval": ("+25%", "2"),
    "level": ("+25%", "+50%"),
    "traces": ("+25%", "2"),
    "gauge": ("+10%", "+30%"),
    "leak": ("+0.2%", "+0.5%"),
    "rate": ("+25%", "2"),
    "traffic": ("+25%", "+50%"),
}
"""Defaults by kind of signal: error counts and single levels are noisier than typical latencies."""

TIER_AND_WEIGHT = {
    "gauge": (Tier.SUPPORTING, 0.2),
    "leak": (Tier.SUPPORTING, 0.2),
    "traffic": (Tier.INFO, 0.1),
    "traces": (Tier.SUPPORTING, 0.15),
}
"""Defaults where they are not critical and 0.5: resources need company, and what is unfair about a
comparison is no fault of the canary."""


class RatioModel(Model):
    """Bad events out of all events, both raw counters."""

    total: SelectorText
    """PromQL selector of the counter of all events."""
    bad: SelectorText
    """PromQL selector of the counter of harmful events; where only total exists, there are none."""
    route: LabelName | None = None
    """Label of both counters that tells what was asked for, such as handler: when the canary gets other
    requests than the baseline, errors are compared within its values (the ten busiest, and the rest)."""


class HistogramModel(Model):
    """A distribution in cumulative buckets; slower is worse."""

    buckets: BucketsText
    """PromQL selector of the buckets, ..._bucket, without le; or of a native histogram."""
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
    """Smallest harmful growth of the calls that an operation repeats, itself counted, too."""
    changed_calls: ChangedCalls = ChangedCalls.TOLD
    """What new and vanished calls, deeper critical paths and requests that do not come any more lead
    to: told, evidence (harm), or nothing (ignored)."""


class GaugeModel(Model):
    """A level that every scrape tells, such as CPU or a queue's length; for steps below 15 s."""

    values: SelectorText
    """PromQL selector of the gauge, or of a counter whose increase is the level."""
    counter: Bool = False
    """Whether values is a counter, such as CPU seconds; its increase per second is the level."""
    per: SelectorText | None = None
    """PromQL selector of what the level is divided by, such as a counter of requests."""
    direction: Direction = Direction.HIGHER
    """Which change is harmful."""
    unit: str = ""
    """Unit of the level, for people."""
    least: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """Levels below it are as good as it, and so is 0; without it, a level of 0 is not measured."""


class LeakModel(Model):
    """A gauge that must not grow for ever, such as memory or file descriptors."""

    values: SelectorText
    """PromQL selector of the gauge."""
    unit: str = ""
    """Unit of the gauge, for people."""
    settle: Duration = default("5m")
    """Growth of the first minutes after the warm-up is left out, unless the baseline's own start is
    in the history and can be taken off."""
    limit: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """Level at which an instance fails, to tell when it is reached; 0 when not known."""


class RateModel(Model):
    """Events per instance and minute, or per event of another counter."""

    events: SelectorText
    """PromQL selector of the counter of events: restarts, retries, orders."""
    per: SelectorText | None = None
    """PromQL selector of a counter they are counted against; without it, they are per minute and
    instance, which is fair only when all instances get the same traffic."""
    direction: Direction = Direction.HIGHER
    """Which change is harmful."""
    unit: str | None = None
    """Unit of the rate, for people; default: a minute, or each."""
    floor: Annotated[float, Field(ge=0, strict=True)] = 0.0
    """A canary at or below this rate is never harmful; 0: any rate counts. For rises only."""


class TrafficModel(Model):
    """Whether the canary gets the share of the traffic that it should."""

    requests: SelectorText
    """PromQL selector of the counter of all requests."""
    share: Share | None = None
    """The canary's configured share of the traffic; default: every instance gets the same."""

    @field_validator("share")
    @classmethod
    def _a_part(cls, share: float | None) -> float | None:
        if share is not None and not 0 < share < 1:
            raise fault(f"a share of {share:g} leaves nothing to compare", "between 0% and 100%")
        return share


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
    gauge: GaugeModel | None = None
    """A level that every scrape tells, such as CPU."""
    leak: LeakModel | None = None
    """A gauge that must not grow, such as memory."""
    rate: RateModel | None = None
    """Events per minute or per other event, such as restarts or orders."""
    traffic: TrafficModel | None = None
    """The canary's share of the traffic."""
    tier: Tier | None = None
    """critical acts alone, supporting needs company, info is only shown. Default: critical;
    supporting for gauges, leaks, traces, rates per minute and single quantiles; info for traffic."""
    weight: Annotated[float, Field(ge=0, strict=True)] | None = None
    """Share of the error budget alpha, relative to the other signals. Default: 0.5; 0.2 for gauges
    and leaks, 0.15 for traces, 0.1 for traffic."""
    margin: Increase | None = None
    """Smallest harmful ratio of canary to baseline (of leaks: growth per minute); inside it nothing
    is degraded. Default: +10% for histograms and gauges, +0.2% for leaks, +25% for the others."""
    harm: Increase | None = None
    """Ratio that must be excluded before the signal is called healthy; at least margin. Default:
    2 for ratios, intervals and rates, +25% for histograms, +30% for gauges, +0.5% for leaks, +50%
    for levels and traffic."""
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
        kind = kind_of(vars(self))
        margin, harm = (parse_ratio(text) for text in MARGIN_AND_HARM[kind])
        tier, weight = TIER_AND_WEIGHT.get(kind, (Tier.CRITICAL, 0.5))
        shared: dict[str, Any] = {
            "name": self.name,
            "tier": self.tier or (Tier.SUPPORTING if self._weak else tier),
            "weight": weight if self.weight is None else self.weight,
            "margin": self.margin or margin,
            "harm": self.harm or harm,
            "id_labels": tuple(self.id_labels) or None,
        }
        rates: dict[str, Any] = {"floor": self.floor, "harm_rate": self.harm_rate}
        given = dict(getattr(self, kind))
        match kind:
            case "ratio" | "interval":
                counted = RatioSignal if kind == "ratio" else IntervalSignal
                return counted(**given, **rates, **shared)
            case "leak":
                return LeakSignal(settle_s=given.pop("settle"), **given, **shared)
            case "traces":
                given["services"] = tuple(given["services"])
                return TraceSignal(**given, **rates, **shared)
            case "rate":
                unit = given.pop("unit") or ("a minute" if self._weak else "each")
                return RateSignal(unit=unit, **given, **shared)
            case _:
                return _PLAIN[kind](**given, **shared)

    @property
    def _weak(self) -> bool:
        """Whether unlike traffic, or a summary's way to forget, could explain what is seen."""
        if self.rate is not None:
            return self.rate.per is None
        quantile = (
            (m.label == "quantile" for m in self.level.values.matchers) if self.level else ()
        )
        return any(quantile)


_PLAIN: dict[str, type[HistogramSignal | LevelSignal | GaugeSignal | TrafficSignal]] = {
    kind.kind: kind for kind in (HistogramSignal, LevelSignal, GaugeSignal, TrafficSignal)
}
