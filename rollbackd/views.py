"""Immutable snapshots of watches for people: the API, the terminal, the report read only these."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SignalPoint:
    """One look at one signal; ratios are canary to baseline (1 = no difference), None = unknown.

    ``canary`` and ``baseline`` are in the signal's unit (a share for ratios, seconds for latency).
    ``low`` and ``high`` bound the ratio by the 95 % confidence sequence.
    """

    at: float
    canary: float | None
    baseline: float | None
    ratio: float | None
    low: float | None
    high: float | None
    e_value: float


@dataclass(frozen=True, slots=True)
class ExampleView:
    """A trace that shows what was found: of which side and operation, and where to see it.

    ``url`` is "" when no address is configured.
    """

    side: str
    operation: str
    trace_id: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class SignalView:
    """One signal of one watch.

    ``kind`` is that of ``analyzer.signal``; ``threshold`` is the e-value at which the signal decides
    alone; ``missing`` says why it could not be measured at the last look; ``summary`` is the
    finding in one line with numbers. ``examples`` are traces that show it. ``points`` are in order of time, thinned to a bounded count.
    """

    name: str
    kind: str
    unit: str
    tier: str
    margin: float
    threshold: float
    summary: str
    missing: str | None
    points: tuple[SignalPoint, ...]
    examples: tuple[ExampleView, ...] = ()


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """Something that happened to a watch: a change of phase or verdict, a plan, a step."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class GuardView:
    """What one guard said of the newest plan: "passed", "warned", "asks" or "refused", and why."""

    guard: str
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class StopView:
    """One region of a release train, in the order of its route.

    ``state`` is one of ``analyzer.trains.standing``, since ``since``; None while nothing happened
    there. ``text`` says what its daemon says of the release now; ``watch_id`` names the watch that
    judges it, "" before there is one, and ``url`` its page: a path when it is on our own site.
    """

    region: str
    state: str
    since: float | None
    text: str = ""
    watch_id: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class WatchView:
    """Everything people are shown of one watch.

    ``evidence`` is the combined e-value of the watch, ``limit`` the value (1/α) at which it decides;
    times are seconds since the epoch. ``outlook`` says what will happen next;
    ``guards`` says what each guard said of the newest plan, and is empty before there was one.
    ``plan_key`` names the plan in force, which an approval is bound to; ``turn`` counts the
    decisions that people took, and what is offered to them is bound to it. ``note`` says why it is
    in its phase, since ``since``; ``hold`` why it is held, or "". ``decided_by`` is the person who
    let the plan be carried out, or "". ``held`` names what is held for the watch until somebody lets
    it go; ``can_demand`` says of a watch that ended as reported that its rollout is still there, so
    that a person may still demand it back. ``offered`` names the decisions offered about something
    that is no watch, such as a region or a train, whose phases are their own. ``stops`` are the regions
    of a train. ``annotations`` are what the rollout says of itself: author, commit, link.
    """

    id: str
    workload: str
    canary: str
    baseline: str
    policy: str
    mode: str
    phase: str
    verdict: str
    reasons: tuple[str, ...]
    evidence: float
    limit: float
    started_at: float
    updated_at: float
    final: bool
    outlook: str
    plan: str | None
    signals: tuple[SignalView, ...]
    timeline: tuple[TimelineItem, ...]
    plan_key: str = ""
    guards: tuple[GuardView, ...] = ()
    turn: int = 0
    since: float = 0.0
    note: str = ""
    hold: str = ""
    decided_by: str = ""
    held: tuple[str, ...] = ()
    can_demand: bool = False
    offered: tuple[str, ...] = ()
    stops: tuple[StopView, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
