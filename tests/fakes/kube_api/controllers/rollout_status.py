"""A Deployment's status: counts, and the conditions Available and Progressing.

Follows `deployment/progress.go` and `deployment/sync.go` of Kubernetes. Pure: `now` comes in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.fakes.kube_api.objects.metadata import condition_of, copied, rfc3339, seconds_of

from .rolling_update import bounds_of, counted, wanted

if TYPE_CHECKING:
    from tests.fakes.kube_api.objects.metadata import JsonObject

PROGRESSING = "Progressing"
AVAILABLE = "Available"
NEW_REPLICA_SET_AVAILABLE = "NewReplicaSetAvailable"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"


def rollout_status(
    deployment: JsonObject, new: JsonObject | None, everything: list[JsonObject], now: float
) -> JsonObject:
    """Return the status which the Deployment should have now.

    Args:
        deployment: the stored Deployment, with its last status.
        new: the ReplicaSet of its current template, if it was made already.
        everything: all its ReplicaSets.
        now: seconds since the epoch.
    """
    before = deployment.get("status") or {}
    status = {
        **{key: before[key] for key in ("collisionCount", "conditions") if key in before},
        "observedGeneration": deployment["metadata"]["generation"],
        **_counts(new, everything),
    }
    status["conditions"] = copied(status.get("conditions") or [])
    bounds = bounds_of(deployment)
    if status.get("availableReplicas", 0) >= bounds.fewest_available:
        reason, words = "MinimumReplicasAvailable", "Deployment has minimum availability."
        set_condition(status, AVAILABLE, "True", reason, words, now)
    else:
        reason, words = (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
        set_condition(status, AVAILABLE, "False", reason, words, now)
    if not deployment["spec"].get("paused") and new is not None:
        _set_progress(deployment, status, new, now)
    return status


def _counts(new: JsonObject | None, everything: list[JsonObject]) -> JsonObject:
    available = sum(counted(replica_set, "availableReplicas") for replica_set in everything)
    counts = {
        "replicas": sum(counted(replica_set, "replicas") for replica_set in everything),
        "updatedReplicas": counted(new, "replicas") if new else 0,
        "readyReplicas": sum(counted(replica_set, "readyReplicas") for replica_set in everything),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(wanted(one) for one in everything) - available),
    }
    # The API leaves zeros out; clients which index into status find out here.
    return {key: count for key, count in counts.items() if count}


def is_complete(deployment: JsonObject, status: JsonObject) -> bool:
    """Say whether only pods of the current template exist, all of them available."""
    replicas: int = deployment["spec"]["replicas"]
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return all(status.get(count, 0) == replicas for count in counts) and (
        int(status.get("observedGeneration", 0)) >= deployment["metadata"]["generation"]
    )


def _set_progress(deployment: JsonObject, status: JsonObject, new: JsonObject, now: float) -> None:
    before = deployment.get("status") or {}
    current = condition_of(deployment, PROGRESSING)
    was_complete = (
        current is not None
        and current["reason"] == NEW_REPLICA_SET_AVAILABLE
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
    )
    if was_complete:
        return
    name = f'ReplicaSet "{new["metadata"]["name"]}"'
    if is_complete(deployment, status):
        words = f"{name} has successfully progressed."
        set_condition(status, PROGRESSING, "True", NEW_REPLICA_SET_AVAILABLE, words, now)
    elif _has_moved(before, status):
        words = f"{name} is progressing."
        set_condition(status, PROGRESSING, "True", "ReplicaSetUpdated", words, now, is_news=True)
    elif seconds_to_deadline(deployment, status, now) <= 0:
        words = f"{name} has timed out progressing."
        set_condition(status, PROGRESSING, "False", DEADLINE_EXCEEDED, words, now)


def _has_moved(before: JsonObject, after: JsonObject) -> bool:
    def outdated(status: JsonObject) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grows = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated(after) < outdated(before) or any(
        after.get(field, 0) > before.get(field, 0) for field in grows
    )


def seconds_to_deadline(deployment: JsonObject, status: JsonObject, now: float) -> float:
    """Return how long the rollout may still stand still; infinity when no deadline runs."""
    progressing = condition_of({"status": status}, PROGRESSING)
    if progressing is None or progressing["reason"] in (
        NEW_REPLICA_SET_AVAILABLE,
        DEADLINE_EXCEEDED,
        PAUSED,
    ):
        return math.inf
    since = seconds_of(progressing["lastUpdateTime"])
    return since + float(deployment["spec"]["progressDeadlineSeconds"]) - now


def set_condition(
    status: JsonObject,
    condition_type: str,
    value: str,
    reason: str,
    message: str,
    now: float,
    *,
    is_news: bool = False,
) -> None:
    """Set one condition in place.

    `lastTransitionTime` moves with the status only, `lastUpdateTime` with status and reason, and
    always when `is_news` (a rollout that moves pushes its deadline back).
    """
    current = condition_of({"status": status}, condition_type)
    is_same = current is not None and (current["status"], current["reason"]) == (value, reason)
    if is_same and not is_news:
        return
    transition = rfc3339(now)
    if current is not None and current["status"] == value:
        transition = current["lastTransitionTime"]
    condition = {
        "type": condition_type,
        "status": value,
        "lastUpdateTime": rfc3339(now),
        "lastTransitionTime": transition,
        "reason": reason,
        "message": message,
    }
    others = [one for one in status.get("conditions") or [] if one["type"] != condition_type]
    status["conditions"] = [*others, condition]
