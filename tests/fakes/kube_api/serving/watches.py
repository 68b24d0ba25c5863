"""Watches: the stream of changes after a revision, with bookmarks, time limits and 410."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from tests.fakes.kube_api.objects.errors import ApiError

from .representations import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.kube_api.objects.kinds import ResourceKind
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.selectors import Selection
    from tests.fakes.kube_api.objects.store import Change, Store

LONGEST_WATCH_SECONDS = 1800.0  # the real server draws from 30 to 60 minutes

# How a test ends the open watches: the connection breaks, or an ERROR event says 410.
WatchEnding: TypeAlias = Literal["drop", "gone"]


class WatchDropped(Exception):
    """The connection of a watch is to be broken off."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What one watch asks for.

    Attributes:
        kind: the kind in the version asked for.
        namespace: empty for all namespaces.
        selected: which objects are seen.
        revision: changes after it are sent; `None` starts with all objects as they are.
        marks_initial_end: send a bookmark when the initial objects are through (sendInitialEvents).
        bookmarks: whether bookmarks are wanted.
        timeout_seconds: when the server ends the watch.
        metadata_only: send PartialObjectMetadata.
    """

    kind: ResourceKind
    namespace: str
    selected: Selection
    revision: int | None
    marks_initial_end: bool = False
    bookmarks: bool = False
    timeout_seconds: float = LONGEST_WATCH_SECONDS
    metadata_only: bool = False


class _OpenWatch:
    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.ending: WatchEnding | None = None


class WatchHub:
    """All open watches."""

    def __init__(self, store: Store, bookmark_seconds: float) -> None:
        self._store = store
        self._bookmark_seconds = bookmark_seconds
        self._open: set[_OpenWatch] = set()
        store.subscribe(lambda _: self._wake_all())

    @property
    def open_count(self) -> int:
        """Return how many watches are open."""
        return len(self._open)

    def end_all(self, ending: WatchEnding) -> None:
        """End every open watch in the given way."""
        for watch in self._open:
            watch.ending = ending
        self._wake_all()

    def _wake_all(self) -> None:
        for watch in self._open:
            watch.woken.set()

    async def stream(
        self, request: WatchRequest, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Send events until the time is up.

        Raises:
            WatchDropped: a test asked for the connection to break.
        """
        watch = _OpenWatch()
        self._open.add(watch)
        try:
            await self._follow(watch, request, send)
        except ApiError as error:
            await send(_line("ERROR", error.status()))
        finally:
            self._open.discard(watch)

    async def _follow(
        self,
        watch: _OpenWatch,
        request: WatchRequest,
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout_seconds
        position = await self._send_initial(request, send)
        next_bookmark = loop.time() + self._bookmark_seconds
        while True:
            watch.woken.clear()
            if watch.ending == "drop":
                raise WatchDropped
            if watch.ending == "gone":
                raise ApiError(410, "Expired", "The resourceVersion for the watch is too old.")
            reached = self._store.revision
            for change in self._store.changes_after(position, request.kind.storage):
                event = event_for(change, request)
                if event is not None:
                    await send(_line(*event))
            position = reached
            now = loop.time()
            is_over = now >= deadline
            if request.bookmarks and (is_over or now >= next_bookmark):
                await send(_bookmark(request.kind, position))
                next_bookmark = now + self._bookmark_seconds
            if is_over:
                return
            pause = min(deadline, next_bookmark) - now
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await watch.woken.wait()

    async def _send_initial(
        self, request: WatchRequest, send: Callable[[bytes], Awaitable[None]]
    ) -> int:
        if request.revision is not None:
            return request.revision
        position = self._store.revision
        for obj in self._store.list_objects(request.kind.storage, request.namespace):
            if request.selected(obj):
                sent = shown(request.kind, obj, metadata_only=request.metadata_only)
                await send(_line("ADDED", sent))
        if request.marks_initial_end:
            await send(_bookmark(request.kind, position, ends_initial=True))
        return position


def event_for(change: Change, request: WatchRequest) -> tuple[str, JsonObject] | None:
    """Return a change as one watch sees it.

    An object that starts to match the selector is ADDED to this watch, one that ceases to match
    is DELETED, whatever happened to it in the store.
    """
    if request.namespace and change.name.namespace != request.namespace:
        return None
    matched = change.previous is not None and request.selected(change.previous)
    matches = change.type != "DELETED" and request.selected(change.object)
    if not matched and not matches:
        return None
    obj = change.object
    if not matched:
        event_type = "ADDED"
    elif matches:
        event_type = "MODIFIED"
    else:
        event_type = "DELETED"
        if change.type != "DELETED" and change.previous is not None:
            # The last state that matched, under the revision at which it ceased to.
            revision = {"resourceVersion": str(change.revision)}
            obj = {**change.previous, "metadata": {**change.previous["metadata"], **revision}}
    return event_type, shown(request.kind, obj, metadata_only=request.metadata_only)


def _bookmark(kind: ResourceKind, revision: int, *, ends_initial: bool = False) -> bytes:
    metadata: JsonObject = {"resourceVersion": str(revision), "creationTimestamp": None}
    if ends_initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return _line(
        "BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    )


def _line(event_type: str, obj: JsonObject) -> bytes:
    return json.dumps({"type": event_type, "object": obj}).encode() + b"\n"
