"""Holds rolling updates back while they are judged, and never forgets one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from typing import Protocol

import structlog

from actions.hold_settings import HoldSettings
from actions.holding import Deed, LetGo, Pause, Standing, Stay, pause_due, release_due
from actions.ports import ActionError, Conflict, Entry, Journal, Transient, newest
from analyzer.rollout import Workload
from analyzer.sample import Missing
from analyzer.watch import Watch
from rollbackd.records import watch_from_json

log = structlog.get_logger()


_HOLDING = frozenset({"pausing", "paused", "stays", "not let go"})
"""Deeds after which a rollout is held."""


class Standings(Protocol):
    """Shows how workloads stand."""

    def standings(self, wanted: Collection[Workload]) -> Sequence[Standing] | Missing:
        """Return those that are wanted and every one that bears our mark, or why not."""


class Pauses(Protocol):
    """Pauses a workload and lets it go; ``actions.kubernetes_pause``."""

    def pause(self, seen: Standing, watch_id: str) -> None:
        """Pause it and mark it with the watch, in one write. Raises ActionErrors."""

    def let_go(self, seen: Standing, watch_id: str) -> bool:
        """Resume it when this watch holds it; return whether it did. Raises ActionErrors."""


class Watches(Protocol):
    """What holds need to know of the watches, and to tell them."""

    def followed(self) -> Sequence[Watch]:
        """Return every watch that is followed or was so lately."""

    def remark(self, watch_id: str, text: str, *, urgent: bool) -> None:
        """Put a remark into a watch's time line, and tell people when it is urgent."""


class Holds:
    """Looks at everything that is or should be held; one thread calls ``tend``, any ``release``.

    A watch pauses its rollout once at most: whoever lets it go by hand has decided. That is told
    by the journal; what is held now is told by the marks in the cluster.

    Args:
        standings: how workloads stand. pauses: writes pauses.
        watches: the controller. settings: by the policy's name, of those that hold.
        journal: where each deed is written before it is done. now: seconds since the epoch.
    """

    def __init__(
        self,
        standings: Standings,
        pauses: Pauses,
        watches: Watches,
        settings: Mapping[str, HoldSettings],
        journal: Journal,
        now: Callable[[], float],
    ) -> None:
        self._standings = standings
        self._pauses = pauses
        self._watches = watches
        self._settings = settings
        self._journal = journal
        self._now = now
        self._last: dict[str, str] = {}
        self._restored = False
        self._one_at_a_time = Lock()

    def tend(self) -> None:
        """Pause what is due, let go of what is over, and say what waits for a person.

        Raises:
            Transient: the journal cannot be read or written; the next look tries again.
        """
        with self._one_at_a_time:
            self._tend()

    def _tend(self) -> None:
        if not self._restored:
            newest = self._journal.latest("hold")
            self._last |= {watch_id: str(e.data["deed"]) for watch_id, e in newest.items()}
            self._restored = True
        followed = {watch.id: watch for watch in self._watches.followed()}
        holding = [w for w in followed.values() if w.policy in self._settings]
        of = {watch.workload: watch for watch in holding if not watch.phase.final}
        seen = self._standings.standings(frozenset(of))
        if isinstance(seen, Missing):
            log.warning("holds not known", reason=str(seen))
            return
        for standing in seen:
            self._look(standing, of.get(standing.workload), followed)

    def release(self, watch_id: str, by: str) -> str | None:
        """Let a rollout go that this watch holds; see ``rollbackd.releases.Gate``."""
        seen = self._standings.standings(frozenset())
        if isinstance(seen, Missing):
            raise Transient(f"it cannot be seen what is held: {seen}")
        held = [standing for standing in seen if standing.held_by == watch_id]
        with self._one_at_a_time:
            for standing in held:
                self._do(standing, LetGo(watch_id, f"released by {by}"))
                return f"the rollout of {standing.workload} goes on"
        return None

    def holding(self, watch_id: str) -> str:
        """Name what this watch holds, as far as was seen; see ``rollbackd.releases.Gate``."""
        return "its rollout" if self._last.get(watch_id) in _HOLDING else ""

    def _due(
        self, seen: Standing, watch: Watch | None, followed: Mapping[str, Watch]
    ) -> Deed | None:
        if seen.held_by:
            holder = followed.get(seen.held_by) or self._over(seen.held_by)
            settings = self._settings.get(holder.policy) if holder is not None else None
            if seen.is_paused and self._last.get(seen.held_by) == "pausing":
                self._note(seen.held_by, "paused", "")
            return release_due(seen, holder, settings)
        if watch is None or self._last.get(watch.id, "pausing") != "pausing":
            return None
        return pause_due(seen, watch, self._settings[watch.policy])

    def _over(self, watch_id: str) -> Watch | None:
        """Return a watch that ended so long ago that it is not followed any more."""
        last = newest(self._journal.entries(watch_id=watch_id, kinds=frozenset({"watch"})))
        watch = watch_from_json(last.data) if last is not None else None
        return watch if watch is not None and watch.phase.final else None

    def _look(self, seen: Standing, watch: Watch | None, followed: Mapping[str, Watch]) -> None:
        """Do what is due for one workload; its trouble does not keep the others waiting."""
        deed = self._due(seen, watch, followed)
        if deed is None:
            return
        try:
            self._do(seen, deed)
        except (Transient, Conflict) as error:
            log.warning("hold delayed", workload=str(seen.workload), error=str(error))
        except ActionError as error:
            what = "held" if isinstance(deed, Pause) else "let go"
            text = f"{seen.workload} could not be {what}: {error}"
            self._once(deed.watch_id, f"not {what}", text)

    def _do(self, seen: Standing, deed: Deed) -> None:
        """Write what is going to be done, do it, and tell people."""
        match deed:
            case Pause(watch_id=watch_id):
                self._note(watch_id, "pausing", "")
                self._pauses.pause(seen, watch_id)
                self._note(watch_id, "paused", "")
                text = f"held: {seen.ready} of {seen.replicas} pods are new and ready"
                self._watches.remark(watch_id, text, urgent=False)
            case LetGo(watch_id=watch_id, why=why, urgent=urgent):
                if self._pauses.let_go(seen, watch_id):
                    self._note(watch_id, "released", why)
                    self._watches.remark(watch_id, f"no longer held: {why}", urgent=urgent)
            case Stay(watch_id=watch_id, why=why):
                self._once(watch_id, "stays", f"{why}; to let it go: rollbackd release")

    def _once(self, watch_id: str, deed: str, text: str) -> None:
        """Tell people of something that lasts, once for each time it begins."""
        if self._last.get(watch_id) != deed:
            self._note(watch_id, deed, text)
            self._watches.remark(watch_id, text, urgent=True)

    def _note(self, watch_id: str, deed: str, why: str) -> None:
        self._journal.append(Entry(self._now(), watch_id, "hold", "", {"deed": deed, "why": why}))
        self._last[watch_id] = deed
