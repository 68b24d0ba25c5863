"""Rollouts of the workloads of one cluster, followed through the API server."""

import time
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any, TypeVar, assert_never

from actions.argo_abort import KIND as ARGO
from actions.holding import Standing
from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Absence, Missing
from rollbackd.kubernetes.cache import CacheState, Snapshot
from rollbackd.kubernetes.errors import Denied
from rollbackd.kubernetes.reflector import Collections, Pace, Reflector, scopes
from rollbackd.rollouts.argo import argo_rollout_of, argo_rollouts
from rollbackd.rollouts.derivation import NO_MEMORY, Memory, Reading, derive
from rollbackd.rollouts.flagger import KIND as FLAGGER
from rollbackd.rollouts.flagger import VERSION as FLAGGER_VERSION
from rollbackd.rollouts.flagger import flagger_canary_of, flagger_rollouts, owned
from rollbackd.rollouts.objects import (
    Deployment,
    Pod,
    deployment_of,
    pod_of,
    replica_set_of,
)
from rollbackd.rollouts.revisions import Family, current_of, families
from rollbackd.rollouts.sets import (
    DAEMON_SET,
    STATEFUL_SET,
    controller_revision_of,
    daemon_set_of,
    set_families,
    stateful_set_of,
)
from rollbackd.rollouts.tracks import pairs, track_rollouts

T = TypeVar("T")

_WORKLOADS = frozenset({"deployments", "statefulsets", "daemonsets", "rollouts", "canaries"})

DEPLOYMENT = "Deployment"
KINDS = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)
"""Kinds of workloads that every cluster has; Argo's Rollout and Flagger's Canary when they are asked for."""


class KubernetesRollouts:
    """A ``RolloutSource`` over caches of workloads, their revisions and pods.

    ``rollouts`` and ``instances`` are for one thread, the tick's; the caches fill on their own.

    Args:
        api: the calls to the API server.
        reading: how observations are read.
        namespaces: to follow; none for all of the cluster.
        selector: label selector of the workloads to follow; "" for all.
        kinds: which kinds to follow; nothing is asked of the others.
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
        kinds: Sequence[str] = KINDS,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reading = reading
        self._clock = clock
        self._memory: Memory = NO_MEMORY
        # Revisions and pods bear the labels of the template, not those of the workload, so the
        # selector narrows only the latter; what belongs to none of them is passed over.
        query = {"labelSelector": selector} if selector else {}

        def follow(
            kind: str,
            collection: str,
            slim: Callable[[dict[str, Any]], T | None],
            group: str = "apps/v1",
        ) -> list[Reflector[T]]:
            if kind not in kinds:
                return []
            return [
                Reflector(
                    api,
                    f"/apis/{group}{scope}/{collection}",
                    slim,
                    query=query if collection in _WORKLOADS else {},
                    optional=group != "apps/v1",
                    pace=pace,
                )
                for scope in scopes(namespaces)
            ]

        self._deployments = follow(DEPLOYMENT, "deployments", deployment_of)
        with_replica_sets = next((k for k in (DEPLOYMENT, ARGO) if k in kinds), "")
        self._replica_sets = follow(with_replica_sets, "replicasets", replica_set_of)
        self._flagger = follow(FLAGGER, "canaries", flagger_canary_of, FLAGGER_VERSION)
        self._argo = follow(ARGO, "rollouts", argo_rollout_of, "argoproj.io/v1alpha1")
        self._sets = [
            *follow(STATEFUL_SET, "statefulsets", stateful_set_of),
            *follow(DAEMON_SET, "daemonsets", daemon_set_of),
        ]
        with_revisions = next((k for k in (STATEFUL_SET, DAEMON_SET) if k in kinds), "")
        self._revisions = follow(with_revisions, "controllerrevisions", controller_revision_of)
        self._pods: list[Reflector[Pod]] = [
            Reflector(api, f"/api/v1{scope}/pods", pod_of, pace=pace)
            for scope in scopes(namespaces)
        ]

    @property
    def reflectors(self) -> tuple[Reflector[Any], ...]:
        """The caches, for telemetry: path and snapshot of each."""
        return (
            *self._deployments,
            *self._replica_sets,
            *self._argo,
            *self._flagger,
            *self._sets,
            *self._revisions,
            *self._pods,
        )

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
        flagger = _items(self._flagger)
        theirs = owned(flagger)
        free = [f for f in seen if (f.deployment.namespace, f.deployment.name) not in theirs]
        beside = pairs(free)
        canaries = {canary.deployment.uid for canary, _ in beside}
        own = [family for family in free if family.deployment.uid not in canaries]
        found, self._memory = derive(own, self._reading, self._memory, self._clock())
        argo = argo_rollouts(
            _items(self._argo), _items(self._replica_sets), _items(self._pods), self._reading
        )
        return (
            *found,
            *track_rollouts(beside, self._reading),
            *argo,
            *flagger_rollouts(flagger, seen, self._reading),
        )

    def instances(self, workload: Workload, revision: Revision) -> tuple[Instance, ...] | Missing:
        """Return the instances of a revision that may not be part of a rollout any more.

        After a rollback there is no rollout, and whether it helped is to be measured.
        """
        seen = self._families()
        if isinstance(seen, Missing):
            return seen
        # By the revision's UID alone: the baseline may belong to another object than the canary.
        if workload.kind == ARGO:
            return self._reading.of(p for p in _items(self._pods) if p.replica_set == revision.id)
        own = (f for f in seen if f.deployment.namespace == workload.namespace)
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
        pods = _items(self._pods)
        return [
            *families(_items(self._deployments), _items(self._replica_sets), pods),
            *set_families(_items(self._sets), _items(self._revisions), pods),
        ]


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
