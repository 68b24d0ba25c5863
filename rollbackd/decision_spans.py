"""What the daemon decides and does, as OpenTelemetry spans.

A decision has one span. It names the watch, the verdict, the numbers and the entry of the journal,
and it *links* to what it stands on: the ticks in which the evidence rose, and traces of the workload
that show the harm. Plans and actions have spans of their own, which link to the decision.

Nothing here decides anything, and nothing waits for a collector.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.util.types import AttributeValue

from actions.plan import Step
from actions.ports import Actuator, Performer, StepState
from analyzer.evidence import Evidence, Measured
from analyzer.traces.operations import TraceExample
from analyzer.watch import Phase, Watch

MAX_TICKS = 16
"""Ticks that a decision links to, the newest; evidence that took longer rose slowly all the time."""
MAX_REASONS, MAX_EXAMPLES = 10, 8
NEUTRAL = 1.0
"""An e-value that speaks for neither side; below it, what was risen before is void."""
_ON_THE_WAY = frozenset({Phase.WARMING, Phase.OBSERVING, Phase.VERIFYING})
"""Phases whose beginning is no decision: a watch comes into them by itself."""


@dataclass(slots=True)
class _Course:
    """How one watch came to where it is.

    ``top``: highest evidence of this rise. ``rises``: ticks that raised it. ``newest``: the last
    tick that looked. ``decision``: the last one.
    """

    top: float = NEUTRAL
    rises: deque[SpanContext] = field(default_factory=lambda: deque(maxlen=MAX_TICKS))
    newest: SpanContext | None = None
    decision: SpanContext | None = None

    def look(self, e_value: float, tick: SpanContext) -> None:
        self.newest = tick
        if e_value <= NEUTRAL:
            self.top = NEUTRAL
            self.rises.clear()
        elif e_value > self.top:
            self.top = e_value
            self.rises.append(tick)

    def ticks(self) -> Iterator[SpanContext]:
        yield from self.rises
        if self.newest is not None and self.newest not in self.rises:
            yield self.newest


class DecisionSpans:
    """Makes the spans of decisions, plans and actions. Thread-safe.

    Attributes:
        tick: the newest tick's span, None before the first.

    Args:
        tracer: what spans are made by.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._courses: dict[str, _Course] = {}
        self.tick: SpanContext | None = None
        self._lock = Lock()

    @contextmanager
    def ticking(self) -> Iterator[Span]:
        """Span one tick."""
        with self._tracer.start_as_current_span("tick") as span:
            self.tick = span.get_span_context()
            yield span

    def looked(self, watch_id: str, evidence: Iterable[Evidence]) -> None:
        """Remember the tick that is under way, when it raised the strongest evidence of a watch."""
        tick = trace.get_current_span().get_span_context()
        if tick.is_valid:
            known = (e.finding.e_value for e in evidence if isinstance(e, Measured))
            strongest = max(known, default=0.0)
            with self._lock:
                self._courses.setdefault(watch_id, _Course()).look(strongest, tick)

    def decided(
        self, before: Phase, watch: Watch, seq: int, evidence: Iterable[Evidence]
    ) -> SpanContext | None:
        """Make the span of a decision: the beginning of a phase that a watch does not drift into.

        Args:
            before: the phase it was in.
            watch: as it is now.
            seq: number of the last entry that was journalled of it.
            evidence: what is known of its signals.

        Returns:
            The identity of the span, or None when this is no decision.
        """
        if watch.phase in _ON_THE_WAY:
            return None
        found = [e for e in evidence if isinstance(e, Measured)]
        examples = [x for e in found for x in e.finding.examples][:MAX_EXAMPLES]
        with self._lock:
            course = self._courses.setdefault(watch.id, _Course())
            links = [Link(tick, {"rollbackd.link": "tick"}) for tick in course.ticks()]
            span = self._tracer.start_span(
                "decision",
                links=[*links, *_linked(examples)],
                attributes=_told(before, watch, seq, examples),
            )
            course.decision = span.get_span_context()
            if watch.phase.final:
                del self._courses[watch.id]
        span.end()
        return span.get_span_context()

    def forget(self, watch_id: str) -> None:
        """Drop what is remembered of a watch that is followed no more."""
        with self._lock:
            self._courses.pop(watch_id, None)

    @contextmanager
    def job(self, name: str, watch_id: str) -> Iterator[Span]:
        """Span what is done about a watch, and link it to the decision that asked for it."""
        with self._lock:
            course = self._courses.get(watch_id)
            decision = course.decision if course is not None else None
        links = [Link(decision, {"rollbackd.link": "decision"})] if decision is not None else []
        about = {"rollbackd.watch": watch_id}
        with self._tracer.start_as_current_span(name, links=links, attributes=about) as span:
            yield span

    def traced(self, actuator: Actuator) -> Performer:
        """Return an actuator whose writes have spans; looking has none, for it is done all the time."""
        return _TracedPerformer(actuator, self._tracer)


def _told(
    before: Phase, watch: Watch, seq: int, examples: Sequence[TraceExample]
) -> dict[str, AttributeValue]:
    judgement = watch.judgement
    told: dict[str, AttributeValue] = {
        "rollbackd.watch": watch.id,
        "rollbackd.workload": str(watch.workload),
        "rollbackd.canary": watch.canary.label,
        "rollbackd.baseline": watch.baseline.label if watch.baseline else "",
        "rollbackd.policy": watch.policy,
        "rollbackd.mode": watch.mode.value,
        "rollbackd.phase": watch.phase.value,
        "rollbackd.phase.before": before.value,
        "rollbackd.note": watch.note,
        "rollbackd.plan": watch.plan_key,
        "rollbackd.by": watch.demanded_by or watch.approved_by,
        "rollbackd.journal.seq": seq,
    }
    if judgement is not None:
        told |= {
            "rollbackd.verdict": judgement.verdict.value,
            "rollbackd.evidence": judgement.e_value,
            "rollbackd.limit": judgement.limit,
            "rollbackd.reasons": [reason.text for reason in judgement.reasons[:MAX_REASONS]],
        }
    if examples:
        told["rollbackd.examples"] = [f"{e.side} {e.trace_id} {e.operation}" for e in examples]
    return told


def _linked(examples: Iterable[TraceExample]) -> Iterator[Link]:
    """Yield links to the spans that show it; where only a trace is known, an attribute names it."""
    for example in examples:
        try:
            trace_id, span_id = int(example.trace_id, 16), int(example.span_id or "0", 16)
        except ValueError:
            continue
        context = SpanContext(
            trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )
        if context.is_valid:
            yield Link(
                context,
                {
                    "rollbackd.link": "example",
                    "rollbackd.side": example.side.value,
                    "rollbackd.operation": example.operation,
                },
            )


@dataclass(frozen=True, slots=True)
class _TracedPerformer:
    actuator: Performer
    tracer: Tracer

    def inspect(self, step: Step) -> StepState:
        """Compare the world with the step."""
        return self.actuator.inspect(step)

    def perform(self, step: Step) -> None:
        """Write the change; an error ends the span as an error, and goes on its way."""
        about = {
            "rollbackd.actuator": step.actuator,
            "rollbackd.step": step.key,
            "rollbackd.summary": step.describe(),
        }
        with self.tracer.start_as_current_span("perform", attributes=about):
            self.actuator.perform(step)


def outcome(span: Span, text: str, *, failed: bool = False) -> None:
    """Say on a span what came of it."""
    span.set_attribute("rollbackd.outcome", text)
    if failed:
        span.set_status(Status(StatusCode.ERROR, text))
