"""Events on workloads, on the fake API server."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from actions.ports import Permanent, Transient
from rollbackd.kubernetes.connection import Connection
from rollbackd.notifiers.cluster_events import ClusterEvents
from rollbackd.notifiers.port import Memo, Throttled
from rollbackd.views import TimelineItem, WatchView
from tests.cli import sample_views
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import cluster, deployment, manifest, writes

START = sample_views.START
DEGRADED = TimelineItem(START + 60.0, "phase", "degraded: errors 4 % vs 0.4 %: ×10")
OBSERVING = TimelineItem(START + 10.0, "phase", "observing: comparing canary with baseline")


def seen(*timeline: TimelineItem, kind: str = "Deployment", name: str = "shop") -> WatchView:
    id_ = f"prod/default/{kind}/{name}@v2.2"
    return replace(sample_views.healthy(), id=id_, timeline=timeline)


@dataclass
class Stage:
    api: FakeKubeApi
    connection: Connection
    kept: dict[str, Any] = field(default_factory=dict)

    def tell(self, view: WatchView) -> None:
        """Tell as the pump does, with what was kept last."""
        ClusterEvents(self.connection, "prod").tell(view, Memo(dict(self.kept), self.kept.update))

    def events(self) -> list[dict[str, Any]]:
        found = self.api.list_objects("v1", "Event")
        return sorted(found, key=lambda event: str(event["lastTimestamp"]))


@pytest.fixture
def stage() -> Iterator[Stage]:
    with cluster() as (api, connection):
        api.create(manifest())
        yield Stage(api, connection)


def test_each_change_of_phase_is_an_event_on_the_workload(stage: Stage) -> None:
    view = seen(OBSERVING, TimelineItem(START + 20.0, "note", "something else"), DEGRADED)
    stage.tell(view)
    first, second = stage.events()
    assert (first["reason"], first["type"]) == ("RolloutObserving", "Normal")
    assert (second["reason"], second["type"]) == ("RolloutDegraded", "Warning")
    assert second["message"].endswith(f"→ {view.canary}: errors 4 % vs 0.4 %: ×10")
    assert second["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "default",
        "name": "shop",
        "uid": deployment(stage.api)["metadata"]["uid"],
    }


def test_what_was_told_is_not_told_again(stage: Stage) -> None:
    stage.tell(seen(OBSERVING))
    stage.tell(seen(OBSERVING))
    assert len(stage.events()) == 1
    stage.tell(seen(OBSERVING, DEGRADED))
    assert len(stage.events()) == 2
    assert writes(stage.api) == 2


def test_an_event_whose_answer_was_lost_is_written_once(stage: Stage) -> None:
    stage.api.add_fault(Fault(FaultAction.DROP_AFTER, verb="create", count=1))
    with pytest.raises(Transient):
        stage.tell(seen(OBSERVING))
    stage.tell(seen(OBSERVING))
    assert len(stage.events()) == 1


def test_long_reasons_are_cut(stage: Stage) -> None:
    stage.tell(seen(TimelineItem(START, "phase", "needs a human: " + "x" * 5000)))
    (event,) = stage.events()
    assert len(event["message"]) == 1024
    assert event["reason"] == "RolloutNeedsAHuman"


@pytest.mark.parametrize(
    "view",
    [
        seen(OBSERVING, kind="Static"),
        seen(OBSERVING, name="gone"),
        replace(seen(OBSERVING), id="elsewhere/default/Deployment/shop@v2"),
        seen(),
    ],
)
def test_what_is_not_in_this_cluster_is_passed_over(stage: Stage, view: WatchView) -> None:
    stage.tell(view)
    assert stage.events() == []


def test_a_canary_beside_is_a_deployment_to_the_cluster(stage: Stage) -> None:
    stage.tell(seen(OBSERVING, kind="CanaryDeployment"))
    assert [event["involvedObject"]["kind"] for event in stage.events()] == ["Deployment"]


def test_a_missing_right_is_given_up_and_a_busy_server_waited_for(stage: Stage) -> None:
    stage.api.set_access(Access(denied=frozenset({"create events"})))
    with pytest.raises(Permanent):
        stage.tell(seen(OBSERVING))
    stage.api.set_access(Access())
    throttle = Fault(FaultAction.THROTTLE, verb="create", count=1, seconds=7)
    stage.api.add_fault(throttle)
    with pytest.raises(Throttled) as caught:
        stage.tell(seen(OBSERVING))
    assert caught.value.retry_after_s == 7.0
    stage.tell(seen(OBSERVING))
    assert len(stage.events()) == 1
