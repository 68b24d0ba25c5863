"""Could a workload run its earlier revision at full size? Read from pods, HPAs and quotas."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Protocol
from urllib.parse import quote

from actions.cluster import HASH_LABEL, JsonObject, controller_uid
from actions.facts import CannotStart, Fact, QuotaShort, Undersized, Unread
from actions.ports import Permanent

STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
    }
)
"""Reasons of a waiting container that do not pass by themselves."""

_SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "E": 1e18, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
    "Ei": 2.0**60,
}  # fmt: skip


class Listing(Protocol):
    """The calls that capacity is read with, in raw JSON."""

    def items(self, path: str, label_selector: str) -> Sequence[JsonObject]:
        """Return the objects of a collection that the selector matches."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """What going back would change, in the terms that capacity is about.

    Attributes:
        kind, namespace, name: the workload.
        revision: label of the revision to go back to. selector: of its pods. owner: UID of the
            object that manages them.
        wanted: instances of the workload. running, leaving: of the revision to go back to, and of
            the canary, now.
        new, old: objects that have the two revisions' templates.
        takes_first: an instance may be taken away before another one is started.
    """

    kind: str
    namespace: str
    name: str
    revision: str
    selector: str
    owner: str
    wanted: int
    running: int
    leaving: int
    new: JsonObject
    old: JsonObject
    takes_first: bool


def deployment_way(deployment: JsonObject, canary: JsonObject, baseline: JsonObject) -> WayBack:
    """Return the way back of a Deployment, from one of its ReplicaSets to another."""
    metadata, revision = deployment["metadata"], baseline["metadata"]["labels"][HASH_LABEL]
    return WayBack(
        kind="Deployment",
        namespace=metadata["namespace"],
        name=metadata["name"],
        revision=revision,
        selector=f"{HASH_LABEL}={revision}",
        owner=baseline["metadata"]["uid"],
        wanted=deployment["spec"].get("replicas", 1),
        running=(baseline.get("status") or {}).get("replicas", 0),
        leaving=(canary.get("status") or {}).get("replicas", 0),
        new=baseline,
        old=canary,
        takes_first=_may_go_first(deployment),
    )


def capacity_facts(api: Listing, way: WayBack) -> tuple[Fact, ...]:
    """Return what would keep the revision to go back to from running at full size.

    What may not be read is told as such. Raises Transient.
    """
    namespace = quote(way.namespace)
    core, scaling = f"/api/v1/namespaces/{namespace}", "/apis/autoscaling/v2/namespaces"
    return (
        *read_facts(
            lambda: stuck_pods(api.items(f"{core}/pods", way.selector), way),
            f"the pods of {way.revision}",
        ),
        *read_facts(
            lambda: below_least(
                api.items(f"{scaling}/{namespace}/horizontalpodautoscalers", ""), way
            ),
            "its autoscaler",
        ),
        *read_facts(
            lambda: short_quotas(api.items(f"{core}/resourcequotas", ""), way),
            "the resource quotas",
        ),
    )


def read_facts(call: Callable[[], Iterable[Fact]], what: str) -> tuple[Fact, ...]:
    """Return what a call tells, or that it may not be read."""
    try:
        return tuple(call())
    except Permanent as error:
        return (Unread(what, str(error)),)


def stuck_pods(pods: Iterable[JsonObject], way: WayBack) -> Iterable[Fact]:
    """Yield that pods of the revision to go back to exist and cannot start."""
    own = [pod for pod in pods if controller_uid(pod) == way.owner]
    reasons = [reason for pod in own if (reason := _stuck(pod)) is not None]
    if reasons:
        yield CannotStart(way.revision, len(reasons), ", ".join(sorted(set(reasons))))


def _stuck(pod: JsonObject) -> str | None:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return None
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or []:
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            if reason in STUCK:
                return str(reason)
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable"
    return None


def below_least(scalers: Iterable[JsonObject], way: WayBack) -> Iterable[Fact]:
    """Yield that the workload is smaller than its autoscaler wants it to be at least."""
    for scaler in scalers:
        target = scaler["spec"].get("scaleTargetRef") or {}
        least = scaler["spec"].get("minReplicas", 1)
        is_ours = (target.get("kind"), target.get("name")) == (way.kind, way.name)
        if is_ours and way.wanted < least:
            by = f"HorizontalPodAutoscaler {scaler['metadata']['name']}"
            yield Undersized(f"{way.kind} {way.name}", way.wanted, least, by)


def short_quotas(quotas: Iterable[JsonObject], way: WayBack) -> Iterable[Fact]:
    """Yield each resource of a quota that the revision at full size would not fit into.

    Quotas with scopes are left out, as are resources that its template does not mention: what the
    server would fill in is not known here.
    """
    missing = max(0, way.wanted - way.running)
    new, old = demands(way.new), demands(way.old)
    for quota in quotas:
        spec = quota["spec"]
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        used = (quota.get("status") or {}).get("used") or {}
        for resource, limit in ((quota.get("status") or {}).get("hard") or {}).items():
            one = new.get(_plain(resource))
            if one is None or resource not in used:
                continue
            free = parse_quantity(limit) - parse_quantity(used[resource])
            needed = missing * one
            room = free + way.leaving * old.get(_plain(resource), 0.0)
            if needed > room:
                yield QuotaShort(quota["metadata"]["name"], resource, needed, room, missing)
            elif missing and one > free and not way.takes_first:
                yield QuotaShort(quota["metadata"]["name"], resource, one, free, 1)


def _plain(resource: str) -> str:
    """Return one name for the two that a quota may use: ``cpu`` is ``requests.cpu``."""
    return f"requests.{resource}" if resource in {"cpu", "memory"} else resource


def demands(owner: JsonObject) -> dict[str, float]:
    """Return what one pod of an object's template counts in quotas, as far as that says."""
    spec = owner["spec"]["template"]["spec"]
    found = {"pods": 1.0}
    for kind in ("requests", "limits"):
        sums = [_sum(spec.get("containers") or [], kind)]
        sums += [_sum([container], kind) for container in spec.get("initContainers") or []]
        for resource in sums[0]:
            found[f"{kind}.{resource}"] = max(each.get(resource, 0.0) for each in sums)
    return found


def _sum(containers: Iterable[JsonObject], kind: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for container in containers:
        resources = container.get("resources") or {}
        # A request that is not there is taken from the limit, as the server does.
        amounts = (resources.get("limits") or {}) | (resources.get(kind) or {})
        if kind == "limits":
            amounts = resources.get(kind) or {}
        for resource, amount in amounts.items():
            found[resource] = found.get(resource, 0.0) + parse_quantity(amount)
    return found


def _may_go_first(deployment: JsonObject) -> bool:
    """Tell whether the rolling update may take a pod away before it starts another one."""
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return True
    bounds = strategy.get("rollingUpdate") or {}
    replicas = deployment["spec"].get("replicas", 1)
    unavailable = _resolved(bounds.get("maxUnavailable", "25%"), replicas, floor)
    surge = _resolved(bounds.get("maxSurge", "25%"), replicas, ceil)
    return unavailable > 0 or surge == 0  # both zero: the controller takes 1 for the former


def _resolved(bound: int | str, replicas: int, rounding: Callable[[float], int]) -> int:
    if isinstance(bound, str):
        return rounding(replicas * float(bound.removesuffix("%")) / 100.0)
    return bound


def parse_quantity(text: str | float) -> float:
    """Return a Kubernetes quantity in its base unit: "500m" is 0.5, "1Gi" is 2³⁰.

    Raises:
        Permanent: it is no quantity.
    """
    found = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)", str(text))
    if found is None or found[2] not in _SUFFIXES:
        raise Permanent(f'"{text}" is not a quantity')
    try:
        return float(found[1]) * _SUFFIXES[found[2]]
    except ValueError as error:
        raise Permanent(f'"{text}" is not a quantity') from error
