"""Keeps a cache of one collection: lists it once, then follows it by watches."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog

from actions.ports import ActionError, Permanent, Transient
from rollbackd.kubernetes.cache import Cache, Snapshot
from rollbackd.kubernetes.errors import Expired, NotFound, Throttled

T = TypeVar("T")

log = structlog.get_logger()

RELIST_AFTER = 5
"""Failures in a row after which a version is given up: who was away for long may have forgotten
more than it says."""

STOP_TIMEOUT_S = 5.0
"""How long ``stop`` waits for a thread that is in the middle of a call; it ends later by itself."""


class EventStream(Protocol):
    """The events of one watch; iterating raises ActionErrors."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield raw watch events until the server ends the watch."""

    def interrupt(self) -> None:
        """End the iteration that another thread is in."""


class Collections(Protocol):
    """The calls that a reflector makes; ``Connection`` answers them. Both raise ActionErrors."""

    def pages(
        self, path: str, query: Mapping[str, str]
    ) -> Iterator[tuple[list[dict[str, Any]], str]]:
        """Yield a collection page by page, each with the version of the whole list."""

    def watch(
        self, path: str, query: Mapping[str, str], version: str, last_s: float
    ) -> AbstractContextManager[EventStream]:
        """Open a watch that the server ends after ``last_s`` seconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a reflector, all in seconds.

    Attributes:
        watch_s: a watch is asked to end after this. A quiet one confirms the cache only when it
            ends, so this bounds the age of a healthy cache.
        stale_s: a cache out of touch for longer is stale.
        first_wait_s: wait after the first failure; it doubles with each one that follows.
        longest_wait_s: bound of the wait.
        short_watch_s: a watch that ends sooner and brought nothing counts as a failure, so that
            a server which closes at once is not called in a tight loop.
    """

    watch_s: float = 60.0
    stale_s: float = 90.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    short_watch_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse times that would make a healthy cache look stale."""
        if not 0 < self.first_wait_s <= self.longest_wait_s:
            raise ValueError(f"0 < first_wait_s <= longest_wait_s does not hold for {self}")
        if not 0 < self.short_watch_s < self.watch_s < self.stale_s:
            raise ValueError(f"0 < short_watch_s < watch_s < stale_s does not hold for {self}")

    def wait_s(self, failures: int, drawn: float) -> float:
        """Return how long to wait after so many failures in a row.

        Half of the wait is drawn at random (``drawn`` in 0…1): many clients of a server that
        comes back must not all return at once.
        """
        doubled = self.first_wait_s * 2.0 ** min(failures - 1, 30)
        return min(self.longest_wait_s, doubled) * (0.5 + drawn / 2)

    def next_watch_s(self, failures: int) -> float:
        """Return how long the next watch is to last: after a failure, just long enough to count.

        A quiet watch says nothing until it ends; a cache is to recover sooner than that.
        """
        return min(self.watch_s, 2 * self.short_watch_s) if failures else self.watch_s


class Reflector(Generic[T]):
    """Keeps a slim cache of one collection, on one thread.

    Args:
        api: the calls to the server.
        path: of the collection, such as ``/apis/apps/v1/deployments``.
        slim: returns the part of a raw object that is kept, or None to keep nothing of it.
        query: selectors that narrow the collection.
        optional: there may be no such collection (a custom resource that is not installed), which
            is no error: the cache is then empty, and one call a ``watch_s`` asks again.
        pace: times.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        api: Collections,
        path: str,
        slim: Callable[[dict[str, Any]], T | None],
        *,
        query: Mapping[str, str] | None = None,
        optional: bool = False,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._is_optional = optional
        self._api = api
        self._query = dict(query or {})
        self._pace = pace or Pace()
        self._clock = clock
        self._cache = Cache(slim, self._pace.stale_s, clock)
        self._log = log.bind(path=path)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"reflector {path}", daemon=True)
        self._stream_lock = threading.Lock()
        self._stream: EventStream | None = None
        # Only the thread changes these three.
        self._version: str | None = None
        self._failures = 0
        self._is_absent = False

    @property
    def is_running(self) -> bool:
        """Whether the cache is being followed."""
        return self._thread.is_alive()

    @property
    def is_absent(self) -> bool:
        """Whether the server knows no such collection, which may be so when it is optional."""
        return self._is_absent

    def start(self) -> None:
        """Start following; returns at once."""
        self._thread.start()

    def snapshot(self) -> Snapshot[T]:
        """Return what the cache holds now."""
        return self._cache.snapshot()

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until the cache is synced; tell whether it is."""
        return self._cache.wait_synced(timeout_s)

    def stop(self) -> None:
        """Stop following, also in the middle of a quiet watch; idempotent."""
        self._stopping.set()
        with self._stream_lock:
            if self._stream is not None:
                self._stream.interrupt()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._advance()
            except ActionError as error:
                self._back_off(error)
            except Exception as error:  # noqa: BLE001  a bug shows as a stale cache, not a lost thread
                self._log.exception("reflector failed")
                self._back_off(Permanent(f"the reflector failed: {error!r}"))

    def _advance(self) -> None:
        """List if need be, then follow one watch to its end."""
        if self._version is None:
            try:
                self._version = self._list()
            except NotFound:
                if not self._is_optional:
                    raise
                self._rest()
                return
        opened_at = self._clock()
        brought_news = self._watch(self._version)
        if not brought_news and self._clock() - opened_at < self._pace.short_watch_s:
            raise Transient(f"the watch of {self.path} ended at once and brought nothing")
        self._succeeded()

    def _rest(self) -> None:
        """Hold nothing while there is no such collection, and wait."""
        # Said before the cache is emptied: who finds nothing in it is to know why.
        was_absent, self._is_absent = self._is_absent, True
        if self._cache.replace({}).removed or not was_absent:
            self._log.info("collection absent", asks_again_s=self._pace.watch_s)
        self._failures = 0
        self._stopping.wait(self._pace.watch_s)

    def _list(self) -> str:
        """Replace the cache by a new list and return the list's version.

        The old items are served until the new list is complete.
        """
        items: dict[str, T] = {}
        version = ""
        for page, listed_version in self._api.pages(self.path, self._query):
            # Slimmed page by page: the raw objects of a large cluster would fill the memory.
            items |= self._cache.slimmed(page)
            version = listed_version
        difference = self._cache.replace(items)
        self._is_absent = False
        self._log.info("collection listed", objects=len(items), **asdict(difference))
        return version

    def _watch(self, version: str) -> bool:
        """Follow one watch to its end; tell whether it brought any event."""
        brought_news = False
        last_s = self._pace.next_watch_s(self._failures)
        with self._api.watch(self.path, self._query, version, last_s) as stream:
            with self._stream_lock:
                self._stream = stream
            try:
                # An interrupt that came before the stream was known is seen here.
                for event in () if self._stopping.is_set() else stream:
                    raw = event["object"]
                    now_at = str(raw["metadata"]["resourceVersion"])
                    if _is_earlier(now_at, self._version):
                        raise Expired(f"{self.path} went back to version {now_at}")
                    self._cache.apply(event["type"], raw)
                    self._version = now_at
                    brought_news = True
                    self._succeeded()
            finally:
                with self._stream_lock:
                    self._stream = None
        return brought_news

    def _succeeded(self) -> None:
        if self._failures:
            self._log.info("collection followed again", failures=self._failures)
        self._failures = 0
        self._cache.confirm()

    def _back_off(self, error: ActionError) -> None:
        """Note the error and wait; a version that is too old is given up."""
        if self._stopping.is_set():
            return
        self._failures += 1
        if isinstance(error, Expired | NotFound) or self._failures % RELIST_AFTER == 0:
            self._version = None
        self._cache.note(error)
        wait_s = self._pace.wait_s(self._failures, secrets.SystemRandom().random())
        if isinstance(error, Throttled):
            wait_s = max(wait_s, min(error.retry_after_s, self._pace.longest_wait_s))
        # The first of a row is news; the rest would repeat it every few seconds.
        say = self._log.warning if self._failures == 1 else self._log.debug
        say("collection lost", error=str(error), failures=self._failures, wait_s=round(wait_s, 2))
        self._stopping.wait(wait_s)


def scopes(namespaces: Sequence[str]) -> list[str]:
    """Return the part of a path that names the namespace, one for each; all of the cluster: ""."""
    return [f"/namespaces/{namespace}" for namespace in namespaces] or [""]


def _is_earlier(version: str, than: str | None) -> bool:
    """Tell whether the server lost history, as after a restore from a backup.

    Versions are numbers that grow, since Kubernetes 1.35 officially.
    """
    numbers = version.isdecimal() and than is not None and than.isdecimal()
    return numbers and int(version) < int(than or "0")
