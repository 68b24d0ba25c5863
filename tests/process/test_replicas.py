"""Two daemon processes on one PostgreSQL: one acts, the other takes over, nothing happens twice."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from rollbackd.daemon import DEPOSED
from rollbackd.store import JournalReader, SqlJournal
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.end_to_end.daemon_process import DaemonProcess
from tests.fakes.kube_api import FakeKubeApi, Fault, FaultAction, NeverReady, ReadyAfter
from tests.kubernetes.shop import cluster, deploy, image, manifest, settle, writes
from tests.process.begun_rollback import begun_rollback
from tests.servers.postgres import PostgresServer

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SOON = {"duration": "6s", "renew_by": "5s", "retry": "300ms"}
LEASES: dict[str, dict[str, Any]] = {
    "kubernetes lease": {"lease_namespace": "default", **SOON},
    "lease beside the journal": SOON,
}


@dataclass
class Pair:
    """Two replicas that are not started yet, a cluster with a rollback due, and the journal."""

    folder: Path
    api: FakeKubeApi
    journal: str
    leadership: dict[str, Any]
    stack: ExitStack

    def both(self) -> tuple[DaemonProcess, DaemonProcess]:
        """Start two replicas; return the one that leads, and the other, once both are ready."""
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(self.replica, ("one", "other"))
        one.wait_until(lambda: leads(one) or leads(other))
        return (one, other) if leads(one) else (other, one)

    def replica(self, name: str) -> DaemonProcess:
        """Return a replica, started and ready."""
        port = free_port()
        folder = self.folder / name
        folder.mkdir()
        (folder / "dsn").write_text(self.journal)
        (folder / "token").write_text("only-for-this-test")
        values = minimal() | {
            "tick": "1s",
            "journal": {"dsn_file": "dsn"},
            "leadership": self.leadership,
            "http": {"listen": f"127.0.0.1:{port}", "token_file": "token"},
            "source": {"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
            "rollouts": {"kubernetes": {"server": self.api.url}},
        }
        process = DaemonProcess(write(folder, values), port, folder / "log")
        return self.stack.enter_context(process)

    def steps(self) -> list[str]:
        with JournalReader.open(self.journal) as journal:
            return [e.kind for e in journal.entries() if e.kind.startswith("step")]

    def leaders(self) -> list[tuple[str, int]]:
        """Return who led, in order, with the number of the pen."""
        with JournalReader.open(self.journal) as journal:
            entries = journal.entries(kinds=frozenset({"daemon"}))
            return [(e.data["identity"], e.data["token"]) for e in entries]


@pytest.fixture(params=LEASES)
def pair(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> Iterator[Pair]:
    url = postgres.fresh()
    with cluster() as (api, connection), ExitStack() as stack:
        api.create(manifest())
        settle(api)
        deploy(api, "shop:2")
        settle(api)
        with SqlJournal.open(url) as journal:
            journal.take_pen()
            journal.append(*begun_rollback(api, connection))
        yield Pair(tmp_path, api, url, LEASES[request.param], stack)


def leads(replica: DaemonProcess) -> bool:
    return "rollbackd_leader 1.0" in replica.metrics()


@pytest.mark.parametrize(
    ("pair", "moment"),
    [("kubernetes lease", "before the write"), ("lease beside the journal", "after the write")],
    indirect=["pair"],
)
def test_a_leader_killed_between_started_and_done_is_succeeded_and_acts_once(
    pair: Pair, moment: str
) -> None:
    pair.api.set_readiness(NeverReady())  # the restored pods: the change takes no effect yet
    if moment == "before the write":
        slow = Fault(FaultAction.LATENCY, method="PATCH", path="deployments", seconds=12)
        pair.api.add_fault(slow)
    leader, follower = pair.both()
    leader.wait_until(pair.steps)
    if moment == "after the write":
        leader.wait_until(lambda: image(pair.api) == "shop:1")
    leader.kill()
    assert pair.steps() == ["step-started"]
    pair.api.clear_faults()
    pair.api.set_readiness(ReadyAfter(0.0))
    assert follower.wait_for_phase("verifying", "needs a human").phase == "verifying"
    assert leads(follower)
    assert image(pair.api) == "shop:1"
    assert pair.steps() == ["step-started", "step-done"]
    assert writes(pair.api) == 1
    assert [token for _, token in pair.leaders()] == [2, 3]
    for process in (leader, follower):
        assert "Traceback" not in process.log
        assert "s3cret" not in process.log  # the password


@pytest.mark.parametrize("pair", ["kubernetes lease"], indirect=True)
def test_a_leader_that_slept_wakes_up_as_nobody(pair: Pair) -> None:
    """It is stopped in the middle of its step; when it goes on, all is done by the other."""
    pair.api.set_readiness(NeverReady())
    leader, follower = pair.both()
    leader.wait_until(lambda: image(pair.api) == "shop:1")
    leader.send(signal.SIGSTOP)
    pair.api.set_readiness(ReadyAfter(0.0))
    follower.wait_for_phase("verifying", "needs a human")
    done, written = pair.steps(), writes(pair.api)
    assert done == ["step-started", "step-done"]
    leader.send(signal.SIGCONT)
    assert leader.ended() == DEPOSED
    assert (pair.steps(), writes(pair.api)) == (done, written)
    assert "lease lost, this process acts no more" in leader.log
    assert leads(follower)


@pytest.mark.parametrize("pair", ["lease beside the journal"], indirect=True)
def test_a_follower_shows_what_the_leader_does_and_follows_at_once(pair: Pair) -> None:
    pair.api.set_readiness(NeverReady())
    leader, follower = pair.both()
    leader.wait_for_phase("acting")
    assert 'rollbackd_ticks_total{outcome="ok"} 0.0' in follower.metrics()
    assert "rollbackd_leader 0.0" in follower.metrics()
    assert follower.get("/readyz").status_code == 200
    leader.wait_until(lambda: image(pair.api) == "shop:1")
    assert leader.terminate() == 0
    assert "lease released" in leader.log
    follower.wait_until(lambda: leads(follower))
    pair.api.set_readiness(ReadyAfter(0.0))
    view = follower.wait_for_phase("verifying", "needs a human")
    assert view.phase == "verifying"
    assert writes(pair.api) == 1
    assert "rollbackd_leadership_changes_total 1.0" in follower.metrics()
    late = pair.replica("late")
    assert [seen.phase for seen in late.views()] == ["verifying"]
    answer = requests.post(
        f"{late.url}/api/v1/decisions",
        json={"watch": view.id, "decision": "snooze", "plan": view.plan_key, "turn": 0, "by": "a"},
        headers={"Authorization": "Bearer only-for-this-test"},
        timeout=5,
    )
    assert answer.status_code == 503
    assert f"this replica follows; {pair.leaders()[-1][0]} leads" in answer.text


@pytest.mark.parametrize("pair", ["kubernetes lease"], indirect=True)
def test_an_outage_of_postgresql_stops_nobody_for_good(
    pair: Pair, postgres: PostgresServer
) -> None:
    pair.api.set_readiness(NeverReady())
    only = pair.replica("only")
    only.wait_until(lambda: image(pair.api) == "shop:1")
    postgres.stop()
    pair.api.set_readiness(ReadyAfter(0.0))
    only.wait_until(lambda: "not writable" in only.log or "delayed" in only.log)
    postgres.start()
    assert only.wait_for_phase("verifying", "needs a human").phase == "verifying"
    assert pair.steps() == ["step-started", "step-done"]
    assert leads(only)
