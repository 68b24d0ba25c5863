"""Statuses are written when they changed, seldom otherwise, and trouble with them stays theirs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actions.ports import ActionError, Fenced, Permanent
from rollbackd.config.manifests import Limits
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.kubernetes.errors import Denied
from rollbackd.policies.clerk import (
    LONGEST_WAIT_S,
    MOST_WRITES,
    NUMBERS_S,
    StatusApi,
    StatusClerk,
)
from rollbackd.policies.source import PolicyResources
from rollbackd.views import WatchView
from tests.cli import sample_views
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.fakes.kube_api.request_log import LoggedRequest
from tests.policies.shelf import PATIENCE_S, Shelf, configuration, policy, shelf

START = sample_views.START


@dataclass
class Told:
    """Counts, as the telemetry does."""

    states: tuple[int, int] = (0, 0)
    writes: list[str] = field(default_factory=list)

    def policies(self, valid: int, invalid: int) -> None:
        self.states = (valid, invalid)

    def status_write(self, outcome: str) -> None:
        self.writes.append(outcome)


@dataclass
class Desk:
    """A clerk with a clock that the test moves, and the views that it tells of."""

    stand: Shelf
    clerk: StatusClerk
    told: Told
    views: list[WatchView]
    at: list[float]

    def tend(self, seconds: float = 5.0) -> int:
        """Let time pass and look once; return how many calls that took."""
        self.at[0] += seconds
        before = len(self.patches())
        self.clerk.tend()
        return len(self.patches()) - before

    def patches(self) -> list[LoggedRequest]:
        return [r for r in self.stand.api.requests() if r.method == "PATCH"]

    def status(self, name: str = "checkout") -> dict[str, Any]:
        found: dict[str, Any] = self.stand.stored(name).get("status", {})
        return found

    def until_seen(self) -> None:
        """Wait until every status that was written is in the cache."""

        def is_seen(api: FakeKubeApi) -> bool:
            del api
            cached = {p.name: p.status for p in self.stand.all()}
            return all(self.status(name) == status for name, status in cached.items())

        self.stand.api.wait_until(is_seen, seconds=PATIENCE_S)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with shelf(configuration(tmp_path)) as stand:
        at, views, told = [START + 300.0], list[WatchView](), Told()
        clerk = StatusClerk(
            stand.resources, lambda: tuple(views), stand.connection, told, lambda: at[0]
        )
        yield Desk(stand, clerk, told, views, at)


def watch(**parts: Any) -> WatchView:  # noqa: ANN401 - fields of a view
    return replace(sample_views.degraded(), policy="shop/checkout", **parts)


def test_a_status_is_written_once_and_no_more(desk: Desk) -> None:
    desk.stand.put(policy())
    before = desk.stand.stored()["metadata"]
    assert desk.tend() == 1
    after = desk.stand.stored()
    assert after["metadata"]["generation"] == before["generation"]
    assert after["status"]["observedGeneration"] == 1
    assert after["status"]["watching"] == 0
    assert desk.tend() == 0, "also when the cache has not seen the write yet"
    desk.until_seen()
    assert desk.tend() == 0
    assert (desk.told.states, desk.told.writes) == ((1, 0), ["written"])


def test_what_matters_is_written_at_once_and_numbers_seldom(desk: Desk) -> None:
    desk.stand.put(policy())
    desk.views[:] = [watch()]
    assert desk.tend() == 1
    for number in range(5):
        desk.until_seen()
        desk.views[:] = [watch(reasons=(f"errors 4.{number} %",))]
        assert desk.tend() == 0
    assert desk.tend(NUMBERS_S) == 1
    assert desk.status()["watches"][0]["reasons"] == ["errors 4.4 %"]
    desk.views[:] = [watch(phase="rolled back", final=True)]
    assert desk.tend() == 1
    assert desk.status()["watching"] == 0
    assert "verdict" not in desk.status()


def test_a_new_version_is_observed(desk: Desk) -> None:
    desk.stand.put(policy())
    desk.tend()
    desk.stand.change({"signals": [{"name": "errors", "ratio": {"total": "x)", "bad": "y"}}]})
    assert desk.tend() == 1
    status = desk.status()
    assert status["observedGeneration"] == 2
    assert status["conditions"][0]["status"] == "False"
    assert "spec.signals[0].ratio.total" in status["conditions"][0]["message"]
    assert desk.told.states == (0, 1)


def test_what_somebody_else_wrote_is_put_right(desk: Desk) -> None:
    desk.stand.put(policy())
    desk.tend()
    desk.until_seen()
    wrong = {"status": {"watching": 7, "verdict": "degraded", "conditions": None}}
    desk.stand.api.patch(
        "rollbackd.io/v1alpha1", "RollbackPolicy", "checkout", wrong, "shop", subresource="status"
    )
    desk.until_seen()
    assert desk.tend() == 1
    assert desk.status()["watching"] == 0
    assert "verdict" not in desk.status()


@dataclass
class Refusing:
    """Refuses to write the status of one policy, and passes the others on."""

    api: StatusApi
    name: str
    error: ActionError | None

    def request(self, method: str, path: str, *args: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        if self.error is not None and f"/{self.name}/" in path:
            raise self.error
        return self.api.request(method, path, *args, **more)


@pytest.mark.parametrize("error", [Denied("403"), Permanent("422")], ids=["denied", "invalid"])
def test_a_refusal_leaves_that_one_alone_for_long(desk: Desk, error: ActionError) -> None:
    desk.stand.put(policy())
    desk.stand.put(policy("other"))
    api = Refusing(desk.stand.connection, "checkout", error)
    desk.clerk._api = api
    with capture_logs() as logs:
        assert desk.tend() == 1
        assert desk.tend() == 0
    assert [e["event"] for e in logs if e["log_level"] == "warning"] == [
        "policy status not written"
    ]
    assert desk.status("other")["watching"] == 0
    assert desk.status() == {}
    api.error = None
    assert desk.tend(LONGEST_WAIT_S) == 1
    assert desk.status()["watching"] == 0
    assert sorted(desk.told.writes) == ["failed", "written", "written"]


def test_without_the_right_nothing_is_written_and_the_others_are_tried_once(desk: Desk) -> None:
    for number in range(3):
        desk.stand.put(policy(f"p{number}"))
    desk.stand.api.set_access(Access(denied=frozenset({"patch rollbackpolicies/status"})))
    assert sum(desk.tend() for _ in range(10)) == 3
    desk.stand.api.set_access(Access())
    assert desk.tend(LONGEST_WAIT_S) == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultAction.ERROR, path="/status"),
        Fault(FaultAction.THROTTLE, path="/status", seconds=30.0),
        Fault(FaultAction.DROP_BEFORE, path="/status"),
    ],
    ids=["500", "429", "dropped"],
)
def test_a_server_in_trouble_is_asked_ever_more_rarely(desk: Desk, fault: Fault) -> None:
    for number in range(5):
        desk.stand.put(policy(f"p{number}"))
    number = desk.stand.api.add_fault(fault)
    calls = [desk.tend() for _ in range(60)]
    assert max(calls) <= 1, "what one meets the others meet, too"
    assert sum(calls) <= 7, "in five minutes"
    desk.stand.api.remove_fault(number)
    assert desk.tend(LONGEST_WAIT_S) == 5


def test_a_server_that_is_gone_raises_nothing(desk: Desk) -> None:
    desk.stand.put(policy())
    dead = Connection(ClusterAccess(server="http://127.0.0.1:9"))
    clerk = StatusClerk(desk.stand.resources, tuple, dead, desk.told, lambda: desk.at[0])
    clerk.tend()
    dead.close()
    assert desk.told.writes == ["failed"]


def test_who_does_not_lead_writes_nothing(desk: Desk) -> None:
    def fenced() -> None:
        raise Fenced("another replica leads")

    desk.stand.put(policy())
    api = Connection(ClusterAccess(server=desk.stand.api.url), fenced)
    StatusClerk(desk.stand.resources, tuple, api, desk.told, lambda: desk.at[0]).tend()
    api.close()
    assert desk.patches() == []


def test_one_made_anew_does_not_get_the_status_of_the_one_before(desk: Desk) -> None:
    desk.stand.put(policy())
    (old,) = desk.stand.all()
    desk.stand.delete()
    desk.stand.put(policy())
    written = list(desk.told.writes)
    # The cache of a slower replica still holds the old one.
    desk.clerk._tend(old, ())
    assert desk.status() == {}
    assert desk.told.writes == written
    assert desk.tend() == 1


def test_many_are_written_a_few_at_a_time(desk: Desk) -> None:
    count = MOST_WRITES + 3
    for number in range(count):
        desk.stand.put(policy(f"p{number}"))
    assert desk.tend() == MOST_WRITES
    assert desk.tend() == 3
    assert all(desk.status(f"p{number}") for number in range(count))


def test_nothing_is_written_before_the_policies_were_seen(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with shelf(config) as stand:
        stand.api.set_access(Access(denied=frozenset({"list rollbackpolicies"})))
        unseen = PolicyResources(stand.connection, "default", Limits.of(config))
        told = Told()
        StatusClerk(unseen, tuple, stand.connection, told, lambda: START).tend()
        assert (told.states, told.writes) == ((0, 0), [])
