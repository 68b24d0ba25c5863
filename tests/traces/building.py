"""Making export requests the way an SDK would, without one."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from analyzer.traces.operations import Seen

NOW = 1_800_000_000.0
SERVER, CLIENT, INTERNAL = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Made:
    """A span to be; times in seconds around NOW."""

    name: str = "GET /"
    kind: Span.SpanKind.ValueType = SERVER
    start: float = 0.0
    end: float = 0.1
    trace: bytes = b"\1" * 16
    span: bytes = b""
    parent: bytes = b""
    failed: bool = False
    attributes: Mapping[str, object] = field(default_factory=dict)
    exception: str = ""


def span_id() -> bytes:
    return next(_numbers).to_bytes(8, "big")


def trace_id() -> bytes:
    return next(_numbers).to_bytes(16, "big")


def pairs(attributes: Mapping[str, object]) -> list[KeyValue]:
    made = []
    for key, value in attributes.items():
        pair = KeyValue(key=key)
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = str(value)
        made.append(pair)
    return made


def request(
    spans: Iterable[Made], *, pod: str = "pod-1", service: str = "shop", **resource: object
) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    one = made.resource_spans.add()
    who = {"service.name": service, "k8s.pod.name": pod, "k8s.namespace.name": "shop", **resource}
    one.resource.attributes.extend(pairs({key: value for key, value in who.items() if value}))
    scope = one.scope_spans.add()
    for span in spans:
        each = scope.spans.add(
            trace_id=span.trace,
            span_id=span.span or span_id(),
            parent_span_id=span.parent,
            name=span.name,
            kind=span.kind,
            start_time_unix_nano=round((NOW + span.start) * 1e9),
            end_time_unix_nano=round((NOW + span.end) * 1e9),
        )
        each.attributes.extend(pairs(span.attributes))
        if span.failed:
            each.status.code = 2
        if span.exception:
            event = each.events.add(name="exception")
            event.attributes.extend(pairs({"exception.type": span.exception}))
    return made


def one_call(
    *, calls: int = 1, own: float = 0.02, query: float = 0.01, failed: bool = False
) -> list[Made]:
    """Return a trace: a request that asks the database some times, one after another."""
    trace, root = trace_id(), span_id()
    length = own + calls * query
    children = [
        Made("SELECT items", CLIENT, i * query, (i + 1) * query, trace, span_id(), root)
        for i in range(calls)
    ]
    return [*children, Made("GET /", SERVER, 0.0, length, trace, root, failed=failed)]


def spans_by_operation(seen: Seen) -> dict[str, tuple[float, float]]:
    """Return the spans of the canary and of the baseline."""
    sides = zip(seen.canary.tolist(), seen.baseline.tolist(), strict=True)
    return dict(zip(seen.operations, sides, strict=True))
