"""Switches a Service's selector back to the colour that was live before (blue/green)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from actions.cluster import (
    HASH_LABEL,
    PLAN,
    ClusterApi,
    JsonObject,
    owner_refusals,
    replica_set,
    rollback_annotations,
    still_there,
    template_of,
    write_guarded,
)
from actions.facts import Fact, NewerRevision, Undersized
from actions.plan import Draft, Step
from actions.ports import Conflict, FactSource, StepState
from analyzer.rollout import Revision, Rollout

KIND = "Service"
"""Kind of such a workload: what is rolled out is which of two Deployments the Service leads to."""

COLOUR = "rollbackd.io/blue-green"
"""Annotation of a Service: the label in its selector that tells the two Deployments apart."""

SWITCHES = "rollbackd.io/switches"
"""Annotation of a Service: how often we switched it back."""

SERVICE_NAME = "kubernetes.io/service-name"
"""Label of EndpointSlices: the Service that they are of."""


class ServiceSwitch:
    """Writes one value of a Service's selector, so that it leads to the other Deployment again.

    No pod is started or stopped: the colour that was live before must still be there, ready, with
    the very revision that was compared with. It is done when the Service's endpoints are pods of
    that colour, and no others.

    Args:
        api: the calls to the cluster that the rollouts come from.
        name: the actuator's name in the registry.
        owners: tells who else applies the Service, and would undo this; None when nobody asks.
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
        """Return the one step that switches back, or why there is none."""
        workload, good = rollout.workload, rollout.baseline
        if workload.kind != KIND:
            return Draft(refusals=(f"{workload} is a {workload.kind}, not a {KIND}",))
        found = self._api.get(_path(workload.namespace, workload.name))
        reasons = _standing_refusals(rollout, found)
        if found is None or good is None or reasons:
            return Draft(refusals=reasons)
        label = _label(found)
        bad_colour = self._colour(found, rollout.canary, label)
        good_colour = self._colour(found, good, label)
        if good_colour is None:
            reason = f"ReplicaSet {good.label} of {workload}, the colour before, is gone"
            return Draft(refusals=(reason,))
        if bad_colour is None or found["spec"]["selector"].get(label) != bad_colour:
            return Draft(facts=(NewerRevision(str(workload), rollout.canary.label),))
        step = self._step(rollout, good, found, (label, bad_colour, good_colour))
        ready = self._ready(found, label, good_colour)
        reasons, facts = _readiness(rollout, good, ready, self._ready(found, label, bad_colour))
        if reasons:
            return Draft(refusals=reasons)
        owned = self._owners.facts(rollout) if self._owners is not None else ()
        return Draft((step,), (), (*facts, *owned))

    def inspect(self, step: Step) -> StepState:
        """Compare the Service's selector with the step's, and its endpoints with the colour."""
        found = self._service(step)
        if found is None or not _is_as_planned(step, found):
            return StepState.MOVED_ON
        match found["spec"]["selector"].get(step.target["label"]):
            case colour if colour == step.desired["colour"]:
                return StepState.DONE if self._has_settled(step, found) else StepState.SETTLING
            case colour if colour == step.expected["colour"] and not _was_written(step, found):
                return StepState.PENDING
            case _:
                return StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Write the colour, guarded by the version of the Service just read."""
        write_guarded(
            self._api,
            _path(step.target["namespace"], step.target["name"]),
            _named(step),
            lambda: self._service(step),
            lambda found: self._operations(step, found),
        )

    def _step(
        self, rollout: Rollout, good: Revision, found: JsonObject, colours: tuple[str, str, str]
    ) -> Step:
        label, bad_colour, good_colour = colours
        workload, bad = rollout.workload, rollout.canary
        rest = {key: value for key, value in found["spec"]["selector"].items() if key != label}
        return Step(
            actuator=self._name,
            target={
                "cluster": workload.cluster,
                "kind": KIND,
                "namespace": workload.namespace,
                "name": workload.name,
                "uid": found["metadata"]["uid"],
                "label": label,
            },
            expected={"revision": bad.label, "colour": bad_colour, "selector": rest},
            desired={
                "revision": good.label,
                "colour": good_colour,
                "summary": f"switch {KIND} {workload} back from {label}={bad_colour} "
                f"({bad.label}) to {label}={good_colour} ({good.label})",
            },
        )

    def _operations(self, step: Step, found: JsonObject) -> list[JsonObject] | None:
        """Return the patch, None when it is there already; raise Conflict when it cannot be."""
        label, desired = step.target["label"], step.desired
        colour = found["spec"]["selector"].get(label)
        if not _is_as_planned(step, found):
            raise Conflict(f"the selector of {_named(step)} was changed since the plan was made")
        if colour == desired["colour"]:
            return None
        if colour != step.expected["colour"]:
            raise Conflict(f"{_named(step)} no longer leads to {step.expected['revision']}")
        if _was_written(step, found):
            raise Conflict(f"{_named(step)} was switched back, and somebody switched it again")
        ready = self._ready(found, label, desired["colour"])
        if not ready or {_hash(pod) for pod in ready} != {desired["revision"]}:
            raise Conflict(f"no pod of {desired['revision']} is ready any more to take traffic")
        annotations = rollback_annotations(step, found)
        annotations[SWITCHES] = str(switches_of(annotations) + 1)
        return [
            {
                "op": "replace",
                "path": f"/spec/selector/{_escaped(label)}",
                "value": desired["colour"],
            },
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
        ]

    def _service(self, step: Step) -> JsonObject | None:
        """Return the Service of the step, None when it was deleted or made anew."""
        return still_there(
            self._api.get(_path(step.target["namespace"], step.target["name"])), step.target["uid"]
        )

    def _colour(self, found: JsonObject, revision: Revision, label: str) -> str | None:
        """Return the colour of a revision, by its own ReplicaSet; None when that is gone."""
        namespace = found["metadata"]["namespace"]
        item = replica_set(self._api, namespace, revision.label, revision.id)
        labels = {} if item is None else template_of(item)["metadata"].get("labels") or {}
        return str(labels[label]) if label in labels else None

    def _ready(self, found: JsonObject, label: str, colour: str) -> list[JsonObject]:
        """Return the ready pods that the Service leads to when this colour is live."""
        selector = {**found["spec"]["selector"], label: colour}
        path = f"/api/v1/namespaces/{quote(found['metadata']['namespace'])}/pods"
        wanted = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        return [pod for pod in self._api.items(path, wanted) if _is_ready(pod)]

    def _has_settled(self, step: Step, found: JsonObject) -> bool:
        """Tell whether traffic reaches pods of the desired colour, and no others."""
        namespace = quote(step.target["namespace"])
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        slices = self._api.items(path, f"{SERVICE_NAME}={step.target['name']}")
        served = {name for each in slices for name in _serving(each)}
        pods = self._ready(found, step.target["label"], step.desired["colour"])
        return bool(served) and served <= {pod["metadata"]["name"] for pod in pods}


def switches_of(annotations: Mapping[str, str]) -> int:
    """Return how often we switched a Service back, by its annotations."""
    text = annotations.get(SWITCHES, "")
    return int(text) if text.isdecimal() else 0


def _standing_refusals(rollout: Rollout, found: JsonObject | None) -> tuple[str, ...]:
    """Return why this Service cannot be switched back at all."""
    named = f"{KIND} {rollout.workload}"
    if found is None:
        return (f"{named} no longer exists",)
    refusals = [*owner_refusals(named, found)]
    if found["metadata"].get("deletionTimestamp"):
        refusals.append(f"{named} is being deleted")
    if rollout.baseline is None:
        refusals.append(f"{named} has no other Deployment to go back to")
    if _label(found) not in (found["spec"].get("selector") or {}):
        refusals.append(f"{named} no longer tells by {COLOUR} which Deployment is live")
    return tuple(refusals)


def _readiness(
    rollout: Rollout, good: Revision, ready: Sequence[JsonObject], live: Sequence[JsonObject]
) -> tuple[tuple[str, ...], tuple[Fact, ...]]:
    """Return why the colour before cannot take the traffic, or that it is smaller."""
    workload = rollout.workload
    if not ready:
        return (f"no pod of {good.label}, live before in {workload}, is ready for traffic",), ()
    others = sorted({_hash(pod) for pod in ready} - {good.label})
    if others:
        runs = ", ".join(others)
        reason = f"the colour that was live before in {workload} runs {runs} now, not {good.label}"
        return (reason,), ()
    if len(ready) < len(live):
        by = "the traffic of the colour that is live"
        return (), (Undersized(f"{KIND} {workload}", len(ready), len(live), by),)
    return (), ()


def _is_as_planned(step: Step, found: JsonObject) -> bool:
    """Tell whether the rest of the selector is as it was."""
    label, selector = step.target["label"], found["spec"].get("selector") or {}
    rest = {key: value for key, value in selector.items() if key != label}
    return label in selector and rest == step.expected["selector"]


def _was_written(step: Step, found: JsonObject) -> bool:
    """Tell whether this very step was written before: its mark outlives another switch."""
    annotations = found["metadata"].get("annotations") or {}
    return bool(step.key) and annotations.get(PLAN) == step.key


def _serving(endpoint_slice: Mapping[str, Any]) -> list[str]:
    """Return the names of the pods of a slice that get traffic."""
    names = []
    for endpoint in endpoint_slice.get("endpoints") or []:
        is_ready = (endpoint.get("conditions") or {}).get(
            "ready", True
        )  # absent: unknown, is used
        if is_ready is not False:
            names.append(str((endpoint.get("targetRef") or {}).get("name", "")))
    return names


def _is_ready(pod: JsonObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _hash(pod: JsonObject) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def _label(found: JsonObject) -> str:
    return str((found["metadata"].get("annotations") or {}).get(COLOUR, ""))


def _escaped(key: str) -> str:
    """Return a key as JSON pointers write it."""
    return key.replace("~", "~0").replace("/", "~1")


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/services/{quote(name)}"


def _named(step: Step) -> str:
    return f"{KIND} {step.target['namespace']}/{step.target['name']}"
