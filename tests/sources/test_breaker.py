"""When a server is left alone, and when it is asked again."""

import pytest

from analyzer.sample import Absence
from rollbackd.sources.breaker import Backoff, Breaker
from rollbackd.sources.http_reply import Trouble

DOWN = Trouble(Absence.SOURCE_DOWN, "HTTP 503")
GONE = Trouble(Absence.SOURCE_DOWN, "connection refused", unreachable=True)
SLOW = Trouble(Absence.TIMEOUT, "too slow")
REFUSED = Trouble(Absence.INVALID, "parse error")


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.breaker = Breaker(Backoff(3, 1.0, 4.0), lambda: self.now)

    def is_open(self) -> bool:
        return self.breaker.refusal() is not None


def test_single_failures_are_tolerated() -> None:
    scene = Scene()
    for _ in range(5):
        assert not scene.breaker.failed(DOWN)
        assert not scene.breaker.failed(SLOW)
        assert not scene.breaker.succeeded()
    assert not scene.is_open()


def test_failures_in_a_row_are_not() -> None:
    scene = Scene()
    assert [scene.breaker.failed(trouble) for trouble in (DOWN, SLOW, DOWN)] == [
        False,
        False,
        True,
    ]
    assert scene.is_open()


def test_nobody_there_counts_at_once() -> None:
    scene = Scene()
    assert scene.breaker.failed(GONE)
    refusal = scene.breaker.refusal()
    assert refusal is not None
    assert refusal.reason is Absence.SOURCE_DOWN
    assert "connection refused" in refusal.detail


def test_losers_of_the_same_wave_do_not_prolong_the_pause() -> None:
    scene = Scene()
    assert [scene.breaker.failed(GONE) for _ in range(10)] == [True] + [False] * 9
    scene.now = 1.0
    assert not scene.is_open()


def test_one_probe_at_a_time_and_longer_pauses_up_to_a_bound() -> None:
    scene = Scene()
    scene.breaker.failed(GONE)
    for pause in (1.0, 2.0, 4.0, 4.0):
        scene.now += pause - 0.01
        assert scene.is_open()
        scene.now += 0.01
        assert not scene.is_open()
        assert scene.is_open(), "the probe is under way"
        assert not scene.breaker.failed(GONE)


def test_a_probe_that_never_reports_is_replaced() -> None:
    scene = Scene()
    scene.breaker.failed(GONE)
    scene.now = 1.0
    assert not scene.is_open()
    assert scene.is_open()
    scene.now = 2.0
    assert not scene.is_open()


@pytest.mark.parametrize("answer", [None, REFUSED])
def test_any_answer_ends_the_outage(answer: Trouble | None) -> None:
    scene = Scene()
    scene.breaker.failed(GONE)
    scene.now = 1.0
    assert not scene.is_open()
    if answer is None:
        assert scene.breaker.succeeded()
    else:
        assert not scene.breaker.failed(answer)
    assert not scene.is_open()
    assert not scene.is_open()
    assert not scene.breaker.failed(DOWN), "the count starts anew"


def test_a_wish_for_quiet_is_granted_up_to_a_bound() -> None:
    scene = Scene()
    scene.breaker.failed(Trouble(Absence.THROTTLED, "HTTP 429", retry_after_s=3600))
    refusal = scene.breaker.refusal()
    assert refusal is not None
    assert refusal.reason is Absence.THROTTLED
    scene.now = 3.9
    assert scene.is_open()
    scene.now = 4.0
    assert not scene.is_open()


@pytest.mark.parametrize("bad", [(0, 1.0, 2.0), (1, 0.0, 2.0), (1, 3.0, 2.0)])
def test_pauses_that_cannot_be(bad: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="tolerated"):
        Backoff(*bad)
