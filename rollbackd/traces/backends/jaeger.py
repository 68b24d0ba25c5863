"""Jaeger, by its API v3 or, where that is missing, v1 (VictoriaTraces has v1, too).

Jaeger counts nothing by instance, so traces themselves are read, a bounded number of each stretch of
time, and counted as if they had been received. What is read is a sample whenever the bound was
reached, and so is what Jaeger itself was sent; both concern canary and baseline alike, and the
former is told with the evidence.
"""

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analyzer.sample import Absence
from rollbackd.sources.http_reply import Trouble
from rollbackd.traces.backends.polling import CAVEAT_S, Pace, Stretch, Stretches
from rollbackd.traces.backends.sampling import Sampling
from rollbackd.traces.backends.server import Backend, NotThere
from rollbackd.traces.backends.spm import Monitoring
from rollbackd.traces.book import Busy, TraceBook
from rollbackd.traces.fates import Fate
from rollbackd.traces.otlp import decode, request_of

PACE = Pace(step_s=10.0, settle_s=35.0, longest_s=70.0)
"""Traces must have arrived whole (VictoriaTraces hides those of the newest half minute), and be young
enough to be counted at all."""
REMEMBERED = 20_000
"""Traces that are known to have been counted: a long one is found in several stretches."""
_SPAN_KINDS = {
    "internal": 1,
    "server": 2,
    "client": 3,
    "producer": 4,
    "consumer": 5,
}
_ERROR = 2
_HEX_DIGITS = 32
_MOST = re.compile(r"out of range \[0, (\d+)\]")
"""How VictoriaTraces refuses to return more traces than it is configured to."""
_NOTHING = "no traces found"
"""What version 3 says, with a 404, when the path is right and nothing is there."""

Json = dict[str, object]


class JaegerPoller:
    """Reads the traces of some services and counts them.

    Args:
        backend: the server. book: where spans go.
        services: names of the services to ask about.
        traces: how many are read of a service and a stretch, at most.
        monitoring: who knows how many calls there really were, if anybody.
        pace: how often, and how far behind.
    """

    def __init__(
        self,
        backend: Backend,
        book: TraceBook,
        services: Sequence[str],
        traces: int,
        monitoring: Monitoring | None = None,
        pace: Pace = PACE,
    ) -> None:
        self._backend = backend
        self._book = book
        self._traces = traces
        self._stretches = {s: Stretches(pace, book, f"Jaeger ({s})") for s in services}
        self._sampling = None if monitoring is None else Sampling(monitoring, book.catalogue)
        self._version = 3
        self._known: OrderedDict[str, None] = OrderedDict()

    def poll(self, now: float, *, past: bool = False) -> None:
        """Bring the book up to date, service by service; trouble with one is not the others'."""
        for service, stretches in self._stretches.items():
            for stretch in stretches.due(now):
                trouble = self._ask(service, stretch, stretches, now)
                if trouble is not None:
                    stretches.failed(trouble, now)
                    break
                stretches.done(stretch[1])
            if not past:
                self._tell_sample(service, now)

    def _tell_sample(self, service: str, now: float) -> None:
        """Let it be told what the traces of a service are a sample of."""
        told = None if self._sampling is None else self._sampling.told(service, now)
        if told is not None:
            text, before = told
            self._book.caution(text, now + CAVEAT_S, instead_of=before)

    def _ask(
        self, service: str, stretch: Stretch, stretches: Stretches, now: float
    ) -> Trouble | None:
        """Count a stretch; return why it could not be, or None."""
        try:
            count = self._take(service, stretch, self._found(service, stretch), now)
        except NotThere as error:
            return Trouble(Absence.INVALID, f"{error}: is this a Jaeger?")
        except Trouble as trouble:
            if self._heed(trouble):
                return self._ask(service, stretch, stretches, now)
            return trouble
        except Busy as error:
            return Trouble(Absence.TOO_LARGE, str(error))
        if count >= self._traces:
            what = f"sampled: the newest {self._traces} traces of each {_span(stretch)} s"
            stretches.caution(what, now)
        return None

    def _heed(self, trouble: Trouble) -> bool:
        """Ask for fewer traces from now on when the server says that it returns no more."""
        most = _MOST.search(trouble.detail)
        fewer = most is not None and 0 < int(most[1]) < self._traces
        if most is not None and fewer:
            self._traces = int(most[1])
        return fewer

    def close(self) -> None:
        """Release connections."""
        self._backend.close()
        if self._sampling is not None:
            self._sampling.close()

    def _found(self, service: str, stretch: Stretch) -> Json:
        """Return the traces of a stretch as OTLP/JSON, by whichever API the server has."""
        if self._version == 3:  # noqa: PLR2004  the API's name
            try:
                return _from_v3(
                    self._backend.documents("/api/v3/traces", self._v3(service, stretch))
                )
            except NotThere as answer:
                if _NOTHING in answer.said.lower():
                    return {}
                self._version = 1
        query: dict[str, str | int] = {
            "service": service,
            "start": int(stretch[0] * 1e6),
            "end": int(stretch[1] * 1e6),
            "limit": self._traces,
        }
        try:
            return _from_v1(self._backend.document("/api/traces", query))
        except NotThere:
            self._version = 3  # the next attempt begins anew: the server may be replaced
            raise

    def _v3(self, service: str, stretch: Stretch) -> dict[str, str | int]:
        """Return the question by both names of each parameter: what a server does not know, it skips.

        Jaeger 1 and 2 up to 2.18 know the second ones only; those after 2.20 are to know only the first.
        """
        begin, end = (
            datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
            for t in stretch
        )
        return {
            "query.serviceName": service,
            "query.startTimeMin": begin,
            "query.startTimeMax": end,
            "query.searchDepth": self._traces,
            "query.service_name": service,
            "query.start_time_min": begin,
            "query.start_time_max": end,
            "query.num_traces": self._traces,
        }

    def _take(self, service: str, stretch: Stretch, found: Json, now: float) -> int:
        """Count the traces that were not counted before; return how many were found."""
        try:
            request = request_of(found)
        except (ValueError, RecursionError) as error:
            raise Trouble(Absence.INVALID, f"the answer is no trace: {error}") from error
        traces = _trace_ids(request)
        fresh = traces - self._known.keys()
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                kept = [span for span in scope.spans if span.trace_id.hex() in fresh]
                if len(kept) < len(scope.spans):
                    del scope.spans[:]
                    scope.spans.extend(kept)
        with self._book.lock:
            self._book.admit(_spans(request))
            out = decode(request, self._book.catalogue, None, now)
            self._book.take(out.columns, now)
            if self._sampling is not None:
                self._sampling.note(service, stretch, out.columns)
            self._book.fates[Fate.INVALID] += out.invalid
            self._book.fates[Fate.UNATTRIBUTED] += out.unattributed
            self._book.fates[Fate.CROWDED] += out.crowded
        self._known.update(dict.fromkeys(fresh))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return len(traces)


def _span(stretch: Stretch) -> str:
    return f"{stretch[1] - stretch[0]:.0f}"


def _trace_ids(request: ExportTraceServiceRequest) -> set[str]:
    return {
        span.trace_id.hex()
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def _spans(request: ExportTraceServiceRequest) -> int:
    return sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)


def _from_v3(documents: Sequence[object]) -> Json:
    """Return one OTLP/JSON of a v3 answer: chunks, each the result of a stream."""
    resources: list[object] = []
    for document in documents:
        if not isinstance(document, dict):
            raise Trouble(Absence.INVALID, "the answer is JSON, but no list of traces")
        error = document.get("error")
        if error:
            raise Trouble(Absence.PARTIAL, f"Jaeger broke off: {str(error)[:200]}")
        result = document.get("result", document)
        found = result.get("resourceSpans", []) if isinstance(result, dict) else None
        if not isinstance(found, list) or (result and not found and "resourceSpans" not in result):
            raise Trouble(Absence.INVALID, "the answer has no list of resource spans")
        resources.extend(found)
    for span in _spans_of(resources):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = _as_hex(span[key])
    return {"resourceSpans": resources}


def _spans_of(resources: Sequence[object]) -> Iterator[Json]:
    for resource in resources:
        for scope in _dicts(resource, "scopeSpans"):
            yield from _dicts(scope, "spans")


def _dicts(parent: object, key: str) -> list[Json]:
    found = parent.get(key) if isinstance(parent, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _as_hex(value: object) -> str:
    """Return an id as hexadecimal; some versions write base64, which then ends in "="."""
    text = value if isinstance(value, str) else ""
    if not text.endswith("="):
        return text
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return "?"


def _from_v1(document: object) -> Json:
    """Return OTLP/JSON of a v1 answer."""
    if not isinstance(document, dict):
        raise Trouble(Absence.INVALID, "the answer is JSON, but no list of traces")
    if document.get("errors"):
        raise Trouble(Absence.PARTIAL, f"Jaeger says: {str(document['errors'])[:200]}")
    resources: list[Json] = []
    for trace in _dicts(document, "data"):
        processes = trace.get("processes")
        known = processes if isinstance(processes, dict) else {}
        by_process: dict[str, list[Json]] = {}
        for span in _dicts(trace, "spans"):
            by_process.setdefault(str(span.get("processID")), []).append(_span_v1(span))
        for process, spans in by_process.items():
            of = known.get(process)
            who = {"service.name": str(of.get("serviceName", "")) if isinstance(of, dict) else ""}
            attributes = _attributes({**_tags(of, "tags"), **who})
            scopes = [{"spans": spans}]
            resources.append({"resource": {"attributes": attributes}, "scopeSpans": scopes})
    return {"resourceSpans": resources}


def _span_v1(span: Json) -> Json:
    tags = _tags(span, "tags")
    start, length = _whole(span.get("startTime")), _whole(span.get("duration"))
    made: Json = {
        "traceId": str(span.get("traceID", "")).zfill(_HEX_DIGITS),
        "spanId": str(span.get("spanID", "")).zfill(_HEX_DIGITS // 2),
        "name": str(span.get("operationName", "")),
        "kind": _SPAN_KINDS.get(str(tags.get("span.kind")), 1),
        "startTimeUnixNano": str(1000 * start),
        "endTimeUnixNano": str(1000 * (start + length)),
        "attributes": _attributes(tags),
        "events": [event for log in _dicts(span, "logs") if (event := _event(log))],
    }
    parents = [r for r in _dicts(span, "references") if r.get("refType") == "CHILD_OF"]
    if parents:
        made["parentSpanId"] = str(parents[0].get("spanID", "")).zfill(_HEX_DIGITS // 2)
    if tags.get("error") in (True, "true") or tags.get("otel.status_code") == "ERROR":
        made["status"] = {"code": _ERROR}
    return made


def _event(log: Json) -> Json | None:
    """Return an exception of a span's logs; other logs are of no use here."""
    fields = _tags(log, "fields")
    kind = fields.get("exception.type", fields.get("error.kind"))
    if kind is None:
        return None
    return {"name": "exception", "attributes": _attributes({"exception.type": kind})}


def _tags(holder: object, key: str) -> dict[str, object]:
    return {str(tag.get("key")): tag.get("value") for tag in _dicts(holder, key)}


def _attributes(tags: Mapping[str, object]) -> list[Json]:
    made: list[Json] = []
    for key, value in tags.items():
        if isinstance(value, int) and not isinstance(value, bool):
            made.append({"key": key, "value": {"intValue": str(value)}})
        elif isinstance(value, str):
            made.append({"key": key, "value": {"stringValue": value}})
    return made


def _whole(value: object) -> int:
    """Return microseconds, 0 for nonsense: such a span is then invalid."""
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else 0
