from math import inf, nan

import pytest

from rollbackd.cli.evidence import age, amount, bar, e_value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.4, "0.4"), (3.21, "3.21"), (100, "100"), (1428.2, "1428"), (3.2e5, "3·10⁵"),
     (9.9e5, "1·10⁶"), (2e12, "2·10¹²"), (inf, "∞"), (nan, "unknown")],
)  # fmt: skip
def test_e_values(value: float, text: str) -> None:
    assert e_value(value) == text


@pytest.mark.parametrize(
    ("value", "limit", "drawn"),
    [(0, 100, "░░░░"), (1, 100, "░░░░"), (10, 100, "██░░"), (99, 100, "███░"), (100, 100, "████"),
     (inf, 100, "████"), (nan, 100, "░░░░"), (5, 1, "░░░░"), (1e9, 100, "████")],
)  # fmt: skip
def test_the_bar_is_full_only_when_the_evidence_decides(
    value: float, limit: float, drawn: str
) -> None:
    assert bar(value, limit, 4) == drawn


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.041, "", "4.1 %"), (None, "s", "–"), (nan, "s", "–"), (0.25, "s", "250 ms"),
     (2.5, "s", "2.5 s"), (12.3, "MiB", "12.3 MiB"), (0, "", "0 %")],
)  # fmt: skip
def test_amounts_have_their_unit(value: float | None, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (250, "4m10s"), (3600, "1h"),
     (11_100, "3h5m"), (187_200, "2d4h"), (86_405, "1d")],
)  # fmt: skip
def test_ages_have_two_units(seconds: float, text: str) -> None:
    assert age(seconds) == text
