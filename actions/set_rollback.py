"""Brings a StatefulSet or DaemonSet back to an earlier revision, by its ControllerRevision."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from actions.cluster import (
    ClusterApi,
    JsonObject,
    controller_uid,
    images_of,
    owner_refusals,
    revision_template,
    rollback_annotations,
    still_there,
    template_digest,
    template_of,
    write_guarded,
)
from actions.plan import Draft, Step
from actions.ports import Conflict, FactSource, StepState
from actions.set_capacity import REVISION_LABEL, set_capacity_facts
from analyzer.rollout import Revision, Rollout, Workload

PLURALS = {"StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}

DELETE_STUCK = "delete stuck pods"
"""What the second step of a plan is about, in its target."""


class PodDeletion(Protocol):
    """The call that deletes a stuck pod. Raises ActionErrors."""

    def delete(self, path: str, uid: str, version: str) -> None:
        """Delete one object, if it is still this one in this version; raise Conflict if not."""


class SetRollback:
    """Replaces a set's template by the one of its baseline's ControllerRevision, raw and whole.

    A StatefulSet that keeps its pods in order waits for each pod to become ready before it goes on,
    even for one whose revision is no longer wanted: a pod that cannot start must be deleted before
    the old template can take its place (Kubernetes calls this a forced rollback).

    Args:
        api: the calls to the cluster that the rollouts come from.
        pods: deletes such pods; None when that is not allowed, and then a StatefulSet that waits
            for one is refused.
        name: the actuator's name in the registry.
        owners: tells who else applies a set, and would undo this; None when nobody asks.
    """

    def __init__(
        self,
        api: ClusterApi,
        *,
        pods: PodDeletion | None = None,
        name: str = "kubernetes-rollback",
        owners: FactSource | None = None,
    ) -> None:
        self._api = api
        self._owners = owners
        self._deletion = pods
        self._name = name

    def propose(self, rollout: Rollout) -> Draft:
        """Return the steps back to the rollout's baseline, or why there are none."""
        workload = rollout.workload
        if workload.kind not in PLURALS:
            return Draft(refusals=(f"{workload} is a {workload.kind}, not a set of pods",))
        found = self._api.get(_path(workload.kind, workload.namespace, workload.name))
        if found is None:
            return Draft(refusals=(f"{workload.kind} {workload} no longer exists",))
        if rollout.baseline is None:
            reason = f"{workload.kind} {workload} has no earlier revision to go back to"
            return Draft(refusals=(reason, *_standing_refusals(workload, found)))
        canary = self._revision(found, rollout.canary.id, rollout.canary.label)
        baseline = self._revision(found, rollout.baseline.id, rollout.baseline.label)
        stuck = self._stuck(found, rollout.canary.label) if _waits_in_order(found) else []
        refusals = (
            *_standing_refusals(workload, found),
            *_revision_refusals(rollout, found, canary, baseline),
            *self._stuck_refusals(workload, stuck),
        )
        if refusals or canary is None or baseline is None:
            return Draft(refusals=refusals)
        steps = self._steps(rollout, rollout.baseline, (found, baseline), stuck)
        seen = set_capacity_facts(self._api, found, canary, baseline)
        owned = self._owners.facts(rollout) if self._owners is not None else ()
        return Draft(steps, (), (*seen, *owned))

    def inspect(self, step: Step) -> StepState:
        """Compare the set's template with the step's, and the pods with what it wants."""
        found = self._set(step)
        if found is None:
            return StepState.MOVED_ON
        match template_digest(found):
            case digest if digest == step.desired["template"]:
                return self._progress(step, found)
            case digest if digest == step.expected["template"]:
                return StepState.PENDING
            case _:
                return StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Write the baseline's template, or delete the stuck pods that it waits for."""
        if step.target.get("about") == DELETE_STUCK:
            self._delete_stuck(step)
            return
        write_guarded(
            self._api,
            _step_path(step),
            _named(step),
            lambda: self._set(step),
            lambda found: self._operations(step, found),
        )

    def _steps(
        self,
        rollout: Rollout,
        good: Revision,
        owners: tuple[JsonObject, JsonObject],
        stuck: Sequence[JsonObject],
    ) -> tuple[Step, ...]:
        found, baseline = owners
        workload, bad = rollout.workload, rollout.canary
        template = template_digest(revision_template(baseline))
        change = f"{images_of(found)} to {images_of(revision_template(baseline))}"
        target = {
            "cluster": workload.cluster,
            "kind": workload.kind,
            "namespace": workload.namespace,
            "name": workload.name,
            "uid": found["metadata"]["uid"],
        }
        expected = {"revision": bad.label, "template": template_digest(found)}
        desired = {"revision": good.label, "controllerrevision": good.id, "template": template}
        summary = f"roll {workload} back from {bad.label} to {good.label} ({change})"
        back = Step(
            actuator=self._name,
            target=target,
            expected=expected,
            desired={**desired, "summary": summary, "settles": not stuck},
        )
        if not stuck:
            return (back,)
        names = ", ".join(pod["metadata"]["name"] for pod in stuck)
        after = f"delete the pods of {bad.label} that are not ready ({names}), so that it goes on"
        return (
            back,
            Step(
                actuator=self._name,
                target={**target, "about": DELETE_STUCK},
                expected=expected,
                desired={**desired, "summary": after, "settles": True},
            ),
        )

    def _progress(self, step: Step, found: JsonObject) -> StepState:
        """Return how far the set is on its way to the template that it has."""
        if not _is_observed(found):
            return StepState.SETTLING
        if not step.desired["settles"] or _has_settled(found):
            return StepState.DONE
        if step.target.get("about") == DELETE_STUCK and self._stuck_of(step, found):
            return StepState.PENDING
        return StepState.SETTLING

    def _operations(self, step: Step, found: JsonObject) -> list[JsonObject] | None:
        if template_digest(found) == step.desired["template"]:
            return None
        if template_digest(found) != step.expected["template"]:
            raise Conflict(f"{_named(step)} no longer runs {step.expected['revision']}")
        desired = step.desired
        baseline = self._revision(found, desired["controllerrevision"], desired["revision"])
        template = revision_template(baseline or {})
        if baseline is None or template_digest(template) != desired["template"]:
            raise Conflict(f"revision {desired['revision']} of {_named(step)} is gone or changed")
        return [
            {"op": "replace", "path": "/spec/template", "value": template_of(template)},
            {
                "op": "add",
                "path": "/metadata/annotations",
                "value": rollback_annotations(step, found),
            },
        ]

    def _delete_stuck(self, step: Step) -> None:
        found = self._set(step)
        if found is None or template_digest(found) != step.desired["template"]:
            raise Conflict(f"{_named(step)} is no longer on its way back")
        if self._deletion is None:
            raise Conflict("deleting stuck pods is not allowed any more (delete_stuck_pods)")
        for pod in self._stuck_of(step, found):
            metadata = pod["metadata"]
            path = (
                f"/api/v1/namespaces/{quote(metadata['namespace'])}/pods/{quote(metadata['name'])}"
            )
            self._deletion.delete(path, metadata["uid"], metadata["resourceVersion"])

    def _stuck_of(self, step: Step, found: JsonObject) -> list[JsonObject]:
        return self._stuck(found, step.expected["revision"])

    def _stuck(self, found: JsonObject, revision: str) -> list[JsonObject]:
        """Return the set's pods of a revision that are not ready and not on their way out."""
        metadata = found["metadata"]
        path = f"/api/v1/namespaces/{quote(metadata['namespace'])}/pods"
        pods = self._api.items(path, f"{REVISION_LABEL}={metadata['name']}-{revision}")
        own = [pod for pod in pods if controller_uid(pod) == metadata["uid"]]
        return sorted(filter(_is_stuck, own), key=lambda pod: str(pod["metadata"]["name"]))

    def _stuck_refusals(self, workload: Workload, stuck: Sequence[JsonObject]) -> tuple[str, ...]:
        if not stuck or self._deletion is not None:
            return ()
        names = ", ".join(pod["metadata"]["name"] for pod in stuck)
        reason = (
            f"StatefulSet {workload} keeps its pods in order and waits for {names}, which would "
            "have to be deleted, too, for an old template to take effect: allow that by "
            "delete_stuck_pods, or do it by hand"
        )
        return (reason,)

    def _set(self, step: Step) -> JsonObject | None:
        """Return the set of the step, None when it was deleted or made anew."""
        return still_there(self._api.get(_step_path(step)), step.target["uid"])

    def _revision(self, found: JsonObject, uid: str, label: str) -> JsonObject | None:
        """Return one of the set's own ControllerRevisions."""
        metadata = found["metadata"]
        namespace, name = quote(metadata["namespace"]), quote(f"{metadata['name']}-{label}")
        path = f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions/{name}"
        revision = self._api.get(path)
        if revision is None or revision["metadata"]["uid"] != uid:
            return None
        return revision if controller_uid(revision) == metadata["uid"] else None


def _standing_refusals(workload: Workload, found: JsonObject) -> tuple[str, ...]:
    """Return why this set cannot be rolled back at all, whatever the revision."""
    refusals = [*owner_refusals(f"{workload.kind} {workload}", found)]
    spec = found["spec"]
    if found["metadata"].get("deletionTimestamp"):
        refusals.append(f"{workload.kind} {workload} is being deleted")
    if spec.get("revisionHistoryLimit") == 0:
        refusals.append(
            f"{workload.kind} {workload} keeps no history (revisionHistoryLimit is 0): "
            "its earlier revisions are deleted as soon as no pod runs them"
        )
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        refusals.append(
            f"{workload.kind} {workload} has the update strategy OnDelete: its pods change only "
            "when somebody deletes them, so an old template alone would change nothing"
        )
    return tuple(refusals)


def _revision_refusals(
    rollout: Rollout, found: JsonObject, canary: JsonObject | None, baseline: JsonObject | None
) -> tuple[str, ...]:
    """Return why this set cannot go from this canary to this baseline."""
    workload, current = rollout.workload, template_digest(found)
    bad, good = rollout.canary.label, rollout.baseline.label if rollout.baseline else ""
    refusals = []
    if baseline is None:
        refusals.append(f"revision {good} of {workload}, the last good one, is gone")
    elif template_digest(revision_template(baseline)) == current:
        refusals.append(f"{workload} already has the template of {good}")
    if canary is None:
        refusals.append(f"revision {bad} of {workload} is gone")
    elif template_digest(revision_template(canary)) != current and not refusals:
        refusals.append(
            f"{bad} is no longer the current revision of {workload}: another change is on its way"
        )
    return tuple(refusals)


def _waits_in_order(found: Mapping[str, Any]) -> bool:
    return bool(found["spec"].get("podManagementPolicy") == "OrderedReady")


def _is_stuck(pod: JsonObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return not ready and not pod["metadata"].get("deletionTimestamp")


def _is_observed(found: JsonObject) -> bool:
    seen = (found.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= found["metadata"].get("generation", 0))


def _has_settled(found: JsonObject) -> bool:
    """Tell whether the rollout of the current template has finished, as ``kubectl`` tells it."""
    status, spec = found.get("status") or {}, found["spec"]
    if "desiredNumberScheduled" in status:
        wanted = status["desiredNumberScheduled"]
        updated = status.get("updatedNumberScheduled", 0)
        return bool(updated >= wanted and status.get("numberAvailable", 0) >= wanted)
    replicas = spec.get("replicas", 1)
    due = replicas
    if status.get("updateRevision") != status.get("currentRevision"):
        # Pods below the partition keep the revision that the set had before.
        rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        due = max(0, replicas - int(rolling.get("partition") or 0))
    updated = status.get("updatedReplicas", 0)
    return bool(updated >= due and status.get("readyReplicas", 0) >= replicas)


def _path(kind: str, namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{quote(namespace)}/{PLURALS[kind]}/{quote(name)}"


def _step_path(step: Step) -> str:
    return _path(step.target["kind"], step.target["namespace"], step.target["name"])


def _named(step: Step) -> str:
    return f"{step.target['kind']} {step.target['namespace']}/{step.target['name']}"
