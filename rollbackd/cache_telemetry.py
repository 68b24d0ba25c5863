"""Metrics of what is kept of the cluster: how much, and how long ago the API server was heard."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from rollbackd.kubernetes.cache import Snapshot

COLLECTIONS = (
    *("deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"),
    *("rollouts", "canaries", "services", "pods", "rollbackpolicies"),
)
"""All that is ever followed; the label's values."""


class Kept(Protocol):
    """One cache: the path of its collection, and what it holds."""

    @property
    def path(self) -> str:
        """Return the path on the API server."""

    def snapshot(self) -> Snapshot[Any]:
        """Return what it holds now."""


Caches = Callable[[], Iterable[Kept]]


def export_caches(meter: Meter, caches: Caches) -> None:
    """Create the metrics of the caches.

    Args:
        meter: creates the instruments.
        caches: returns all of them; asked at each scrape. Of several namespaces, sizes are added
            up, and the oldest is told.
    """

    def sizes(_: CallbackOptions) -> list[Observation]:
        held = dict.fromkeys(COLLECTIONS, 0)
        for cache in caches():
            held[_collection(cache)] += len(cache.snapshot().items)
        return [Observation(count, {"collection": name}) for name, count in held.items()]

    def ages(_: CallbackOptions) -> list[Observation]:
        oldest: dict[str, float] = defaultdict(float)
        for cache in caches():
            name = _collection(cache)
            oldest[name] = max(oldest[name], cache.snapshot().age_s)
        return [Observation(age, {"collection": n}) for n, age in oldest.items() if isfinite(age)]

    meter.create_observable_gauge(
        "rollbackd.cache.objects", [sizes], "1", "Objects of the cluster that are kept."
    )
    meter.create_observable_gauge(
        "rollbackd.cache.age", [ages], "s", "Since the API server was last heard of."
    )


def _collection(cache: Kept) -> str:
    return cache.path.rpartition("/")[2]
