"""Rollouts of the Deployments of one cluster, followed through the API server."""

import time
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any, TypeVar, assert_never

from actions.holding import Standing
from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Absence, Missing
from rollbackd.kubernetes.cache import CacheState, Snapshot
from rollbackd.kubernetes.errors import Denied
from rollbackd.kubernetes.reflector import Collections, Pace, Reflector
from rollbackd.rollouts.derivation import NO_MEMORY, Memory, Reading, derive
from rollbackd.rollouts.objects import (
    Deployment,
    Pod,
    ReplicaSet,
    deployment_of,
    pod_of,
    replica_set_of,
)
from rollbackd.rollouts.revisions import Family, current_of, families

T = TypeVar("T")


class KubernetesRollouts:
    """A ``RolloutSource`` over caches of Deployments, ReplicaSets and pods.

    ``rollouts`` and ``instances`` are for one thread, the tick's; the caches fill on their own.

    Args:
        api: the calls to the API server.
        reading: how observations are read.
        namespaces: to follow; none for all of the cluster.
        selector: label selector of the Deployments to follow; "" for all.
        pace: times of the caches.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        api: Collections,
        reading: Reading,
        *,
        namespaces: Sequence[str] = (),
        selector: str = "",
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reading = reading
        self._clock = clock
        self._memory: Memory = NO_MEMORY
        # ReplicaSets and pods bear the labels of the template, not those of the Deployment, so
        # the selector narrows only the latter; what belongs to no Deployment is passed over.
        query = {"labelSelector": selector} if selector else {}
        apps = [f"/apis/apps/v1{scope}" for scope in _scopes(namespaces)]
        core = [f"/api/v1{scope}" for scope in _scopes(namespaces)]
        self._deployments: list[Reflector[Deployment]] = [
            Reflector(api, f"{root}/deployments", deployment_of, query=query, pace=pace)
            for root in apps
        ]
        self._replica_sets: list[Reflector[ReplicaSet]] = [
            Reflector(api, f"{root}/replicasets", replica_set_of, pace=pace) for root in apps
        ]
        self._pods: list[Reflector[Pod]] = [
            Reflector(api, f"{root}/pods", pod_of, pace=pace) for root in core
        ]

    @property
    def reflectors(self) -> tuple[Reflector[Any], ...]:
        """The caches, for telemetry: path and snapshot of each."""
        return (*self._deployments, *self._replica_sets, *self._pods)

    def start(self) -> None:
        """Start filling the caches; returns at once."""
        for reflector in self.reflectors:
            reflector.start()

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until every cache is synced, ``timeout_s`` in all; tell whether they are."""
        end = time.monotonic() + timeout_s
        return all(r.wait_synced(max(0.0, end - time.monotonic())) for r in self.reflectors)

    def rollouts(self) -> Sequence[Rollout] | Missing:
        """Return every rollout seen now, or why the caches cannot be believed."""
        seen = self._families()
        if isinstance(seen, Missing):
            return seen
        found, self._memory = derive(seen, self._reading, self._memory, self._clock())
        return found

    def instances(self, workload: Workload, revision: Revision) -> tuple[Instance, ...] | Missing:
        """Return the instances of a revision that may not be part of a rollout any more.

        After a rollback there is no rollout, and whether it helped is to be measured.
        """
        seen = self._families()
        if isinstance(seen, Missing):
            return seen
        own = (family for family in seen if self._reading.workload(family) == workload)
        return tuple(
            chain.from_iterable(self._reading.instances(family, revision.id) for family in own)
        )

    def standings(self, wanted: Collection[Workload]) -> Sequence[Standing] | Missing:
        """Return how wanted Deployments stand, and all that bear our mark; from any thread."""
        caches: list[Reflector[Any]] = [*self._deployments, *self._replica_sets]
        for reflector in caches:
            if missing := _missing(reflector.path, reflector.snapshot()):
                return missing
        found = [d for d in _items(self._deployments) if d.held_by or self._is(d, wanted)]
        own = {d.uid for d in found}
        replica_sets = [r for r in _items(self._replica_sets) if r.deployment in own]
        seen = families(found, replica_sets, ()) if found else []
        return [_standing(self._reading.workload(family), family) for family in seen]

    def _is(self, deployment: Deployment, wanted: Collection[Workload]) -> bool:
        return bool(wanted) and self._reading.workload(Family(deployment)) in wanted

    def close(self) -> None:
        """Stop filling the caches; idempotent."""
        for reflector in self.reflectors:
            reflector.stop()

    def _families(self) -> list[Family] | Missing:
        for reflector in self.reflectors:
            if missing := _missing(reflector.path, reflector.snapshot()):
                return missing
        return families(_items(self._deployments), _items(self._replica_sets), _items(self._pods))


def _standing(workload: Workload, family: Family) -> Standing:
    deployment, current = family.deployment, current_of(family)
    return Standing(
        workload=workload,
        uid=deployment.uid,
        template=deployment.template,
        current=current.hash if current is not None else None,
        replicas=deployment.replicas,
        ready=current.ready if current is not None else 0,
        is_paused=deployment.is_paused,
        held_by=deployment.held_by,
    )


def _scopes(namespaces: Sequence[str]) -> list[str]:
    """Return the part of a path that names the namespace, one for each; all of the cluster: ""."""
    return [f"/namespaces/{namespace}" for namespace in namespaces] or [""]


def _items(reflectors: Sequence[Reflector[T]]) -> list[T]:
    return [item for reflector in reflectors for item in reflector.snapshot().items]


def _missing(path: str, snapshot: Snapshot[Any]) -> Missing | None:
    """Return why a cache cannot be believed, None when it can."""
    match snapshot.state:
        case CacheState.SYNCED:
            return None
        case CacheState.UNSYNCED:
            what = f"{path} was not listed yet"
        case CacheState.STALE:
            what = f"{path} was last in touch {snapshot.age_s:.0f} s ago"
        case _:
            assert_never(snapshot.state)
    denied = isinstance(snapshot.trouble, Denied)
    reason = Absence.UNAUTHORISED if denied else Absence.SOURCE_DOWN
    return Missing(reason, f"{what} ({snapshot.trouble})" if snapshot.trouble else what)
