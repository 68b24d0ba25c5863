"""Flagger rolls back by itself, when its webhook asks us: over the fake API server and a real socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import requests
from starlette.applications import Starlette

from actions.facts import NewerRevision
from actions.flagger_abort import GATE_PATH, KIND, ROLL_BACK, VERSION, FlaggerAbort
from actions.plan import Plan, Step, keyed
from actions.ports import Conflict, StepState
from analyzer.rollout import Rollout, Workload
from rollbackd.flagger_gate import MAX_BODY, flagger_routes
from rollbackd.http import HttpServer
from rollbackd.kubernetes.connection import Connection
from rollbackd.views import WatchView
from tests.cli import sample_views
from tests.fakes.kube_api import FakeKubeApi, Fault, FaultAction
from tests.kubernetes import flagger
from tests.kubernetes.shop import cluster, deploy, revision, writes

WATCH = replace(sample_views.degraded(), id="test/default/Canary/shop@v2.2", phase="acting")
ASKED = {"name": "shop", "namespace": "default", "phase": "Progressing", "metadata": {"more": "x"}}


@dataclass
class Stage:
    """A Canary of which Flagger analyses shop:2, and the daemon's door."""

    api: FakeKubeApi
    connection: Connection
    views: tuple[WatchView, ...] = (WATCH,)
    url: str = ""

    def __post_init__(self) -> None:
        self.rollout = Rollout(
            Workload("test", "default", KIND, "shop"),
            revision(self.api, "shop:2"),
            revision(self.api, "shop:1"),
            (),
            (),
            ("namespace", "pod"),
            0.0,
        )
        self.actuator = FlaggerAbort(self.connection)

    def said(self, **changes: object) -> str:
        rollout = replace(self.rollout, **changes)  # type: ignore[arg-type]
        return "; ".join(self.actuator.propose(rollout).refusals)

    def planned(self, watch_id: str = "w") -> Step:
        rollout = self.rollout
        draft = self.actuator.propose(rollout)
        assert draft.refusals == ()
        assert rollout.baseline is not None
        plan = Plan(watch_id, rollout.workload, rollout.canary, rollout.baseline, draft.steps)
        (step,) = keyed(plan).steps
        return step

    def asked(self, body: object = None) -> int:
        data = body if isinstance(body, bytes) else json.dumps(ASKED if body is None else body)
        return requests.post(f"{self.url}{GATE_PATH}", data=data, timeout=30).status_code


@contextmanager
def staged() -> Iterator[Stage]:
    with cluster() as (api, connection):
        flagger.install(api)
        flagger.begin(api)
        stage = Stage(api, connection)
        app = Starlette(routes=flagger_routes(stage.actuator, lambda: stage.views))
        server = HttpServer(app, "127.0.0.1", 0)
        server.start()
        stage.url = f"http://127.0.0.1:{server.port}"
        yield stage
        server.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def test_flagger_is_told_to_roll_back_once_the_plan_is_carried_out(stage: Stage) -> None:
    step = stage.planned()
    assert stage.asked() == 403
    before = writes(stage.api)
    stage.actuator.perform(step)
    assert writes(stage.api) == before + 1
    assert stage.actuator.inspect(step) is StepState.SETTLING
    assert stage.api.get(VERSION, KIND, "shop")["metadata"]["annotations"][ROLL_BACK]
    assert stage.asked() == 200
    assert stage.asked() == 200  # it may ask again before it has acted
    found = stage.api.get(VERSION, KIND, "shop")
    assert found["spec"]["analysis"] == {"webhooks": [flagger.HOOK]}
    assert found["status"]["phase"] == "Progressing"
    flagger.say(stage.api, "Failed")
    assert stage.actuator.inspect(step) is StepState.DONE
    assert stage.asked() == 403


def test_the_answer_does_not_depend_on_the_process_that_acted(stage: Stage) -> None:
    """The mark is on the Canary: another replica, or the next process, answers alike."""
    stage.actuator.perform(stage.planned())
    assert FlaggerAbort(stage.connection).asked_to_leave("default", "shop")


@pytest.mark.parametrize("phase", ["awaiting approval", "degraded", "needs a human", "healthy"])
def test_without_a_watch_that_acts_nobody_is_asked_to_roll_back(stage: Stage, phase: str) -> None:
    stage.actuator.perform(stage.planned())
    stage.views = (replace(WATCH, phase=phase),)
    assert stage.asked() == 403
    stage.views = ()
    assert stage.asked() == 403


def test_a_newer_release_is_not_rolled_back_by_the_mark_of_the_one_before(stage: Stage) -> None:
    step = stage.planned()
    stage.actuator.perform(step)
    deploy(stage.api, "shop:3")
    assert stage.asked() == 403
    assert stage.actuator.inspect(step) is StepState.MOVED_ON
    facts = (NewerRevision("default/shop", stage.rollout.canary.label),)
    assert stage.actuator.propose(stage.rollout).facts == facts


def test_a_promotion_that_came_first_is_left_alone(stage: Stage) -> None:
    step = stage.planned()
    flagger.say(stage.api, "Promoting")
    assert stage.actuator.inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict, match="not analysing"):
        stage.actuator.perform(step)
    assert "nothing to abort" in stage.said()
    assert stage.asked() == 403


def test_the_same_template_analysed_again_needs_a_mark_of_its_own(stage: Stage) -> None:
    stage.actuator.perform(stage.planned())
    again = stage.planned("another watch")
    assert stage.actuator.inspect(again) is StepState.PENDING
    stage.actuator.perform(again)
    assert stage.actuator.inspect(again) is StepState.SETTLING


def test_a_canary_that_does_not_ask_us_is_refused(stage: Stage) -> None:
    for hook in (
        {"name": "load", "type": "rollout", "url": flagger.HOOK["url"]},
        {"name": "other", "type": "rollback", "url": "http://gate/approve"},
    ):
        spec = {"spec": {"analysis": {"webhooks": [hook]}}}
        stage.api.patch(VERSION, KIND, "shop", spec)
        assert f"a url that ends with {GATE_PATH}" in stage.said()


def test_what_is_no_canary_or_is_gone_is_refused(stage: Stage) -> None:
    workload = stage.rollout.workload
    assert "not a Canary" in stage.said(workload=replace(workload, kind="Rollout"))
    assert "no longer exists" in stage.said(workload=replace(workload, name="gone"))
    assert "no primary" in stage.said(baseline=None)


def test_trouble_of_any_kind_is_no_rollback(stage: Stage) -> None:
    stage.actuator.perform(stage.planned())
    for code, body in ((400, b"{"), (400, {"name": "shop"}), (413, b" " * (MAX_BODY + 1))):
        assert stage.asked(body) == code
    assert stage.asked({**ASKED, "namespace": "other"}) == 403
    stage.api.add_fault(Fault(FaultAction.ERROR, verb="get", path="canaries", code=503))
    assert stage.asked() == 503
