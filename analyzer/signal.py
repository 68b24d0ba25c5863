"""What is measured: signals, and how their series are selected."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, assert_never


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
        route: label of both counters that tells what was asked for; None when there is none.
        routes: its values that are told apart, found when a watch begins; all others are the rest.
    """

    kind: ClassVar[str] = "ratio"
    unit: ClassVar[str] = "share"

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
    route: str | None = None
    routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HistogramSignal:
    """A distribution counted in cumulative buckets (``…_bucket`` with ``le``); slower is worse.

    Attributes:
        buckets: selector of the cumulative bucket counters. unit: unit of the bucket bounds.
        margin: smallest harmful ratio of quantiles or of typical values (1.10 = +10 %).
        harm: ratio that must be excluded before the signal is called healthy.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "histogram"

    name: str
    buckets: Selector
    unit: str = "s"
    tier: Tier = Tier.CRITICAL
    weight: float = 0.5
    margin: float = 1.10
    harm: float = 1.25
    id_labels: tuple[str, ...] | None = None


class Reading(StrEnum):
    """What one value of a series says about its interval."""

    LEVEL = "level"
    """A positive quantity: seconds, cores, bytes, a queue's length."""
    COUNT = "count"
    """Events in the interval."""
    RATE = "rate"
    """Events per second."""
    SHARE = "share"
    """Bad events among all, 0 to 1."""
    PERCENT = "percent"
    """Bad events among all, 0 to 100."""
    GOOD_SHARE = "good share"
    """Good events among all, 0 to 1."""
    GOOD_PERCENT = "good percent"
    """Good events among all, 0 to 100 (availability)."""


class Direction(StrEnum):
    """Which change of a level is harmful."""

    HIGHER = "higher is worse"
    LOWER = "lower is worse"
    BOTH = "both are worse"


@dataclass(frozen=True, slots=True)
class IntervalSignal:
    """Bad events out of all events, told interval by interval by gauges; higher is worse.

    For sources that have no counters: CloudWatch sums, ``rate()`` recording rules, reports.

    Attributes:
        bad: series of harmful events. bad_reading: what its values mean.
        total: series of all events; None when bad events are counted per time.
        total_reading: ``COUNT`` or ``RATE``.
        paired: both sides ran at the same time; False when the baseline is its own past.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "interval"
    unit: ClassVar[str] = "share"

    name: str
    bad: Selector
    total: Selector | None = None
    bad_reading: Reading = Reading.COUNT
    total_reading: Reading = Reading.COUNT
    paired: bool = True
    tier: Tier = Tier.CRITICAL
    weight: float = 0.5
    margin: float = 1.25
    harm: float = 2.0
    floor: float = 0.001
    harm_rate: float = 0.005
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LevelSignal:
    """A gauge, an average or a quantile, told interval by interval; compared as log values.

    Attributes:
        values: the series. reading: what its values mean; events are not levels, a share is.
        direction: which change is harmful. unit: for people.
        least: positive values below it are as good as it, and so is 0; 0: zeros are missing.
        spread: usual persistent difference between innocent instances on the log scale (0.1:
            10 %), None for the detector's own.
        paired: as in ``IntervalSignal``. Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "level"

    name: str
    values: Selector
    reading: Reading = Reading.LEVEL
    direction: Direction = Direction.HIGHER
    unit: str = ""
    least: float = 0.0
    spread: float | None = None
    paired: bool = True
    tier: Tier = Tier.CRITICAL
    weight: float = 0.5
    margin: float = 1.25
    harm: float = 1.5
    id_labels: tuple[str, ...] | None = None


class ChangedCalls(StrEnum):
    """What follows when a new version calls other things than the old one, or is called otherwise."""

    IGNORED = "ignored"
    """It is not looked at."""
    TOLD = "told"
    """People are told; it is evidence only beside something that became worse."""
    HARM = "harm"
    """It is evidence like everything else."""


@dataclass(frozen=True, slots=True)
class TraceSignal:
    """Every operation that traces tell of: errors, duration, self time, calls; worse is worse.

    Attributes:
        services: only operations of these, empty for all that the rollout's instances tell of.
        operations: how many are compared, the baseline's busiest first.
        min_spans: an operation with fewer on either side says nothing.
        margin: smallest harmful ratio of rates and of times. harm: ratio to exclude.
        growth: smallest harmful ratio of spans per span, itself and repeated calls (N+1 queries).
        changed_calls: what new and vanished calls, deeper paths and requests that are not served
            any more lead to.
        floor, harm_rate: of error shares. Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "trace"
    unit: ClassVar[str] = ""

    name: str
    services: tuple[str, ...] = ()
    operations: int = 50
    min_spans: int = 20
    tier: Tier = Tier.SUPPORTING
    weight: float = 0.15
    margin: float = 1.25
    harm: float = 2.0
    growth: float = 1.5
    changed_calls: ChangedCalls = ChangedCalls.TOLD
    floor: float = 0.001
    harm_rate: float = 0.005
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class GaugeSignal:
    """A level of every scrape: cores, bytes, a queue's length; compared as mean log values.

    Attributes:
        values: the gauge, or a counter whose increase is the level (CPU seconds).
        counter: ``values`` is a counter. per: with it, a counter of what its increase is divided
            by; without, the level is the increase per second.
        direction: which change is harmful. unit: for people.
        least: positive values below it are as good as it, and so is 0; 0: zeros are missing.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "gauge"

    name: str
    values: Selector
    counter: bool = False
    per: Selector | None = None
    direction: Direction = Direction.HIGHER
    unit: str = ""
    least: float = 0.0
    tier: Tier = Tier.SUPPORTING
    weight: float = 0.2
    margin: float = 1.10
    harm: float = 1.30
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LeakSignal:
    """A gauge that grows and grows: memory, file descriptors, goroutines, connections.

    Attributes:
        values: the gauge. unit: for people.
        settle_s: growth of the first so many seconds after the warm-up is left out where it is
            not known how the service starts; where it is, that growth is taken off.
        limit: level at which the instance fails, in the gauge's unit; 0: not known.
        margin: smallest harmful growth per minute, as a ratio (1.002 = +0.2 % of the baseline's
            mean). harm: growth per minute that must be excluded before the signal is healthy.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "leak"

    name: str
    values: Selector
    unit: str = ""
    settle_s: float = 300.0
    limit: float = 0.0
    tier: Tier = Tier.SUPPORTING
    weight: float = 0.2
    margin: float = 1.002
    harm: float = 1.005
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RateSignal:
    """Events per instance and minute, or per event of another counter.

    Restarts, retries, new kinds of errors; or what the business lives on, orders per minute.

    Attributes:
        events: counter of the events. per: counter of what they are counted against; None: time.
        direction: which change is harmful. unit: for people.
        floor: canary rates at or below it are never harmful, in the signal's unit; 0: none.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "rate"

    name: str
    events: Selector
    per: Selector | None = None
    direction: Direction = Direction.HIGHER
    unit: str = "a minute"
    floor: float = 0.0
    tier: Tier = Tier.SUPPORTING
    weight: float = 0.5
    margin: float = 1.25
    harm: float = 2.0
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TrafficSignal:
    """The canary's share of the requests, which should be that of the split or of its instances.

    A mismatch means that the comparison is not fair, not that the canary is bad: it keeps a
    rollout from being called healthy, and acts only if the tier says so.

    Attributes:
        requests: counter of all requests.
        share: the canary's configured share of the traffic; None: every instance gets the same.
        margin: smallest ratio, up or down, between the share seen and the share that should be.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "traffic"
    direction: ClassVar[Direction] = Direction.BOTH

    name: str
    requests: Selector
    share: float | None = None
    unit: str = "requests a minute"
    tier: Tier = Tier.INFO
    weight: float = 0.1
    margin: float = 1.25
    harm: float = 1.5
    id_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PastSignal:
    """Bad events out of all events, of a workload now and of the same workload earlier.

    For a revision that nothing older runs beside any more; made from a ratio or a histogram when
    its rollout is complete, never configured.

    Attributes:
        total: counter of all events, or with ``bound`` the cumulative buckets.
        bad: counter of the harmful events; None with ``bound``.
        bound: events beyond this bucket bound are the harmful ones. unit: of the share.
        earlier_s: how much earlier the other side ran.
        Others as in ``RatioSignal``.
    """

    kind: ClassVar[str] = "past"
    unit: ClassVar[str] = "share"

    name: str
    total: Selector
    bad: Selector | None = None
    bound: float | None = None
    earlier_s: float = 86400.0
    tier: Tier = Tier.CRITICAL
    weight: float = 0.5
    margin: float = 2.0
    harm: float = 3.0
    floor: float = 0.001
    harm_rate: float = 0.005
    id_labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse a signal that does not say what is harmful."""
        if (self.bad is None) == (self.bound is None):
            raise ValueError(f"{self.name} needs either bad events or a bound")


def series_of(signal: "SeriesSignal") -> Selector:
    """Return the series that a signal is about: the bad events, the buckets, the values."""
    match signal:
        case RatioSignal(bad=bad) | IntervalSignal(bad=bad):
            return bad
        case HistogramSignal(buckets=buckets):
            return buckets
        case LevelSignal(values=values) | GaugeSignal(values=values) | LeakSignal(values=values):
            return values
        case RateSignal(events=events) | TrafficSignal(requests=events):
            return events
        case PastSignal():
            return signal.bad or signal.total
        case _:
            assert_never(signal)


SeriesSignal = (
    RatioSignal
    | HistogramSignal
    | IntervalSignal
    | LevelSignal
    | GaugeSignal
    | LeakSignal
    | RateSignal
    | TrafficSignal
    | PastSignal
)
"""Signals that read series which a user names."""
Signal = SeriesSignal | TraceSignal
