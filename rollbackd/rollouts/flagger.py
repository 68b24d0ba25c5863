"""Canaries of Flagger: its target Deployment beside the primary one that it makes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any

from actions.flagger_abort import ANALYSING, KIND
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.rollouts.annotations import said
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.objects import MODE, POLICY
from rollbackd.rollouts.revisions import Family, current_of
from rollbackd.rollouts.tracks import serving_of


@dataclass(frozen=True, slots=True)
class FlaggerCanary:
    """A ``Canary`` of Flagger. ``target``: name of its Deployment; ``phase``: in Flagger's words."""

    namespace: str
    name: str
    target: str
    phase: str
    policy: str | None
    mode: str | None
    labels: Mapping[str, str]
    said: Mapping[str, str]

    @property
    def deployments(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of the Deployments that are Flagger's to change."""
        return frozenset({(self.namespace, self.target), (self.namespace, self.primary)})

    @property
    def primary(self) -> str:
        """Name of the Deployment that runs the stable version."""
        return f"{self.target}-primary"


def flagger_canary_of(raw: Mapping[str, Any]) -> FlaggerCanary | None:
    """Return what is kept of a Canary; None when its target is no Deployment."""
    metadata, target = raw["metadata"], (raw.get("spec") or {}).get("targetRef") or {}
    if target.get("kind") != "Deployment":
        return None
    annotations = metadata.get("annotations") or {}
    return FlaggerCanary(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        target=str(target.get("name") or ""),
        phase=str((raw.get("status") or {}).get("phase") or ""),
        policy=annotations.get(POLICY) or None,
        mode=annotations.get(MODE) or None,
        labels=dict(metadata.get("labels") or {}),
        said=said(annotations),
    )


def owned(canaries: Iterable[FlaggerCanary]) -> frozenset[tuple[str, str]]:
    """Return namespace and name of every Deployment that is Flagger's."""
    return frozenset(one for canary in canaries for one in canary.deployments)


def flagger_rollouts(
    canaries: Iterable[FlaggerCanary], seen: Sequence[Family], reading: Reading
) -> list[Rollout]:
    """Return what Flagger is analysing."""
    analysing = [canary for canary in canaries if canary.phase in ANALYSING]
    by_name = {(f.deployment.namespace, f.deployment.name): f for f in seen} if analysing else {}
    rollouts = []
    for canary in sorted(analysing, key=lambda c: (c.namespace, c.name)):
        target = by_name.get((canary.namespace, canary.target))
        primary = by_name.get((canary.namespace, canary.primary))
        current = current_of(target) if target is not None else None
        serving = serving_of(primary) if primary is not None else None
        if target is None or primary is None or current is None:
            continue
        rollouts.append(
            Rollout(
                workload=Workload(reading.cluster, canary.namespace, KIND, canary.name),
                canary=Revision(current.uid, current.hash),
                baseline=Revision(serving.uid, serving.hash) if serving else None,
                canary_instances=reading.instances(target, current.uid),
                baseline_instances=reading.instances(primary, serving.uid) if serving else (),
                id_labels=reading.id_labels,
                started_at=current.created_at,
                ordinal=current.revision,
                policy=canary.policy,
                mode=canary.mode,
                labels=canary.labels,
                annotations=canary.said,
                stalled=target.deployment.stalled,
                ready_within_s=target.deployment.ready_within_s,
            )
        )
    return rollouts
