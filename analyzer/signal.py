"""What is measured: signals, and how their series are selected."""

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """What a signal may cause."""

    CRITICAL = "critical"
    """Acts alone."""
    SUPPORTING = "supporting"
    """Needs the company of another signal."""
    INFO = "info"
    """Is only shown."""


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One label matcher of a selector, as in PromQL: ``code=~"5.."``."""

    label: str
    op: str
    value: str

    def __post_init__(self) -> None:
        """Refuse operators that PromQL does not know."""
        if self.op not in {"=", "!=", "=~", "!~"}:
            raise ValueError(f"matcher operator must be one of = != =~ !~, not {self.op!r}")

    def __str__(self) -> str:
        """Return the matcher in PromQL, quoted and escaped."""
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{value}"'


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """A metric name and label matchers: the part of PromQL every source understands."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        """Return the selector in PromQL."""
        inner = ",".join(map(str, self.matchers))
        return f"{self.metric}{{{inner}}}" if inner else self.metric


@dataclass(frozen=True, slots=True)
class RatioSignal:
    """Bad events out of all events, both counted by monotonic counters; higher is worse.

    Attributes:
        name: unique within a policy; used in messages, metrics and the journal.
        total: counter of all events. bad: counter of the harmful ones; where ``total`` exists for
            an instance and ``bad`` does not, there were none.
        tier: what the signal may cause. weight: its share of the error budget α.
        margin: smallest harmful ratio of rates, canary to baseline (1.25 = +25 %).
        harm: ratio that must be excluded before the signal is called healthy.
        floor: canary rates at or below this share of events are never harmful.
        harm_rate: a canary whose rate is proved to be below this share is healthy.
        id_labels: label names that identify an instance in these series, when they differ from
            the rollout's.
    """

    name: str
    total: Selector
    bad: Selector
    tier: Tier = Tier.CRITICAL
    weight: float = 0.5
    margin: float = 1.25
    harm: float = 2.0
    floor: float = 0.001
    harm_rate: float = 0.005
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HistogramSignal:
    """A distribution counted in cumulative buckets (``…_bucket`` with ``le``); slower is worse.

    Attributes:
        buckets: selector of the cumulative bucket counters. unit: unit of the bucket bounds.
        margin: smallest harmful ratio of quantiles or of typical values (1.10 = +10 %).
        harm: ratio that must be excluded before the signal is called healthy.
        Others as in ``RatioSignal``.
    """

    name: str
    buckets: Selector
    unit: str = "s"
    tier: Tier = Tier.CRITICAL
    weight: float = 0.5
    margin: float = 1.10
    harm: float = 1.25
    id_labels: tuple[str, ...] | None = None


Signal = RatioSignal | HistogramSignal
