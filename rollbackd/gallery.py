"""What people see of every watch: values that any thread may read."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from actions.ports import Entry, Journal, Transient
from analyzer.watch import Phase, Watch
from rollbackd.records import watch_to_json
from rollbackd.telemetry import Telemetry
from rollbackd.tracked import Tracked
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json

log = structlog.get_logger()


class Gallery:
    """The newest view of every watch, drawn by its portrait and written into the journal.

    Whoever writes calls it with the watches locked; reading needs no lock.

    Args:
        journal: where a watch is written with what is shown of it.
        telemetry: counts what could not be written.
        now: seconds since the epoch.
    """

    def __init__(self, journal: Journal, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._journal, self._telemetry, self._now = journal, telemetry, now
        self._views: dict[str, WatchView] = {}
        self.held: Callable[[str], tuple[str, ...]] = lambda _watch_id: ()
        """What is held for a watch, to be shown with it."""

    def all(self) -> tuple[WatchView, ...]:
        """Return the newest view of every watch."""
        return tuple(self._views.values())

    def of(self, watch_id: str) -> WatchView | None:
        """Return the newest view of one watch."""
        return self._views.get(watch_id)

    def write(self, watch: Watch, tracked: Tracked) -> tuple[WatchView | None, int]:
        """Write a watch and what people see of it, in one transaction.

        Returns:
            What people see, and the number of the last entry.

        Raises:
            Transient: the journal cannot be written.
        """
        now = self._now()
        entries = [Entry(now, watch.id, "watch", watch.plan_key, watch_to_json(watch))]
        view = self.draw(watch, tracked, now)
        if view is not None:
            entries.append(Entry(now, watch.id, "view", watch.plan_key, view_to_json(view)))
        return view, self._journal.append(*entries)

    def draw(self, watch: Watch, tracked: Tracked, now: float) -> WatchView | None:
        """Return what people see of a watch, or None when an error of our own prevents it."""
        if tracked.unshowable:
            return None
        try:
            can_demand = watch.phase is Phase.REPORTED and tracked.rollout is not None
            seen = self._views.get(watch.id)
            if watch.phase.final and seen is not None and seen.final:
                view = replace(seen, timeline=tuple(tracked.portrait.timeline))
            else:
                view = tracked.portrait.view(watch, tracked.policy, now)
            return replace(view, held=self.held(watch.id), can_demand=can_demand)
        except Exception:
            log.exception("watch cannot be shown", watch=watch.id)
            tracked.unshowable = True
            return None

    def hang(self, watch_id: str, view: WatchView | None) -> None:
        """Show a view from now on; None leaves what is shown."""
        if view is not None:
            self._views = self._views | {watch_id: view}

    def redraw(self, tracked: Tracked) -> None:
        """Show a watch anew, also one that is over, and write down what is shown."""
        watch = tracked.watch
        try:
            view, _ = self.write(watch, tracked)
        except Transient as error:
            self._telemetry.journal_failed()
            log.warning("watch not written as it is shown", watch=watch.id, error=str(error))
            view = self.draw(watch, tracked, self._now())
        self.hang(watch.id, view)

    def renew(self, kept: Iterable[Tracked], now: float) -> None:
        """Draw every watch that is kept, and show no other one."""
        drawn = ((t.watch.id, self._current(t, now)) for t in kept)
        self._views = {watch_id: view for watch_id, view in drawn if view is not None}

    def _current(self, tracked: Tracked, now: float) -> WatchView | None:
        """Return what is to be seen now; nothing about a watch changes after its end."""
        seen = self._views.get(tracked.watch.id)
        over = tracked.unshowable or (seen is not None and seen.final)
        return seen if over else self.draw(tracked.watch, tracked, now)
