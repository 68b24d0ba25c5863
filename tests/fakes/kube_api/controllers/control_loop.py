"""The loop which runs all controllers on the server's event loop, woken by changes or by time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.kinds import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
)
from tests.fakes.kube_api.objects.metadata import controller_uid

from .daemon_sets import DaemonSetController
from .deployments import DeploymentController
from .endpoints import EndpointSliceController
from .garbage import GarbageCollector
from .replica_sets import ReplicaSetController
from .stateful_sets import StatefulSetController

if TYPE_CHECKING:
    from tests.fakes.kube_api.clock import Clock
    from tests.fakes.kube_api.objects.kinds import KindCatalogue
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry
    from tests.fakes.kube_api.objects.store import Change, Store

    from .pod_lifecycle import PodLifecycle

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01  # between two passes, so that clients see the steps between
SHORTEST_WAIT_SECONDS = 0.02  # when something is due but nothing has changed
RETRY_SECONDS = 0.5  # after a controller failed
MOST_ERRORS_KEPT = 20
_WATCHED = frozenset(
    kind.storage
    for kind in (DEPLOYMENTS, REPLICA_SETS, PODS, STATEFUL_SETS, DAEMON_SETS, NODES, SERVICES)
)


class ControlLoop:
    """Runs pods, all kinds of sets, Deployments and the garbage collector, in that order.

    Attributes:
        errors: bugs of the fake itself; a test must see none.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        kinds: KindCatalogue,
        clock: Clock,
        pods: PodLifecycle,
    ) -> None:
        self.errors: list[Exception] = []
        self.garbage = GarbageCollector(store, registry, kinds)
        self._store = store
        self._pods = pods
        self._replica_sets = ReplicaSetController(registry, clock)
        self._deployments = DeploymentController(registry, clock)
        self._stateful_sets = StatefulSetController(registry)
        self._daemon_sets = DaemonSetController(registry)
        self._endpoints = EndpointSliceController(store, registry)
        # By uid: owners something changed for, and owners which time will change something for.
        self._dirty: set[str] = set()
        self._due_at: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._clock = clock
        store.subscribe(self._notice)

    def wake(self) -> None:
        """Have a pass made soon. Only from the event loop's own thread."""
        self._woken.set()

    def note_error(self, error: Exception) -> None:
        """Keep a bug of the fake for the test to see."""
        if len(self.errors) < MOST_ERRORS_KEPT:
            self.errors.append(error)

    def _notice(self, change: Change) -> None:
        if change.storage in _WATCHED:
            self._dirty.add(change.object["metadata"]["uid"])
            self._dirty.add(controller_uid(change.object) or "")
        self._woken.set()

    async def run(self) -> None:
        """Make passes until cancelled."""
        while True:
            self._woken.clear()
            try:
                due = self.pass_once()
            except Exception as error:  # noqa: BLE001  a bug ends one pass, not the server
                _log.exception("a controller of the fake API server failed")
                self.note_error(error)
                due = RETRY_SECONDS
            await asyncio.sleep(PAUSE_SECONDS)
            timeout = None if due == math.inf else max(SHORTEST_WAIT_SECONDS, due)
            # Not wait_for: in Python 3.11 it loses a cancellation that meets a wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._woken.wait()

    def pass_once(self) -> float:
        """Run every controller once; return the seconds until a pass is due without changes."""
        due = self._pods.pass_once()
        now = self._clock.now()
        self._dirty |= {uid for uid, at in self._due_at.items() if at <= now}
        self._due_at = {uid: at for uid, at in self._due_at.items() if at > now}
        dirty, self._dirty = self._dirty, set()
        if dirty:
            try:
                self._reconcile(dirty, now)
            except Exception:
                self._dirty |= dirty
                raise
        self.garbage.pass_once()
        return min([due, *(at - now for at in self._due_at.values())])

    def _reconcile(self, dirty: set[str], now: float) -> None:
        pods_of = self._by_controller(PODS.storage)
        for replica_set in self._store.list_objects(REPLICA_SETS.storage):
            uid = replica_set["metadata"]["uid"]
            if uid in dirty:
                self._note_due(uid, now + self._replica_sets.reconcile(replica_set, pods_of[uid]))
                dirty.add(controller_uid(replica_set) or "")
        replica_sets_of = self._by_controller(REPLICA_SETS.storage)
        for deployment in self._store.list_objects(DEPLOYMENTS.storage):
            uid = deployment["metadata"]["uid"]
            if uid in dirty:
                owned = replica_sets_of[uid]
                self._note_due(uid, now + self._deployments.reconcile(deployment, owned, pods_of))

        self._reconcile_sets(dirty, pods_of)
        self._endpoints.reconcile()

    def _reconcile_sets(self, dirty: set[str], pods_of: dict[str, list[JsonObject]]) -> None:
        revisions_of = self._by_controller(CONTROLLER_REVISIONS.storage)
        nodes = [node["metadata"]["name"] for node in self._store.list_objects(NODES.storage)]
        for stateful_set in self._store.list_objects(STATEFUL_SETS.storage):
            uid = stateful_set["metadata"]["uid"]
            if uid in dirty:
                self._stateful_sets.reconcile(stateful_set, revisions_of[uid], pods_of[uid])
        for daemon_set in self._store.list_objects(DAEMON_SETS.storage):
            # Every one of them: a node may have come.
            uid = daemon_set["metadata"]["uid"]
            self._daemon_sets.reconcile(daemon_set, revisions_of[uid], pods_of[uid], nodes)

    def _note_due(self, uid: str, at: float) -> None:
        self._due_at.pop(uid, None)
        if at < math.inf:
            self._due_at[uid] = at

    def _by_controller(self, storage: str) -> dict[str, list[JsonObject]]:
        owned: dict[str, list[JsonObject]] = defaultdict(list)
        for obj in self._store.list_objects(storage):
            uid = controller_uid(obj)
            if uid is not None:
                owned[uid].append(obj)
        return owned
