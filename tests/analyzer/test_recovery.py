from hypothesis import given
from hypothesis import strategies as st

from analyzer.recovery import (
    HarmCounts,
    Recovery,
    RecoveryCheck,
    Share,
    check_recovery,
    summarise,
)

NO_CANARY = Share(0.0, 0.0)


def check(
    bad_before: float,
    bad_after: float,
    traffic: float = 10_000,
    ticks: int = 30,
    canary: Share = NO_CANARY,
) -> Recovery:
    counts = HarmCounts(canary, Share(bad_before, traffic), Share(bad_after, traffic))
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


def test_with_few_events_it_is_enough_that_the_canarys_harm_did_not_stay() -> None:
    assert check(1, 2, traffic=500, canary=Share(30, 150)) is Recovery.ABATED
    assert check(1, 2, traffic=500, canary=Share(2, 150)) is Recovery.OPEN
    assert check(1, 40, traffic=500, canary=Share(30, 150)) is Recovery.NOT_RECOVERED


def test_harm_that_abated_is_told_at_the_last_call() -> None:
    abated = RecoveryCheck("errors", Recovery.ABATED, "the canary's 20 % did not stay")
    assert summarise([abated], last_call=False)[0] is None
    assert summarise([abated], last_call=True) == (True, "the canary's 20 % did not stay")


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


@given(*(st.floats(0, 1e6) for _ in range(3)), st.floats(1, 1e7), st.integers(0, 100))
def test_it_never_raises_and_equal_sides_never_fail(
    bad: float, more: float, harmed: float, traffic: float, ticks: int
) -> None:
    bad, more, harmed = (min(n, traffic) for n in (bad, more, harmed))
    check(bad, more, traffic, ticks, Share(harmed, traffic))
    assert check(bad, bad, traffic, ticks) is not Recovery.NOT_RECOVERED


@given(st.integers(0, 100), st.integers(0, 100), st.integers(100, 10_000))
def test_a_rate_like_the_canarys_has_never_abated(before: int, bad: int, traffic: int) -> None:
    assert check(before, bad, traffic, canary=Share(bad, traffic)) is not Recovery.ABATED
