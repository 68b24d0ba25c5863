"""What a source of traces tells: which operations there are, and what each side does in them.

The counters themselves come through ``MetricSource``, under the names below, with the label
``operation`` beside those of the instance.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from analyzer.rollout import Side
from analyzer.sample import Missing

OPERATION: Final = "operation"
KEY: Final = "key"
CALL: Final = "call"
"""Label of a call: the calling operation and the called one, see ``call_of``."""
ARROW: Final = "\x1e"

SPANS: Final = "trace:spans"
FAILED: Final = "trace:failed"
DURATIONS: Final = "trace:duration_bucket"
SELF_TIMES: Final = "trace:self_time_bucket"
ASSEMBLED: Final = "trace:assembled"
RETRIED: Final = "trace:retried"
ERRORS: Final = "trace:errors_by_type"
"""Failed spans by error type, in the label ``key``."""
REPEATS: Final = "trace:repeats"
"""Direct children of assembled spans, after the first of each operation."""
STEPS: Final = "trace:steps"
"""Spans on the critical paths of assembled spans, themselves left out."""
CALLERS_BY_CALLED: Final = "trace:callers_by_called"
"""Assembled spans that made a call, by the called operation, in the label ``key``."""
CALL_MADE: Final = "trace:call_made"
"""Assembled spans that made a call, in the label ``call``; 0 where an instance never made it."""
CALL_POSSIBLE: Final = "trace:call_possible"
"""Assembled spans of the calling operation, in the label ``call``."""
REQUESTED: Final = "trace:requested"
"""Spans of an operation; 0 where an instance never was asked for it."""
ENTRIES: Final = "trace:entries"
"""Spans of all operations by which an instance is asked for something, beside each of them."""
ENTRY_KINDS: Final = frozenset({"server", "consumer"})
PREFIX: Final = "trace:"

InstanceId = tuple[str, ...]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """How many spans of each operation the sides' instances sent, as far as it is remembered.

    Attributes:
        operations: their labels; the same object for as long as they are the same.
        canary, baseline: spans of each. assembled: those of the baseline whose children could be
            seen.
    """

    operations: tuple[str, ...]
    canary: Floats
    baseline: Floats
    assembled: Floats


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

    def seen(self, instances: Instances) -> Seen | Missing:
        """Return the operations of some instances. Never raises for trouble of the source."""

    def detail(self, instances: Instances, operation: str) -> Detail | Missing:
        """Return what both sides did in one operation, with examples."""


def call_of(caller: str, called: str) -> str:
    """Return the label of a call of one operation by another."""
    return f"{caller}{ARROW}{called}"


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
