"""The kubelet's part: pods start, become ready, stop and vanish.

Hooks let a test run a real process for each pod. They run one at a time on a thread of their own,
so a slow hook delays other pods but never the API.
"""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.kube_api.objects.kinds import PODS
from tests.fakes.kube_api.objects.metadata import copied, name_of
from tests.fakes.kube_api.objects.registry import WriteOptions

from .pod_conditions import (
    failed_start_status,
    is_ready,
    running_status,
    scheduled_status,
    with_readiness,
)
from .readiness import AskReadiness, NeverReady, Readiness, ReadyAfter, readiness_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kube_api.clock import Clock
    from tests.fakes.kube_api.objects.metadata import JsonObject, ObjectName
    from tests.fakes.kube_api.objects.registry import Registry
    from tests.fakes.kube_api.objects.store import Store

_log = logging.getLogger(__name__)

NODE_NAME = "fake-node"
CHECK_SECONDS = 0.1  # between two questions to a readiness check
STOP_HOOKS_SECONDS = 30.0  # how long shutting down waits for pods' hooks
_ADDRESSES_PER_BLOCK = 250
_SPEC_WRITE = WriteOptions(manager="kube-scheduler")
_STATUS_WRITE = WriteOptions(manager="kubelet", subresource="status")


@dataclass(frozen=True, slots=True)
class PodHooks:
    """What a test wants done for each pod.

    Attributes:
        created: called once, before the pod runs; if it raises, the pod's containers wait in
            RunContainerError.
        deleted: called once, when the pod is told to stop; the pod vanishes after it returns.
    """

    created: Callable[[JsonObject], None] | None = None
    deleted: Callable[[JsonObject], None] | None = None


@dataclass(slots=True)
class _LocalPod:
    """What the kubelet remembers of one pod."""

    pod: JsonObject
    starting: Future[Any] | None = None
    started_at: float | None = None
    has_failed: bool = False
    was_ready: bool = False
    pinned_readiness: bool | None = None
    asking: Future[Any] | None = None
    next_check: float = 0.0
    stopping: Future[Any] | None = None
    stop_at: float = field(default=math.inf)


class PodLifecycle:
    """Takes every pod of the cluster through its life."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        *,
        hooks: PodHooks,
        readiness: Readiness,
        termination_seconds: float,
    ) -> None:
        self.readiness = readiness
        self.wake: Callable[[], None] = lambda: None
        self._store = store
        self._registry = registry
        self._clock = clock
        self._hooks = hooks
        self._termination_seconds = termination_seconds
        self._local: dict[str, _LocalPod] = {}
        self._addresses_given = 0
        self._hook_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pod-hooks")

    def pin_readiness(self, name: ObjectName, *, is_ready: bool | None) -> None:
        """Hold a pod's readiness at a value; `None` gives it back to its rule."""
        uid = self._registry.get(PODS, name)["metadata"]["uid"]
        local = self._local.get(uid)
        if local is None:
            local = self._local[uid] = self._begin(self._registry.get(PODS, name))
        local.pinned_readiness = is_ready

    def pass_once(self) -> float:
        """Move every pod on; return the seconds until time alone will change something."""
        due = math.inf
        present = set()
        for pod in self._store.list_objects(PODS.storage):
            uid = pod["metadata"]["uid"]
            present.add(uid)
            local = self._local.get(uid)
            if local is None:
                local = self._local[uid] = self._begin(pod)
            local.pod = pod
            if pod["metadata"].get("deletionTimestamp"):
                due = min(due, self._stop(local))
            elif local.started_at is None:
                self._start(local)
            else:
                due = min(due, self._settle_readiness(local))
        for uid in self._local.keys() - present:
            # Removed at once (grace period 0, or its namespace went): the hook still runs.
            self._tell_deleted(self._local.pop(uid))
        return due

    async def close(self) -> None:
        """Stop every pod's process; waits for the hooks, within a limit."""
        pending = [
            asyncio.wrap_future(future)
            for local in self._local.values()
            if (future := self._tell_deleted(local)) is not None
        ]
        self._local.clear()
        if pending:
            await asyncio.wait(pending, timeout=STOP_HOOKS_SECONDS)
        self._hook_thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, pod: JsonObject) -> _LocalPod:
        """Schedule a pod which was just seen and have its process started."""
        name = name_of(pod)
        if not pod["spec"].get("nodeName"):

            def bound(current: JsonObject) -> JsonObject:
                current["spec"]["nodeName"] = NODE_NAME
                return current

            self._registry.patch(PODS, name, bound, _SPEC_WRITE)
        pod = self._write_status(pod, scheduled_status(pod, self._clock.now()))
        return _LocalPod(pod, starting=self._call(self._hooks.created, pod))

    def _start(self, local: _LocalPod) -> None:
        if local.starting is not None and not local.starting.done():
            return
        if local.has_failed:
            return
        now = self._clock.now()
        error = local.starting.exception() if local.starting is not None else None
        if error is not None:
            local.has_failed = True
            self._write_status(local.pod, failed_start_status(local.pod, str(error), now))
            return
        local.started_at = now
        local.pod = self._write_status(local.pod, running_status(local.pod, self._address(), now))
        self.wake()

    def _settle_readiness(self, local: _LocalPod) -> float:
        due, wanted = self._wanted_readiness(local)
        if wanted is not None and wanted != is_ready(local.pod):
            now = self._clock.now()
            status = with_readiness(local.pod, local.pod["status"], is_ready=wanted, now=now)
            self._write_status(local.pod, status)
        return due

    def _wanted_readiness(self, local: _LocalPod) -> tuple[float, bool | None]:
        """Return when to look again, and the wanted readiness (`None`: leave it as it is)."""
        if local.pinned_readiness is not None:
            return math.inf, local.pinned_readiness
        now = self._clock.now()
        match readiness_of(local.pod, self.readiness):
            case NeverReady():
                return math.inf, None
            case ReadyAfter(seconds):
                # Once only: whatever a client writes into the status afterwards stays.
                left = (local.started_at or now) + seconds - now
                if local.was_ready or left > 0:
                    return (math.inf if local.was_ready else left), None
                local.was_ready = True
                return math.inf, True
            case AskReadiness(check):
                return self._answer(local, check)

    def _answer(
        self, local: _LocalPod, check: Callable[[JsonObject], bool]
    ) -> tuple[float, bool | None]:
        now = self._clock.now()
        wanted = None
        if local.asking is not None and local.asking.done():
            wanted = local.asking.exception() is None and bool(local.asking.result())
            local.asking = None
            local.next_check = now + CHECK_SECONDS
        if local.asking is None and now >= local.next_check:
            local.asking = self._call(check, local.pod)
        return (math.inf if local.asking else local.next_check - now), wanted

    def _stop(self, local: _LocalPod) -> float:
        """Stop a pod's process; remove the pod when that is done and a moment has passed."""
        now = self._clock.now()
        if local.stop_at == math.inf:
            grace = local.pod["metadata"].get("deletionGracePeriodSeconds", 0)
            local.stop_at = now + min(grace, self._termination_seconds)
            self._tell_deleted(local)
        if local.stopping is not None and not local.stopping.done():
            return math.inf
        if now < local.stop_at:
            return local.stop_at - now
        if not local.pod["metadata"].get("finalizers"):
            self._local.pop(local.pod["metadata"]["uid"])
            self._registry.remove(PODS, name_of(local.pod))
        return math.inf

    def _tell_deleted(self, local: _LocalPod) -> Future[Any] | None:
        if local.stopping is None:
            local.stopping = self._call(self._hooks.deleted, local.pod)
        return local.stopping

    def _call(
        self, hook: Callable[[JsonObject], Any] | None, pod: JsonObject
    ) -> Future[Any] | None:
        if hook is None:
            return None
        future = self._hook_thread.submit(hook, copied(pod))
        future.add_done_callback(self._noticed)
        return future

    def _noticed(self, future: Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            _log.warning("a pod hook failed", exc_info=error)
        self.wake()

    def _write_status(self, pod: JsonObject, status: JsonObject) -> JsonObject:
        return self._registry.patch(
            PODS, name_of(pod), lambda current: {**current, "status": status}, _STATUS_WRITE
        )

    def _address(self) -> str:
        block, host = divmod(self._addresses_given, _ADDRESSES_PER_BLOCK)
        self._addresses_given += 1
        return f"10.244.{block % _ADDRESSES_PER_BLOCK}.{host + 1}"
