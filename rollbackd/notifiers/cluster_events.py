"""Events on the workload itself: what ``kubectl describe`` shows of a watch."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from actions.argo_abort import KIND as ARGO
from actions.canary_scale import KIND as CANARY_DEPLOYMENT
from actions.flagger_abort import KIND as FLAGGER
from actions.flagger_abort import VERSION as FLAGGER_VERSION
from actions.plan import checksum
from actions.ports import Conflict
from actions.service_switch import KIND as SERVICE
from analyzer.watch import Phase
from rollbackd.kubernetes import errors
from rollbackd.notifiers.port import Memo, Throttled
from rollbackd.views import TimelineItem, WatchView

COMPONENT = "rollbackd"
MAX_MESSAGE = 1024
"""Characters that the API server takes for a message."""
FINE = frozenset(
    {
        Phase.WARMING,
        Phase.OBSERVING,
        Phase.HEALTHY,
        Phase.VERIFYING,
        Phase.ROLLED_BACK,
        Phase.SUPERSEDED,
        Phase.INCONCLUSIVE,
    }
)
"""Phases that nobody has to be warned of."""


@dataclass(frozen=True, slots=True)
class _Api:
    """Where the objects of a kind are."""

    version: str
    plural: str
    kind: str


APPS = {
    "Deployment": _Api("apps/v1", "deployments", "Deployment"),
    CANARY_DEPLOYMENT: _Api("apps/v1", "deployments", "Deployment"),
    "StatefulSet": _Api("apps/v1", "statefulsets", "StatefulSet"),
    "DaemonSet": _Api("apps/v1", "daemonsets", "DaemonSet"),
    ARGO: _Api("argoproj.io/v1alpha1", "rollouts", ARGO),
    FLAGGER: _Api(FLAGGER_VERSION, "canaries", FLAGGER),
    SERVICE: _Api("v1", "services", SERVICE),
}


class EventApi(Protocol):
    """The calls to the API server; both raise ActionErrors."""

    def get(self, path: str) -> dict[str, Any] | None:
        """Return one object, or None when there is no such object."""

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; raise Conflict when there is one of its name."""


class ClusterEvents:
    """A notifier that writes an Event for each change of phase.

    An Event's name follows from what it tells, so that one whose answer was lost is not written
    twice. Watches of other clusters or of none are passed over, as are workloads that are gone.

    Args:
        api: the calls to the cluster that the rollouts come from.
        cluster: its name in watch ids.
    """

    def __init__(self, api: EventApi, cluster: str) -> None:
        self._api = api
        self._cluster = cluster

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Write the Events that are new since the last telling."""
        try:
            self._tell(view, memo)
        except errors.Throttled as error:
            raise Throttled(str(error), error.retry_after_s) from error

    def close(self) -> None:
        """Hold nothing: the connection is another's."""

    def _tell(self, view: WatchView, memo: Memo) -> None:
        cluster, namespace, kind, rest = view.id.split("/", 3)
        place = APPS.get(kind)
        if cluster != self._cluster or place is None:
            return
        name = rest.partition("@")[0]
        root = f"/api{'s' if '/' in place.version else ''}/{place.version}"
        path = f"{root}/namespaces/{quote(namespace)}/{place.plural}/{quote(name)}"
        told: float = memo.data.get("told", float("-inf"))
        fresh = [item for item in view.timeline if item.kind == "phase" and item.at > told]
        found = self._api.get(path) if fresh else None
        if found is None:
            return
        about = {
            "apiVersion": place.version,
            "kind": place.kind,
            "namespace": namespace,
            "name": name,
            # kubectl describe asks for the Events of this very object.
            "uid": found["metadata"]["uid"],
        }
        for item in fresh:
            with suppress(Conflict):  # an earlier try got through
                self._api.create(
                    f"/api/v1/namespaces/{quote(namespace)}/events", event(view, item, about)
                )
            memo.keep(told=item.at)


def event(view: WatchView, item: TimelineItem, about: Mapping[str, str]) -> dict[str, Any]:
    """Return the Event that tells of one change of phase.

    Args:
        view: the watch.
        item: the change.
        about: the workload's API version, kind, namespace, name and UID.
    """
    phase, _, note = item.text.partition(": ")
    stamp = datetime.fromtimestamp(item.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = f"{view.baseline or '?'} → {view.canary}: {note or phase}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about['name'][:200]}.{checksum([view.id, item.at, item.text])}",
            "namespace": about["namespace"],
        },
        "involvedObject": dict(about),
        "reason": "Rollout" + "".join(word.capitalize() for word in phase.split()),
        "message": message[:MAX_MESSAGE],
        "type": "Normal" if phase in FINE else "Warning",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
