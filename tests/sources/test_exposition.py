"""Pages in both text formats, the sound ones and the others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

from rollbackd.sources.exposition import ACCEPT, TextFormat, format_of, labels_of, parse
from rollbackd.sources.http_reply import Trouble
from tests.sources.conftest import UNHURRIED
from tests.sources.scenario import series_text

TEXT, OPEN = TextFormat.PROMETHEUS, TextFormat.OPENMETRICS
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x85\u2028\u2029"))


def refusal(text: str, kind: TextFormat) -> str:
    """Return why a page is not used, "" when it is."""
    try:
        names = [labels_of(series)["__name__"] for series in parse(text, kind).series]
    except Trouble as trouble:
        return f"{trouble.reason.value}: {trouble.detail}"
    assert all(names)
    return ""


def test_what_the_official_client_writes_is_read() -> None:
    registry = CollectorRegistry()
    counter = Counter("jobs", "Jobs.", ["queue"], registry=registry)
    counter.labels('a "b" \\ {c}').inc(5, {"trace_id": "abc"})
    Histogram("work_seconds", "Work.", buckets=[0.1, 1], registry=registry).observe(0.5)
    for accept, kind in (("text/plain", TEXT), (ACCEPT, OPEN)):
        encode, content_type = choose_encoder(accept)
        page = parse(encode(registry).decode(), format_of(content_type))
        assert format_of(content_type) is kind
        read = {
            frozenset(labels_of(series).items()): value
            for series, value in zip(page.series, page.values, strict=True)
        }
        jobs = {"__name__": "jobs_total", "queue": 'a "b" \\ {c}'}
        assert read[frozenset(jobs.items())] == 5.0
        bucket = {"__name__": "work_seconds_bucket", "le": "1.0"}
        assert read[frozenset(bucket.items())] == 1.0
        assert page.times_ms == [None] * len(page.series)


def test_a_counter_keeps_its_name_whatever_it_is() -> None:
    page = parse("# TYPE old_counter counter\nold_counter 5\n", TEXT)
    assert [labels_of(series)["__name__"] for series in page.series] == ["old_counter"]


def test_numbers_and_times() -> None:
    page = parse('a 1e3\nb NaN 1500\nc{} +Inf -7\n\n  d\t-Inf  \r\ne{x="1",} 1', TEXT)
    assert page.values[0] == 1000.0
    assert math.isnan(page.values[1])
    assert page.values[2:4] == [math.inf, -math.inf]
    assert page.times_ms == [None, 1500, -7, None, None]
    assert parse("a 1 1700000000.125\n# EOF\n", OPEN).times_ms == [1_700_000_000_125]


def test_an_exemplar_is_left_out() -> None:
    line = 'b_bucket{le="1",x=" # {"} 3 # {trace_id="}"} 0.5 1700000000\n# EOF'
    page = parse(line, OPEN)
    assert (page.values, page.times_ms) == ([3.0], [None])
    assert labels_of(page.series[0])["x"] == " # {"


@UNHURRIED
@given(st.dictionaries(st.sampled_from(["a", "b", "le"]), VALUES), st.floats())
def test_any_label_value_comes_back(labels: dict[str, str], value: float) -> None:
    written = {"__name__": "x", **labels}
    page = parse(f"{series_text(written)} {value!r} 17\n", TEXT)
    assert labels_of(page.series[0]) == written
    assert page.values[0] == value or math.isnan(value)
    assert page.times_ms == [17]


@pytest.mark.parametrize(
    "line",
    [
        "just words on a line",
        "<html>",
        '{"json": true}',
        "no_value",
        "no_value{}",
        'unclosed{a="b} 1',
        'unclosed{a="b" 1',
        "value one",
        "value 1_000",
        "time 1 NaN",
        "time 1 inf",
        "time 1 soon",
        "too 1 2 3",
        '"quoted" 1',
    ],
)
def test_lines_that_are_no_samples_are_named(line: str) -> None:
    assert "line 2" in refusal(f"fine 1\n{line}\n", TEXT)


@pytest.mark.parametrize(
    "series", ['x{a="1",a="2"}', "x{a=1}", 'x{1a="b"}', "1x", "x-y", "{}", 'x{"a b"}', 'x{="b"}']
)
def test_names_and_labels_that_are_none(series: str) -> None:
    with pytest.raises(Trouble, match="no valid name"):
        labels_of(series)


@UNHURRIED
@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    for kind in TextFormat:
        refusal(text, kind)


def test_a_line_made_to_be_slow_is_not() -> None:
    with pytest.raises(Trouble):
        parse('x{a="' + '\\"' * 200_000, TEXT)


def test_a_page_cut_off_is_refused_where_the_format_lets_us_see_it() -> None:
    with pytest.raises(Trouble, match="cut off"):
        parse("a 1\nb 2\n", OPEN)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPEN),
        ("Application/OpenMetrics-Text", OPEN),
        ("text/plain; version=0.0.4", TEXT),
        ("", TEXT),
        ("text/html", TEXT),
    ],
)
def test_the_content_type_tells_the_format(content_type: str, kind: TextFormat) -> None:
    assert format_of(content_type) is kind
