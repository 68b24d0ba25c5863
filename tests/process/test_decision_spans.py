"""Each decision has one span, which links to the ticks and traces that it stands on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from actions.ports import Entry, Permanent, Transient
from analyzer.events import Approved
from analyzer.evidence import Finding, Measured
from analyzer.policy import Mode
from analyzer.rollout import Side
from analyzer.sample import Absence, Missing
from analyzer.traces.operations import TraceExample
from analyzer.watch import Phase, Watch, begin
from rollbackd.decision_spans import MAX_EXAMPLES, MAX_TICKS, DecisionSpans
from rollbackd.telemetry import Telemetry
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, Lifetime, observing, phases
from tests.process.mall import BAD, GOOD, Mall


@dataclass(frozen=True)
class Traced:
    """A telemetry whose spans stay in memory."""

    telemetry: Telemetry
    exporter: InMemorySpanExporter

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def decision(self, phase: str) -> ReadableSpan:
        (found,) = [s for s in self.spans("decision") if told(s, "phase") == phase]
        return found


@pytest.fixture
def traced() -> Iterator[Traced]:
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(version="test", environ={}, spans_to=exporter)
    yield Traced(telemetry, exporter)
    telemetry.close()


def told(span: ReadableSpan, key: str) -> object:
    return (span.attributes or {}).get(f"rollbackd.{key}")


def linked(span: ReadableSpan, kind: str) -> list[int]:
    """Return the ids of the spans that a span links to, of one kind."""
    links = [link for link in span.links if (link.attributes or {})["rollbackd.link"] == kind]
    return [int(link.context.span_id) for link in links]


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def lived(traced: Traced, mall: Mall, *until: str, trouble: Sequence[Exception] = ()) -> Lifetime:
    life = Lifetime(mall, MemoryJournal(), telemetry=traced.telemetry, trouble=trouble)
    life.until(*until)
    life.end()
    return life


def test_a_rollback_is_told_with_what_it_stands_on(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", BAD)
    life = lived(traced, mall, "rolled back")
    span = traced.decision("degraded")
    assert told(span, "verdict") == "degraded"
    assert told(span, "policy") == POLICY.name
    assert (told(span, "canary"), told(span, "baseline")) == ("v2", "v1")
    evidence, limit = told(span, "evidence"), told(span, "limit")
    assert isinstance(evidence, float)
    assert isinstance(limit, float)
    assert evidence >= limit
    reasons = told(span, "reasons")
    assert isinstance(reasons, tuple)
    assert "errors" in reasons[0]
    (entry,) = [e for e in life.journal.entries() if e.seq == told(span, "journal.seq")]
    assert entry.data["phase"] == "degraded"
    assert entry.watch_id == told(span, "watch")


def test_it_links_to_the_ticks_that_raised_the_evidence(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", BAD)
    policy = replace(POLICY, persistence_s=60.0)  # one tick counts for little
    life = Lifetime(mall, MemoryJournal(), policy, telemetry=traced.telemetry)
    life.until("rolled back")
    life.end()
    span = traced.decision("degraded")
    ticks = [id_of(tick) for tick in traced.spans("tick")]
    found = linked(span, "tick")
    places = [ticks.index(tick) for tick in found]
    assert places == sorted(set(places))
    assert len(found) >= 3
    assert span.parent is not None
    assert span.parent.span_id == found[-1]  # it was decided in the last of them


def test_each_decision_has_one_span_and_drifting_has_none(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", BAD)
    life = lived(traced, mall, "rolled back")
    decided = [told(span, "phase") for span in traced.spans("decision")]
    drifted = {"warming", "observing", "verifying"}
    assert decided == [phase for phase in phases(life.journal) if phase not in drifted]


def test_a_healthy_release_is_a_decision_too(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", GOOD)
    lived(traced, mall, "healthy")
    span = traced.decision("healthy")
    assert told(span, "verdict") == "healthy"
    assert linked(span, "tick")
    assert not linked(span, "example")


def test_blindness_is_told_as_such_and_links_to_no_evidence(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", GOOD)
    life = Lifetime(mall, MemoryJournal(), telemetry=traced.telemetry)
    life.until("observing")
    mall.outage = Missing(Absence.SOURCE_DOWN, "connection refused")
    life.until("held")
    life.end()
    span = traced.decision("held")
    assert told(span, "verdict") == "inconclusive"
    assert len(linked(span, "tick")) == 1  # the one that found nothing


def test_plan_and_action_link_to_the_decision(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", BAD)
    lived(traced, mall, "rolled back")
    (plan,), (act,), (perform,) = (traced.spans(name) for name in ("plan", "act", "perform"))
    assert linked(plan, "decision") == [id_of(traced.decision("degraded"))]
    assert linked(act, "decision") == [id_of(traced.decision("acting"))]
    assert told(plan, "outcome") == "made"
    assert told(plan, "plan") == told(act, "plan") == told(traced.decision("acting"), "plan")
    assert told(act, "outcome") == "done"
    assert perform.parent is not None
    assert perform.parent.span_id == id_of(act)
    assert told(perform, "actuator") == "switch"


def test_what_failed_is_an_error(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", BAD)
    lived(traced, mall, "needs a human", trouble=[Permanent("the cluster said no")])
    (act,), (perform,) = traced.spans("act"), traced.spans("perform")
    for span in (act, perform):
        assert span.status.status_code is StatusCode.ERROR
        assert "the cluster said no" in str(span.status.description)
    assert told(traced.decision("needs a human"), "phase.before") == "acting"


def test_who_approved_is_told(traced: Traced) -> None:
    mall = Mall()
    mall.release("v2", BAD)
    policy = replace(POLICY, mode=Mode.APPROVE)
    life = Lifetime(mall, MemoryJournal(), policy, telemetry=traced.telemetry)
    waiting = life.until("awaiting approval")
    life.controller.watches.handle(waiting.id, Approved(waiting.plan_key, "ann"))
    life.until("rolled back")
    life.end()
    assert told(traced.decision("acting"), "by") == "ann"
    assert told(traced.decision("awaiting approval"), "by") == ""


def test_a_watch_that_is_over_is_forgotten(traced: Traced) -> None:
    mall = Mall("one", "two")
    mall.release("v2", BAD, "one")
    mall.release("v2", GOOD, "two")
    life = Lifetime(mall, MemoryJournal(), observing(), telemetry=traced.telemetry)
    life.until("reported", watch="one")
    life.until("healthy", watch="two")
    life.tick(3)
    life.end()
    assert not traced.telemetry.spans._courses


def test_a_journal_that_is_away_decides_nothing_and_spans_nothing(traced: Traced) -> None:
    class Away(MemoryJournal):
        away = False

        def append(self, *entries: Entry) -> int:
            if self.away and any(e.kind == "watch" for e in entries):
                raise Transient("the disk is full")
            return super().append(*entries)

    mall, journal = Mall(), Away()
    mall.release("v2", BAD)
    life = Lifetime(mall, journal, telemetry=traced.telemetry)
    life.tick(2)
    journal.away = True
    life.tick(30)
    assert not traced.spans("decision")
    journal.away = False
    life.until("rolled back")
    life.end()
    assert told(traced.decision("degraded"), "phase.before") == "warming"


# Examples

FINDING = Finding(1e6, True, 3.0, 3.0, 2.0, 4.0, True, False, 0.04, 0.004)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def watch(phase: Phase = Phase.DEGRADED) -> Watch:
    mall = Mall()
    mall.release("v2", BAD)
    rollout = mall.shops["shop"].rollout()
    assert rollout is not None
    return replace(begin(rollout, POLICY, mall.clock()), phase=phase)


def decided(traced: Traced, *examples: TraceExample) -> ReadableSpan:
    finding = replace(FINDING, examples=examples)
    traced.telemetry.spans.decided(Phase.OBSERVING, watch(), 7, [Measured(finding)])
    return traced.spans("decision")[-1]


def test_it_links_to_traces_that_show_the_harm(traced: Traced) -> None:
    span = decided(traced, TraceExample(Side.CANARY, "shop|SERVER|GET /cart", TRACE, "", SPAN))
    (link,) = span.links
    assert f"{link.context.trace_id:032x}" == TRACE
    assert f"{link.context.span_id:016x}" == SPAN
    assert link.context.is_remote
    assert (link.attributes or {})["rollbackd.side"] == "canary"


def test_where_only_the_trace_is_known_it_is_named(traced: Traced) -> None:
    span = decided(traced, TraceExample(Side.BASELINE, "GET /cart", TRACE))
    assert not span.links
    assert told(span, "examples") == (f"baseline {TRACE} GET /cart",)


@given(st.lists(st.text(max_size=40), max_size=20), st.lists(st.floats(), max_size=60))
def test_whatever_comes_in_a_span_is_bounded_and_nothing_breaks(
    ids: list[str], evidence: list[float]
) -> None:
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(version="test", environ={}, spans_to=exporter)
    spans: DecisionSpans = telemetry.spans
    for e_value in evidence:
        with telemetry.tracer.start_as_current_span("tick"):
            spans.looked(watch().id, [Measured(replace(FINDING, e_value=e_value))])
    examples = [TraceExample(Side.CANARY, "GET /", text, "", text) for text in ids]
    spans.decided(
        Phase.OBSERVING, watch(), 1, [Measured(replace(FINDING, examples=tuple(examples)))]
    )
    (span,) = [s for s in exporter.get_finished_spans() if s.name == "decision"]
    telemetry.close()
    assert len(linked(span, "tick")) <= MAX_TICKS + 1
    assert len(linked(span, "example")) <= MAX_EXAMPLES
