"""The fake as an object in a test: the server runs on a thread, the test holds this."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import yaml

from .cluster import Cluster, ClusterSettings
from .objects.json_patches import merge_patched
from .objects.metadata import ObjectName, copied
from .objects.registry import DeleteOptions, WriteOptions
from .objects.selectors import selection
from .pod_status import set_pod_status
from .serving.server import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from .access import Access
    from .controllers.readiness import Readiness
    from .faults import Fault
    from .objects.kinds import ResourceKind
    from .objects.metadata import JsonObject
    from .request_log import LoggedRequest
    from .serving.watches import WatchEnding

_Result = TypeVar("_Result")

START_SECONDS = 10.0
CALL_SECONDS = 10.0
STOP_SECONDS = 40.0  # the pods' hooks have 30 s of it
_POLL_SECONDS = 0.02
_WRITE = WriteOptions(manager="test")


class FakeKubeApi:
    """A running fake API server; use it as a context manager.

    Every method may be called from any thread, pod hooks and readiness checks included. Objects
    that come back are copies. Refusals raise `ApiError`, as on the wire.

    Leaving the context stops the server and all pods (their `deleted` hooks run), and raises the
    first error of the fake itself, so that a bug here fails the test which met it.
    """

    def __init__(self, settings: ClusterSettings | None = None, *, port: int = 0) -> None:
        self._settings = settings or ClusterSettings()
        self._port = port
        self._thread = threading.Thread(target=self._run, name="fake-kube-api", daemon=True)
        self._started: Future[str] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._cluster: Cluster
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = self._started.result(START_SECONDS)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("the fake API server did not stop")
        if error is None and self._cluster.control_loop.errors:
            raise self._cluster.control_loop.errors[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._cluster = Cluster(self._settings)
        async with serving(self._cluster, self._port) as url:
            self._started.set_result(url)
            await self._stopping.wait()

    def _on_loop(self, call: Callable[[], _Result]) -> _Result:
        """Run a call on the server's thread, which alone may touch the cluster."""
        if threading.current_thread() is self._thread:
            return call()
        done: Future[_Result] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except Exception as error:  # noqa: BLE001  handed to the caller
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(CALL_SECONDS)

    def _kind(self, api_version: str, kind: str) -> ResourceKind:
        return self._cluster.kinds.of_object({"apiVersion": api_version, "kind": kind})

    # Objects

    def create(self, obj: JsonObject) -> JsonObject:
        """Create an object from its manifest (namespace "default" when it names none)."""

        def run() -> JsonObject:
            kind = self._cluster.kinds.of_object(obj)
            home = (obj["metadata"].get("namespace") or "default") if kind.namespaced else ""
            return copied(self._cluster.registry.create(kind, home, obj, _WRITE))

        return self._on_loop(run)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str = "default"
    ) -> JsonObject:
        """Return one object."""

        def run() -> JsonObject:
            found = self._kind(api_version, kind)
            at = ObjectName(namespace if found.namespaced else "", name)
            return copied(self._cluster.registry.get(found, at))

        return self._on_loop(run)

    def list_objects(
        self, api_version: str, kind: str, namespace: str = "", label_selector: str = ""
    ) -> list[JsonObject]:
        """Return the objects of a kind, in name order; no namespace means all of them."""

        def run() -> list[JsonObject]:
            found = self._kind(api_version, kind)
            selected = selection(found, label_selector, "")
            objects = self._cluster.store.list_objects(found.storage, namespace)
            return copied([obj for obj in objects if selected(obj)])

        return self._on_loop(run)

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        patch: JsonObject,
        namespace: str = "default",
        *,
        subresource: str = "",
    ) -> JsonObject:
        """Change an object by a JSON merge patch; `subresource="status"` writes its status."""

        def run() -> JsonObject:
            found = self._kind(api_version, kind)
            at = ObjectName(namespace if found.namespaced else "", name)
            options = WriteOptions(manager=_WRITE.manager, subresource=subresource)
            changed = self._cluster.registry.patch(
                found, at, lambda obj: merge_patched(obj, patch), options
            )
            return copied(changed)

        return self._on_loop(run)

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "default") -> None:
        """Delete an object; what it owns goes too, a little later."""

        def run() -> None:
            found = self._kind(api_version, kind)
            at = ObjectName(namespace if found.namespaced else "", name)
            self._cluster.registry.delete(found, at, DeleteOptions())

        self._on_loop(run)

    def wait_until(
        self, holds: Callable[[Self], _Result], *, seconds: float = 10.0, what: str = ""
    ) -> _Result:
        """Ask again and again until the answer is true; return it.

        Raises:
            TimeoutError: it was not true in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := holds(self):
                return answer
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"not within {seconds} s: {what or holds}")

    # Pods

    def set_pod_status(
        self,
        name: str,
        namespace: str = "default",
        *,
        is_ready: bool | None = None,
        status: JsonObject | None = None,
    ) -> JsonObject:
        """Hold a pod ready or not ready, and merge into its status."""
        at = ObjectName(namespace, name)
        return self._on_loop(
            lambda: copied(set_pod_status(self._cluster, at, is_ready=is_ready, status=status))
        )

    def set_readiness(self, readiness: Readiness) -> None:
        """Change when pods become ready; those that are ready stay so."""

        def run() -> None:
            self._cluster.pods.readiness = readiness
            self._cluster.control_loop.wake()

        self._on_loop(run)

    # Faults, access, time, history

    def add_fault(self, fault: Fault) -> int:
        """Switch a fault on; return its number."""
        return self._on_loop(lambda: self._cluster.faults.add(fault))

    def remove_fault(self, number: int) -> None:
        """Switch a fault off."""
        self._on_loop(lambda: self._cluster.faults.remove(number))

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._on_loop(self._cluster.faults.clear)

    def set_access(self, access: Access) -> None:
        """Change who may do what."""

        def run() -> None:
            self._cluster.access = access

        self._on_loop(run)

    def requests(self, after: int = 0) -> list[LoggedRequest]:
        """Return the logged requests, oldest first; `after` is the id of the last one seen."""
        return self._on_loop(lambda: [replace(one) for one in self._cluster.requests.after(after)])

    def skip_time(self, seconds: float) -> None:
        """Move the cluster's clock forward, past a progress deadline for instance."""
        self._on_loop(lambda: self._cluster.skip_time(seconds))

    def compact_history(self, *, answers_http: bool = False) -> None:
        """Make every earlier revision too old for a watch (see `Cluster.compact_history`)."""
        self._on_loop(lambda: self._cluster.compact_history(answers_http=answers_http))

    def end_watches(self, how: WatchEnding = "drop") -> None:
        """Break the open watches off, or end them with an ERROR event that says 410."""
        self._on_loop(lambda: self._cluster.watches.end_all(how))

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here, with the token that is known; return the path."""
        token = self._on_loop(lambda: self._cluster.access.token)
        user: dict[str, Any] = {"token": token} if token else {}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": user}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        path.write_text(yaml.safe_dump(config))
        return path
