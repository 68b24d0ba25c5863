"""``policies``: what is measured, how sure the daemon must be, and what it may do."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from analyzer.policy import Mode, Policy, WhenMissing
from analyzer.signal import HistogramSignal, RatioSignal, Signal, Tier
from rollbackd.config import settings
from rollbackd.config.models.base import LabelName, Model, Name, Text, default
from rollbackd.config.quantities import (
    Duration,
    Increase,
    PositiveDuration,
    Share,
    fault,
    format_duration,
    parse_ratio,
)
from rollbackd.config.selectors import BucketsText, SelectorText

MARGIN_AND_HARM = {"ratio": ("+25%", "2"), "histogram": ("+10%", "+25%")}
"""Defaults by kind of signal: error counts are noisier than typical latencies."""


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


class SignalModel(Model):
    """One thing that is measured: a name and exactly one of ratio and histogram."""

    name: Name
    """Unique within the policy; used in messages, metrics and the journal."""
    ratio: RatioModel | None = None
    """Counted events, such as errors."""
    histogram: HistogramModel | None = None
    """A distribution, such as latency."""
    tier: Tier = Tier.CRITICAL
    """critical acts alone, supporting needs company, info is only shown."""
    weight: Annotated[float, Field(ge=0, strict=True)] = 0.5
    """Share of the error budget alpha, relative to the other signals."""
    margin: Increase | None = None
    """Smallest harmful ratio of canary to baseline; inside it nothing is degraded. Default: +25%
    for ratios, +10% for histograms."""
    harm: Increase | None = None
    """Ratio that must be excluded before the signal is called healthy; at least margin. Default:
    2 for ratios, +25% for histograms."""
    floor: Share = default("0.1%")
    """Ratios only: a canary at or below this share of bad events is never harmful."""
    harm_rate: Share = default("0.5%")
    """Ratios only: a canary proved to be below this share of bad events is healthy."""
    id_labels: list[LabelName] = Field(default_factory=list)
    """Labels that identify an instance in these series; default: those of the rollout."""

    @field_validator("harm")
    @classmethod
    def _beyond_margin(cls, harm: float | None, info: ValidationInfo) -> float | None:
        kind = "ratio" if info.data.get("ratio") is not None else "histogram"
        margin_default, harm_default = MARGIN_AND_HARM[kind]
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
        if info.data.get("ratio") is None:
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
        kind = "ratio" if self.ratio is not None else "histogram"
        margin, harm = (parse_ratio(text) for text in MARGIN_AND_HARM[kind])
        margin, harm = self.margin or margin, self.harm or harm
        id_labels = tuple(self.id_labels) or None
        if self.ratio is not None:
            return RatioSignal(
                name=self.name,
                total=self.ratio.total,
                bad=self.ratio.bad,
                tier=self.tier,
                weight=self.weight,
                margin=margin,
                harm=harm,
                floor=self.floor,
                harm_rate=self.harm_rate,
                id_labels=id_labels,
            )
        if self.histogram is None:
            raise AssertionError("cross_checks.py lets exactly one kind of signal pass")
        return HistogramSignal(
            name=self.name,
            buckets=self.histogram.buckets,
            unit=self.histogram.unit,
            tier=self.tier,
            weight=self.weight,
            margin=margin,
            harm=harm,
            id_labels=id_labels,
        )


class MatchModel(Model):
    """Which rollouts a policy is for; every part that is there must fit. Empty: all."""

    namespaces: list[Text] = Field(default_factory=list)
    """Namespaces, or shell patterns such as shop-*."""
    names: list[Text] = Field(default_factory=list)
    """Names of workloads, or shell patterns."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the workload, all of them equal."""


class PolicyModel(Model):
    """One policy. The first in the file that matches a rollout is used."""

    name: Name
    """Unique; workloads can ask for it by this name."""
    mode: Mode = Mode.OBSERVE
    """observe: everything but the last step; approve: a person approves; enforce: act at once."""
    match: MatchModel = Field(default_factory=MatchModel)
    """Which rollouts it is for; default: all."""
    alpha: Annotated[float, Field(gt=0, le=0.5, strict=True)] = 0.01
    """Tolerated probability of rolling back a healthy rollout, per rollout; above 0, at most 0.5."""
    warm_up: Duration = default("1m")
    """Instances younger than this are left out on both sides (duration)."""
    min_observation: Duration = default("2m")
    """A rollout is never called healthy before this age (duration)."""
    horizon: PositiveDuration = default("1h")
    """When nothing is decided by then, the watch ends inconclusive (duration)."""
    persistence: Duration = default("30s")
    """A single burst shorter than this cannot decide (duration)."""
    history: Duration = default("2h")
    """How much of the baseline's past its noise is learnt from (duration)."""
    when_missing: WhenMissing = WhenMissing.HOLD
    """While critical signals cannot be measured: hold, ignore or page. Never roll back."""
    blind_after: PositiveDuration = default("2m")
    """Critical signals missing this long count as blindness (duration)."""
    recovery: PositiveDuration = default("5m")
    """How long an action may take to show its effect before people are called (duration)."""
    approval_expires: PositiveDuration = default("30m")
    """An approval that has not come by then is void, and people are called (duration)."""
    cool_down: Duration = default("30m")
    """A workload acted on is not acted on again this long (duration)."""
    actions: list[Name] = Field(default_factory=list)
    """Names of actions, used in this order."""
    signals: list[SignalModel] = Field(min_length=1)
    """What is measured."""

    @field_validator("horizon")
    @classmethod
    def _beyond_observation(cls, horizon: float, info: ValidationInfo) -> float:
        least = info.data.get("min_observation", 0.0)
        if horizon < least:
            raise fault(
                f"the watch would end after {format_duration(horizon)}, before min_observation "
                f"({format_duration(least)})",
                "make horizon longer, or min_observation shorter",
            )
        return horizon

    def rule(self) -> settings.PolicyRule:
        """Return the policy and what it is for."""
        policy = Policy(
            name=self.name,
            signals=tuple(signal.signal() for signal in self.signals),
            mode=self.mode,
            alpha=self.alpha,
            warm_up_s=self.warm_up,
            min_observation_s=self.min_observation,
            horizon_s=self.horizon,
            persistence_s=self.persistence,
            history_s=self.history,
            when_missing=self.when_missing,
            blind_after_s=self.blind_after,
            recovery_s=self.recovery,
            approval_expires_s=self.approval_expires,
            cool_down_s=self.cool_down,
            actuators=tuple(self.actions),
        )
        match = settings.Match(
            tuple(self.match.namespaces), tuple(self.match.names), self.match.labels
        )
        return settings.PolicyRule(policy, match)
