"""Follows every RollbackPolicy of the namespaces that are watched."""

from collections.abc import Sequence
from typing import Any

from analyzer.sample import Absence, Missing
from rollbackd.config.manifests import Limits
from rollbackd.config.models.policy_resource import API_VERSION, PLURAL
from rollbackd.kubernetes.cache import CacheState
from rollbackd.kubernetes.errors import Denied
from rollbackd.kubernetes.reflector import Collections, Pace, Reflector, scopes
from rollbackd.policies.resource import PolicyResource, ResourceReader

PATH = f"/apis/{API_VERSION}"


class PolicyResources:
    """The RollbackPolicies of a cluster, in caches that fill on their own.

    Args:
        api: the calls to the API server.
        cluster: its name in workloads.
        limits: how much such policies count.
        namespaces: to follow; none for all of the cluster.
        pace: times of the caches.
    """

    def __init__(
        self,
        api: Collections,
        cluster: str,
        limits: Limits,
        *,
        namespaces: Sequence[str] = (),
        pace: Pace | None = None,
    ) -> None:
        self.cluster = cluster
        self._reader = ResourceReader(limits)
        self._reflectors: list[Reflector[PolicyResource]] = [
            Reflector(api, f"{PATH}{scope}/{PLURAL}", self._reader, optional=True, pace=pace)
            for scope in scopes(namespaces)
        ]

    @property
    def reflectors(self) -> tuple[Reflector[Any], ...]:
        """The caches, for telemetry."""
        return tuple(self._reflectors)

    def start(self) -> None:
        """Start filling the caches; returns at once."""
        for reflector in self._reflectors:
            reflector.start()

    def close(self) -> None:
        """Stop filling the caches; idempotent."""
        for reflector in self._reflectors:
            reflector.stop()

    def all(self) -> tuple[PolicyResource, ...] | Missing:
        """Return every policy as last seen, or why none was ever seen.

        Those of a server that is out of touch stay: people did not take them back.
        """
        found: list[PolicyResource] = []
        for reflector in self._reflectors:
            snapshot = reflector.snapshot()
            if snapshot.state is CacheState.UNSYNCED:
                denied = isinstance(snapshot.trouble, Denied)
                reason = Absence.UNAUTHORISED if denied else Absence.SOURCE_DOWN
                why = f" ({snapshot.trouble})" if snapshot.trouble else ""
                return Missing(reason, f"{reflector.path} was not listed yet{why}")
            found += snapshot.items
        return tuple(found)

    @property
    def is_complete(self) -> bool:
        """Whether a policy that is not among ``all`` is known to be gone.

        Not while the server is out of touch, nor while it knows no such kind at all: then somebody
        took away the definition, and watches end as they began.
        """
        states = {reflector.snapshot().state for reflector in self._reflectors}
        return states == {CacheState.SYNCED} and not any(r.is_absent for r in self._reflectors)

    def forget_deleted(self) -> None:
        """Forget what was remembered of policies that are gone."""
        found = self.all()
        if self.is_complete and not isinstance(found, Missing):
            self._reader.forget_others({policy.uid for policy in found})

    def longest_horizons_s(self) -> dict[str, float]:
        """Return how long the longest watch lasts that any of them asks for, by namespace."""
        found = self.all()
        longest: dict[str, float] = {}
        for policy in () if isinstance(found, Missing) else found:
            if policy.read is not None:
                horizon_s = policy.read.rule.policy.horizon_s
                longest[policy.namespace] = max(longest.get(policy.namespace, 0.0), horizon_s)
        return longest
