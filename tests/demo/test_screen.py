"""What the audience sees: the numbers in a terminal of any width, and each event once in lines."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from rollbackd.demo.screen import BAR, LiveScreen, PlainScreen, Scene, evidence_bar, picture
from rollbackd.demo.stage import Actor
from rollbackd.views import TimelineItem
from tests.report.watches import BEGAN, errors, watch

ACTORS = (
    Actor("baseline-1", "shop v1 at 127.0.0.1:9001", 101, 0),
    Actor("canary", "shop v2 at 127.0.0.1:9004", None, 3),
)


def scene(**changes: object) -> Scene:
    start = Scene("rollbackd demo", 12.3, ACTORS, 0.25, watch(phase="observing", final=False))
    return replace(start, **changes)  # type: ignore[arg-type]


def drawn(what: Scene, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(picture(what))
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def test_the_picture_shows_stage_numbers_evidence_and_events() -> None:
    text = drawn(scene())
    for part in (
        "canary",
        "○ down",
        "restarted 3×",
        "25% of traffic",
        "20 %",
        "0.50 %",
        "×16 [×2.0, ?]",
        "10⁶",
        "│",
        "observing",
        "combined evidence 500 of 100",
        "fault: errors",
        "+10 s",
    ):
        assert part in text


def test_before_the_watch_begins_it_says_what_is_waited_for() -> None:
    assert "Collecting the baseline's history" in drawn(scene(view=None))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_picture_fits_any_terminal(width: int) -> None:
    assert max(len(line) for line in drawn(scene(), width).splitlines()) <= width


def test_hostile_names_are_text() -> None:
    hostile = watch(workload="[bold]x[/nope]", outlook="[/]")
    assert "[bold]x[/nope]" in drawn(scene(view=hostile))


@pytest.mark.parametrize(
    ("e_value", "filled"),
    [(math.nan, 0), (0.0, 0), (0.1, 0), (math.inf, BAR - 1), (1e9, BAR - 1)],
)
def test_the_bar_is_full_or_empty_at_its_ends(e_value: float, filled: int) -> None:
    assert evidence_bar(errors(), e_value).plain.count("█") == filled


def test_the_bar_crosses_the_mark_only_beyond_the_limit() -> None:
    below, mark, above = evidence_bar(errors(), 100.0).plain.partition("│")
    assert mark
    assert "█" in below
    assert "█" not in above
    assert "█" in evidence_bar(errors(), 2000.0).plain.partition("│")[2]


def test_plain_lines_tell_each_event_once(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainScreen() as screen:
        screen.show(scene())
        screen.show(scene(elapsed=12.5))
        later = TimelineItem(BEGAN + 30, "phase", "healthy: all is well")
        screen.show(scene(elapsed=12.8, view=watch(timeline=(*watch().timeline, later))))
        screen.show(scene(elapsed=99.0))
    out = capsys.readouterr().out
    assert out.count("fault: errors") == 1
    assert out.count("healthy: all is well") == 1
    assert out.count("evidence 500 of 100") == 2, "one status at once, one after five seconds"


def test_the_live_picture_is_drawn_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True)
    with LiveScreen(console) as screen:
        screen.show(scene())
    screen.say("[bold]done[/bold]")
    out = console.file
    assert isinstance(out, io.StringIO)
    assert "combined evidence" in out.getvalue()
