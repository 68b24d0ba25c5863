import pytest

from analyzer.wording import duration, e_value, factor, interval, quantity, share


@pytest.mark.parametrize(
    ("value", "text"),
    [(312_000, "3·10⁵"), (45.2, "45"), (100_000, "10⁵"), (96_000, "10⁵"), (0, "0")],
)
def test_e_values(value: float, text: str) -> None:
    assert e_value(value) == text


def test_boundless_evidence_is_told() -> None:
    assert e_value(float("inf")) == "over 10³⁰⁰"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (6.1, 17, "[×6.1, ×17]"),
        (0, 4, "[at most ×4.0]"),
        (2, float("inf"), "[at least ×2.0]"),
        (0, float("inf"), "[no bound yet]"),
        (1e-19, 2.4e19, "[no bound yet]"),
    ],
)
def test_open_intervals_say_so(low: float, high: float, text: str) -> None:
    assert interval(low, high) == text


def test_units() -> None:
    assert share(0.041) == "4.1 %"
    assert quantity(0.182, "s") == "182 ms"
    assert quantity(2.5, "s") == "2.5 s"
    assert quantity(float("nan"), "s") == "unknown"
    assert quantity(12, "bytes") == "12 bytes"
    assert factor(10.2) == "×10"


@pytest.mark.parametrize(
    ("seconds", "text"), [(42, "42 s"), (95, "1 min 35 s"), (120, "2 min"), (3600, "1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
