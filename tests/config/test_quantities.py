import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from rollbackd.config.quantities import (
    format_duration,
    parse_duration,
    parse_ratio,
    parse_share,
    parse_size,
    shown,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("2m", 120), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("1d", 86400),
     ("0s", 0), (" 3s ", 3), ("1m500ms", 60.5)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (10, "the duration 10 has no unit"),
        ("10", "has no unit"),
        (0, "has no unit"),
        ("-5s", "cannot be negative"),
        (-5, "cannot be negative"),
        ("5 min", "not a duration"),
        ("1h 30m", "not a duration"),
        ("", "not a duration"),
        ("s", "not a duration"),
        ("10S", "not a duration"),
        (True, "expected a duration, got true"),
        (None, "expected a duration, got nothing"),
        ([1], "expected a duration, got a list"),
    ],
)
def test_what_is_no_duration_is_refused(value: object, says: str) -> None:
    with pytest.raises(PydanticCustomError, match=says):
        parse_duration(value)


@given(st.integers(0, 10**9))
def test_durations_come_back_as_they_were_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 * 2**20), ("1.5KiB", 1536), ("10 kB", 10_000), ("1GB", 10**9), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("value", "says"),
    [(64, "the size 64 has no unit"), ("64Mib", "not a size"), ("0MiB", "more than nothing"),
     ("-1MiB", "not a size"), ("many", "not a size"), (None, "expected a size")],
)  # fmt: skip
def test_what_is_no_size_is_refused(value: object, says: str) -> None:
    with pytest.raises(PydanticCustomError, match=says):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "ratio"),
    [("1.25", 1.25), (1.25, 1.25), (2, 2), ("+25%", 1.25), ("+10 %", 1.1), ("-10%", 0.9),
     ("+0.1%", 1.001)],
)  # fmt: skip
def test_ratios(value: object, ratio: float) -> None:
    assert parse_ratio(value) == ratio


@pytest.mark.parametrize(
    ("value", "says"),
    [("25%", "could mean two things"), ("+25", "not a ratio"), ("x2", "not a ratio"),
     (-1, "not a ratio"), (True, "expected a ratio"), (float("nan"), "not a ratio"),
     (float("inf"), "not a ratio")],
)  # fmt: skip
def test_what_is_no_ratio_is_refused(value: object, says: str) -> None:
    with pytest.raises(PydanticCustomError, match=says):
        parse_ratio(value)


@pytest.mark.parametrize(
    ("value", "share"), [("0.1%", 0.001), (0.001, 0.001), ("100%", 1.0), (0, 0.0), ("5 %", 0.05)]
)
def test_shares(value: object, share: float) -> None:
    assert parse_share(value) == share


@pytest.mark.parametrize(
    ("value", "says"),
    [(5, "more than 100 %"), ("101%", "more than 100 %"), ("-1%", "not a share"),
     ("few", "not a share"), (None, "expected a share")],
)  # fmt: skip
def test_what_is_no_share_is_refused(value: object, says: str) -> None:
    with pytest.raises(PydanticCustomError, match=says):
        parse_share(value)


def test_long_values_are_shortened_in_messages() -> None:
    assert len(shown("x" * 500)) < 70
    assert shown('a{b="c"}') == "'a{b=\"c\"}'"
