"""PromQL vector selectors in text, parsed when there is one to parse."""

import re
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from analyzer.signal import Matcher, Selector
from rollbackd.config.quantities import fault, shown

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_EXAMPLE = """such as http_requests_total{code=~"5.."}"""
_RAW = (
    "give the raw counter: rollbackd takes the differences itself, for each instance, and knows "
    "about restarts"
)
_NOT_SELECTORS = {
    "Call": ("a function call", _RAW),
    "AggregateExpr": ("an aggregation", _RAW),
    "MatrixSelector": ("a range", "leave out the [duration]"),
    "SubqueryExpr": ("a subquery", _RAW),
    "BinaryExpr": ("a calculation", "give total and bad as two selectors"),
    "UnaryExpr": ("a calculation", "give total and bad as two selectors"),
    "ParenExpr": ("in parentheses", "leave them out"),
    "NumberLiteral": ("a number", _EXAMPLE),
    "StringLiteral": ("a string", "leave out the quotes around the metric's name"),
}


def parse_selector(value: object) -> Selector:
    """Return the selector that a text says.

    Raises:
        PydanticCustomError: not PromQL, not a plain vector selector, or without a metric name.
    """
    # A Rust extension; --help and the schema have nothing to parse.
    import promql_parser  # noqa: PLC0415

    if not isinstance(value, str):
        raise fault(f"expected a PromQL selector, got {shown(value)}", _EXAMPLE)
    try:
        parsed = promql_parser.parse(value)
    except ValueError as error:
        raise fault(f"{shown(value)} is not PromQL: {error}", _EXAMPLE) from error
    if not isinstance(parsed, promql_parser.VectorSelector):
        kind, hint = _NOT_SELECTORS.get(type(parsed).__name__, ("an expression", _EXAMPLE))
        raise fault(f"{shown(value)} is {kind}, not a selector", hint)
    if parsed.offset is not None or parsed.at is not None:
        raise fault(f"{shown(value)} is moved in time", "leave out offset and @")
    if parsed.matchers.or_matchers:
        raise fault(f"{shown(value)} has alternatives", 'use a regex: code=~"500|503"')
    return _selector(value, parsed)


def _selector(text: str, parsed: Any) -> Selector:  # noqa: ANN401 - the parser has no types
    operators = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    matchers = tuple(
        Matcher(m.name, operators[str(m.op).removeprefix("MatchOp.")], m.value)
        for m in parsed.matchers.matchers
    )
    names = [m.value for m in matchers if m.label == "__name__" and m.op == "="]
    metric = parsed.name or (names[0] if len(names) == 1 else None)
    labels = tuple(m for m in matchers if m.label != "__name__")
    if metric is None or len(labels) + len(names) != len(matchers):
        raise fault(f"{shown(text)} does not name one metric", _EXAMPLE)
    for name, allowed in [(metric, _METRIC), *((m.label, _LABEL) for m in labels)]:
        if not allowed.fullmatch(name):
            raise fault(
                f"{shown(text)}: the name {shown(name)} needs quotes in PromQL",
                "only letters, digits and _ are supported",
            )
    return Selector(metric, labels)


def parse_buckets(value: object) -> Selector:
    """Return the selector of a histogram's buckets. Raises as ``parse_selector``."""
    selector = parse_selector(value)
    if any(m.label == "le" for m in selector.matchers):
        raise fault(f"{shown(value)} picks single buckets", "leave out le: all of them are needed")
    return selector


SelectorText = Annotated[
    Selector,
    PlainValidator(parse_selector),
    WithJsonSchema({"type": "string", "examples": ['http_requests_total{code=~"5.."}']}),
]
"""A PromQL vector selector with a metric name."""

BucketsText = Annotated[
    Selector,
    PlainValidator(parse_buckets),
    WithJsonSchema({"type": "string", "examples": ["http_request_duration_seconds_bucket"]}),
]
"""A PromQL vector selector of cumulative histogram buckets."""
