"""What a reflector holds of one collection, and how far it can be believed."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from actions.ports import ActionError

T = TypeVar("T")


class CacheState(StrEnum):
    """How far a cache can be believed. Closed set: it labels a metric."""

    UNSYNCED = "unsynced"
    """The first list has not come yet: an empty cache says nothing."""
    SYNCED = "synced"
    """Listed, and in touch with the server: an empty cache means an empty collection."""
    STALE = "stale"
    """Listed once, and out of touch for too long."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """What a cache holds at one moment.

    Attributes:
        items: the slimmed objects, in no particular order.
        state: how far they can be believed.
        age_s: seconds since the server was last heard of; infinite before the first list.
        trouble: the last error, while it lasts.
    """

    items: tuple[T, ...]
    state: CacheState
    age_s: float
    trouble: ActionError | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How a new list differs from what the cache held."""

    added: int
    changed: int
    removed: int


class Cache(Generic[T]):
    """The slimmed objects of one collection, by UID; safe to read while it is being written.

    Args:
        slim: returns the part of a raw object that is kept, or None to keep nothing of it.
        stale_s: seconds out of touch after which the cache is stale.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        slim: Callable[[dict[str, Any]], T | None],
        stale_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._slim = slim
        self._stale_s = stale_s
        self._clock = clock
        self._lock = threading.Condition()
        self._items: dict[str, T] = {}
        self._contact_at = -math.inf
        self._is_listed = False
        self._trouble: ActionError | None = None

    def slimmed(self, objects: list[dict[str, Any]]) -> dict[str, T]:
        """Return what is kept of raw objects, by UID; changes nothing."""
        kept = ((str(raw["metadata"]["uid"]), self._slim(raw)) for raw in objects)
        return {uid: item for uid, item in kept if item is not None}

    def replace(self, items: Mapping[str, T]) -> Difference:
        """Hold exactly these items from now on; return how that differs from before."""
        with self._lock:
            before = self._items
            common = before.keys() & items.keys()
            difference = Difference(
                added=len(items) - len(common),
                changed=sum(before[uid] != items[uid] for uid in common),
                removed=len(before) - len(common),
            )
            # Equal items stay the same objects: what others hold of them is not doubled.
            same = {uid: before[uid] for uid in common if before[uid] == items[uid]}
            self._items = {**items, **same}
            self._is_listed = True
            self._heard()
            return difference

    def apply(self, kind: str, raw: dict[str, Any]) -> None:
        """Take over one watch event other than an error; bookmarks only count as contact."""
        with self._lock:
            if kind in {"ADDED", "MODIFIED"}:
                uid, item = str(raw["metadata"]["uid"]), self._slim(raw)
                if item is None:
                    self._items.pop(uid, None)
                else:
                    self._items[uid] = item
            elif kind == "DELETED":
                self._items.pop(str(raw["metadata"]["uid"]), None)
            self._heard()

    def confirm(self) -> None:
        """Note that the server was in touch and had nothing new."""
        with self._lock:
            self._heard()

    def note(self, trouble: ActionError) -> None:
        """Note an error; the items stay as they are and grow old."""
        with self._lock:
            self._trouble = trouble

    def snapshot(self) -> Snapshot[T]:
        """Return what the cache holds now."""
        with self._lock:
            age_s = self._clock() - self._contact_at
            return Snapshot(tuple(self._items.values()), self._state(age_s), age_s, self._trouble)

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until the cache is synced; tell whether it is."""

        def is_synced() -> bool:
            return self._state(self._clock() - self._contact_at) is CacheState.SYNCED

        with self._lock:
            return self._lock.wait_for(is_synced, timeout_s)

    def _heard(self) -> None:
        self._contact_at = self._clock()
        self._trouble = None
        self._lock.notify_all()

    def _state(self, age_s: float) -> CacheState:
        if not self._is_listed:
            return CacheState.UNSYNCED
        return CacheState.STALE if age_s > self._stale_s else CacheState.SYNCED
