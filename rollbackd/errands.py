"""Jobs done off the tick's thread, one after the other, that answer with events."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from actions.ports import Transient

log = structlog.get_logger()

EventT = TypeVar("EventT")


class Errands(Generic[EventT]):
    """One worker for all; for each name, one job at a time. Thread-safe.

    Asking again while a job is in hand does nothing, so the caller may ask at every tick: that is
    how passing trouble is retried and how a restart resumes.

    Args:
        what: names the thread and the log lines.
        answer: lets the event happen that a job ended with; may raise Transient.
        on_bug: the event that an error of our own means.
    """

    def __init__(
        self,
        what: str,
        answer: Callable[[str, EventT], object],
        on_bug: Callable[[str, Exception], EventT],
    ) -> None:
        self._what = what
        self._answer = answer
        self._on_bug = on_bug
        self._busy: set[str] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=what)

    def submit(self, name: str, job: Callable[[], EventT | None]) -> None:
        """Have the worker do a job, unless there is one in hand for this name."""
        with self._lock:
            if self._closed or name in self._busy:
                return
            self._busy.add(name)
            self._pool.submit(self._work, name, job)

    def settle(self) -> None:
        """Wait until nothing is in hand."""
        self._pool.submit(lambda: None).result()
        while self._busy:
            self._pool.submit(lambda: None).result()

    def _work(self, name: str, job: Callable[[], EventT | None]) -> None:
        event: EventT | None = None
        try:
            event = job()
        except Transient as error:
            log.warning("action delayed", **{self._what: name}, error=str(error))
        except Exception as error:
            log.exception("action broke", **{self._what: name})
            event = self._on_bug(name, error)
        finally:
            with self._lock:
                self._busy.discard(name)
        if event is None:
            return
        try:
            self._answer(name, event)
        except Transient as error:
            # it stays as it was, and the next tick asks for the same again
            log.warning("answer not recorded", **{self._what: name}, error=str(error))

    def close(self) -> None:
        """Take no more jobs and wait for the one in hand, which was asked to stop."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
