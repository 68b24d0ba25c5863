"""Patterns mean what they mean to Prometheus."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.signal import Matcher
from rollbackd.sources.label_regex import compiled, predicate, quoted
from tests.sources.conftest import UNHURRIED


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("5..", ["500", "5xx"], ["50", "5000", "1500"]),
        ("a|bc", ["a", "bc"], ["ac", "abc", "b"]),
        ("", [""], ["x", "\n"]),
        (".*", ["", "x"], ["a\nb"]),
        ("(?s).*", ["a\nb"], []),
        ("(?i)GET", ["get", "Get"], ["gett"]),
        (r"\d+", ["12"], ["٣", ""]),
        (r"\w+\.\w+", ["a.b"], ["é.b", "axb"]),
        ("a$", ["a"], ["a\n"]),
        ("^a", ["a"], ["ba"]),
        (r"\Aa\z", ["a"], ["a\n"]),
        ("[[:alpha:]]+", ["abc"], ["1", ""]),
        ("[^[:digit:]x]", ["a"], ["1", "x"]),
        ("[]a]+", ["]a]"], ["b"]),
        ("[^]a]", ["b"], ["]", "a"]),
        (r"[\]$^.]", ["]", "$", "^", "."], ["x"]),
        ("[[]", ["["], ["x"]),
        ("[a-z&&x||~~]", ["a", "&", "|", "~"], ["A", "["]),
        (r"a\+b", ["a+b"], ["aab"]),
        (r"\++", ["+", "++"], [""]),
        ("(?P<name>a)b?", ["a", "ab"], ["b"]),
        ("a{2}", ["aa"], ["a", "aaa"]),
        ("x*?", ["", "xx"], ["y"]),
    ],
)
def test_what_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    for value in matching:
        assert compiled(pattern).fullmatch(value), value
    for value in others:
        assert not compiled(pattern).fullmatch(value), value


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        r"(a)\1",
        "(?P<n>a)(?P=n)",
        "(?>a)",
        "a++",
        "a*+",
        "a?+",
        "a{2}+",
        "(a",
        "a)",
        "[a",
        "*",
        "a**",
        r"\p{L}",
        r"\Qa\E",
        "[[:nope:]]",
        "(?#comment)",
        "(?(1)a|b)",
        "a(?i)b",
        "a{99999999999}",
    ],
)
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|class"):
        compiled(pattern)


@UNHURRIED
@given(st.text(), st.text())
def test_a_quoted_value_matches_itself_only(value: str, other: str) -> None:
    pattern = compiled(quoted(value))
    assert pattern.fullmatch(value)
    assert bool(pattern.fullmatch(other)) == (value == other)


@UNHURRIED
@given(st.text("ab[]^$.|()*+?{}\\-1,:", max_size=12))
def test_any_pattern_is_compiled_or_refused(text: str) -> None:
    try:
        pattern = compiled(text)
    except ValueError:
        return
    assert isinstance(pattern, re.Pattern)


def test_absent_labels_are_empty() -> None:
    assert predicate(Matcher("pod", "=", ""))("")
    assert predicate(Matcher("pod", "=~", ".*"))("")
    assert not predicate(Matcher("pod", "!=", ""))("")
    assert predicate(Matcher("pod", "!~", ".+"))("")
