"""What is told when the notifier, the journal or the process fails."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from actions.ports import Entry, Permanent, Transient
from rollbackd.notifiers.port import Memo, Throttled
from rollbackd.notifiers.pump import Pace, Pump
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json
from tests.cli import sample_views
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import TELEMETRY

NOW = sample_views.START
PHASES = ("warming", "observing", "degraded", "acting", "verifying", "rolled back")


@dataclass
class Board:
    """A notifier that keeps one line for each watch. ``trouble``: raised by the next tellings."""

    lines: dict[str, str] = field(default_factory=dict)
    posted: list[str] = field(default_factory=list)
    trouble: list[Exception | None] = field(default_factory=list)
    after_posting: Exception | None = None
    closed: bool = False

    def tell(self, view: WatchView, memo: Memo) -> None:
        problem = self.trouble.pop(0) if self.trouble else None
        if problem is not None:
            raise problem
        if "line" not in memo.data:
            self.posted.append(view.id)
            memo.keep(line=len(self.posted))
            if self.after_posting is not None:
                raise self.after_posting
        self.lines[f"{view.id}#{memo.data['line']}"] = view.phase

    def close(self) -> None:
        self.closed = True


@dataclass
class Office:
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    board: Board = field(default_factory=Board)
    pace: Pace = field(default_factory=Pace)
    now: float = NOW
    live: tuple[WatchView, ...] = ()

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.pump = Pump(
            "board", self.board, journal=self.journal, telemetry=TELEMETRY,
            now=lambda: self.now, pace=self.pace, live=lambda: self.live,
        )  # fmt: skip

    def happens(self, phase: str, watch: str = "w") -> None:
        view = replace(sample_views.degraded(), id=watch, phase=phase, final=phase in _FINAL)
        self.journal.append(Entry(NOW, watch, "view", "", view_to_json(view)))


_FINAL = {"rolled back", "healthy", "needs a human"}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_watch_has_one_line_that_is_updated_also_after_a_restart() -> None:
    office = Office()
    for phase in PHASES:
        office.happens(phase)
        office.restart()
        office.pump.once()
        assert office.board.lines == {"w#1": phase}
    assert office.board.posted == ["w"]


def test_what_was_missed_in_an_outage_is_told_as_it_stands() -> None:
    office = Office()
    office.happens("observing")
    office.pump.once()
    office.board.trouble = [Transient("down")] * 4
    waits = []
    for phase in PHASES[2:]:
        office.happens(phase)
        waits.append(office.pump.once())
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert office.pump.once() == 1.0
    assert office.board.lines == {"w#1": "rolled back"}


def test_back_off_has_a_limit() -> None:
    office = Office()
    office.happens("observing")
    office.board.trouble = [Transient("down")] * 40
    assert [office.pump.once() for _ in range(40)][-1] == 60.0


def test_the_other_side_is_given_the_time_it_asks_for() -> None:
    office = Office()
    office.happens("acting", "a")
    office.happens("acting", "b")
    office.board.trouble = [Throttled("429", 17.0)]
    assert office.pump.once() == 17.0
    assert office.board.posted == []
    office.pump.once()
    assert office.board.posted == ["a", "b"]


def test_trouble_with_one_watch_does_not_keep_the_others_from_being_told() -> None:
    office = Office()
    office.happens("acting", "a")
    office.happens("acting", "b")
    office.board.trouble = [Transient("no"), None]
    office.pump.once()
    assert office.board.posted == ["b"]


@pytest.mark.parametrize("problem", [Permanent("channel_not_found"), ZeroDivisionError()])
def test_what_can_never_be_told_is_given_up_and_the_next_state_is_told(problem: Exception) -> None:
    office = Office()
    office.happens("acting")
    office.board.trouble = [problem]
    with capture_logs() as logs:
        assert office.pump.once() == office.pump.once() == 1.0
    assert len(logs) == 1
    assert office.board.lines == {}
    office.happens("verifying")
    office.pump.once()
    assert office.board.lines == {"w#1": "verifying"}


def test_a_message_that_got_through_is_not_repeated_when_the_rest_failed() -> None:
    office = Office()
    office.happens("acting")
    office.board.after_posting = Transient("thread: 503")
    office.pump.once()
    office.restart()
    office.board.after_posting = None
    office.pump.once()
    assert office.board.posted == ["w"]
    assert office.board.lines == {"w#1": "acting"}


REFRESHING = Pace(refresh_s=60.0, gap_s=2.0)


def observing(watch: str, evidence: float) -> WatchView:
    view = sample_views.degraded()
    return replace(view, id=watch, phase="observing", evidence=evidence, final=False)


def test_growing_evidence_is_told_now_and_then_and_leaves_no_trace() -> None:
    office = Office(pace=REFRESHING, live=(observing("w", 0),))
    office.happens("observing")
    office.pump.once()
    written = len(list(office.journal.entries()))
    seen = []
    for second in range(200):
        office.now = NOW + second
        office.live = (observing("w", second // 100),)  # changes once
        office.board.lines.clear()
        office.pump.once()
        seen += [second] if office.board.lines else []
    assert seen == [60, 120]  # once on the evidence of the beginning, once on the newer one
    assert office.board.posted == ["w"]
    assert len(list(office.journal.entries())) == written


def test_many_watches_are_refreshed_in_turn_within_the_rate() -> None:
    office = Office(pace=REFRESHING)
    for i in range(50):
        office.happens("observing", watch=f"w{i}")
    office.pump.once()
    told: list[str] = []
    for second in range(60, 260):
        office.now = NOW + second
        office.live = tuple(observing(f"w{i}", second) for i in range(50))
        office.board.lines.clear()
        office.pump.once()
        assert len(office.board.lines) <= 1
        told += office.board.lines
    assert len(told) == 100
    assert len(set(told)) == 50  # each twice, none waits for ever


def test_what_ended_or_was_never_told_is_not_refreshed() -> None:
    office = Office(pace=replace(REFRESHING, only_trouble=True))
    office.happens("observing", watch="quiet")
    office.happens("degraded", watch="over")
    office.pump.once()
    office.now += 100
    over = replace(observing("over", 7.0), phase="rolled back", final=True)
    office.live = (observing("quiet", 5.0), over)
    office.board.lines.clear()
    office.pump.once()
    assert office.board.lines == {}


@pytest.mark.parametrize(
    ("trouble", "wait"), [(Throttled("slow down", 9.0), 9.0), (Transient("down"), 1.0)]
)
def test_trouble_in_refreshing_delays_no_news(trouble: Exception, wait: float) -> None:
    office = Office(pace=REFRESHING)
    office.happens("observing")
    office.pump.once()
    office.now += 100
    office.live = (observing("w", 5.0),)
    office.board.trouble = [trouble]
    assert office.pump.once() == wait
    office.happens("degraded")
    office.pump.once()
    assert set(office.board.lines.values()) == {"degraded"}


def test_what_ended_may_still_change_and_is_told_in_its_own_line() -> None:
    office = Office()
    office.happens("degraded")
    office.pump.once()
    office.happens("needs a human")
    office.pump.once()
    office.happens("needs a human")  # a hold was released
    office.pump.once()
    office.restart()
    office.happens("needs a human")
    office.pump.once()
    assert office.board.posted == ["w"]


def test_another_episode_of_the_same_is_told_in_a_line_of_its_own() -> None:
    office = Office()
    for began in (1.0, 2.0):
        for phase in ("degraded", "needs a human"):
            view = replace(sample_views.degraded(), id="region", phase=phase, started_at=began)
            view = replace(view, final=phase in _FINAL)
            office.journal.append(Entry(NOW, "region", "view", "", view_to_json(view)))
            office.pump.once()
            office.restart()
    office.pump.once()
    assert office.board.posted == ["region", "region"]


def test_a_new_notifier_is_not_told_what_was_over_before_it() -> None:
    office = Office()
    office.happens("rolled back", "old")
    office.happens("observing", "now")
    office.restart()
    office.pump.once()
    assert office.board.posted == ["now"]
    office.happens("rolled back", "next")
    office.restart()  # it ended while nobody was there to tell it
    office.pump.once()
    assert office.board.posted == ["now", "next"]


def test_who_only_wants_trouble_hears_of_it_to_its_end() -> None:
    office = Office(pace=Pace(only_trouble=True))
    for phase in ("warming", "observing", "healthy"):
        office.happens(phase, "fine")
        office.pump.once()
    for phase in ("observing", "held", "observing", "healthy"):
        office.happens(phase, "held")
        office.pump.once()
    assert office.board.lines == {"held#1": "healthy"}


def test_more_than_can_be_kept_is_dropped_what_is_over_first() -> None:
    office = Office(pace=Pace(max_pending=2))
    office.happens("observing", "a")
    office.happens("healthy", "b")
    office.happens("observing", "c")
    office.pump.once()
    assert office.board.posted == ["a", "c"]


def test_on_its_thread_it_survives_an_outage_of_the_journal() -> None:
    office = Office(pace=Pace(poll_s=0.01, backoff_s=0.01))
    office.journal.failures = [Transient("disk full")] * 3
    office.pump.start()
    until(lambda: not office.journal.failures)
    office.happens("acting")
    until(lambda: office.board.lines == {"w#1": "acting"})
    office.pump.close()
    assert office.board.closed


events = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("a", "b")), st.sampled_from(PHASES)),
        st.sampled_from(("tell", "fail", "half", "crash", "throttle")),
    ),
    max_size=30,
)


@given(events)
def test_after_anything_everybody_knows_how_things_stand(course: list[object]) -> None:
    """Whatever fails, in whatever order: one message a watch, and in the end the newest state."""
    office = Office()
    office.pump.once()
    newest: dict[str, str] = {}
    for event in course:
        match event:
            case (str(watch), str(phase)):
                if newest.get(watch) != "rolled back":
                    office.happens(phase, watch)
                    newest[watch] = phase
            case "crash":
                office.restart()
            case _:
                office.board.trouble = {
                    "fail": [Transient("x")],
                    "throttle": [Throttled("x", 1)],
                }.get(str(event), [])  # type: ignore[assignment]
                office.board.after_posting = Transient("x") if event == "half" else None
                office.pump.once()
    office.board.trouble, office.board.after_posting = [], None
    office.restart()
    office.pump.once()
    assert {key.split("#")[0]: phase for key, phase in office.board.lines.items()} == newest
    assert sorted(office.board.posted) == sorted(newest)
