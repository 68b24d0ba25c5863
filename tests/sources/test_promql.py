"""The text of queries: the same for the same question, and never longer than allowed."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.sample import Grid, Query
from analyzer.signal import Matcher, Selector
from rollbackd.sources.http_reply import Trouble
from rollbackd.sources.label_regex import compiled
from rollbackd.sources.promql import pieces, range_params, rendered
from tests.sources.conftest import UNHURRIED

VALUES = st.frozensets(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8),
    max_size=12,
)


def test_one_query_for_many() -> None:
    query = Query(
        Selector("requests_total", (Matcher("code", "=~", "5.."),)),
        ("namespace", "pod"),
        (("namespace", frozenset({"shop"})), ("pod", frozenset({"b", "a.1"}))),
    )
    assert rendered(query, 1000) == [
        'sum by (namespace, pod) (requests_total{code=~"5..",namespace=~"shop",pod=~"a\\\\.1|b"})'
    ]


def test_without_restriction() -> None:
    assert rendered(Query(Selector("up"), ()), 10) == ["sum by () (up)"]


def test_restricted_by_what_is_not_kept() -> None:
    with pytest.raises(Trouble, match="restricted by code"):
        rendered(Query(Selector("up"), ("pod",), (("code", frozenset({"1"})),)), 100)


@UNHURRIED
@given(VALUES, VALUES, st.integers(1, 200))
def test_parts_cover_everything_once(
    pods: frozenset[str], codes: frozenset[str], max_bytes: int
) -> None:
    query = Query(Selector("x"), ("pod", "code"), (("pod", pods), ("code", codes)))
    texts = rendered(query, max_bytes)
    covered: list[tuple[str, str]] = []
    for text in texts:
        promql_parser.parse(text)
        by_label = {}
        for label, values in query.restrict:
            quoted = text.partition(f'{label}=~"')[2]
            pattern = compiled(_unquoted(quoted))
            by_label[label] = [value for value in values if pattern.fullmatch(value)]
        covered += [(pod, code) for pod in by_label["pod"] for code in by_label["code"]]
    assert sorted(covered) == sorted((pod, code) for pod in pods for code in codes)


@UNHURRIED
@given(st.frozensets(st.text("abc\\.", min_size=1, max_size=20), max_size=50))
def test_parts_are_as_short_as_asked(pods: frozenset[str]) -> None:
    query = Query(Selector("x"), ("pod",), (("pod", pods),))
    texts = rendered(query, 200)
    assert all(len(text.encode()) <= 200 for text in texts)
    assert texts == rendered(query, 200)


def _unquoted(text: str) -> str:
    """Return a PromQL string up to its closing quote."""
    out, index = [], 0
    while text[index] != '"':
        if text[index] == "\\":
            index += 1
            out.append({"n": "\n"}.get(text[index], text[index]))
        else:
            out.append(text[index])
        index += 1
    return "".join(out)


def test_times_are_exact() -> None:
    params = range_params(Grid(1_700_000_000.1, 0.1, 11))
    assert params == {"start": "1700000000.100", "end": "1700000001.100", "step": "0.100"}
    assert range_params(Grid(-1.5, 5.0, 2))["start"] == "-1.500"


@UNHURRIED
@given(st.integers(1, 1000), st.integers(1, 100))
def test_pieces_make_up_the_grid(count: int, max_points: int) -> None:
    grid = Grid(1_700_000_000.0, 0.25, count)
    parts = list(pieces(grid, max_points))
    times = [time for _, piece in parts for time in piece.times]
    assert times == list(grid.times)
    assert all(piece.count <= max_points for _, piece in parts)
    assert [first for first, _ in parts] == list(range(0, count, max_points))
