"""Stops a GitOps owner from putting back what is about to be changed, and lets it go again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote

from actions.facts import Fact, Owned
from actions.gitops_owner import (
    Owner,
    OwnerKind,
    held_sync,
    is_active,
    owners_of,
    sync_of,
    sync_operations,
    undone_by,
)
from actions.marks import HELD_BY
from actions.plan import Draft, Step
from actions.ports import Conflict, Permanent, StepState
from analyzer.rollout import Rollout

NAME = "gitops-hold"
"""The actuator's name in the registry; actions of the configuration may not have it."""

ATTEMPTS = 4
"""Writes tried when something else of the owner changes under us; its status often does."""

JsonObject = dict[str, Any]

PLACES = {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "CanaryDeployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "Service": ("/api/v1", "services"),
}
"""Where the objects are that a rollback changes, by the workload's kind."""


class OwnerApi(Protocol):
    """The calls to the API server that this needs, in raw JSON. All raise ActionErrors."""

    def get(self, path: str) -> JsonObject | None:
        """Return one object, or None when there is no such object."""

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> JsonObject:
        """Apply a JSON patch; raise Conflict when a ``test`` in it fails."""


class GitOpsOwners:
    """Tells who owns a rollout's workload; see ``actions.ports.FactSource``.

    Args:
        api: the calls to the cluster that the rollouts come from.
        argocd_namespace: where Argo CD's Applications are unless they say otherwise.
    """

    def __init__(self, api: OwnerApi, argocd_namespace: str = "argocd") -> None:
        self._api = api
        self.argocd_namespace = argocd_namespace

    def of(self, rollout: Rollout) -> tuple[Owner, ...]:
        """Return the owners of the object that a rollback changes. Raises as the calls.

        None of an Argo Rollout or a Flagger Canary: an abort leaves what others apply as it is.
        """
        workload = rollout.workload
        place = PLACES.get(workload.kind)
        if place is None:
            return ()
        root, plural = place
        namespace, name = quote(workload.namespace), quote(workload.name)
        found = self._api.get(f"{root}/namespaces/{namespace}/{plural}/{name}")
        return () if found is None else owners_of(found, self.argocd_namespace)

    def facts(self, rollout: Rollout) -> tuple[Fact, ...]:
        """Return each owner, and whether it applies by itself as far as that can be read."""
        return tuple(self._fact(owner) for owner in self.of(rollout))

    def facts_of(self, found: JsonObject) -> tuple[Owned, ...]:
        """Return the same for any object, as it was read."""
        return tuple(self._fact(owner) for owner in owners_of(found, self.argocd_namespace))

    def _fact(self, owner: Owner) -> Owned:
        if owner.kind is OwnerKind.HELM:
            return Owned(str(owner), syncs=False, why="the next upgrade applies its own manifest")
        if owner.path is None:
            return Owned(str(owner), syncs=None, why="it does not tell its name")
        try:
            found = self._api.get(owner.path)
        except Permanent as error:
            return Owned(str(owner), syncs=None, why=str(error))
        if found is None:
            return Owned(str(owner), syncs=None, why="it was not found")
        if is_active(owner, sync_of(owner, found)):
            return Owned(str(owner), syncs=True, why="it applies its manifests by itself")
        return Owned(str(owner), syncs=False, why="the next sync applies its own manifest")


class GitOpsHold:
    """Suspends the automatic sync of exactly the owner of a workload; see ``actions.ports``.

    What was there is in the step, so ``released`` can turn it round: the release is a step as
    any other, which is carried out only while the hold is as we left it.

    Args:
        api: the calls to the cluster that the rollouts come from.
        owners: tells who owns a workload.
    """

    def __init__(self, api: OwnerApi, owners: GitOpsOwners) -> None:
        self._api = api
        self._owners = owners

    def propose(self, rollout: Rollout) -> Draft:
        """Return a step for each owner that applies by itself, or why one cannot be held."""
        steps, refusals = [], []
        for owner in self._owners.of(rollout):
            if owner.kind is OwnerKind.HELM:
                continue
            found = self._api.get(owner.path) if owner.path is not None else None
            if found is None:
                refusals.append(f"{owner} owns {rollout.workload} and was not found to be held")
                continue
            if not is_active(owner, sync_of(owner, found)):
                continue
            parent = undone_by(found, owner, self._owners.argocd_namespace)
            if parent is not None:
                refusals.append(f"{owner} cannot be held: {parent} makes it, and would undo that")
                continue
            steps.append(_step(owner, found, rollout.watch_id))
        return Draft(refusals=tuple(refusals)) if refusals else Draft(tuple(steps))

    def inspect(self, step: Step) -> StepState:
        """Compare the owner's sync, and who holds it, with the step."""
        found = self._found(step)
        if found is None:
            return StepState.MOVED_ON
        now, desired = _state(_owner(step), found), step.desired
        # Whoever put the sync back by hand has done what a release wants, mark or not.
        if now["sync"] == desired["sync"] and desired["held_by"] in {None, now["held_by"]}:
            return StepState.DONE
        is_expected = all(now[key] == step.expected[key] for key in now)
        return StepState.PENDING if is_expected else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Write the sync and the mark, guarded by the version of the owner just read."""
        for _ in range(ATTEMPTS):
            state = self.inspect(step)
            if state is StepState.DONE:
                return
            found = self._found(step)
            if found is None or state is StepState.MOVED_ON:
                raise Conflict(f"{_owner(step)} was changed by somebody else since the plan")
            try:
                self._api.patch(str(_owner(step).path), _operations(step, found))
            except Conflict:
                continue  # its status, our own write that got through, or somebody: look again
            return
        raise Conflict(f"{_owner(step)} changes too often to be written: {ATTEMPTS} tries failed")

    def _found(self, step: Step) -> JsonObject | None:
        """Return the owner of the step, None when it was deleted or made anew."""
        found = self._api.get(str(_owner(step).path))
        if found is None or found["metadata"]["uid"] != step.target["uid"]:
            return None
        return found


def held(step: Step) -> str:
    """Return what a step holds, for people."""
    return f"the automatic sync of {_owner(step)}"


def released(step: Step) -> Step:
    """Return the step that puts back what a hold took away, its key not yet made."""
    summary = f"put {held(step)} back"
    desired = {key: value for key, value in step.expected.items() if key != "summary"}
    expected = {key: value for key, value in step.desired.items() if key != "summary"}
    return replace(
        step, expected=expected, desired={**desired, "held_by": None, "summary": summary}, key=""
    )


def _step(owner: Owner, found: JsonObject, watch_id: str) -> Step:
    return Step(
        actuator=NAME,
        target={
            "owner": str(owner),
            "kind": owner.kind.value,
            "namespace": owner.namespace,
            "name": owner.name,
            "uid": found["metadata"]["uid"],
        },
        expected=_state(owner, found),
        desired={
            "sync": held_sync(owner),
            "held_by": watch_id,
            "summary": f"stop the automatic sync of {owner} (until: rollbackd release)",
        },
    )


def _state(owner: Owner, found: JsonObject) -> dict[str, Any]:
    annotations = found["metadata"].get("annotations") or {}
    return {"sync": sync_of(owner, found), "held_by": annotations.get(HELD_BY)}


def _owner(step: Step) -> Owner:
    target = step.target
    return Owner(OwnerKind(target["kind"]), target["namespace"], target["name"])


def _operations(step: Step, found: JsonObject) -> list[JsonObject]:
    metadata = found["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(HELD_BY, None)
    if step.desired["held_by"] is not None:
        annotations[HELD_BY] = step.desired["held_by"]
    version = metadata["resourceVersion"]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        *sync_operations(_owner(step), found, step.desired["sync"]),
    ]
