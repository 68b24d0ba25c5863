"""Decoding OTLP: both formats alike, bad input counted and never a crash."""

import json
from collections.abc import Mapping

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rollbackd.traces.catalogue import Bounds, Catalogue
from rollbackd.traces.otlp import Decoded, NotOtlp, decode, parse_json, parse_protobuf
from tests.traces.building import CLIENT, INTERNAL, NOW, Made, one_call, request, span_id


def decoded(made: ExportTraceServiceRequest, catalogue: Catalogue | None = None) -> Decoded:
    return decode(made, catalogue or Catalogue(), made.SerializeToString(), NOW)


def as_otlp_json(made: ExportTraceServiceRequest) -> bytes:
    values = MessageToDict(made)
    for resource in values["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span, original in zip(
                scope["spans"], made.resource_spans[0].scope_spans[0].spans, strict=True
            ):
                span["traceId"] = original.trace_id.hex()
                span["spanId"] = original.span_id.hex()
                if original.parent_span_id:
                    span["parentSpanId"] = original.parent_span_id.hex()
    return json.dumps(values).encode()


def names(catalogue: Catalogue) -> list[str]:
    return [operation.label for operation in catalogue.operations]


def test_json_and_protobuf_say_the_same() -> None:
    made = request([*one_call(calls=3), Made(failed=True, exception="KeyError", parent=span_id())])
    first, second = Catalogue(), Catalogue()
    binary = decode(parse_protobuf(made.SerializeToString()), first, None, NOW)
    text = decode(parse_json(as_otlp_json(made)), second, None, NOW)
    assert names(first) == names(second) == ["shop|client|SELECT items", "shop|server|GET /"]
    for column in ("trace", "span", "parent", "start", "end", "row", "failed"):
        assert (getattr(binary.columns, column) == getattr(text.columns, column)).all()
    assert binary.columns.errors == text.columns.errors == ((4, "KeyError"),)


@pytest.mark.parametrize(
    ("attributes", "kind", "failed"),
    [
        ({"http.response.status_code": 503}, CLIENT, True),
        ({"http.status_code": 500}, CLIENT, True),
        ({"http.status_code": "502"}, CLIENT, True),
        ({"http.status_code": 599}, CLIENT, True),
        ({"http.response.status_code": 404}, CLIENT, False),
        ({"http.response.status_code": 499}, CLIENT, False),
        ({"http.response.status_code": 600}, CLIENT, False),
        ({"http.response.status_code": 500}, INTERNAL, False),
        ({"other": 503}, CLIENT, False),
    ],
)
@pytest.mark.parametrize("marked", [0, 1, 3])
def test_a_5xx_is_an_error_whether_marked_or_not(
    attributes: Mapping[str, object], kind: object, failed: bool, marked: int
) -> None:
    others = [
        Made(failed=True, attributes={"http.response.status_code": 500}) for _ in range(marked)
    ]
    made = request([*others, Made(kind=kind, attributes=attributes)])  # type: ignore[arg-type]
    assert decoded(made).columns.failed.tolist() == [True] * marked + [failed]


@pytest.mark.parametrize(
    ("span", "error"),
    [
        (Made(failed=True), "error"),
        (Made(failed=True, attributes={"http.response.status_code": 503}), "HTTP 503"),
        (Made(failed=True, attributes={"error.type": "500", "http.status_code": 500}), "HTTP 500"),
        (Made(failed=True, attributes={"error.type": "timeout"}), "timeout"),
        (Made(failed=True, attributes={"rpc.grpc.status_code": 14}), "gRPC 14"),
        (
            Made(failed=True, exception="shop.NoStock", attributes={"error.type": "x"}),
            "shop.NoStock",
        ),
        (Made(failed=True, attributes={"error.type": "no item 4711"}), "no item {}"),
    ],
)
def test_error_types(span: Made, error: str) -> None:
    assert decoded(request([span])).columns.errors == ((0, error),)


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("GET /users/42", "GET /users/{}"),
        (
            "GET /users/42/orders/7f9c2ba4-e88f-4bd7-a3c5-1f6d2a6c1b20?x=1",
            "GET /users/{}/orders/{}",
        ),
        ("GET https://api.example.com:8443/v1/items/123456", "GET /v1/items/{}"),
        ("/static/app.9f86d081884c7d65.js", "/static/app.{}.js"),
        ("GET /users/{id}", "GET /users/{id}"),
        ("SELECT shop.items", "SELECT shop.items"),
        ("process order 81723", "process order {}"),
        ("find 'O''Brien'", "find {}{}"),
        ("checkout", "checkout"),
        ("", "(no name)"),
    ],
)
def test_names_lose_their_values(name: str, known_as: str) -> None:
    catalogue = Catalogue()
    decoded(request([Made(name)]), catalogue)
    assert catalogue.operations[0].name == known_as


def test_a_bare_method_is_completed_by_its_route() -> None:
    catalogue = Catalogue()
    routes = [Made("GET", attributes={"http.route": f"/{r}/{{id}}"}) for r in ("a", "b", "a")]
    decoded(request([*routes, Made("HTTP GET", attributes={"http.route": "/a/{id}"})]), catalogue)
    assert {o.name for o in catalogue.operations} == {"GET /a/{id}", "GET /b/{id}"}


def test_operations_beyond_the_limit_are_other_and_rows_are_bounded() -> None:
    catalogue = Catalogue(bounds=Bounds(operations=3, rows=5))
    out = decoded(request([Made(f"job-{chr(97 + i)}") for i in range(20)]), catalogue)
    assert [o.name for o in catalogue.operations] == ["job-a", "job-b", "job-c", "(other)"]
    assert len(out.columns) == 20
    more = decoded(request([Made(f"job-{c}") for c in "abc"], pod="pod-2"), catalogue)
    assert (len(more.columns), more.crowded) == (1, 2)


def test_instances_beyond_the_limit_and_unknown_ones_are_counted() -> None:
    catalogue = Catalogue(bounds=Bounds(instances=1))
    assert decoded(request([Made()]), catalogue).crowded == 0
    assert decoded(request([Made(), Made()], pod="pod-2"), catalogue).crowded == 2
    nobody = request([Made()], pod="", **{"k8s.namespace.name": ""})
    assert decoded(nobody, catalogue).unattributed == 1


@pytest.mark.parametrize(
    "span",
    [
        Made(trace=b"\1" * 15),
        Made(span=b"\1" * 7),
        Made(span=bytes(8)),
        Made(parent=b"\1" * 3),
        Made(start=0.2, end=0.1),
        Made(start=-NOW, end=0.1),
    ],
)
def test_impossible_spans_are_left_out_and_counted(span: Made) -> None:
    out = decoded(request([Made(), span, Made("POST /")]))
    assert (len(out.columns), out.invalid) == (2, 1)
    assert out.why


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    for parse in (parse_protobuf, parse_json):
        try:
            made = parse(body)
        except NotOtlp:
            continue
        decode(made, Catalogue(), body, NOW)


@settings(deadline=None)
@given(st.integers(0, 400))
def test_a_truncated_body_is_decoded_or_refused(size: int) -> None:
    whole = request(one_call(calls=3)).SerializeToString()
    try:
        made = parse_protobuf(whole[:size])
    except NotOtlp:
        return
    assert len(decode(made, Catalogue(), whole[:size], NOW).columns) <= 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "resource",
                    "attributes",
                    "traceId",
                    "spanId",
                    "key",
                    "value",
                    "links",
                    "name",
                    "kind",
                    "status",
                    "events",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def test_half_a_surrogate_pair_where_an_object_belongs_is_refused() -> None:
    for place in ('"\\ud800"', '{"\\ud800": 1}'):
        body = f'{{"resourceSpans": [{{"resource": {place}}}]}}'
        with pytest.raises(NotOtlp, match="the body is not OTLP/JSON"):
            parse_json(body.encode())


@settings(deadline=None)
@given(json_values)
def test_any_json_is_decoded_or_refused(values: object) -> None:
    try:
        made = parse_json(json.dumps(values).encode())
    except NotOtlp:
        return
    decode(made, Catalogue(), None, NOW)
