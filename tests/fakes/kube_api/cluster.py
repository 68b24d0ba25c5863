"""One fake cluster: the composition root that knows all the parts. Nothing here speaks HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from .access import Access
from .clock import Clock
from .controllers.control_loop import ControlLoop
from .controllers.pod_lifecycle import PodHooks, PodLifecycle
from .controllers.readiness import Readiness, ReadyAfter
from .faults import FaultBook
from .objects.kinds import NAMESPACES, KindCatalogue
from .objects.registry import Registry, WriteOptions
from .objects.store import HISTORY_LIMIT, Store
from .request_log import RequestLog
from .serving.watches import WatchHub

_FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a fake cluster behaves.

    Attributes:
        access: who may do what.
        readiness: when pods become ready, unless their annotation says otherwise.
        pod_hooks: what is done for each pod.
        termination_seconds: how long a deleted pod stays, at most its grace period.
        bookmark_seconds: between two bookmarks of a watch (about 60 on a real server).
        history_limit: changes kept for watches; older revisions answer 410.
    """

    access: Access = field(default_factory=Access)
    readiness: Readiness = field(default_factory=ReadyAfter)
    pod_hooks: PodHooks = field(default_factory=PodHooks)
    termination_seconds: float = 0.2
    bookmark_seconds: float = 5.0
    history_limit: int = HISTORY_LIMIT


class Cluster:
    """The state of a fake cluster and all that works on it, owned by one event loop."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.access = settings.access
        self.clock = Clock()
        self.faults = FaultBook()
        self.requests = RequestLog()
        self.kinds = KindCatalogue()
        self.store = Store(settings.history_limit)
        self.registry = Registry(self.store, self.kinds, self.clock)
        self.watches = WatchHub(self.store, settings.bookmark_seconds)
        self.pods = PodLifecycle(
            self.store,
            self.registry,
            self.clock,
            hooks=settings.pod_hooks,
            readiness=settings.readiness,
            termination_seconds=settings.termination_seconds,
        )
        self.control_loop = ControlLoop(
            self.store, self.registry, self.kinds, self.clock, self.pods
        )
        self.too_old_answers_http = False
        self._running: asyncio.Task[None] | None = None
        for name in _FIRST_NAMESPACES:
            namespace = {"metadata": {"name": name}}
            self.registry.create(
                NAMESPACES,
                "",
                {**namespace, "apiVersion": "v1", "kind": "Namespace"},
                WriteOptions(manager="kube-apiserver"),
            )

    async def start(self) -> None:
        """Let the controllers run."""
        loop = asyncio.get_running_loop()

        def wake_from_any_thread() -> None:
            # A hook may end after the loop did; then nobody is left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.control_loop.wake)

        self.pods.wake = wake_from_any_thread
        self._running = asyncio.create_task(self.control_loop.run())

    async def stop(self) -> None:
        """Stop the controllers, end the watches and stop every pod's process."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        self.watches.end_all("drop")
        await self.pods.close()

    def skip_time(self, seconds: float) -> None:
        """Move the cluster's clock forward and let the controllers notice."""
        self.clock.skip(seconds)
        self.control_loop.wake()

    def compact_history(self, *, answers_http: bool = False) -> int:
        """Forget the history, so that every earlier revision is too old for a watch.

        Args:
            answers_http: whether such a watch is refused with HTTP 410; else it begins with 200
                and an ERROR event, which is what a real server does most often.
        """
        self.too_old_answers_http = answers_http
        return self.store.compact()
