from hypothesis import given
from hypothesis import strategies as st

from analyzer.recovery import HarmCounts, Recovery, RecoveryCheck, check_recovery, summarise


def check(
    bad_before: float, bad_after: float, traffic: float = 10_000, ticks: int = 30
) -> Recovery:
    counts = HarmCounts(bad_before, traffic, bad_after, traffic)
    return check_recovery("errors", counts, ticks, margin=1.25, harm=2.0).recovery


def test_a_baseline_that_looks_as_it_did_has_recovered() -> None:
    assert check(100, 95) is Recovery.RECOVERED


def test_a_baseline_that_stays_bad_has_not() -> None:
    assert check(100, 400) is Recovery.NOT_RECOVERED


def test_little_traffic_or_few_ticks_leave_it_open() -> None:
    assert check(1, 1, traffic=100) is Recovery.OPEN
    assert check(100, 95, ticks=1) is Recovery.OPEN
    assert check(0, 0, traffic=0) is Recovery.OPEN


def test_no_error_before_and_none_after_is_open_not_a_failure() -> None:
    assert check(0, 0) is Recovery.OPEN


def test_one_failed_signal_decides_and_names_itself() -> None:
    good = RecoveryCheck("errors", Recovery.RECOVERED, "errors fine")
    bad = RecoveryCheck("latency", Recovery.NOT_RECOVERED, "latency still slow")
    assert summarise([good, bad], last_call=True) == (False, "latency still slow")


def test_a_failure_is_not_told_before_the_last_call() -> None:
    bad = RecoveryCheck("latency", Recovery.NOT_RECOVERED, "latency still slow")
    assert summarise([bad], last_call=False) == (None, "latency still slow")


def test_what_is_still_open_waits_until_the_last_call() -> None:
    good = RecoveryCheck("errors", Recovery.RECOVERED, "errors fine")
    open_ = RecoveryCheck("latency", Recovery.OPEN, "latency unknown")
    assert summarise([good, open_], last_call=False)[0] is None
    assert summarise([good, open_], last_call=True)[0] is True
    assert summarise([open_], last_call=True)[0] is None
    assert summarise([], last_call=True)[0] is None


@given(*(st.floats(0, 1e6) for _ in range(2)), st.floats(1, 1e7), st.integers(0, 100))
def test_it_never_raises_and_equal_sides_never_fail(
    bad: float, more: float, traffic: float, ticks: int
) -> None:
    bad, more = min(bad, traffic), min(more, traffic)
    check(bad, more, traffic, ticks)
    assert check(bad, bad, traffic, ticks) is not Recovery.NOT_RECOVERED
