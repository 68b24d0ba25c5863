"""Takes a canary Deployment that stands beside a stable one out of service: scales it to zero."""

from collections.abc import Iterable
from urllib.parse import quote

from actions.cluster import (
    CHANGE_CAUSE,
    PLAN,
    ClusterApi,
    JsonObject,
    controller_uid,
    owner_refusals,
    replica_set,
    still_there,
    template_digest,
    write_guarded,
)
from actions.facts import Fact, Undersized
from actions.kubernetes_capacity import read_facts
from actions.plan import Draft, Step
from actions.ports import Conflict, FactSource, StepState
from analyzer.rollout import Rollout

KIND = "CanaryDeployment"
"""Kind of such a workload: for the cluster it is a Deployment, but it has no way back in itself."""

SCALED_FROM = "rollbackd.io/scaled-from"
"""Annotation: how many pods the canary was to have when we scaled it to zero."""


class CanaryScale:
    """Scales a canary Deployment to zero, so that the stable one takes all the traffic.

    Its template stays as it is: the next release changes it, and scaling up again undoes us. A
    HorizontalPodAutoscaler leaves a Deployment of zero alone.

    Args:
        api: the calls to the cluster that the rollouts come from.
        name: the actuator's name in the registry.
        owners: tells who else applies the canary, and would undo this; None when nobody asks.
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
        """Return the one step that takes the canary out, or why there is none."""
        workload, bad = rollout.workload, rollout.canary
        if workload.kind != KIND:
            return Draft(refusals=(f"{workload} is a {workload.kind}, not a {KIND}",))
        found = self._api.get(_path(workload.namespace, workload.name))
        if found is None:
            return Draft(refusals=(f"Deployment {workload} no longer exists",))
        if found["metadata"].get("deletionTimestamp"):
            return Draft(refusals=(f"Deployment {workload} is being deleted",))
        if managed := owner_refusals(f"Deployment {workload}", found):
            return Draft(refusals=managed)
        if not self._is_current(found, bad.id, bad.label):
            reason = f"{bad.label} is no longer the revision of {workload}: another one is there"
            return Draft(refusals=(reason,))
        replicas = _replicas(found)
        if replicas == 0:
            return Draft()
        if rollout.baseline is None or not any(i.ready for i in rollout.baseline_instances):
            reason = (
                f"no pod of the stable Deployment beside {workload} is ready to take its traffic"
            )
            return Draft(refusals=(reason,))
        step = Step(
            actuator=self._name,
            target={
                "cluster": workload.cluster,
                "kind": KIND,
                "namespace": workload.namespace,
                "name": workload.name,
                "uid": found["metadata"]["uid"],
            },
            expected={
                "revision": bad.label,
                "template": template_digest(found),
                "replicas": replicas,
            },
            desired={
                "revision": rollout.baseline.label,
                "replicas": 0,
                "summary": f"scale the canary {workload} ({bad.label}) from {replicas} to 0",
            },
        )
        seen = read_facts(
            lambda: self._too_small(rollout, workload.namespace), "the size of the stable side"
        )
        owned = self._owners.facts(rollout) if self._owners is not None else ()
        return Draft((step,), (), (*seen, *owned))

    def inspect(self, step: Step) -> StepState:
        """Compare the Deployment's template and size with the step's."""
        found = self._deployment(step)
        if found is None or template_digest(found) != step.expected["template"]:
            return StepState.MOVED_ON
        if _replicas(found) > 0:
            # Whatever an autoscaler made of it meanwhile.
            return StepState.PENDING
        status = found.get("status") or {}
        is_seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        is_empty = is_seen and status.get("replicas", 0) == 0
        return StepState.DONE if is_empty else StepState.SETTLING

    def perform(self, step: Step) -> None:
        """Write the size, guarded by the version of the Deployment just read."""
        target = step.target
        write_guarded(
            self._api,
            _path(target["namespace"], target["name"]),
            _named(step),
            lambda: self._deployment(step),
            lambda found: _operations(step, found),
        )

    def _deployment(self, step: Step) -> JsonObject | None:
        """Return the Deployment of the step, None when it was deleted or made anew."""
        return still_there(
            self._api.get(_path(step.target["namespace"], step.target["name"])), step.target["uid"]
        )

    def _too_small(self, rollout: Rollout, namespace: str) -> Iterable[Fact]:
        """Yield that fewer pods of the stable Deployment are ready than it is to have."""
        good = rollout.baseline
        item = None if good is None else replica_set(self._api, namespace, good.label, good.id)
        if item is None:
            return
        wanted, ready = _replicas(item), (item.get("status") or {}).get("readyReplicas", 0)
        if ready < wanted:
            what = f"the stable Deployment beside {rollout.workload}"
            yield Undersized(what, ready, wanted, "its own size")

    def _is_current(self, found: JsonObject, uid: str, template_hash: str) -> bool:
        """Tell whether a revision, by its ReplicaSet, has the Deployment's template."""
        item = replica_set(self._api, found["metadata"]["namespace"], template_hash, uid)
        return (
            item is not None
            and controller_uid(item) == found["metadata"]["uid"]
            and template_digest(item) == template_digest(found)
        )


def _operations(step: Step, found: JsonObject) -> list[JsonObject] | None:
    """Return the patch, None when it is there already; raise Conflict when it cannot be."""
    if template_digest(found) != step.expected["template"]:
        raise Conflict(f"{_named(step)} no longer runs {step.expected['revision']}")
    replicas = _replicas(found)
    if replicas == 0:
        return None
    annotations = {
        **(found["metadata"].get("annotations") or {}),
        CHANGE_CAUSE: f"rollbackd: scaled the canary {step.expected['revision']} to 0",
        SCALED_FROM: str(replicas),
        PLAN: step.key,
    }
    return [
        {"op": "add", "path": "/spec/replicas", "value": 0},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]


def _replicas(found: JsonObject) -> int:
    return int(found["spec"].get("replicas", 1))


def _path(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{quote(namespace)}/deployments/{quote(name)}"


def _named(step: Step) -> str:
    return f"Deployment {step.target['namespace']}/{step.target['name']}"
