"""What a source of traces tells: which operations there are, and what each side does in them.

The counters themselves come through ``MetricSource``, under the names below, with the label
``operation`` beside those of the instance.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from analyzer.rollout import Side
from analyzer.sample import Missing

OPERATION: Final = "operation"
KEY: Final = "key"

SPANS: Final = "trace:spans"
FAILED: Final = "trace:failed"
DURATIONS: Final = "trace:duration_bucket"
SELF_TIMES: Final = "trace:self_time_bucket"
ASSEMBLED: Final = "trace:assembled"
RETRIED: Final = "trace:retried"
ERRORS: Final = "trace:errors_by_type"
"""Failed spans by error type, in the label ``key``."""
CALLS: Final = "trace:calls"
"""Direct children of assembled spans."""
PREFIX: Final = "trace:"

InstanceId = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """How many spans of an operation each side's instances sent, as far as it is remembered."""

    operation: str
    canary: float
    baseline: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call that an operation makes: the share of its spans that do, and how often on average."""

    share: float
    often: float


@dataclass(frozen=True, slots=True)
class SideDetail:
    """What one side did in an operation; times are means in seconds, nan when unknown.

    ``assembled``: spans whose children could be seen; ``self_s``, ``whole_s``, ``depth`` and
    ``calls`` (by the called operation) are of these. ``errors``: share of spans by error type.
    """

    spans: float
    assembled: float
    self_s: float
    whole_s: float
    depth: float
    calls: Mapping[str, Call] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceExample:
    """A trace to look at. ``url`` is "" when no address is configured.

    Ids are hexadecimal; ``span_id`` names the span of the operation, "" when only the trace is known.
    """

    side: Side
    operation: str
    trace_id: str
    url: str = ""
    span_id: str = ""


@dataclass(frozen=True, slots=True)
class Detail:
    """All there is to tell of an operation. ``caveats``: what limits it (sampled, partial)."""

    canary: SideDetail
    baseline: SideDetail
    examples: tuple[TraceExample, ...] = ()
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of both sides, as values of some labels."""

    labels: tuple[str, ...]
    canary: Collection[InstanceId]
    baseline: Collection[InstanceId]


class TraceSource(Protocol):
    """Where traces come from; its counters are had through ``MetricSource``."""

    def seen(self, instances: Instances) -> Sequence[Seen] | Missing:
        """Return the operations of some instances. Never raises for trouble of the source."""

    def detail(self, instances: Instances, operation: str) -> Detail | Missing:
        """Return what both sides did in one operation, with examples."""


def name_of(operation: str) -> str:
    """Return the part of an operation's label that people know it by: the span's name."""
    return operation.rsplit("|", 1)[-1]


def service_of(operation: str) -> str:
    """Return the service of an operation's label."""
    return operation.split("|", 1)[0]


def kind_of(operation: str) -> str:
    """Return the span kind of an operation's label."""
    parts = operation.split("|", 2)
    return parts[1] if len(parts) > 1 else ""
