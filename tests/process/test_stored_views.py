"""What a follower shows: the leader's views, from the journal, also while that is away."""

from dataclasses import replace

from structlog.testing import capture_logs

from actions.ports import Entry, Transient
from rollbackd.stored_views import KEEP_S, StoredViews
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json
from tests.cli.sample_views import degraded
from tests.fakes.memory_journal import MemoryJournal

VIEW = degraded()


class Unsteady(MemoryJournal):
    """A journal that is away now and then; counts what is asked of it."""

    away = False
    asked = 0

    def latest(self, kind: str) -> dict[str, Entry]:
        self.asked += 1
        if self.away:
            raise Transient("the server is away")
        return super().latest(kind)


def wrote(*views: WatchView) -> Unsteady:
    return Unsteady(Entry(1.0, view.id, "view", "", view_to_json(view)) for view in views)


def test_it_shows_the_newest_view_of_each_watch() -> None:
    first = replace(VIEW, phase="observing", final=False)
    stored = StoredViews(wrote(first, replace(first, phase="held")), limit=10)
    assert [view.phase for view in stored()] == ["held"]


def test_it_asks_once_in_a_while_and_shows_what_it_knew_while_the_journal_is_away() -> None:
    journal, now = wrote(VIEW), [0.0]
    stored = StoredViews(journal, limit=10, clock=lambda: now[0])
    assert len(stored()) == len(stored()) == 1
    assert journal.asked == 1
    journal.away, now[0] = True, KEEP_S
    with capture_logs() as logs:
        assert len(stored()) == 1
    assert [e["event"] for e in logs] == ["views not read, showing those before"]
    journal.away, now[0] = False, 2 * KEEP_S
    journal.append(Entry(2.0, "other", "view", "", view_to_json(replace(VIEW, id="other"))))
    assert len(stored()) == 2


def test_a_damaged_view_hides_no_other() -> None:
    journal = wrote(VIEW)
    journal.append(Entry(1.0, "damaged", "view", "", {"id": "damaged"}))
    with capture_logs() as logs:
        assert [view.id for view in StoredViews(journal, limit=10)()] == [VIEW.id]
    assert [(e["event"], e["watch"]) for e in logs] == [("view not readable", "damaged")]


def test_of_those_that_ended_only_the_newest_are_shown() -> None:
    ended = [replace(VIEW, id=f"w{n}", phase="healthy", final=True) for n in range(5)]
    journal = wrote(replace(VIEW, id="going", phase="observing", final=False), *ended)
    shown = StoredViews(journal, limit=2)()
    assert [view.id for view in shown] == ["going", "w4", "w3"]
