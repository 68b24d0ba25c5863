"""A rollout from its first canary pod to its end, with everything real but the API server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollbackd.store.reader import JournalReader
from tests.end_to_end.cluster import BAD, BETTER, GOOD, ShopCluster
from tests.end_to_end.daemon_process import DaemonProcess
from tests.fakes.kube_api import Fault, FaultAction

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ShopCluster]:
    with ShopCluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def daemon(shop: ShopCluster, folder: Path, mode: str = "enforce", **policy: str) -> DaemonProcess:
    config, port = shop.write_config(mode, **policy)
    return DaemonProcess(config, port, folder / "daemon.log")


def replayed(shop: ShopCluster, watch_id: str) -> str:
    """Return what ``rollbackd replay`` prints of a watch."""
    config, _ = shop.write_config("enforce")
    command = [sys.executable, "-m", "rollbackd", "replay", watch_id, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def journalled(folder: Path, kind: str) -> int:
    """Return how many entries of a kind the journal holds, read beside the daemon."""
    with JournalReader.open(f"sqlite:///{folder / 'journal.db'}") as journal:
        return sum(1 for _ in journal.entries(kinds=frozenset({kind})))


def test_a_bad_canary_is_rolled_back_and_the_recovery_verified(
    shop: ShopCluster, folder: Path
) -> None:
    with daemon(shop, folder) as running:
        shop.release(BAD)
        view = running.wait_for_phase("rolled back", "needs a human")
        assert view.phase == "rolled back", view.timeline
        assert shop.image() == GOOD
        assert len(shop.writes()) == 1
        assert "errors" in view.reasons[0]
        course = [item.text.partition(":")[0] for item in view.timeline]
        assert course[-4:] == ["degraded", "acting", "verifying", "rolled back"]
        template = shop.api.get("apps/v1", "Deployment", "shop")["spec"]["template"]
        assert template["spec"]["containers"][0]["fieldOfTomorrow"] == {"keep": [1, "ü", None]}
        assert 'rollbackd_actions_total{outcome="done"} 1.0' in running.metrics()
        assert running.terminate() == 0
    assert "The same decision." in replayed(shop, view.id)


def test_a_good_canary_is_left_alone_and_ends_healthy(shop: ShopCluster, folder: Path) -> None:
    with daemon(shop, folder) as running:
        shop.release(BETTER)
        view = running.wait_for_phase("healthy", "degraded", "needs a human", seconds=150)
        assert view.phase == "healthy", view.timeline
    assert shop.writes() == []
    assert shop.image() == BETTER


def test_observe_mode_only_says_what_it_would_do(shop: ShopCluster, folder: Path) -> None:
    with daemon(shop, folder, "observe") as running:
        shop.release(BAD)
        view = running.wait_for_phase("reported", "needs a human")
        assert "would have acted, but the mode is observe" in view.timeline[-1].text
    assert shop.writes() == []


def test_in_approve_mode_a_person_decides_about_exactly_this_plan(
    shop: ShopCluster, folder: Path
) -> None:
    def approve(plan: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rollbackd", "approve", "shop", "--plan", plan]
        command += ["--by", "ann", "--config", str(folder / "rollbackd.yaml")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    with daemon(shop, folder, "approve") as running:
        shop.release(BAD)
        waiting = running.wait_for_phase("awaiting approval", "needs a human")
        assert "rollbackd approve" in waiting.outlook
        other = approve("another-plan")
        assert other.returncode == 1
        assert "not the one in force" in other.stderr
        assert shop.writes() == []
        agreed = approve(waiting.plan_key)
        assert agreed.returncode == 0, agreed.stderr
        view = running.wait_for_phase("rolled back", "needs a human")
        assert view.phase == "rolled back", view.timeline
        assert any("approved by ann" in t.text for t in view.timeline)
    assert shop.image() == GOOD


def test_an_outage_of_prometheus_never_acts_and_passes(shop: ShopCluster, folder: Path) -> None:
    with daemon(shop, folder, min_observation="40s") as running:
        shop.release(BETTER)
        running.wait_for_phase("observing")
        shop.prometheus.stop()
        blind = running.wait_for_phase("held")
        assert blind.verdict == "inconclusive"
        assert "source down" in blind.reasons[0]
        shop.prometheus.start()
        running.wait_for_phase("observing")
        assert running.wait_for_phase("healthy", "degraded", seconds=120).phase == "healthy"
    assert shop.writes() == []


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_killed_between_started_and_done_it_rolls_back_exactly_once(
    shop: ShopCluster, folder: Path, moment: str
) -> None:
    with daemon(shop, folder) as running:
        if moment == "before the write":
            slow = Fault(FaultAction.LATENCY, method="PATCH", path="deployments", seconds=3)
            shop.api.add_fault(slow)
        shop.release(BAD)
        running.wait_until(lambda: journalled(folder, "step-started"), seconds=90)
        if moment == "after the write":
            running.wait_until(lambda: shop.image() == GOOD)
        running.kill()
        assert journalled(folder, "step-done") == 0
        shop.api.clear_faults()
        running.start()
        view = running.wait_for_phase("rolled back", "needs a human")
        assert view.phase == "rolled back", view.timeline
    assert shop.image() == GOOD
    assert journalled(folder, "step-started") == 1
    assert journalled(folder, "step-done") == 1
    applied = [w for w in shop.writes() if w.status == 200]
    assert len(applied) <= 1
