"""Exemplars: from a metric that accuses a canary to traces that show it.

Instrumentation keeps a trace's id beside a bucket or a counter, and Prometheus remembers some of them
(``--enable-feature=exemplar-storage``). They are examples, never evidence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from analyzer.evidence import Evidence, Finding, Measured
from analyzer.judge import ATTRIBUTED, admitted
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Query, restricted_to
from analyzer.signal import HistogramSignal, RateSignal, RatioSignal, series_of
from analyzer.traces.operations import InstanceId, TraceExample
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.promql import rendered
from rollbackd.traces.backends.server import Backend, NotThere

log = structlog.get_logger()

TRACE_KEYS = ("trace_id", "traceID", "traceId")
"""Labels under which exemplars hold a trace's id; the first is OpenTelemetry's."""
WINDOW_S = 600.0
"""How far back exemplars are looked for."""
AGAIN_S = 60.0
"""How long what was found is shown before it is looked for again."""
CANARY, BASELINE = 3, 1
"""Exemplars of each side that are shown."""
MAX_QUERY_BYTES = 4096

Counted = RatioSignal | HistogramSignal | RateSignal
"""Signals whose series are counters, which alone have exemplars."""
Link = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One event that a counter remembers: whose, in which trace, how much, and when."""

    instance: InstanceId
    trace_id: str
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Question:
    """Who is watched: its policy, its instances, and the labels they are known by."""

    watch_id: str
    policy: Policy
    roster: Roster
    id_labels: tuple[str, ...]


class ExemplarDesk:
    """Adds traces to look at to what accuses a canary. Trouble costs examples, nothing else.

    Args:
        backend: a Prometheus. link: makes addresses of trace ids, "" where none is configured.
    """

    def __init__(self, backend: Backend, link: Link = lambda _: "") -> None:
        self._backend = backend
        self._link = link
        self._shown: dict[tuple[str, str], tuple[float, tuple[TraceExample, ...]]] = {}
        self._troubled = False

    def show(
        self, question: Question, evidence: Mapping[str, Evidence], now: float
    ) -> Mapping[str, Evidence]:
        """Return the evidence, with examples where a signal of counters accuses the canary."""
        shown, weights = dict(evidence), question.policy.weights
        for signal in question.policy.signals:
            found = evidence.get(signal.name)
            if isinstance(signal, Counted) and isinstance(found, Measured):
                weight = weights.get(signal.name, 0.0)
                if accuses(found.finding, weight) and not found.finding.examples:
                    examples = self._examples(question, signal, now)
                    shown[signal.name] = Measured(replace(found.finding, examples=examples))
        return shown

    def forget(self, watch_id: str) -> None:
        """Drop what was found for a watch."""
        self._shown = {key: of for key, of in self._shown.items() if key[0] != watch_id}

    def close(self) -> None:
        """Release connections."""
        self._backend.close()

    def _examples(
        self, question: Question, signal: Counted, now: float
    ) -> tuple[TraceExample, ...]:
        key = (question.watch_id, signal.name)
        asked, examples = self._shown.get(key, (-AGAIN_S, ()))
        if now - asked >= AGAIN_S:
            examples = self._looked_up(question, signal, now) or examples
            self._shown[key] = (now, examples)
        return examples

    def _looked_up(
        self, question: Question, signal: Counted, now: float
    ) -> tuple[TraceExample, ...]:
        labels = signal.id_labels or question.id_labels
        sides = {stay.id: stay.side for stay in question.roster.stays}
        restrict = restricted_to(labels, sides)
        try:
            found = self._found(Query(series_of(signal), labels, restrict), now)
        except (Trouble, NotThere) as error:
            if not self._troubled:
                log.warning("exemplars not readable", reason=str(error))
            self._troubled = True
            return ()
        self._troubled = False
        ours = [e for e in found if e.instance in sides]
        return tuple(
            TraceExample(side, signal.name, e.trace_id, self._link(e.trace_id))
            for side, most in ((Side.CANARY, CANARY), (Side.BASELINE, BASELINE))
            for e in _telling([e for e in ours if sides[e.instance] is side], side, most)
        )

    def _found(self, query: Query, now: float) -> list[Exemplar]:
        """Ask for the exemplars of some series. Raises Trouble or NotThere."""
        found: list[Exemplar] = []
        for text in rendered(query, MAX_QUERY_BYTES):
            asked = {"query": text, "start": f"{now - WINDOW_S:.3f}", "end": f"{now:.3f}"}
            document = self._backend.document("/api/v1/query_exemplars", asked)
            found.extend(_exemplars(document, query.by))
        return found


def accuses(finding: Finding, weight: float) -> bool:
    """Tell whether a signal is named among the reasons against a canary."""
    return finding.harmful and weight * admitted(finding) >= ATTRIBUTED


def _telling(found: Sequence[Exemplar], side: Side, most: int) -> list[Exemplar]:
    """Return the exemplars to show: the canary's worst, a middling one of the baseline."""
    by_trace = {e.trace_id: e for e in sorted(found, key=lambda e: (e.value, e.at))}
    ordered = list(by_trace.values())
    if side is Side.CANARY:
        return ordered[::-1][:most]
    middle = len(ordered) // 2
    return ordered[middle : middle + most]


def _exemplars(document: object, labels: Sequence[str]) -> list[Exemplar]:
    """Read an answer; what makes no sense in it is left out."""
    series = document.get("data") if isinstance(document, dict) else None
    found: list[Exemplar] = []
    for one in series if isinstance(series, list) else []:
        whose = one.get("seriesLabels") if isinstance(one, dict) else None
        if not isinstance(whose, dict):
            continue
        instance = tuple(str(whose.get(label, "")) for label in labels)
        each = one.get("exemplars")
        for exemplar in each if isinstance(each, list) else []:
            read = _exemplar(exemplar, instance)
            found.extend(() if read is None else (read,))
    return found


def _exemplar(told: object, instance: InstanceId) -> Exemplar | None:
    match told:
        case {"labels": dict(labels), "value": value, "timestamp": at}:
            trace_id = next((str(labels[key]) for key in TRACE_KEYS if labels.get(key)), "")
            try:
                return Exemplar(instance, trace_id, float(value), float(at)) if trace_id else None
            except (TypeError, ValueError):
                return None
        case _:
            return None
