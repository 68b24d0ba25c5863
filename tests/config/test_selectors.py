import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from analyzer.signal import Matcher, Selector
from rollbackd.config.selectors import parse_buckets, parse_selector


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("http_requests_total", Selector("http_requests_total")),
        ("job:errors:sum{}", Selector("job:errors:sum")),
        (
            'x{code=~"5..",job!="a",z!~"b|c",k="v"}',
            Selector(
                "x",
                (
                    Matcher("code", "=~", "5.."),
                    Matcher("job", "!=", "a"),
                    Matcher("z", "!~", "b|c"),
                    Matcher("k", "=", "v"),
                ),
            ),
        ),
        ('{__name__="x",a="b"}', Selector("x", (Matcher("a", "=", "b"),))),
        ("x{a='it\\'s'}", Selector("x", (Matcher("a", "=", "it's"),))),
    ],
)
def test_selectors(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_what_we_print_is_what_we_read(value: str) -> None:
    selector = Selector("x", (Matcher("a", "=", value),))
    assert parse_selector(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("rate(x[5m])", "is a function call, not a selector", "give the raw counter"),
        ("sum(x)", "is an aggregation, not a selector", "give the raw counter"),
        ("x[5m]", "is a range, not a selector", r"leave out the \[duration\]"),
        ("x[5m:1m]", "is a subquery", "raw counter"),
        ("x / y", "is a calculation", "two selectors"),
        ("-x", "is a calculation", "two selectors"),
        ("(x)", "is in parentheses", "leave them out"),
        ("1", "is a number", "such as"),
        ('"x"', "is a string", "quotes"),
        ("x offset 5m", "is moved in time", "offset"),
        ("x @ 0", "is moved in time", "offset"),
        ('x{a="b" or c="d"}', "has alternatives", "regex"),
        ('{a="b"}', "does not name one metric", "such as"),
        ('{__name__=~"a|b"}', "does not name one metric", "such as"),
        ('{"x.y"}', "needs quotes", "only letters"),
        ('x{"a.b"="c"}', "needs quotes", "only letters"),
        ("x{", "is not PromQL", "such as"),
        ('x{a=~"("}', "is not PromQL", "such as"),
        ("", "is not PromQL", "such as"),
        (5, "expected a PromQL selector, got the number 5", "such as"),
    ],
)
def test_what_is_no_selector_is_refused_with_a_hint(text: object, says: str, hint: str) -> None:
    with pytest.raises(PydanticCustomError, match=says) as caught:
        parse_selector(text)
    assert re.search(hint, (caught.value.context or {})["hint"])


def test_single_buckets_are_refused() -> None:
    assert parse_buckets("x_bucket").metric == "x_bucket"
    with pytest.raises(PydanticCustomError, match="picks single buckets"):
        parse_buckets('x_bucket{le="0.5"}')
