"""Aborts a Canary of Flagger by Flagger's own means: a webhook of type ``rollback`` that asks us."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from actions.cluster import (
    PLAN,
    ClusterApi,
    JsonObject,
    owner_refusals,
    replica_set,
    still_there,
    template_digest,
    write_guarded,
)
from actions.facts import NewerRevision
from actions.plan import Draft, Step
from actions.ports import Conflict, StepState
from analyzer.rollout import Rollout

KIND = "Canary"
VERSION = "flagger.app/v1beta1"

GATE_PATH = "/flagger/rollback"
"""Where the daemon answers Flagger's question whether to roll back."""

ROLL_BACK = "rollbackd.io/roll-back"
"""Annotation of a Canary: checksum of the template that Flagger is to leave."""

ANALYSING = frozenset({"Progressing", "Waiting", "WaitingPromotion"})
"""Phases in which both versions run and the new one is being judged."""

FAILED = "Failed"
"""Phase of a Canary whose primary has all the traffic again."""


class FlaggerAbort:
    """Marks a Canary, so that Flagger rolls back when it asks the next time.

    Nothing of Flagger's is written: it asks its webhooks of type ``rollback`` at each interval of its
    analysis, and goes back by itself when one says yes. The mark names the very template, so a newer
    release is not meant by it. It is done when Flagger says that the Canary failed.

    Args:
        api: the calls to the cluster that the rollouts come from.
        name: the actuator's name in the registry.
    """

    def __init__(self, api: ClusterApi, *, name: str = "kubernetes-rollback") -> None:
        self._api = api
        self._name = name

    def propose(self, rollout: Rollout) -> Draft:
        """Return the one step that lets Flagger roll back, or why there is none."""
        workload, bad, good = rollout.workload, rollout.canary, rollout.baseline
        if workload.kind != KIND:
            return Draft(refusals=(f"{workload} is a {workload.kind}, not a {KIND} of Flagger",))
        found = self._api.get(canary_path(workload.namespace, workload.name))
        refusals = _refusals(rollout, found)
        if found is None or good is None or refusals:
            return Draft(refusals=refusals)
        template = self._template(found)
        if not self._runs(found, bad.id, bad.label, template):
            return Draft(facts=(NewerRevision(str(workload), bad.label),))
        step = Step(
            actuator=self._name,
            target={
                "cluster": workload.cluster,
                "kind": KIND,
                "namespace": workload.namespace,
                "name": workload.name,
                "uid": found["metadata"]["uid"],
            },
            expected={"revision": bad.label, "template": template},
            desired={
                "revision": good.label,
                "phase": FAILED,
                "summary": f"let Flagger roll {workload} back from {bad.label} to {good.label}, "
                "when it asks its webhook",
            },
        )
        return Draft((step,))

    def inspect(self, step: Step) -> StepState:
        """Compare the Canary's phase and mark, and what its target runs, with the step."""
        found = self._canary(step)
        if found is None or self._template(found) != step.expected["template"]:
            return StepState.MOVED_ON
        marked, phase = _was_written(step, found), phase_of(found)
        if phase in ANALYSING:
            return StepState.SETTLING if marked else StepState.PENDING
        return StepState.DONE if marked and phase == FAILED else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Write the mark, guarded by the version of the Canary just read."""
        write_guarded(
            self._api,
            canary_path(step.target["namespace"], step.target["name"]),
            _named(step),
            lambda: self._canary(step),
            lambda found: self._operations(step, found),
        )

    def asked_to_leave(self, namespace: str, name: str) -> bool:
        """Tell whether Flagger is to roll this Canary back now. Raises as the calls."""
        found = self._api.get(canary_path(namespace, name))
        if found is None or phase_of(found) not in ANALYSING:
            return False
        return is_marked(found, self._template(found))

    def _operations(self, step: Step, found: JsonObject) -> list[JsonObject] | None:
        template = step.expected["template"]
        if self._template(found) != template:
            raise Conflict(f"{_named(step)} no longer analyses {step.expected['revision']}")
        if _was_written(step, found):
            return None
        if phase_of(found) not in ANALYSING:
            raise Conflict(f"Flagger is not analysing {_named(step)} any more: {phase_of(found)}")
        annotations = {
            **(found["metadata"].get("annotations") or {}),
            ROLL_BACK: template,
            PLAN: step.key,
        }
        return [{"op": "add", "path": "/metadata/annotations", "value": annotations}]

    def _canary(self, step: Step) -> JsonObject | None:
        """Return the Canary of the step, None when it was deleted or made anew."""
        return still_there(
            self._api.get(canary_path(step.target["namespace"], step.target["name"])),
            step.target["uid"],
        )

    def _template(self, canary: JsonObject) -> str:
        """Return the checksum of what the target Deployment runs, "" when it is gone."""
        target = ((canary.get("spec") or {}).get("targetRef") or {}).get("name", "")
        namespace = quote(canary["metadata"]["namespace"])
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{quote(target)}"
        deployment = self._api.get(path)
        return "" if deployment is None else template_digest(deployment)

    def _runs(self, canary: JsonObject, uid: str, label: str, template: str) -> bool:
        """Tell whether a revision, by its ReplicaSet, is what the target runs."""
        item = replica_set(self._api, canary["metadata"]["namespace"], label, uid)
        return item is not None and template_digest(item) == template


def phase_of(canary: Mapping[str, Any]) -> str:
    """Return the phase of a Canary, in Flagger's words."""
    return str((canary.get("status") or {}).get("phase") or "")


def is_marked(canary: Mapping[str, Any], template: str) -> bool:
    """Tell whether Flagger is to leave this template of a Canary's target."""
    annotations = canary["metadata"].get("annotations") or {}
    return bool(template) and annotations.get(ROLL_BACK) == template


def _was_written(step: Step, found: JsonObject) -> bool:
    """Tell whether the mark is this very step's: the same template may be released again."""
    annotations = found["metadata"].get("annotations") or {}
    return is_marked(found, step.expected["template"]) and annotations.get(PLAN) == step.key


def _refusals(rollout: Rollout, found: JsonObject | None) -> tuple[str, ...]:
    """Return why Flagger cannot be made to roll this Canary back."""
    named = f"{KIND} {rollout.workload}"
    if found is None:
        return (f"{named} no longer exists",)
    refusals = [*owner_refusals(named, found)]
    if found["metadata"].get("deletionTimestamp"):
        refusals.append(f"{named} is being deleted")
    if rollout.baseline is None:
        refusals.append(f"{named} has no primary that runs")
    if phase_of(found) not in ANALYSING:
        phase = phase_of(found) or "not begun"
        refusals.append(f"Flagger is not analysing {named} ({phase}): it has nothing to abort")
    if not _asks_us(found):
        refusals.append(
            f"{named} does not ask rollbackd whether to roll back: add a webhook of type rollback "
            f"to its analysis, with a url that ends with {GATE_PATH}"
        )
    return tuple(refusals)


def _asks_us(canary: Mapping[str, Any]) -> bool:
    webhooks = ((canary.get("spec") or {}).get("analysis") or {}).get("webhooks") or []
    return any(
        hook.get("type") == "rollback"
        and urlsplit(str(hook.get("url", ""))).path.rstrip("/").endswith(GATE_PATH)
        for hook in webhooks
    )


def canary_path(namespace: str, name: str) -> str:
    """Return where the API server keeps a Canary."""
    return f"/apis/{VERSION}/namespaces/{quote(namespace)}/canaries/{quote(name)}"


def _named(step: Step) -> str:
    return f"{KIND} {step.target['namespace']}/{step.target['name']}"
