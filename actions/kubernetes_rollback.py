"""Brings a Deployment back to the revision it came from, by that revision's own ReplicaSet."""

from collections.abc import Sequence
from urllib.parse import quote

from actions.cluster import (
    HASH_LABEL,
    PLAN,
    ClusterApi,
    JsonObject,
    controller_uid,
    images_of,
    owner_refusals,
    rollback_annotations,
    still_there,
    template_digest,
    template_of,
    write_guarded,
)
from actions.facts import Fact, NewerRevision, PausedByHand
from actions.kubernetes_capacity import capacity_facts, deployment_way
from actions.marks import HELD_BY
from actions.plan import Draft, Step
from actions.ports import Conflict, FactSource, StepState
from analyzer.rollout import Revision, Rollout, Workload

KIND = "Deployment"


class KubernetesRollback:
    """Replaces a Deployment's template by the one of its baseline ReplicaSet, found by UID.

    The ReplicaSet's template goes back as it is, raw and whole, so that no field is lost. Which
    revision is good was decided with the rollout; revision numbers play no part, because a
    ReplicaSet that is used again gets a new one and "the previous" would be the bad revision.

    Args:
        api: the calls to the cluster that the rollouts come from.
        name: the actuator's name in the registry.
        owners: tells who else applies a Deployment, and would undo this; None when nobody asks.
    """

    def __init__(
        self,
        api: ClusterApi,
        *,
        name: str = "kubernetes-rollback",
        owners: FactSource | None = None,
    ) -> None:
        self._api = api
        self._name = name
        self._owners = owners

    def propose(self, rollout: Rollout) -> Draft:
        """Return the one step back to the rollout's baseline, or why there is none."""
        workload = rollout.workload
        if workload.kind != KIND:
            return Draft(refusals=(f"{workload} is a {workload.kind}, not a {KIND}",))
        deployment = self._api.get(_deployment_path(workload.namespace, workload.name))
        if deployment is None:
            return Draft(refusals=(f"{KIND} {workload} no longer exists",))
        if rollout.baseline is None:
            reason = f"{KIND} {workload} has no earlier ReplicaSet to go back to"
            refusals = (reason, *_standing_refusals(workload, deployment))
            return Draft(refusals=refusals, facts=_obstacles(rollout, deployment, None, None))
        found = self._replica_sets(deployment, (rollout.canary.label, rollout.baseline.label))
        canary, baseline = found.get(rollout.canary.id), found.get(rollout.baseline.id)
        refusals = (
            *_standing_refusals(workload, deployment),
            *_revision_refusals(rollout, deployment, canary, baseline),
        )
        facts = _obstacles(rollout, deployment, canary, baseline)
        if refusals or facts or canary is None or baseline is None:
            return Draft(refusals=refusals, facts=facts)
        step = self._step(rollout, rollout.baseline, deployment, baseline)
        seen = capacity_facts(self._api, deployment_way(deployment, canary, baseline))
        owned = self._owners.facts(rollout) if self._owners is not None else ()
        return Draft((step,), (), (*seen, *owned))

    def inspect(self, step: Step) -> StepState:
        """Compare the Deployment's template with the step's, and the rollout's progress."""
        deployment = self._deployment(step)
        if deployment is None:
            return StepState.MOVED_ON
        match template_digest(deployment):
            case digest if digest == step.desired["template"]:
                return StepState.DONE if _has_settled(deployment) else StepState.SETTLING
            case digest if digest == step.expected["template"] and not _was_written(
                step, deployment
            ):
                return StepState.PENDING
            case _:
                return StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Write the baseline's template, guarded by the version of the Deployment just read.

        A write whose answer was lost is found done by the next call, or by the guard.
        """
        write_guarded(
            self._api,
            _step_path(step),
            _named(step),
            lambda: self._deployment(step),
            lambda found: self._operations(step, found),
        )

    def _step(
        self, rollout: Rollout, good: Revision, deployment: JsonObject, baseline: JsonObject
    ) -> Step:
        workload, bad = rollout.workload, rollout.canary
        change = f"{images_of(deployment)} to {images_of(baseline)}"
        return Step(
            actuator=self._name,
            target={
                "cluster": workload.cluster,
                "namespace": workload.namespace,
                "name": workload.name,
                "uid": deployment["metadata"]["uid"],
            },
            expected={
                "revision": bad.label,
                "template": template_digest(deployment),
                "watch": rollout.watch_id,
            },
            desired={
                "revision": good.label,
                "replicaset": good.id,
                "template": template_digest(baseline),
                "summary": f"roll {workload} back from {bad.label} to {good.label} ({change})",
            },
        )

    def _operations(self, step: Step, deployment: JsonObject) -> list[JsonObject] | None:
        """Return the patch, None when it is there already; raise Conflict when it cannot be."""
        if template_digest(deployment) == step.desired["template"]:
            return None
        if template_digest(deployment) != step.expected["template"]:
            raise Conflict(f"{_named(step)} no longer runs {step.expected['revision']}")
        if _was_written(step, deployment):
            bad = step.expected["revision"]
            raise Conflict(f"{_named(step)} was rolled back, and somebody put {bad} back")
        if _is_paused_by_others(deployment, step.expected["watch"]):
            raise Conflict(f"{_named(step)} was paused since the plan was made")
        found = self._replica_sets(deployment, (step.desired["revision"],))
        baseline = found.get(step.desired["replicaset"])
        if baseline is None or template_digest(baseline) != step.desired["template"]:
            raise Conflict(f"the ReplicaSet of {step.desired['revision']} is gone or was changed")
        return _patch(step, deployment, baseline)

    def _deployment(self, step: Step) -> JsonObject | None:
        """Return the Deployment of the step, None when it was deleted or made anew."""
        return still_there(self._api.get(_step_path(step)), step.target["uid"])

    def _replica_sets(
        self, deployment: JsonObject, hashes: Sequence[str]
    ) -> dict[str, JsonObject]:
        """Return the Deployment's own ReplicaSets with these hashes, by UID."""
        metadata = deployment["metadata"]
        path = f"/apis/apps/v1/namespaces/{quote(metadata['namespace'])}/replicasets"
        found = self._api.items(path, f"{HASH_LABEL} in ({','.join(sorted(set(hashes)))})")
        return {
            item["metadata"]["uid"]: item
            for item in found
            if controller_uid(item) == metadata["uid"]
        }


def _standing_refusals(workload: Workload, deployment: JsonObject) -> tuple[str, ...]:
    """Return why this Deployment cannot be rolled back at all, whatever the revision."""
    refusals = [*owner_refusals(f"{KIND} {workload}", deployment)]
    spec = deployment["spec"]
    if deployment["metadata"].get("deletionTimestamp"):
        refusals.append(f"{KIND} {workload} is being deleted")
    if spec.get("revisionHistoryLimit") == 0:
        refusals.append(
            f"{KIND} {workload} keeps no history (revisionHistoryLimit is 0): "
            "its earlier ReplicaSets are deleted as soon as they are empty"
        )
    return tuple(refusals)


def _obstacles(
    rollout: Rollout,
    deployment: JsonObject,
    canary: JsonObject | None,
    baseline: JsonObject | None,
) -> tuple[Fact, ...]:
    """Return what somebody else is doing to this Deployment; guards refuse for it."""
    current = template_digest(deployment)
    known = {template_digest(revision) for revision in (canary, baseline) if revision is not None}
    facts: list[Fact] = []
    if _is_paused_by_others(deployment, rollout.watch_id):
        facts.append(PausedByHand(f"{KIND} {rollout.workload}"))
    if known and current not in known:
        facts.append(NewerRevision(str(rollout.workload), rollout.canary.label))
    return tuple(facts)


def _revision_refusals(
    rollout: Rollout,
    deployment: JsonObject,
    canary: JsonObject | None,
    baseline: JsonObject | None,
) -> tuple[str, ...]:
    """Return why this Deployment cannot go from this canary to this baseline."""
    bad, good = rollout.canary.label, rollout.baseline.label if rollout.baseline else ""
    refusals = []
    if baseline is None:
        refusals.append(f"ReplicaSet {good} of {rollout.workload}, the last good one, is gone")
    elif template_digest(baseline) == template_digest(deployment):
        refusals.append(f"{rollout.workload} already has the template of {good}")
    if canary is None:
        refusals.append(f"ReplicaSet {bad} of {rollout.workload} is gone")
    elif baseline is not None and template_digest(baseline) == template_digest(canary):
        refusals.append(f"{good} and {bad} of {rollout.workload} have the same template")
    return tuple(refusals)


def _patch(step: Step, deployment: JsonObject, baseline: JsonObject) -> list[JsonObject]:
    """Return the JSON patch: the template, and what tells people who did it."""
    annotations = rollback_annotations(step, deployment)
    annotations.pop(HELD_BY, None)
    # What we hold is let go with the way back; nobody else's pause gets here.
    paused = [{"op": "remove", "path": "/spec/paused"}] if "paused" in deployment["spec"] else []
    return [
        {"op": "replace", "path": "/spec/template", "value": template_of(baseline)},
        # The whole map: it may be absent, and the guard says that nobody else changed it.
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        *paused,
    ]


def _was_written(step: Step, deployment: JsonObject) -> bool:
    """Tell whether this very step was written before: its mark outlives a template put back."""
    annotations = deployment["metadata"].get("annotations") or {}
    return bool(step.key) and annotations.get(PLAN) == step.key


def _is_paused_by_others(deployment: JsonObject, watch_id: str) -> bool:
    annotations = deployment["metadata"].get("annotations") or {}
    return bool(deployment["spec"].get("paused")) and annotations.get(HELD_BY) != watch_id


def _has_settled(deployment: JsonObject) -> bool:
    """Tell whether the rollout of the current template has finished, as ``kubectl`` tells it."""
    status = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and updated >= wanted
        and status.get("replicas", 0) <= updated
        and status.get("availableReplicas", 0) >= updated
    )


def _deployment_path(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{quote(namespace)}/deployments/{quote(name)}"


def _step_path(step: Step) -> str:
    return _deployment_path(step.target["namespace"], step.target["name"])


def _named(step: Step) -> str:
    return f"{KIND} {step.target['namespace']}/{step.target['name']}"
