"""The Deployment controller: one ReplicaSet a template, and rolling from one to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.errors import ApiError
from tests.fakes.kube_api.objects.kinds import DEPLOYMENTS, REPLICA_SETS
from tests.fakes.kube_api.objects.metadata import annotations_of, condition_of, copied, name_of
from tests.fakes.kube_api.objects.registry import DeleteOptions, WriteOptions

from .revisions import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    current_replica_set,
    new_replica_set,
    next_revision,
    replica_set_annotations,
    revision_of,
)
from .rolling_update import bounds_of, counted, new_size, old_sizes, proportional_sizes, wanted
from .rollout_status import (
    DEADLINE_EXCEEDED,
    PAUSED,
    PROGRESSING,
    RESUMED,
    is_complete,
    rollout_status,
    seconds_to_deadline,
    set_condition,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.kube_api.clock import Clock
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.objects.registry import Registry

_SPEC_WRITE = WriteOptions(manager="kube-controller-manager")
_STATUS_WRITE = WriteOptions(manager="kube-controller-manager", subresource="status")


class DeploymentController:
    """Moves each Deployment one step towards its spec per pass."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def reconcile(
        self,
        deployment: JsonObject,
        replica_sets: list[JsonObject],
        pods_of: Mapping[str, list[JsonObject]],
    ) -> float:
        """Make one step: pause, scale or roll; then write the status.

        Args:
            deployment: the stored Deployment.
            replica_sets: the ReplicaSets it controls.
            pods_of: pods by the uid of the ReplicaSet which controls them.

        Returns:
            Seconds until time alone will change something; infinity when nothing is due.
        """
        if deployment["metadata"].get("deletionTimestamp"):
            return self._write_status(deployment, replica_sets)
        deployment = self._with_pause_condition(deployment)
        if deployment["spec"].get("paused") or _was_scaled(deployment, replica_sets):
            replica_sets = self._scale(deployment, replica_sets)
        else:
            new, old = self._settle_revision(deployment, replica_sets)
            deployment = self._registry.get(DEPLOYMENTS, name_of(deployment))
            if deployment["spec"]["strategy"]["type"] == "Recreate":
                replica_sets = self._recreate(deployment, new, old, pods_of)
            else:
                replica_sets = self._roll(deployment, new, old)
            replica_sets = self._forget_old_revisions(deployment, replica_sets)
        return self._write_status(deployment, replica_sets)

    def _settle_revision(
        self, deployment: JsonObject, replica_sets: list[JsonObject]
    ) -> tuple[JsonObject, list[JsonObject]]:
        """Return the current template's ReplicaSet (made or renumbered) and all the others."""
        found = current_replica_set(deployment, replica_sets)
        old = [one for one in replica_sets if one is not found]
        revision = next_revision(old)
        annotations = replica_set_annotations(deployment, found, revision)
        if found is None:
            new = self._create_replica_set(deployment, old, annotations)
            reason, verb = "NewReplicaSetCreated", "Created new"
        else:
            new = self._annotate(found, annotations)
            reason, verb = "FoundNewReplicaSet", "Found new"
        words = f'{verb} replica set "{new["metadata"]["name"]}"'
        number = str(revision_of(new))

        def numbered(current: JsonObject) -> JsonObject:
            metadata = current["metadata"]
            metadata["annotations"] = {**annotations_of(current), REVISION: number}
            if found is None or condition_of(current, PROGRESSING) is None:
                status = current.setdefault("status", {})
                now = self._clock.now()
                set_condition(status, PROGRESSING, "True", reason, words, now)
            return current

        self._registry.patch(DEPLOYMENTS, name_of(deployment), numbered, _STATUS_WRITE)
        return new, old

    def _create_replica_set(
        self, deployment: JsonObject, old: list[JsonObject], annotations: dict[str, str]
    ) -> JsonObject:
        bounds = bounds_of(deployment)
        template = new_replica_set(deployment, 0, annotations)
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            has_room = not any(counted(one, "replicas") for one in old)
            template["spec"]["replicas"] = bounds.replicas if has_room else 0
        else:
            template["spec"]["replicas"] = new_size(template, [*old, template], bounds)
        _note_sizes(template, deployment)
        namespace = deployment["metadata"]["namespace"]
        try:
            return self._registry.create(REPLICA_SETS, namespace, template, _SPEC_WRITE)
        except ApiError as refused:
            if refused.reason != "AlreadyExists":
                raise
        # Somebody else's ReplicaSet has our name: take the next hash, as the real one does.
        status = deployment.get("status") or {}
        status = {**status, "collisionCount": status.get("collisionCount", 0) + 1}
        again = self._registry.patch(
            DEPLOYMENTS,
            name_of(deployment),
            lambda current: {**current, "status": status},
            _STATUS_WRITE,
        )
        return self._create_replica_set(again, old, annotations)

    def _roll(
        self, deployment: JsonObject, new: JsonObject, old: list[JsonObject]
    ) -> list[JsonObject]:
        bounds = bounds_of(deployment)
        size = new_size(new, [new, *old], bounds)
        if size != wanted(new):
            return [self._resize(deployment, new, size), *old]
        sizes = old_sizes(new, old, bounds)
        return [
            new,
            *(self._resize(deployment, one, sizes[one["metadata"]["name"]]) for one in old),
        ]

    def _recreate(
        self,
        deployment: JsonObject,
        new: JsonObject,
        old: list[JsonObject],
        pods_of: Mapping[str, list[JsonObject]],
    ) -> list[JsonObject]:
        old = [self._resize(deployment, one, 0) for one in old]
        # A pod that still terminates counts: Recreate never runs two versions at once.
        if not any(pods_of.get(one["metadata"]["uid"]) for one in old):
            new = self._resize(deployment, new, deployment["spec"]["replicas"])
        return [new, *old]

    def _scale(self, deployment: JsonObject, replica_sets: list[JsonObject]) -> list[JsonObject]:
        active = [one for one in replica_sets if wanted(one)]
        new = current_replica_set(deployment, replica_sets)
        if len(active) <= 1:
            only = active[0] if active else new
            if only is None:
                return replica_sets
            sizes = {only["metadata"]["name"]: deployment["spec"]["replicas"]}
        elif deployment["spec"]["strategy"]["type"] == "RollingUpdate":
            sizes = proportional_sizes(active, bounds_of(deployment))
        else:
            sizes = {}
        return [
            self._resize(deployment, one, sizes.get(one["metadata"]["name"], wanted(one)))
            for one in replica_sets
        ]

    def _resize(self, deployment: JsonObject, replica_set: JsonObject, size: int) -> JsonObject:
        def resized(current: JsonObject) -> JsonObject:
            current["spec"]["replicas"] = size
            _note_sizes(current, deployment)
            return current

        if size == wanted(replica_set) == 0:
            return replica_set
        return self._registry.patch(REPLICA_SETS, name_of(replica_set), resized, _SPEC_WRITE)

    def _annotate(self, replica_set: JsonObject, annotations: dict[str, str]) -> JsonObject:
        def annotated(current: JsonObject) -> JsonObject:
            current["metadata"]["annotations"] = annotations
            return current

        return self._registry.patch(REPLICA_SETS, name_of(replica_set), annotated, _SPEC_WRITE)

    def _forget_old_revisions(
        self, deployment: JsonObject, replica_sets: list[JsonObject]
    ) -> list[JsonObject]:
        if not is_complete(deployment, deployment.get("status") or {}):
            return replica_sets
        new, *old = replica_sets
        spent = sorted(
            (one for one in old if not wanted(one) and not counted(one, "replicas")),
            key=revision_of,
        )
        surplus = spent[: max(0, len(old) - deployment["spec"]["revisionHistoryLimit"])]
        for replica_set in surplus:
            self._registry.delete(REPLICA_SETS, name_of(replica_set), DeleteOptions())
        return [new, *(one for one in old if one not in surplus)]

    def _with_pause_condition(self, deployment: JsonObject) -> JsonObject:
        current = condition_of(deployment, PROGRESSING)
        reason = current["reason"] if current else None
        is_paused = bool(deployment["spec"].get("paused"))
        if reason == DEADLINE_EXCEEDED or is_paused == (reason == PAUSED):
            return deployment
        settled = (
            (PAUSED, "Deployment is paused") if is_paused else (RESUMED, "Deployment is resumed")
        )

        def noted(obj: JsonObject) -> JsonObject:
            status = obj.setdefault("status", {})
            set_condition(status, PROGRESSING, "Unknown", *settled, self._clock.now())
            return obj

        return self._registry.patch(DEPLOYMENTS, name_of(deployment), noted, _STATUS_WRITE)

    def _write_status(self, deployment: JsonObject, replica_sets: list[JsonObject]) -> float:
        current = self._registry.get(DEPLOYMENTS, name_of(deployment))
        now = self._clock.now()
        new = current_replica_set(current, replica_sets)
        status = rollout_status(current, new, replica_sets, now)

        def observed(obj: JsonObject) -> JsonObject:
            return {**obj, "status": copied(status)}

        self._registry.patch(DEPLOYMENTS, name_of(deployment), observed, _STATUS_WRITE)
        return seconds_to_deadline(current, status, now)


def _was_scaled(deployment: JsonObject, replica_sets: list[JsonObject]) -> bool:
    replicas = str(deployment["spec"]["replicas"])
    return any(
        annotations_of(one).get(DESIRED_REPLICAS, replicas) != replicas
        for one in replica_sets
        if wanted(one)
    )


def _note_sizes(replica_set: JsonObject, deployment: JsonObject) -> None:
    bounds = bounds_of(deployment)
    replica_set["metadata"]["annotations"] = {
        **annotations_of(replica_set),
        DESIRED_REPLICAS: str(bounds.replicas),
        MAX_REPLICAS: str(bounds.replicas + bounds.max_surge),
    }
