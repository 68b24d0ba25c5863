"""Could a StatefulSet or DaemonSet run its earlier revision at full size?"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from actions.cluster import JsonObject, controller_uid, revision_template
from actions.facts import Fact, Unread
from actions.kubernetes_capacity import Listing, WayBack, capacity_facts
from actions.ports import Permanent

REVISION_LABEL = "controller-revision-hash"
"""Label of a set's pods: the name of the ControllerRevision (StatefulSet) or its hash (DaemonSet)."""


def set_capacity_facts(
    api: Listing, found: JsonObject, canary: JsonObject, baseline: JsonObject
) -> tuple[Fact, ...]:
    """Return what would keep a set from running its baseline at full size.

    Args:
        api: the calls to the cluster.
        found: the set.
        canary: its ControllerRevision that is to be left.
        baseline: the one to go back to.

    Raises:
        Transient: it cannot be read now.
    """
    old, new = _names(found, canary), _names(found, baseline)
    path = f"/api/v1/namespaces/{quote(found['metadata']['namespace'])}/pods"
    selector = f"{REVISION_LABEL} in ({','.join(sorted({*old, *new}))})"
    try:
        pods = api.items(path, selector)
    except Permanent as error:
        return (Unread(f"the pods of {new[-1]}", str(error)),)
    uid = found["metadata"]["uid"]
    way = WayBack(
        kind=found["kind"],
        namespace=found["metadata"]["namespace"],
        name=found["metadata"]["name"],
        revision=new[-1],
        selector=f"{REVISION_LABEL} in ({','.join(new)})",
        owner=uid,
        wanted=_wanted(found),
        running=_count(pods, uid, new),
        leaving=_count(pods, uid, old),
        new=revision_template(baseline),
        old=revision_template(canary),
        takes_first=_takes_first(found),
    )
    return capacity_facts(api, way)


def _names(found: JsonObject, revision: JsonObject) -> tuple[str, str]:
    """Return what a revision is called in the label of pods: its whole name, and its hash."""
    name = revision["metadata"]["name"]
    return name, name.removeprefix(f"{found['metadata']['name']}-")


def _count(pods: Sequence[JsonObject], uid: str, names: tuple[str, str]) -> int:
    return sum(
        controller_uid(pod) == uid and pod["metadata"]["labels"].get(REVISION_LABEL) in names
        for pod in pods
    )


def _wanted(found: JsonObject) -> int:
    """Return how many pods the set is to have: of a DaemonSet, one for each node that fits."""
    status: dict[str, Any] = found.get("status") or {}
    if "desiredNumberScheduled" in status:
        return int(status["desiredNumberScheduled"])
    return int(found["spec"].get("replicas", 1))


def _takes_first(found: JsonObject) -> bool:
    """Tell whether a pod goes before the next one comes, as always unless a DaemonSet surges."""
    rolling = (found["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return rolling.get("maxSurge") in {None, 0, "0", "0%"}
