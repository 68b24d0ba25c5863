"""Aborts a Rollout of Argo by Argo's own means, and leaves the way back to its controller."""

from urllib.parse import quote

from actions.cluster import ClusterApi, JsonObject, still_there, write_guarded
from actions.plan import Draft, Step
from actions.ports import Conflict, StepState
from analyzer.rollout import Rollout

KIND = "Rollout"


class ArgoAbort:
    """Sets ``status.abort``, as ``kubectl argo rollouts abort`` does.

    Argo then returns all traffic to the stable ReplicaSet and scales it up. The template stays as it
    is, and so does the object that a GitOps tool owns; a new template, or Argo's retry, begins anew.
    What Argo has promoted is beyond that: then there is nothing left to abort.

    Args:
        api: the calls to the cluster that the rollouts come from.
        name: the actuator's name in the registry.
    """

    def __init__(self, api: ClusterApi, *, name: str = "kubernetes-rollback") -> None:
        self._api = api
        self._name = name

    def propose(self, rollout: Rollout) -> Draft:
        """Return the one step that aborts, or why there is none."""
        workload = rollout.workload
        if workload.kind != KIND:
            return Draft(refusals=(f"{workload} is a {workload.kind}, not a {KIND} of Argo",))
        found = self._api.get(_path(workload.namespace, workload.name))
        reason = self._refusal(rollout, found)
        if found is None or rollout.baseline is None or reason:
            return Draft(refusals=(reason,))
        bad, good = rollout.canary.label, rollout.baseline.label
        step = Step(
            actuator=self._name,
            target={
                "cluster": workload.cluster,
                "kind": KIND,
                "namespace": workload.namespace,
                "name": workload.name,
                "uid": found["metadata"]["uid"],
            },
            expected={"revision": bad, "stable": good, "abort": False},
            desired={
                "revision": good,
                "abort": True,
                "summary": f"abort {workload}: Argo goes back from {bad} to {good}, the stable one",
            },
        )
        return Draft(steps=(step,))

    def inspect(self, step: Step) -> StepState:
        """Compare what the Rollout says of itself with the step."""
        found = self._rollout(step)
        if found is None:
            return StepState.MOVED_ON
        status = found.get("status") or {}
        # The stable template may be put back after an abort, as a GitOps tool does.
        is_back = status.get("currentPodHash") == step.desired["revision"]
        if not is_back and not _is_as_planned(step, found):
            return StepState.MOVED_ON
        if not is_back and not status.get("abort"):
            return StepState.PENDING
        wanted = (found.get("spec") or {}).get("replicas", 1)
        is_seen = is_back or bool(status.get("abortedAt"))
        return (
            StepState.DONE
            if is_seen and status.get("availableReplicas", 0) >= wanted
            else StepState.SETTLING
        )

    def perform(self, step: Step) -> None:
        """Write the abort, guarded by the version of the Rollout just read."""

        def change(found: JsonObject) -> list[JsonObject] | None:
            if not _is_as_planned(step, found):
                raise Conflict(f"{_named(step)} no longer goes from {step.expected['stable']}")
            if (found.get("status") or {}).get("abort"):
                return None
            return [{"op": "add", "path": "/status/abort", "value": True}]

        write_guarded(
            self._api,
            f"{_path(step.target['namespace'], step.target['name'])}/status",
            _named(step),
            lambda: self._rollout(step),
            change,
        )

    def _rollout(self, step: Step) -> JsonObject | None:
        """Return the Rollout of the step, None when it was deleted or made anew."""
        return still_there(
            self._api.get(_path(step.target["namespace"], step.target["name"])), step.target["uid"]
        )

    def _refusal(self, rollout: Rollout, found: JsonObject | None) -> str:
        """Return why this Rollout cannot be aborted, or ""."""
        named = f"{KIND} {rollout.workload}"
        if found is None:
            return f"{named} no longer exists"
        status = found.get("status") or {}
        if found["metadata"].get("deletionTimestamp"):
            return f"{named} is being deleted"
        if status.get("currentPodHash") == status.get("stableRS"):
            return f"{named} was promoted already: Argo has nothing left to abort"
        if status.get("abort"):
            return f"{named} was aborted already"
        if rollout.baseline is None or status.get("stableRS") != rollout.baseline.label:
            return f"{named} has another stable revision than the one that was compared with"
        if status.get("currentPodHash") != rollout.canary.label:
            return f"{rollout.canary.label} is no longer what {named} rolls out"
        return ""


def _is_as_planned(step: Step, found: JsonObject) -> bool:
    """Tell whether the Rollout still goes from the same stable revision to the same new one."""
    status, expected = found.get("status") or {}, step.expected
    revisions = (status.get("currentPodHash"), status.get("stableRS"))
    return revisions == (expected["revision"], expected["stable"])


def _path(namespace: str, name: str) -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{quote(namespace)}/rollouts/{quote(name)}"


def _named(step: Step) -> str:
    return f"{KIND} {step.target['namespace']}/{step.target['name']}"
