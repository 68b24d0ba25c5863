"""A canary Deployment that stands beside a stable one: two objects, one rollout. Pure."""

from collections.abc import Sequence

from actions.canary_scale import KIND
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.objects import ReplicaSet
from rollbackd.rollouts.revisions import Family, current_of

TRACK = "rollbackd.io/track"
"""Label of a Deployment: ``canary`` or ``stable``."""

CANARY = "canary"
STABLE = "stable"

APPS = ("app.kubernetes.io/name", "app")
"""Labels that tell which canary belongs to which stable Deployment; the first that is there."""

Pair = tuple[Family, Family]
"""A canary Deployment and its stable one."""


def pairs(seen: Sequence[Family]) -> list[Pair]:
    """Return each canary Deployment with its stable one, of the same namespace and app.

    A canary of which there is no stable Deployment, or more than one, is in no pair.
    """
    stable: dict[tuple[str, str], list[Family]] = {}
    for family in seen:
        if _track(family) == STABLE:
            stable.setdefault(_app(family), []).append(family)
    found = []
    for family in seen:
        partners = stable.get(_app(family), []) if _track(family) == CANARY else []
        if len(partners) == 1:
            found.append((family, partners[0]))
    return found


def track_rollouts(found: Sequence[Pair], reading: Reading) -> list[Rollout]:
    """Return the rollout of each pair whose canary has pods, or is about to."""
    rollouts = (_rollout(canary, stable, reading) for canary, stable in found)
    return [rollout for rollout in rollouts if rollout is not None]


def _rollout(canary: Family, stable: Family, reading: Reading) -> Rollout | None:
    deployment = canary.deployment
    current, serving = current_of(canary), serving_of(stable)
    if (
        current is None
        or serving is None
        or deployment.replicas == 0
        or deployment.is_deleting
        or stable.deployment.is_deleting
    ):
        return None
    return Rollout(
        workload=Workload(reading.cluster, deployment.namespace, KIND, deployment.name),
        canary=Revision(current.uid, current.hash),
        baseline=Revision(serving.uid, serving.hash),
        canary_instances=reading.instances(canary, current.uid),
        baseline_instances=reading.instances(stable, serving.uid),
        id_labels=reading.id_labels,
        started_at=current.created_at,
        ordinal=current.revision,
        policy=deployment.policy or stable.deployment.policy,
        mode=deployment.mode or stable.deployment.mode,
        labels=deployment.labels,
        annotations=deployment.said,
        stalled=deployment.stalled,
        ready_within_s=deployment.ready_within_s,
    )


def serving_of(stable: Family) -> ReplicaSet | None:
    """Return the revision with the most ready pods: the stable one may be rolled out itself."""
    running = [r for r in stable.replica_sets if stable.ready(r)]
    if running:
        return max(running, key=lambda r: (stable.ready(r), r.revision, r.uid))
    return current_of(stable)


def _track(family: Family) -> str:
    return family.deployment.labels.get(TRACK, "")


def _app(family: Family) -> tuple[str, str]:
    """Return namespace and app; a Deployment without such a label is an app of its own."""
    deployment = family.deployment
    named = (deployment.labels[label] for label in APPS if deployment.labels.get(label))
    return deployment.namespace, next(named, f"Deployment {deployment.name}")
