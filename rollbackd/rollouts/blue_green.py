"""Blue and green Deployments behind one Service, whose selector says which of them is live. Pure.

The switch is the rollout: the colour that is live now is the canary, the other one the baseline. The
two never serve at the same time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any

from actions.cluster import ROLLED_BACK_FROM, ROLLED_BACK_TO
from actions.service_switch import COLOUR, KIND, switches_of
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.rollouts.annotations import said
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.objects import MODE, POLICY, ReplicaSet
from rollbackd.rollouts.revisions import Family, current_of
from rollbackd.rollouts.tracks import serving_of


@dataclass(frozen=True, slots=True)
class BlueGreen:
    """A Service that is switched between two Deployments.

    Attributes:
        label: in its selector, tells the Deployments apart. live: the value that it asks for.
        rest: the rest of the selector, which both have in common.
        switched_at: when whoever wrote that value wrote last, seconds since the epoch; None when
            the server does not say.
        switches: how often we switched it back.
        rolled_back_from, rolled_back_to: hashes of the revisions of our last switch, or "".
    """

    namespace: str
    name: str
    label: str
    live: str
    rest: Mapping[str, str]
    switched_at: float | None
    switches: int
    is_deleting: bool
    policy: str | None
    mode: str | None
    labels: Mapping[str, str]
    said: Mapping[str, str]
    rolled_back_from: str
    rolled_back_to: str


@dataclass(frozen=True, slots=True)
class Colours:
    """A Service with the Deployment that is live, and the other one."""

    service: BlueGreen
    live: Family
    other: Family


def blue_green_of(raw: Mapping[str, Any]) -> BlueGreen | None:
    """Return what is kept of a Service; None when it does not say that it is switched."""
    metadata, selector = raw["metadata"], (raw.get("spec") or {}).get("selector") or {}
    annotations = metadata.get("annotations") or {}
    label = annotations.get(COLOUR, "")
    if label not in selector:
        return None
    return BlueGreen(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        label=label,
        live=selector[label],
        rest={key: value for key, value in selector.items() if key != label},
        switched_at=_written_at(metadata, label),
        switches=switches_of(annotations),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        policy=annotations.get(POLICY) or None,
        mode=annotations.get(MODE) or None,
        labels=dict(metadata.get("labels") or {}),
        said=said(annotations),
        rolled_back_from=annotations.get(ROLLED_BACK_FROM, ""),
        rolled_back_to=annotations.get(ROLLED_BACK_TO, ""),
    )


def _written_at(metadata: Mapping[str, Any], label: str) -> float | None:
    """Return when the manager of a selector's value wrote last; at the switch, or later."""
    stamps = [
        entry["time"]
        for entry in metadata.get("managedFields") or []
        if entry.get("time") and f"f:{label}" in _selector_fields(entry)
    ]
    return max((datetime.fromisoformat(stamp).timestamp() for stamp in stamps), default=None)


def _selector_fields(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:selector") or {}
    return fields if isinstance(fields, Mapping) else {}


def colours(services: Iterable[BlueGreen], seen: Sequence[Family]) -> list[Colours]:
    """Return each Service with its two Deployments.

    One that leads to no Deployment, to several at once, or knows more than one other, is left out:
    nobody could say what it was switched from.
    """
    found = []
    for service in sorted(services, key=lambda s: (s.namespace, s.name)):
        own = [family for family in seen if _is_behind(service, family)]
        live = [f for f in own if f.deployment.pod_labels[service.label] == service.live]
        others = [f for f in own if f.deployment.pod_labels[service.label] != service.live]
        if len(live) == 1 and len(others) == 1:
            found.append(Colours(service, live[0], others[0]))
    return found


def _is_behind(service: BlueGreen, family: Family) -> bool:
    deployment = family.deployment
    return (
        deployment.namespace == service.namespace
        and service.label in deployment.pod_labels
        and service.rest.items() <= deployment.pod_labels.items()
    )


def behind(found: Iterable[Colours]) -> frozenset[str]:
    """Return the UIDs of the Deployments that are a Service's colours."""
    return frozenset(f.deployment.uid for each in found for f in (each.live, each.other))


def blue_green_rollouts(found: Iterable[Colours], reading: Reading, now: float) -> list[Rollout]:
    """Return the switches of late: the newer of the two Deployments is live."""
    rollouts = (_rollout(each, reading, now) for each in found)
    return [rollout for rollout in rollouts if rollout is not None]


def _rollout(each: Colours, reading: Reading, now: float) -> Rollout | None:
    service, deployment = each.service, each.live.deployment
    current, before = current_of(each.live), serving_of(each.other)
    if current is None or before is None or service.is_deleting or not deployment.replicas:
        return None
    switched_at = current.created_at if service.switched_at is None else service.switched_at
    began = max(switched_at, current.created_at)
    if (
        _is_way_back(service, current, before)
        or now - began
        >= max(reading.follow_for_s, reading.longest_s().get(service.namespace, 0.0))
        or deployment.is_deleting
    ):
        return None
    return Rollout(
        workload=Workload(reading.cluster, service.namespace, KIND, service.name),
        canary=Revision(current.uid, current.hash),
        baseline=Revision(before.uid, before.hash),
        canary_instances=reading.instances(each.live, current.uid),
        baseline_instances=reading.instances(each.other, before.uid),
        id_labels=reading.id_labels,
        started_at=began,
        # A colour that somebody switches to again after we left it is another rollout.
        ordinal=current.revision + service.switches,
        complete=True,
        apart=True,
        after_promotion=True,
        policy=service.policy or deployment.policy,
        mode=service.mode or deployment.mode,
        labels=service.labels,
        annotations=service.said or deployment.said,
        stalled=deployment.stalled,
        ready_within_s=deployment.ready_within_s,
    )


def _is_way_back(service: BlueGreen, current: ReplicaSet, before: ReplicaSet) -> bool:
    """Tell whether the newer of the two is not live: somebody, or we, went back, or it waits."""
    ours = (service.rolled_back_from, service.rolled_back_to) == (before.hash, current.hash)
    return ours or current.created_at <= before.created_at
