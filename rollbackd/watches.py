"""The watches that are followed, and what happens to each: step, write, give the commands.

Order matters in one place: a transition is written before its commands are given, so that a crash
at any instruction leaves a journal from which the same commands follow.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog

from actions.ports import Journal, Transient
from analyzer.events import (
    Act,
    Announce,
    AskApproval,
    Command,
    Event,
    MakePlan,
    Planned,
    PlanRefused,
)
from analyzer.policy import Policy
from analyzer.rollout import Workload
from analyzer.roster import Roster
from analyzer.watch import Phase, Watch, resume, step
from rollbackd.desk import ActionDesk
from rollbackd.gallery import Gallery
from rollbackd.known_good import KnownGood
from rollbackd.records import watch_to_json
from rollbackd.telemetry import Telemetry
from rollbackd.tracked import Tracked
from rollbackd.views import WatchView

log = structlog.get_logger()

KEEP_FINAL = 200
"""Ended watches that stay visible, newest first; the journal has them all."""


class Watches:
    """Every watch that is followed, and those that ended lately. Any thread may call it.

    An event changes a watch at once; what compares, judges and shows it follows with the next tick.

    Args:
        journal: the record.
        telemetry: counts what happens.
        now: seconds since the epoch.
        concluded: told of every watch that ends, of its roster and its policy.
    """

    def __init__(
        self,
        journal: Journal,
        telemetry: Telemetry,
        now: Callable[[], float],
        concluded: Callable[[Watch, Roster, Policy], None],
    ) -> None:
        self._telemetry = telemetry
        self._now = now
        self._concluded = concluded
        self._desk: ActionDesk | None = None
        self._gallery = Gallery(journal, telemetry, now)
        self._tracked: dict[str, Tracked] = {}
        self._ended: set[str] = set()
        self._good = KnownGood()
        self._lock = threading.RLock()

    # What there is

    def employ(self, desk: ActionDesk) -> None:
        """Connect the desk, which needs `handle` to answer to."""
        self._desk = desk

    def show_held(self, held: Callable[[str], tuple[str, ...]]) -> None:
        """Ask this, whenever a watch is shown, what is held for it; it must answer at once."""
        self._gallery.held = held

    def __iter__(self) -> Iterator[Tracked]:
        """Iterate over what there is now, whatever comes or goes meanwhile."""
        return iter(list(self._tracked.values()))

    def __len__(self) -> int:
        return len(self._tracked)

    def find(self, watch_id: str) -> Tracked | None:
        """Return one watch, None when it is not followed."""
        return self._tracked.get(watch_id)

    def has_ended(self, watch_id: str) -> bool:
        """Tell whether a watch is over, or never could begin: it does not begin again."""
        return watch_id in self._ended

    def view(self, watch_id: str) -> WatchView | None:
        """Return what people see of one watch."""
        return self._gallery.of(watch_id)

    def begin(self, tracked: Tracked) -> None:
        """Write the beginning of a watch, then follow it.

        Raises:
            Transient: the journal could not be written; nothing has begun.
        """
        watch = tracked.watch
        view, _ = self._gallery.write(watch, tracked)
        with self._lock:  # people may decide about it as soon as the journal has it
            self._tracked[watch.id] = tracked
            self._gallery.hang(watch.id, view)
        self._telemetry.entered(watch.phase)

    def take_up(self, tracked: Tracked) -> None:
        """Follow a watch that an earlier process began."""
        self._tracked[tracked.watch.id] = tracked

    def recall(self, tracked: Tracked, shown: WatchView) -> None:
        """Show a watch that was over before: people may still decide about some of them."""
        watch_id = tracked.watch.id
        self._tracked[watch_id] = tracked
        self._gallery.hang(watch_id, replace(shown, held=self.held(watch_id)))

    def held(self, watch_id: str) -> tuple[str, ...]:
        """Return what is held for a watch."""
        return self._gallery.held(watch_id)

    # What happens to them

    def handle(self, watch_id: str, event: Event) -> None:
        """Let an event happen to a watch: step, write, then give the commands.

        Raises:
            Transient: the journal could not be written; the watch stays as it was.
        """
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is None:
                return
            watch, commands = step(tracked.watch, event, tracked.policy, self._now())
            if isinstance(event, Planned | PlanRefused) and watch is not tracked.watch:
                tracked.portrait.checks = event.checks
            if isinstance(event, Planned) and watch.plan_key == event.plan_key:
                tracked.portrait.plan = f"{event.text} (plan {event.plan_key})"
            if not self._commit(tracked, watch):
                return
            for command in commands:
                self._give(tracked, command)

    def _commit(self, tracked: Tracked, watch: Watch) -> bool:
        """Make a step's outcome real; return whether there was anything but a newer judgement."""
        old = tracked.watch
        if watch_to_json(watch) == watch_to_json(old):
            tracked.watch = watch
            return False
        at, timeline = self._now(), list(tracked.portrait.timeline)
        if watch.phase is not old.phase:
            tracked.portrait.note(at, "phase", f"{watch.phase.value}: {watch.note}")
        try:
            view, seq = self._gallery.write(watch, tracked)
        except Exception:
            tracked.portrait.timeline = timeline  # it did not happen
            raise
        tracked.watch = watch
        if watch.phase is not old.phase:
            self._telemetry.entered(watch.phase)
            known = tracked.portrait.evidence.values()
            span = self._telemetry.spans.decided(old.phase, watch, seq, known)
            self._telemetry.concluded(watch.phase, at - watch.started_at, span)
            log.info(
                "phase entered",
                watch=watch.id,
                phase=watch.phase.value,
                before=old.phase.value,
                note=watch.note,
            )
        if watch.phase.final:
            self.conclude(watch)
            self._concluded(watch, tracked.roster, tracked.policy)
        self._gallery.hang(watch.id, view)
        return True

    def _give(self, tracked: Tracked, command: Command) -> None:
        """Carry out one command of a watch."""
        watch, desk = tracked.watch, self._desk
        match command:
            case Announce(text=text, urgent=urgent):
                log.log(30 if urgent else 20, "announced", watch=watch.id, text=text)
            case MakePlan():
                if desk is not None and tracked.rollout is not None:
                    desk.plan(watch.id, tracked.policy, tracked.rollout, watch.attempts + 1)
            case Act(plan_key=key):
                if desk is not None:
                    desk.act(watch.id, tracked.policy, key)
            case AskApproval(plan_key=key):
                log.warning("approval needed", watch=watch.id, plan=key, text=watch.note)

    def remind(self, tracked: Tracked) -> None:
        """Give again what was asked for and not answered yet."""
        with self._lock:  # an answer that comes meanwhile would be asked for again
            if tracked.watch.phase is not Phase.AWAITING_APPROVAL:
                for command in resume(tracked.watch):
                    self._give(tracked, command)

    def conclude(self, watch: Watch) -> None:
        """Remember that a rollout is over, and whether its revision is good to go back to."""
        self._ended.add(watch.id)
        self._good.note(watch)

    def guarded(self, watch_id: str, work: Callable[[], None]) -> None:
        """Run one watch's work; an error of our own ends that watch in "needs a human"."""
        try:
            work()
        except Transient as error:
            self._telemetry.journal_failed()
            log.warning("journal not writable, trying again", watch=watch_id, error=str(error))
        except Exception:
            log.exception("watch broke", watch=watch_id)
            self.end_broken(watch_id)

    def end_broken(self, watch_id: str) -> None:
        """End a watch that an error of our own broke; one that could not begin never does."""
        self._telemetry.faulted()
        self._ended.add(watch_id)
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is None or tracked.watch.phase.final:
                return
            note = "an internal error ended this watch; see the daemon's log"
            over = replace(tracked.watch, phase=Phase.NEEDS_HUMAN, note=note, since=self._now())
            try:
                self._commit(tracked, over)
            except Exception:
                log.exception("end of watch not recorded", watch=watch_id)
                tracked.watch = over

    # What others read

    def known_good(self, workload: Workload) -> tuple[str, ...]:
        """Return the revisions whose watch ended healthy and that were not left since."""
        return self._good.of(workload)

    def publish(self, now: float) -> None:
        """Show every watch as it is now, and no longer those that ended long ago."""
        with self._lock:
            over = [t for t in self._tracked.values() if t.watch.phase.final and not t.compared]
            over.sort(key=lambda t: (not self._gallery.held(t.watch.id), -t.watch.since))
            for tracked in over[KEEP_FINAL:]:
                del self._tracked[tracked.watch.id]
                self._telemetry.spans.forget(tracked.watch.id)
            kept = list(self._tracked.values())
            self._telemetry.watching(Counter(t.watch.phase for t in kept))
            self._gallery.renew(kept, now)
        for tracked in kept:
            if tracked.unshowable and not tracked.watch.phase.final:
                self.end_broken(tracked.watch.id)

    def followed(self) -> tuple[Watch, ...]:
        """Return every watch that is followed, and those that ended lately."""
        with self._lock:
            return tuple(tracked.watch for tracked in self._tracked.values())

    def remark(self, watch_id: str, text: str, *, urgent: bool) -> None:
        """Put a remark into a watch's time line, and tell people."""
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is not None:
                tracked.portrait.note(self._now(), "hold", text)
        log.log(30 if urgent else 20, "announced", watch=watch_id, text=text)
        self.redraw(watch_id)

    def redraw(self, watch_id: str) -> None:
        """Show a watch anew, also one that is over, and write down what is shown."""
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is not None:
                self._gallery.redraw(tracked)

    def views(self) -> tuple[WatchView, ...]:
        """Return the newest snapshot of every watch."""
        return self._gallery.all()
