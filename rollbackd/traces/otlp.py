"""OTLP over HTTP, decoded: protobuf or JSON in, columns of spans out."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from rollbackd.traces.catalogue import Catalogue, CatalogueFull, Instance
from rollbackd.traces.semantics import (
    BARE_METHOD,
    EXCEPTION_KEY,
    ROUTE_KEY,
    SERVER_ERROR,
    error_type,
    http_status,
)
from rollbackd.traces.spans import NO_SPAN, SPAN_BYTES, TRACE_BYTES, Fields, SpanColumns

_ERROR = Status.STATUS_CODE_ERROR
_HTTP_KINDS = frozenset({Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT})
_5XX = re.compile(
    rb"http\.(?:response\.)?status_code\x12"
    rb"(?:\x03\x18(?:[\xf4-\xff]\x03|[\x80-\xd7]\x04)|\x05\x0a\x035\d\d)"
)
"""A status of 500 to 599 in the wire format, as a number or a text. Not every instrumentation sets a
span's status with it, and looking at every attribute of every span costs more than all the rest."""

MAX_ATTRIBUTE = 256
"""Characters of an attribute's text that are read."""
MAX_NESTING = 32
"""No OTLP message is nested deeper, attributes within attributes apart."""


class NotOtlp(ValueError):
    """The body is no export request; nothing of it was counted."""


@dataclass(slots=True)
class Decoded:
    """What came of one request.

    Attributes:
        columns: the usable spans. invalid: spans with impossible ids or times, and why the last.
        unattributed: spans of resources that name no instance. crowded: beyond a limit.
    """

    columns: SpanColumns
    invalid: int = 0
    why: str = ""
    unattributed: int = 0
    crowded: int = 0


def parse_protobuf(body: bytes) -> ExportTraceServiceRequest:
    """Parse a protobuf body. Raises NotOtlp."""
    try:
        request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise NotOtlp("the body is not a complete OTLP protobuf message") from error
    return request


def parse_json(body: bytes) -> ExportTraceServiceRequest:
    """Parse an OTLP/JSON body, whose ids are hexadecimal. Raises NotOtlp."""
    try:
        return request_of(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise NotOtlp(f"the body is not OTLP/JSON: {str(error)[:200]}") from error


def request_of(values: object) -> ExportTraceServiceRequest:
    """Return the request that parsed OTLP/JSON says. Raises ValueError or RecursionError."""
    if not isinstance(values, dict):
        raise ValueError("expected an object")  # noqa: TRY004  one kind of error for bad input
    for resource in _objects(values, "resourceSpans"):
        for scope in _objects(resource, "scopeSpans"):
            for span in _objects(scope, "spans"):
                _rewrite_ids(span)
                for link in _objects(span, "links"):
                    _rewrite_ids(link)
    request = ExportTraceServiceRequest()
    try:
        ParseDict(values, request, ignore_unknown_fields=True, max_recursion_depth=MAX_NESTING)
    except (ParseError, TypeError, AttributeError, SystemError) as error:
        # the last is what protobuf's C code makes of half a surrogate pair as a field's name
        raise ValueError(str(error)[:200]) from error
    return request


def _objects(parent: Mapping[str, object], key: str) -> list[dict[str, object]]:
    found = parent.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"{key} is not a list of objects")
    return found


def _rewrite_ids(holder: dict[str, object]) -> None:
    """Turn hexadecimal ids into base64, which protobuf's JSON mapping wants; bad ones stay bad."""
    for key in ("traceId", "spanId", "parentSpanId"):
        text = holder.get(key)
        if not text:
            continue
        try:
            raw = binascii.unhexlify(text) if isinstance(text, str) else b"?"
        except (binascii.Error, ValueError):
            raw = b"?"
        holder[key] = base64.b64encode(raw).decode()


_Part = tuple[Sequence[Span], Fields, list[int], dict[int, str]]
_FIELDS = attrgetter(
    "trace_id",
    "span_id",
    "parent_span_id",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "name",
    "kind",
)


def decode(
    request: ExportTraceServiceRequest, catalogue: Catalogue, body: bytes | None, now: float
) -> Decoded:
    """Reduce a request to columns, learning its instances and operations.

    Args:
        request: parsed.
        catalogue: numbers what is new; the caller holds its lock.
        body: the protobuf it was parsed from, to see quickly that it tells of no 5xx; None when
            there is no such thing.
        now: seconds since the epoch; when its instances were seen.
    """
    out, parts = Decoded(SpanColumns.empty()), list[_Part]()
    hidden = None if body is None else len(_5XX.findall(body))
    columns: list[SpanColumns] = []
    for resource in request.resource_spans:
        count = sum(len(scope.spans) for scope in resource.scope_spans)
        try:
            instance = catalogue.instance(_values(resource.resource.attributes))
        except CatalogueFull:
            out.crowded += count
            continue
        if instance is None:
            out.unattributed += count
            continue
        instance.seen = now
        for scope in resource.scope_spans:
            if not scope.spans:
                continue
            spans, fields = _usable(scope.spans, out)
            if spans:
                rows = _rows(spans, fields, instance, catalogue)
                failed, explained = _failures(spans)
                parts.append((spans, fields, rows, failed))
                hidden = None if hidden is None else hidden - explained
    for spans, fields, rows, failed in parts:
        errors = failed | _unmarked(spans) if hidden != 0 else failed
        part = SpanColumns.of(fields, rows, sorted(errors.items()))
        known = part.row >= 0
        out.crowded += len(part) - int(known.sum())
        columns.append(part.chosen(known))
    out.columns = SpanColumns.joined(columns)
    return out


def _usable(spans: Sequence[Span], out: Decoded) -> tuple[Sequence[Span], Fields]:
    """Return the spans with possible ids and times and their fields, and count the others.

    All of them, usually; that is seen at once, without a look at each.
    """
    fields = _fields(spans)
    traces, own, parents, starts, ends, _, _ = fields
    sizes = (set(map(len, traces)), set(map(len, own)), set(map(len, parents)))
    if sizes[0] == {TRACE_BYTES} and sizes[1] == {SPAN_BYTES} and sizes[2] <= {0, SPAN_BYTES}:
        begun = np.array(starts, dtype=np.uint64)
        if begun.all() and (begun <= np.array(ends, dtype=np.uint64)).all() and NO_SPAN not in own:
            return spans, fields
    kept = [span for span in spans if not (why := _complaint(span)) or _note(out, why)]
    return kept, _fields(kept) if kept else fields


def _fields(spans: Sequence[Span]) -> Fields:
    """Return trace ids, span ids, parents, starts, ends, names, kinds. At least one span."""
    return Fields(*zip(*map(_FIELDS, spans), strict=True))


def _note(out: Decoded, why: str) -> bool:
    """Count an invalid span; False, so that it is left out."""
    out.invalid += 1
    out.why = why
    return False


def _complaint(span: Span) -> str:
    """Return what is wrong with a span, or ""."""
    if len(span.trace_id) != TRACE_BYTES or len(span.span_id) != SPAN_BYTES:
        return "a trace id must have 16 bytes and a span id 8"
    if span.span_id == NO_SPAN or len(span.parent_span_id) not in {0, SPAN_BYTES}:
        return "a span id must not be all zero, and a parent's must have 8 bytes"
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
        return "a span must have a start, and not end before it"
    return ""


def _rows(
    spans: Sequence[Span], fields: Fields, instance: Instance, catalogue: Catalogue
) -> list[int]:
    """Return each span's row, -1 where there is no room for a new one."""
    known = instance.rows
    rows = [known.get(each, -1) for each in zip(fields.names, fields.kinds, strict=True)]
    if -1 in rows:
        for i, row in enumerate(rows):
            if row < 0:
                try:
                    rows[i] = _new_row(spans[i], instance, catalogue)
                except CatalogueFull:
                    continue
    return rows


def _failures(spans: Sequence[Span]) -> tuple[dict[int, str], int]:
    """Return the spans marked as failed with their error types, and how many of them tell a 5xx."""
    failed: dict[int, str] = {}
    explained = 0
    for i in [i for i, span in enumerate(spans) if span.status.code == _ERROR]:
        failed[i] = _error_of(spans[i])
        explained += len(_5XX.findall(spans[i].SerializeToString()))
    return failed, explained


def _unmarked(spans: Sequence[Span]) -> dict[int, str]:
    """Return the spans that tell of a 5xx and are not marked as failed."""
    found = {}
    for i, span in enumerate(spans):
        if span.status.code == _ERROR or span.kind not in _HTTP_KINDS:
            continue
        if _5XX.search(span.SerializeToString()):
            status = http_status(_values(span.attributes))
            if status is not None and status >= SERVER_ERROR:
                found[i] = _error_of(span)
    return found


def _new_row(span: Span, instance: Instance, catalogue: Catalogue) -> int:
    """Return the row of a name that was not seen yet; a bare method is completed by its route."""
    name = span.name
    if BARE_METHOD.fullmatch(name):
        route = _values(span.attributes).get(ROUTE_KEY)
        if isinstance(route, str) and route:
            # not remembered under the bare name: the next span may have another route
            full = f"{name.removeprefix('HTTP ')} {route}"
            return catalogue.row(instance, full, span.kind)
    return catalogue.row(instance, name, span.kind)


def _error_of(span: Span) -> str:
    exception = ""
    for event in span.events:
        if event.name == "exception":
            exception = str(_values(event.attributes).get(EXCEPTION_KEY) or exception)
    return error_type(_values(span.attributes), exception)


def _values(attributes: Sequence[KeyValue]) -> dict[str, object]:
    """Return plain values; lists and maps are of no use here and become None."""
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: AnyValue) -> object:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value[:MAX_ATTRIBUTE]
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case _:
            return None
