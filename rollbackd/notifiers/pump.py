"""From the journal to one notifier: the newest state of each watch, in order, until it is told.

What was told is journalled for each watch, with what the notifier remembers of it. States that pass
while the notifier is down are coalesced: afterwards people are told how things stand, and the
course of events is in the view.

The journal holds what happened, not how evidence grows. A notifier that updates what it told is told
that, too, from the newest snapshots, now and then and without a trace in the journal.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import structlog

from actions.ports import ActionError, Entry, Journal, Permanent, Transient, newest
from rollbackd.notifiers.port import Memo, Notifier, Throttled
from rollbackd.notifiers.wording import is_quiet
from rollbackd.regions.portrait import KIND as REGION_VIEW
from rollbackd.telemetry import Telemetry
from rollbackd.trains.portrait import KIND as TRAIN_VIEW
from rollbackd.views import WatchView
from rollbackd.views_json import NotAView, view_from_json

log = structlog.get_logger()

CLOSING_S = 5.0
"""How long the end of the process waits for a telling in hand; it is told again after a restart."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a notifier is driven.

    Attributes:
        poll_s: time between two looks into the journal.
        backoff_s: wait after passing trouble, doubled each time up to max_backoff_s.
        max_pending: watches that wait to be told; of more, those that are over longest are dropped.
        only_trouble: say nothing of a watch before somebody should look at it.
        refresh_s: how often the growing evidence of a watch is told; infinite: never.
        gap_s: least time between any two such tellings, whatever the number of watches.
    """

    poll_s: float = 1.0
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    max_pending: int = 1000
    only_trouble: bool = False
    refresh_s: float = inf
    gap_s: float = 2.0


TOLD_OF = ("view", REGION_VIEW, TRAIN_VIEW)
"""Kinds of the journal's entries that people are told of."""


class Pump:
    """Tells one notifier, on a thread of its own.

    Args:
        name: the notifier's, in the journal and in metrics.
        notifier: who is told; closed with the pump.
        journal: what is followed, and where it is noted what was told.
        telemetry: counts. now: seconds since the epoch. pace: how fast, and what.
        live: the newest snapshots of all watches.
    """

    def __init__(
        self,
        name: str,
        notifier: Notifier,
        *,
        journal: Journal,
        telemetry: Telemetry,
        now: Callable[[], float],
        pace: Pace = Pace(),
        live: Callable[[], tuple[WatchView, ...]] = tuple,
    ) -> None:
        self._live = live
        self._shown: dict[str, tuple[float, object]] = {}
        self._refreshed_at = -inf
        self.name = name
        self._notifier = notifier
        self._journal = journal
        self._telemetry = telemetry
        self._now = now
        self._pace = pace
        self._kind = f"told:{name}"
        self._seen: int | None = None
        self._pending: dict[str, Entry] = {}
        self._told: dict[str, Mapping[str, Any]] = {}
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tell-{name}", daemon=True)

    def start(self) -> None:
        """Begin to follow the journal."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what was not told yet is told after the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING_S)
        self._notifier.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                pause = self.once()
            except ActionError as error:
                log.warning("journal not followed", notifier=self.name, error=str(error))
                pause = self._backoff()
            except Exception:
                log.exception("notifier broke", notifier=self.name)
                pause = self._pace.max_backoff_s

    def once(self) -> float:
        """Tell what there is to tell; return how long to wait before the next time, in seconds.

        Raises:
            Transient: the journal cannot be read or written.
        """
        self._look()
        wait = self._pace.poll_s
        failed = False
        for watch_id, entry in sorted(self._pending.items(), key=lambda item: item[1].seq):
            if self._stopping.is_set():
                break
            try:
                self._tell(entry)
            except Throttled as error:
                self._trouble("retried", entry, error)
                return max(error.retry_after_s, self._pace.poll_s)
            except Transient as error:
                # the others may be told all the same: it may be about this one only
                self._trouble("retried", entry, error)
                failed = True
                continue
            del self._pending[watch_id]
        if failed:
            return self._backoff()
        self._failures = 0
        return max(wait, self._refresh())

    def _refresh(self) -> float:
        """Tell how the evidence of one watch grew, if that is due; return how long to wait."""
        now, pace = self._now(), self._pace
        if pace.refresh_s == inf or now - self._refreshed_at < pace.gap_s:
            return 0.0
        views = {view.id: view for view in self._live() if not view.final}
        self._shown = {w: shown for w, shown in self._shown.items() if w in views}
        due = [
            view
            for watch_id, view in views.items()
            if "seq" in self._told.get(watch_id, {}) and watch_id not in self._pending
            if now - self._shown_last(watch_id)[0] >= pace.refresh_s
            and self._shown_last(watch_id)[1] != _grown(view)
        ]
        if not due:
            return 0.0
        oldest = min(due, key=lambda view: self._shown_last(view.id)[0])
        self._refreshed_at, self._shown[oldest.id] = now, (now, _grown(oldest))
        return self._tell_again(oldest)

    def _shown_last(self, watch_id: str) -> tuple[float, object]:
        """Return when a watch was told last by this process, and what was told of its evidence."""
        return self._shown.get(watch_id, (-inf, None))

    def _tell_again(self, view: WatchView) -> float:
        """Tell a state whose evidence grew; when that fails, the next one is told."""
        told = self._told[view.id]
        memo = Memo(
            told["memo"],
            lambda data: self._keep(view.id, told["seq"], data, view.started_at),
            f"{self.name}/{view.id}/{view.updated_at}",
        )
        try:
            self._notifier.tell(view, memo)
            self._telemetry.notified(self.name, "sent")
        except Throttled as error:
            return error.retry_after_s
        except ActionError as error:
            log.info("evidence not told", notifier=self.name, watch=view.id, error=str(error))
        except Exception:
            log.exception("notifier broke", notifier=self.name, watch=view.id)
        return 0.0

    def _backoff(self) -> float:
        self._failures += 1
        longest = self._pace.max_backoff_s
        return float(min(self._pace.backoff_s * 2 ** min(self._failures - 1, 20), longest))

    def _look(self) -> None:
        """Take in what was written since the last look."""
        if self._seen is None:
            self._begin()
        for entry in self._journal.entries(kinds=frozenset(TOLD_OF), after=self._seen or 0):
            self._pending[entry.watch_id] = entry
            self._seen = entry.seq
        excess = len(self._pending) - self._pace.max_pending
        if excess > 0:
            oldest = sorted(self._pending.values(), key=lambda e: (not e.data.get("final"), e.seq))
            for entry in oldest[:excess]:
                del self._pending[entry.watch_id]
                self._trouble("dropped", entry, "too many wait to be told")

    def _begin(self) -> None:
        """Find where the last process ended; a new notifier is not told what was over before it."""
        views = {w: e for kind in TOLD_OF for w, e in self._journal.latest(kind).items()}
        told = self._journal.latest(self._kind)
        newest = max((entry.seq for entry in views.values()), default=0)
        if "" not in told:
            self._note("", {"since": newest})
        since = told[""].data["since"] if "" in told else newest
        self._told = {w: entry.data for w, entry in told.items() if w}
        for watch_id, entry in views.items():
            before = self._told.get(watch_id, {}).get("seq", 0)
            was_over = not before and entry.data.get("final") and entry.seq <= since
            if entry.seq > before and not was_over:
                self._pending[watch_id] = entry
        self._seen = newest

    def _tell(self, entry: Entry) -> None:
        """Tell one state of a watch, or give it up; both are noted.

        Raises:
            Transient: neither could be done.
        """
        watch_id = entry.watch_id
        told = self._told.get(watch_id) or self._recalled(watch_id)
        began = entry.data.get("started_at")
        if told.get("began", began) != began:
            told = {}  # a region's new episode is told anew, not in the message of an old one
        memo = Memo(
            told.get("memo", {}),
            lambda data: self._keep(watch_id, told.get("seq", 0), data, began),
            f"{self.name}/{watch_id}/{entry.seq}",
        )
        try:
            view = view_from_json(entry.data)
            if self._is_worth_telling(view, known="seq" in told):
                self._notifier.tell(view, memo)
                self._shown[watch_id] = (self._now(), _grown(view))
                self._keep(watch_id, entry.seq, memo.data, began)
                self._telemetry.notified(self.name, "sent")
        except Transient:
            raise
        except (Permanent, NotAView) as error:
            self._trouble("failed", entry, error)
            self._keep(watch_id, entry.seq, memo.data, began)
        except Exception:
            log.exception("notifier broke", notifier=self.name, watch=watch_id)
            self._telemetry.notified(self.name, "failed")
            self._keep(watch_id, entry.seq, memo.data, began)
        if entry.data.get("final"):
            self._told.pop(watch_id, None)  # seldom does anything follow; the journal has it

    def _recalled(self, watch_id: str) -> Mapping[str, Any]:
        """Return what was told of a watch that is not remembered. Raises Transient."""
        last = newest(self._journal.entries(watch_id=watch_id, kinds=frozenset({self._kind})))
        return {} if last is None else last.data

    def _is_worth_telling(self, view: WatchView, *, known: bool) -> bool:
        return known or not self._pace.only_trouble or not is_quiet(view)

    def _keep(self, watch_id: str, seq: int, memo: Mapping[str, Any], began: object) -> None:
        told = {"seq": seq, "memo": dict(memo), "began": began}
        self._note(watch_id, told)
        self._told[watch_id] = told

    def _note(self, watch_id: str, data: Mapping[str, Any]) -> None:
        self._journal.append(Entry(self._now(), watch_id, self._kind, "", data))

    def _trouble(self, outcome: str, entry: Entry, why: object) -> None:
        self._telemetry.notified(self.name, outcome)
        log.warning(
            "not told",
            outcome=outcome,
            notifier=self.name,
            watch=entry.watch_id,
            error=str(why),
        )


def _grown(view: WatchView) -> object:
    """Return what of a view changes while its phase stays: worth telling when it did."""
    return view.verdict, view.reasons, view.evidence, view.held, view.stops, len(view.timeline)
