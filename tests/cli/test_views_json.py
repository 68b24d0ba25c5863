import json
from dataclasses import replace
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.views import SignalPoint, SignalView, TimelineItem, WatchView
from rollbackd.views_json import (
    NotAView,
    view_from_json,
    view_to_json,
    views_from_json,
    views_to_json,
)
from tests.cli.sample_views import blind, degraded, healthy

number = st.floats(allow_nan=False)
maybe = st.none() | number
text = st.text(max_size=8)
points = st.builds(SignalPoint, number, maybe, maybe, maybe, maybe, maybe, number)
signals = st.builds(
    SignalView, text, text, text, text, number, number, text, st.none() | text,
    st.lists(points, max_size=3).map(tuple),
)  # fmt: skip
items = st.builds(TimelineItem, number, text, text)
views = st.builds(
    WatchView, text, text, text, text, text, text, text, text,
    st.lists(text, max_size=2).map(tuple), number, number, number, number, st.booleans(), text,
    st.none() | text, st.lists(signals, max_size=2).map(tuple),
    st.lists(items, max_size=2).map(tuple),
)  # fmt: skip


@given(views)
def test_a_view_comes_back_as_it_was(view: WatchView) -> None:
    written = json.dumps(view_to_json(view), allow_nan=False)
    assert view_from_json(json.loads(written)) == view


def test_lists_of_views_come_back_as_they_were() -> None:
    several = [degraded(), healthy(), blind()]
    assert views_from_json(json.loads(json.dumps(views_to_json(several)))) == several


def test_numbers_that_json_does_not_have_are_written_as_text() -> None:
    plain = view_to_json(replace(healthy(), evidence=inf, limit=-inf, updated_at=nan))
    assert (plain["evidence"], plain["limit"], plain["updated_at"]) == (
        "Infinity",
        "-Infinity",
        "NaN",
    )
    back = view_from_json(plain)
    assert (back.evidence, back.limit) == (inf, -inf)
    assert isnan(back.updated_at)


def test_what_a_newer_daemon_adds_is_ignored() -> None:
    assert view_from_json(view_to_json(healthy()) | {"added": {"later": 1}}) == healthy()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (None, "the view: "),
        ([], "the view: "),
        (view_to_json(healthy()) | {"evidence": "lots"}, "evidence: "),
        (view_to_json(blind()) | {"signals": [{"name": 1}]}, "signals.0.name: "),
        ({k: v for k, v in view_to_json(healthy()).items() if k != "phase"}, "phase: "),
    ],
)
def test_what_is_no_view_is_refused_with_its_key(values: object, says: str) -> None:
    with pytest.raises(NotAView, match=says):
        view_from_json(values)


def test_what_is_no_list_of_views_is_refused() -> None:
    with pytest.raises(NotAView, match="expected a list of views"):
        views_from_json({"watches": []})
