"""The daemon's own metrics and traces, as one object that the composition root builds.

Instruments are OpenTelemetry's; ``/metrics`` reads them through the Prometheus exporter, and with
``OTEL_EXPORTER_OTLP_ENDPOINT`` set, metrics and traces also go out by OTLP. Label sets are closed
and every label value exists from the start with 0, so that a rate is never missing.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, Tracer, set_span_in_context
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from actions.guards.guard import GuardName
from analyzer.check import Check, CheckOutcome
from analyzer.judge import Verdict
from analyzer.sample import Absence
from analyzer.watch import Phase
from rollbackd.cache_telemetry import Caches, Kept, export_caches
from rollbackd.decision_spans import DecisionSpans
from rollbackd.exemplars import Exemplars
from rollbackd.histograms import Declared, Gathered, from_zero
from rollbackd.region_telemetry import Regions, Trains, export_regions
from rollbackd.rollout_telemetry import export_rollouts
from rollbackd.traces.fates import Fate
from rollbackd.views import WatchView

TICK_OUTCOMES = ("ok", "failed")
FETCH_OUTCOMES = ("ok", *(a.value for a in Absence))
ACTION_OUTCOMES = ("done", "conflict", "failed", "interrupted")
GUARDS = tuple(name.value for name in GuardName)
RIGHT_USES = ("watch", "act")
DECISIONS = (
    "rollback", "approve", "reject", "snooze", "resume", "release", "fail over", "fail back",
    "follow",
)  # fmt: skip
ANSWERS = ("taken", "stale", "forbidden", "unknown", "failed")
NOTIFICATION_OUTCOMES = ("sent", "retried", "failed", "dropped")
TASKS = (
    "tick", "housekeeping", "access-review", "take-over", "holds", "regions", "trains", "policies",
)  # fmt: skip
POLICY_STATES = ("valid", "invalid")
STATUS_WRITES = ("written", "failed")
REFUSALS = (
    "signature", "repeated", "too large", "not text", "broken", "not authorised", "foreign", "slow",
    "too many",
)  # fmt: skip
JOBS = ("plan", "act")
CONCLUSIONS = (Phase.DEGRADED, Phase.HEALTHY, Phase.INCONCLUSIVE)
"""Phases that a verdict, or the lack of one, brings about."""
_TICK_TIME = Declared(
    "rollbackd_tick_duration_seconds",
    "Time one tick took.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_MINUTES = (0.5, 1, 2, 3, 5, 10, 15, 30, 60, 120, 360)
_DECISION_TIME = Declared(
    "rollbackd_time_to_decision_seconds",
    "From a watch's beginning to its verdict, or to its end without one.",
    tuple(60.0 * minutes for minutes in _MINUTES),
    tuple((("phase", phase.value),) for phase in CONCLUSIONS),
)
_HISTOGRAMS = (_TICK_TIME, _DECISION_TIME)


class Telemetry:
    """Counts what the daemon does. Thread-safe.

    Args:
        version: of rollbackd. environ: where OpenTelemetry's variables are.
        spans_to: takes every span at once, besides what the environment says.
    """

    def __init__(
        self,
        *,
        version: str,
        environ: Mapping[str, str] = os.environ,
        spans_to: SpanExporter | None = None,
    ) -> None:
        self._registry = CollectorRegistry()
        prometheus = PrometheusMetricReader(
            disable_target_info=True, scope_info_enabled=False, registry=self._registry
        )
        resource = Resource.create({"service.name": "rollbackd", "service.version": version})
        self._tracing = TracerProvider(resource=resource)
        if spans_to is not None:
            self._tracing.add_span_processor(SimpleSpanProcessor(spans_to))
        readers: list[MetricReader] = [prometheus]
        self._traced = spans_to is not None
        if environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            readers.append(self._export())
            self._traced = True
        self._exemplars = Exemplars({each.name: each.bounds for each in _HISTOGRAMS})
        self._metering = MeterProvider(readers, resource=resource)
        self.tracer: Tracer = self._tracing.get_tracer("rollbackd", version)
        self.spans = DecisionSpans(self.tracer)
        meter = self._meter = self._metering.get_meter("rollbackd", version)
        self._watches: dict[str, int] = dict.fromkeys((p.value for p in Phase), 0)
        self._last_tick = 0.0
        self._leads = False
        self._sources_up = True
        self._rights_missing = dict.fromkeys(RIGHT_USES, 0)
        self._policies = dict.fromkeys(POLICY_STATES, 0)
        self._ticks = meter.create_counter("rollbackd.ticks", "1", "Ticks by outcome.")
        self._tick_time = meter.create_histogram(
            "rollbackd.tick.duration",
            "s",
            _TICK_TIME.text,
            explicit_bucket_boundaries_advisory=_TICK_TIME.bounds,
        )
        self._decision_time = meter.create_histogram(
            "rollbackd.time.to.decision",
            "s",
            _DECISION_TIME.text,
            explicit_bucket_boundaries_advisory=_DECISION_TIME.bounds,
        )
        self._in_hand: Callable[[], Mapping[str, int]] = dict
        meter.create_observable_gauge(
            "rollbackd.jobs", [self._observe_jobs], "1",
            "Plans that are being made, or carried out, or wait for their turn.",
        )  # fmt: skip
        self._caches: Caches = tuple
        export_caches(meter, self._kept)
        self._fetches = meter.create_counter(
            "rollbackd.fetches", "1", "Queries to the metric source by outcome."
        )
        self._missing = meter.create_counter(
            "rollbackd.evidence.missing", "1", "Signals that could not be measured, by reason."
        )
        self._verdicts = meter.create_counter(
            "rollbackd.judgements", "1", "Judgements by verdict."
        )
        self._phases = meter.create_counter(
            "rollbackd.transitions", "1", "Phases that watches entered."
        )
        self._plans = meter.create_counter("rollbackd.plans", "1", "Plans made and refused.")
        self._refusals = meter.create_counter(
            "rollbackd.refusals",
            "1",
            "Objections that kept a plan from being carried out at once.",
        )
        self._actions = meter.create_counter("rollbackd.actions", "1", "Plans carried out.")
        self._missed = meter.create_counter(
            "rollbackd.runs.missed", "1", "Runs of a task that were skipped or failed."
        )
        self._faults = meter.create_counter(
            "rollbackd.watch.faults", "1", "Watches ended by an error of our own."
        )
        self._span_fates: Callable[[], Mapping[Fate, int]] = dict
        meter.create_observable_counter(
            "rollbackd.trace.spans", [self._observe_spans], "1", "Spans by what became of them."
        )
        self._decisions = meter.create_counter(
            "rollbackd.decisions", "1", "Decisions by people, and what became of them."
        )
        self._refused = meter.create_counter(
            "rollbackd.requests.refused", "1", "Requests to /slack/events that were refused."
        )
        self._notifications = meter.create_counter(
            "rollbackd.notifications", "1", "States of watches told to a notifier, by outcome."
        )
        meter.create_observable_gauge(
            "rollbackd.watches", [self._observe_watches], "1", "Watches by phase."
        )
        self._journal_failures = meter.create_counter(
            "rollbackd.journal.failures", "1", "Things that were not done as the journal was away."
        )
        self._leadership_changes = meter.create_counter(
            "rollbackd.leadership.changes", "1", "Times this replica began or ceased to lead."
        )
        meter.create_observable_gauge(
            "rollbackd.leader", [lambda _: [Observation(int(self._leads))]], "1",
            "Whether this replica leads: it alone looks at rollouts, and acts.",
        )  # fmt: skip
        self._status_writes = self._tell_of_cluster(meter)
        meter.create_observable_gauge(
            "rollbackd.last.tick.timestamp",
            [self._observe_last_tick],
            "s",
            "When the last tick ended, seconds since the epoch.",
        )
        self._create_at_zero()

    def _tell_of_cluster(self, meter: Meter) -> Counter:
        """Export what is known of rights, rollouts and policies; return the count of status writes."""
        meter.create_observable_gauge(
            "rollbackd.rights.missing",
            [lambda _: [Observation(n, {"use": u}) for u, n in self._rights_missing.items()]],
            "1",
            "Rights in the cluster that are not granted, by what they are needed for.",
        )
        meter.create_observable_gauge(
            "rollbackd.policy.resources",
            [lambda _: [Observation(n, {"state": s}) for s, n in self._policies.items()]],
            "1",
            "Policies of the cluster, by whether their newest version is valid.",
        )
        meter.create_observable_gauge(
            "rollbackd.rollout.source.up", [lambda _: [Observation(int(self._sources_up))]], "1",
            "Whether every source told its rollouts at the last tick.",
        )  # fmt: skip
        return meter.create_counter(
            "rollbackd.policy.status.writes", "1", "Writes of policies' status by outcome."
        )

    def _export(self) -> MetricReader:
        """Send traces and metrics by OTLP; imported only when asked for."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )

        self._tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return PeriodicExportingMetricReader(OTLPMetricExporter())

    def _create_at_zero(self) -> None:
        sets: tuple[tuple[Counter, str, tuple[str, ...]], ...] = (
            (self._ticks, "outcome", TICK_OUTCOMES),
            (self._fetches, "outcome", FETCH_OUTCOMES),
            (self._missing, "reason", tuple(a.value for a in Absence)),
            (self._verdicts, "verdict", tuple(v.value for v in Verdict)),
            (self._phases, "phase", tuple(p.value for p in Phase)),
            (self._plans, "outcome", ("made", "refused")),
            (self._refusals, "guard", GUARDS),
            (self._actions, "outcome", ACTION_OUTCOMES),
            (self._missed, "task", TASKS),
            (self._refused, "reason", REFUSALS),
            (self._status_writes, "outcome", STATUS_WRITES),
        )
        for counter, label, values in sets:
            for value in values:
                counter.add(0, {label: value})
        for decision in DECISIONS:
            for answer in ANSWERS:
                self._decisions.add(0, {"decision": decision, "answer": answer})
        self._faults.add(0)
        self._leadership_changes.add(0)
        self._journal_failures.add(0)

    def _observe_spans(self, _: CallbackOptions) -> list[Observation]:
        fates = self._span_fates()
        return [Observation(fates.get(fate, 0), {"fate": fate.value}) for fate in Fate]

    def _kept(self) -> Iterable[Kept]:
        return self._caches()

    def _observe_jobs(self, _: CallbackOptions) -> list[Observation]:
        found = self._in_hand()
        return [Observation(found.get(job, 0), {"kind": job}) for job in JOBS]

    def _observe_watches(self, _: CallbackOptions) -> list[Observation]:
        return [Observation(count, {"phase": p}) for p, count in self._watches.items()]

    def _observe_last_tick(self, _: CallbackOptions) -> list[Observation]:
        return [Observation(self._last_tick)]

    def ticked(self, seconds: float, ended_at: float, *, ok: bool) -> None:
        """Count a tick."""
        self._ticks.add(1, {"outcome": "ok" if ok else "failed"})
        histogram: Histogram = self._tick_time
        span = self.spans.tick
        histogram.record(seconds, None, _within(span))
        self._note(_TICK_TIME.name, {}, seconds, span)
        self._last_tick = ended_at

    def fetched(self, outcome: str) -> None:
        """Count a query: "ok" or the reason of its absence."""
        self._fetches.add(1, {"outcome": outcome})

    def missed_signal(self, reason: Absence) -> None:
        """Count a signal that could not be measured."""
        self._missing.add(1, {"reason": reason.value})

    def judged(self, verdict: Verdict) -> None:
        """Count a judgement."""
        self._verdicts.add(1, {"verdict": verdict.value})

    def concluded(self, phase: Phase, seconds: float, span: SpanContext | None) -> None:
        """Note how long a conclusion took, with the span of the decision as its exemplar."""
        if phase in CONCLUSIONS:
            labels = {"phase": phase.value}
            self._decision_time.record(seconds, labels, _within(span))
            self._note(_DECISION_TIME.name, labels, seconds, span)

    def _note(
        self, name: str, labels: Mapping[str, str], value: float, span: SpanContext | None
    ) -> None:
        # an exemplar whose trace went nowhere would lead nowhere
        if span is not None and self._traced:
            self._exemplars.note(name, labels, value, span, time.time())

    def count_jobs(self, in_hand: Callable[[], Mapping[str, int]]) -> None:
        """Read from here, at every exposition, how many of ``JOBS`` are in hand."""
        self._in_hand = in_hand

    def follow_caches(self, caches: Caches) -> None:
        """Read from here, at every exposition, what is kept of the cluster."""
        self._caches = caches

    def entered(self, phase: Phase) -> None:
        """Count a transition."""
        self._phases.add(1, {"phase": phase.value})

    def planned(self, *, refused: bool) -> None:
        """Count a plan or a refusal."""
        self._plans.add(1, {"outcome": "refused" if refused else "made"})

    def checked(self, found: Iterable[Check]) -> None:
        """Count the guards that refused a plan or ask for a person."""
        for check in found:
            if check.outcome in {CheckOutcome.REFUSED, CheckOutcome.ASKS}:
                self._refusals.add(1, {"guard": check.guard})

    def acted(self, outcome: str) -> None:
        """Count the outcome of a plan, one of ``ACTION_OUTCOMES``."""
        self._actions.add(1, {"outcome": outcome})

    def decided(self, decision: str, answer: str) -> None:
        """Count a person's decision, one of ``DECISIONS``, and one of ``ANSWERS``."""
        self._decisions.add(1, {"decision": decision, "answer": answer})

    def expect_notifier(self, name: str) -> None:
        """Create the counters of a configured notifier."""
        for outcome in NOTIFICATION_OUTCOMES:
            self._notifications.add(0, {"notifier": name, "outcome": outcome})

    def notified(self, notifier: str, outcome: str) -> None:
        """Count a state told, or not, to a notifier; one of ``NOTIFICATION_OUTCOMES``."""
        self._notifications.add(1, {"notifier": notifier, "outcome": outcome})

    def refused_request(self, reason: str) -> None:
        """Count a request from outside that was refused, one of ``REFUSALS``."""
        self._refused.add(1, {"reason": reason})

    def missed_run(self, task: str) -> None:
        """Count a run of a task that the scheduler skipped or that failed."""
        self._missed.add(1, {"task": task})

    def faulted(self) -> None:
        """Count a watch that ended by an error of our own."""
        self._faults.add(1)

    def count_spans(self, fates: Callable[[], Mapping[Fate, int]]) -> None:
        """Read from here, at every exposition, what became of the spans that came in."""
        self._span_fates = fates

    def journal_failed(self) -> None:
        """Count something that was put off because the journal could not be written or read."""
        self._journal_failures.add(1)

    def leading(self, leads: bool) -> None:
        """Set whether this replica leads; count it when that changed."""
        if leads is not self._leads:
            self._leads = leads
            self._leadership_changes.add(1)

    def lacking_rights(self, to_watch: int, to_act: int) -> None:
        """Set how many rights are missing, to watch or lead, and to act."""
        self._rights_missing = {"watch": to_watch, "act": to_act}

    def policies(self, valid: int, invalid: int) -> None:
        """Set how many policies of the cluster are valid, and how many are not."""
        self._policies = {"valid": valid, "invalid": invalid}

    def status_write(self, outcome: str) -> None:
        """Count a write of a policy's status: "written" or "failed"."""
        self._status_writes.add(1, {"outcome": outcome})

    def told_rollouts(self, all_told: bool) -> None:
        """Set whether every source told its rollouts."""
        self._sources_up = all_told

    def watching(self, phases: Mapping[Phase, int]) -> None:
        """Set how many watches are in each phase."""
        self._watches = {p.value: phases.get(p, 0) for p in Phase}

    def follow(self, views: Callable[[], tuple[WatchView, ...]]) -> None:
        """Export what is seen of each rollout from now on."""
        export_rollouts(self._meter, views, time.time)

    def follow_regions(self, regions: Regions, trains: Trains) -> None:
        """Export how regions and release trains stand from now on."""
        export_regions(self._meter, regions, trains)

    def exposition(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(Gathered(self._metrics()))

    def _metrics(self) -> Iterator[Metric]:
        return from_zero(self._registry.collect(), _HISTOGRAMS)

    def open_metrics(self) -> bytes:
        """Return the metrics in the OpenMetrics text format, with exemplars where there are traces."""
        return self._exemplars.exposition(self._metrics())

    def close(self) -> None:
        """Send what is left and stop."""
        self._metering.shutdown()
        self._tracing.shutdown()


def _within(span: SpanContext | None) -> Context | None:
    """Return the context of a span, from which OpenTelemetry takes its exemplars."""
    return None if span is None else set_span_in_context(NonRecordingSpan(span))
