"""Levers: a region is released exactly once, whatever the other side does."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from actions.apply import Applier, Done, Failed, Patience
from actions.plan import Plan
from actions.ports import Permanent, StepState, Transient
from actions.trains.dispatch import GitHubDispatch
from actions.trains.lever import Lever
from actions.trains.planner import Bound, plan_release
from actions.trains.settings import Paused, Workflow
from actions.trains.unpause import Unpause
from rollbackd.kubernetes.connection import Connection
from tests.dns.stub_clouds import TROUBLES
from tests.fakes.kube_api import FakeKubeApi, Fault, FaultAction
from tests.fakes.memory_journal import MemoryJournal
from tests.kubernetes import shop
from tests.sources.stub_server import Answer
from tests.trains.stub_github import TOKEN, StubGitHub

TO_US = Bound("shop", 1, "us", "abc")
WORKFLOW = Workflow("acme/shop", "deploy.yaml", inputs={"environment": "us-prod"})
BY_EVENT = Workflow("acme/shop", event_type="release")
QUICK = Patience(attempts=3, backoff_s=0.0, max_backoff_s=0.0, settle_s=3.0)


@pytest.fixture
def github() -> Iterator[StubGitHub]:
    with StubGitHub() as stub:
        yield stub


class Clock:
    """Time passes only while somebody waits."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at

    def pause(self, seconds: float) -> bool:
        self.at += max(seconds, 0.1)
        return True


def dispatch(
    github: StubGitHub, workflow: Workflow = WORKFLOW, begun: frozenset[str] = frozenset()
) -> GitHubDispatch:
    return GitHubDispatch(
        workflow, github.session(), begun=begun, api=github.http.url, timeout_s=1.0
    )


def planned(lever: Lever, attempt: int = 1) -> Plan:
    return plan_release(TO_US, lever.draft(TO_US), attempt)


def carry_out(
    lever: Lever, plan: Plan, journal: MemoryJournal | None = None
) -> Done | Failed | None:
    clock = Clock()
    name = plan.steps[0].actuator
    return Applier({name: lever}, journal or MemoryJournal(), clock, clock.pause, QUICK).carry_out(
        plan
    )


@pytest.mark.parametrize("workflow", [WORKFLOW, BY_EVENT], ids=["workflow", "event"])
def test_a_workflow_is_started_once_with_what_it_needs(
    github: StubGitHub, workflow: Workflow
) -> None:
    plan = planned(dispatch(github, workflow))
    assert carry_out(dispatch(github, workflow), plan) == Done()
    assert carry_out(dispatch(github, workflow), plan) == Done()  # by its mark
    (run,) = github.runs
    assert run["inputs"]["release"] == "abc"
    assert run["inputs"]["region"] == "us"
    assert run["inputs"]["rollbackd"] == TO_US.mark
    assert run["inputs"].get("environment", "") == workflow.inputs.get("environment", "")


def test_an_answer_that_is_lost_starts_nothing_twice(github: StubGitHub) -> None:
    github.lost = 1
    plan = planned(dispatch(github))
    assert carry_out(dispatch(github), plan) == Done()
    assert github.dispatched("us") == 1


def test_a_dispatch_whose_run_never_shows_calls_people_and_is_not_repeated(
    github: StubGitHub,
) -> None:
    github.names_runs = False
    plan, journal = planned(dispatch(github)), MemoryJournal()
    outcome = carry_out(dispatch(github), plan, journal)
    assert isinstance(outcome, Failed)
    assert "no effect" in outcome.reason
    begun = frozenset(e.key for e in journal.entries(kinds=frozenset({"step-started"})))
    # the next process does not know whether it was sent, and does not send it
    again = carry_out(dispatch(github, begun=begun), plan, journal)
    assert isinstance(again, Failed)
    assert github.dispatched("us") == 1


def test_runs_that_cannot_be_listed_after_a_dispatch_start_nothing_twice(
    github: StubGitHub,
) -> None:
    plan = planned(dispatch(github))
    lever = dispatch(github)
    lever.perform(plan.steps[0])
    for trouble in TROUBLES.values():
        if trouble is TROUBLES["no JSON"]:
            continue  # a proxy's page says nothing about the dispatch either
        github.trouble = trouble
        with pytest.raises(Transient):
            lever.inspect(plan.steps[0])
        github.trouble = None
        lever.perform(plan.steps[0])
    github.hidden = True
    lever.perform(plan.steps[0])
    assert lever.inspect(plan.steps[0]) is StepState.SETTLING
    assert github.dispatched("us") == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b'{"message": "slow down"}', 429), Transient),
        (Answer(b"{}", 403, {"retry-after": "60"}), Transient),
        (Answer(b'{"message": "Resource not accessible"}', 403), Permanent),
        (Answer(b'{"message": "No ref found for: main"}', 422), Permanent),
        (Answer(b'{"message": "Not Found"}', 404), Permanent),
    ],
    ids=["429", "limited", "forbidden", "no such ref", "no such workflow"],
)
def test_what_github_refuses_is_told_by_the_reaction_to_it(
    github: StubGitHub, answer: Answer, kind: type[Exception]
) -> None:
    plan = planned(dispatch(github))
    lever = dispatch(github)
    github.refusal = answer
    with pytest.raises(kind) as caught:
        lever.perform(plan.steps[0])
    assert TOKEN not in str(caught.value)
    github.refusal = None
    lever.perform(plan.steps[0])  # nothing was started by what was refused
    assert github.dispatched("us") == 1


def test_a_token_that_is_not_accepted_is_told_before_anything_is_planned(
    github: StubGitHub,
) -> None:
    session = github.session("stolen-and-void")
    lever = GitHubDispatch(WORKFLOW, session, api=github.http.url, timeout_s=1.0)
    with pytest.raises(Permanent, match="401 Bad credentials") as caught:
        lever.draft(TO_US)
    assert "stolen-and-void" not in str(caught.value)


# A paused workload


@pytest.fixture
def cluster() -> Iterator[tuple[FakeKubeApi, Unpause]]:
    with shop.cluster() as (api, connection):
        api.create(shop.manifest())
        shop.settle(api)
        shop.patch(api, spec={"paused": True})
        shop.deploy(api, "shop:2")
        shop.patch(api, metadata={"annotations": {"rollbackd.io/commit": "abc"}})
        yield api, unpause(connection)


def unpause(connection: Connection) -> Unpause:
    return Unpause(connection, Paused("default", "shop"))


def test_a_paused_deployment_goes_on_once(cluster: tuple[FakeKubeApi, Unpause]) -> None:
    api, lever = cluster
    plan = planned(lever)
    assert "let Deployment default/shop in us go on with abc (shop:2)" in plan.describe()
    assert carry_out(lever, plan) == Done()
    assert not shop.deployment(api)["spec"].get("paused")
    shop.settle(api)
    assert shop.replica_set(api, "shop:2") is not None
    shop.patch(api, spec={"paused": True})  # somebody stops it
    outcome = carry_out(lever, plan)
    assert isinstance(outcome, Failed)
    assert shop.deployment(api)["spec"]["paused"] is True


def test_another_release_than_the_trains_is_not_let_go(
    cluster: tuple[FakeKubeApi, Unpause],
) -> None:
    api, lever = cluster
    plan = planned(lever)
    shop.patch(api, metadata={"annotations": {"rollbackd.io/commit": "def"}})
    with pytest.raises(Permanent, match="says def"):
        lever.draft(TO_US)
    assert isinstance(carry_out(lever, plan), Failed)
    shop.patch(api, metadata={"annotations": {"rollbackd.io/commit": "abc"}})
    shop.deploy(api, "shop:3")  # the same commit, they say, and another image
    assert isinstance(carry_out(lever, plan), Failed)
    assert shop.deployment(api)["spec"]["paused"] is True
    shop.patch(api, metadata={"annotations": {"rollbackd.io/commit": None}})
    with pytest.raises(Permanent, match="does not say"):
        lever.draft(TO_US)


def test_the_hold_of_a_watch_is_left_to_that_watch(cluster: tuple[FakeKubeApi, Unpause]) -> None:
    api, lever = cluster
    shop.patch(api, metadata={"annotations": {"rollbackd.io/held-by": "w"}})
    plan = planned(lever)
    assert lever.inspect(plan.steps[0]) is StepState.DONE
    assert carry_out(lever, plan) == Done()
    assert shop.deployment(api)["spec"]["paused"] is True


def test_a_workload_that_is_not_there_cannot_be_released(
    cluster: tuple[FakeKubeApi, Unpause],
) -> None:
    api, lever = cluster
    plan = planned(lever)
    api.delete("apps/v1", "Deployment", "shop")
    assert lever.inspect(plan.steps[0]) is StepState.MOVED_ON
    with pytest.raises(Permanent, match="does not exist"):
        lever.draft(TO_US)


@pytest.mark.parametrize(
    "action", [FaultAction.DROP_BEFORE, FaultAction.DROP_AFTER, FaultAction.ERROR]
)
def test_an_api_server_in_trouble_delays_and_nothing_is_done_twice(
    cluster: tuple[FakeKubeApi, Unpause], action: FaultAction
) -> None:
    api, lever = cluster
    plan = planned(lever)
    before = shop.writes(api)
    api.add_fault(Fault(action, method="PATCH", path="deployments", count=1))
    assert carry_out(lever, plan) == Done()
    annotations = shop.deployment(api)["metadata"]["annotations"]
    assert annotations["rollbackd.io/released-by"] == TO_US.mark
    lost = action is FaultAction.DROP_AFTER
    assert shop.writes(api) <= before + 1 + lost


def test_marks_differ_between_trains_regions_and_releases() -> None:
    others = [
        replace(TO_US, number=2),
        replace(TO_US, region="eu"),
        replace(TO_US, release="def"),
        replace(TO_US, train="basket"),
    ]
    assert len({bound.mark for bound in (TO_US, *others)}) == 5
