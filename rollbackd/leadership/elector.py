"""Keeps or takes a lease, and knows at every moment whether this process may act.

The rules are those of client-go: renew every ``retry_s``; a leader that could not renew for
``renew_by_s`` stops acting; the others take over when they saw no change for ``duration_s``, which
is longer. All are measured on the own steady clock, from before the leader's write and from after
the others' look, so clocks that differ between machines do not matter, and two never act at once.

A lost lease is never taken again by the same process: it ends and is started anew, so that nothing
of its earlier turn can be left over.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from actions.ports import ActionError, Conflict, Fenced
from rollbackd.leadership.lease import Lease, LeaseStore

log = structlog.get_logger()

RELEASED_S = 1.0
"""Duration written on release: whoever looks next may take over."""
STOP_TIMEOUT_S = 20.0
"""How long ``close`` waits for a call in hand; calls have time-outs below this."""


def steady_clock() -> float:
    """Return seconds that only grow, also while the machine sleeps (where the system tells)."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of an election, in seconds: ``retry_s < renew_by_s < duration_s``."""

    duration_s: float = 15.0
    renew_by_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse times with which two could act at once, or none for long."""
        if not 0 < self.retry_s < self.renew_by_s < self.duration_s:
            raise ValueError(f"0 < retry_s < renew_by_s < duration_s does not hold for {self}")


class Elector:
    """One process' part in an election. ``permit`` may be called from any thread.

    Args:
        store: where the lease is kept.
        identity: of this process; no other one, and no earlier one, has the same.
        pace: times.
        on_elected: called once, on the elector's thread, when this process begins to lead.
        on_lost: called once, on the elector's thread, when it does not lead any more.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        pace: Pace,
        *,
        on_elected: Callable[[], None],
        on_lost: Callable[[], None],
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self.identity = identity
        self._store = store
        self._pace = pace
        self._on_elected = on_elected
        self._on_lost = on_lost
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elector", daemon=True)
        # Only the elector's thread writes these; each is read whole by the others.
        self._seen: Lease | None = None
        self._changed_at = clock()
        self._contact_at = clock()
        self._leads_until: float | None = None
        self._over = False
        self._trouble: ActionError | None = None

    # What others ask

    @property
    def leads(self) -> bool:
        """Whether this process leads, and has time left to act."""
        until = self._leads_until
        return not self._over and until is not None and self._clock() < until

    @property
    def is_over(self) -> bool:
        """Whether this process led and does not any more; that stays so."""
        until = self._leads_until
        return self._over or (until is not None and self._clock() >= until)

    @property
    def leader(self) -> str:
        """Who led when the lease was last seen, or ""."""
        return "" if self._seen is None else self._seen.holder

    def permit(self) -> None:
        """Return when this process may act now.

        Raises:
            Fenced: it may not.
        """
        if self.leads:
            return
        if self.is_over:
            raise Fenced("this replica does not lead any more; it changes nothing")
        raise Fenced(f"this replica follows; {self.leader or 'nobody yet'} leads")

    def unseen(self) -> str:
        """Return why the lease cannot be believed, or "" while it was seen a short time ago."""
        age = self._clock() - self._contact_at
        if age < self._pace.duration_s:
            return ""
        why = f": {self._trouble}" if self._trouble else ""
        return f"the lease was last seen {age:.0f} s ago{why}"

    # Its own life

    def start(self) -> None:
        """Take part from now on; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Take part no more, and release the lease when this process leads; idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        if self.leads and self._seen is not None and not self._thread.is_alive():
            self._over = True
            released = replace(self._seen, holder="", duration_s=RELEASED_S)
            try:
                self._store.write(released, self._seen)
                log.info("lease released", identity=self.identity)
            except ActionError as error:
                log.warning("lease not released, others wait for its end", error=str(error))

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._over:
            try:
                self.advance()
            except Exception:
                log.exception("elector failed")
            self._stopping.wait(self._pause_s())

    def _pause_s(self) -> float:
        """Return how long to wait; jittered, so that replicas do not all write at once."""
        pause = self._pace.retry_s * (0.8 + 0.4 * secrets.SystemRandom().random())
        until = self._leads_until
        # Wake up at the end of the own time, not after it: the loss is to be told at once.
        return pause if until is None else max(0.0, min(pause, until - self._clock()))

    def advance(self) -> None:
        """Look at the lease once, and renew or take it when that is due."""
        if self._over:
            return
        try:
            self._look_and_write()
            self._trouble = None
        except Conflict as error:
            log.debug("lease written by another", error=str(error))
        except ActionError as error:
            say = log.warning if self._trouble is None else log.debug
            say("lease not reached", error=str(error))
            self._trouble = error
        if self.is_over and not self._over:
            self._lose("it could not be renewed in time")

    def _look_and_write(self) -> None:
        seen = self._store.read()
        self._observe(seen)
        is_mine = seen is not None and seen.holder == self.identity
        if self._leads_until is not None and not is_mine:
            self._lose(f"{self.leader or 'nobody'} has it now")
            return
        if not (is_mine or self._is_free(seen)):
            return
        transitions = 0 if seen is None else seen.transitions + (not is_mine)
        wanted = Lease(self.identity, self._pace.duration_s, transitions)
        written_after = self._clock()
        if self.is_over:  # the time ran out while the answer was awaited
            return
        self._observe(self._store.write(wanted, seen))
        first = self._leads_until is None
        self._leads_until = written_after + self._pace.renew_by_s
        if first and self.leads:
            log.info("lease taken", identity=self.identity, transitions=transitions)
            self._on_elected()

    def _observe(self, seen: Lease | None) -> None:
        """Note a lease and, when it changed, the time after which that was seen."""
        now = self._clock()
        self._contact_at = now
        if seen != self._seen:
            self._changed_at = now
        self._seen = seen

    def _is_free(self, seen: Lease | None) -> bool:
        """Tell whether anybody may take it: never held, released, or no sign of life for long."""
        if seen is None or not seen.holder:
            return True
        return self._clock() - self._changed_at >= seen.duration_s

    def _lose(self, why: str) -> None:
        self._over = True
        log.error("lease lost, this process acts no more", identity=self.identity, reason=why)
        self._on_lost()
