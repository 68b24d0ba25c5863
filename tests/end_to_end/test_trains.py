"""A release goes from one region to the next: two real daemons, two Prometheus, two clusters.

The daemon in eu conducts: it asks the one in us, and lets go of the workload that waits there.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from actions.marks import RELEASED_BY
from rollbackd.cli import main
from rollbackd.store.reader import JournalReader
from tests.end_to_end.cluster import BAD, BETTER, GOOD, SIGNALS, ShopCluster
from tests.end_to_end.daemon_process import DaemonProcess
from tests.fakes.kube_api import Fault, FaultAction
from tests.fakes.kube_api.request_log import LoggedRequest

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]

QUICK: dict[str, object] = {
    "signals": [SIGNALS[0] | {"weight": 1, "harm_rate": "25%"}],
    "min_observation": "6s",
    "history": "20s",
    "recovery": "30s",
}
"""Only plain harm is looked for, and so soon excluded."""


@dataclass
class World:
    """Both regions with what is in them, and their daemons."""

    eu: ShopCluster
    us: ShopCluster
    conductor: DaemonProcess
    other: DaemonProcess
    folder: Path

    def train(self) -> dict[str, Any]:
        """Return the train as the conductor shows it."""
        (found,) = self.conductor.get("/api/v1/trains").json()
        return dict(found)

    def wait_for(self, *phases: str, place: int = 0, seconds: float = 150) -> dict[str, Any]:
        """Return the train once it is at a place, in one of these phases."""

        def reached() -> dict[str, Any] | None:
            train = self.train()
            return train if train["phase"] in phases and train["place"] >= place else None

        try:
            return self.conductor.wait_until(reached, seconds=seconds)
        except TimeoutError as error:
            told = [item["text"] for item in self.train()["timeline"]]
            watches = [(v.id, v.phase, v.note) for d in self.daemons() for v in d.views()]
            raise AssertionError(f"not {phases}: {told}; {watches}") from error

    def daemons(self) -> tuple[DaemonProcess, DaemonProcess]:
        return self.conductor, self.other

    def states(self) -> list[str]:
        return [stop["state"] for stop in self.train()["stops"]]

    def journalled(self, kind: str) -> int:
        """Return how many entries of a kind concern the train, read beside the conductor."""
        with JournalReader.open(f"sqlite:///{self.folder / 'eu' / 'journal.db'}") as journal:
            entries = journal.entries(watch_id="train/shop", kinds=frozenset({kind}))
            return sum(1 for _ in entries)

    def let_go(self) -> list[LoggedRequest]:
        """Return the writes that let the workload in us go."""
        return [w for w in self.us.writes() if w.status == 200 and "paused" in json.dumps(w.body)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        shops = []
        for region in ("eu", "us"):
            (tmp_path / region).mkdir()
            shops.append(ShopCluster(tmp_path / region, customers=2))
        with ThreadPoolExecutor() as pool:  # each waits for four processes
            eu, us = pool.map(stack.enter_context, shops)
        there, port = us.write_config("enforce", **QUICK)
        other = DaemonProcess(there, port, tmp_path / "us.log")
        train = {
            "name": "shop",
            "mode": "enforce",
            "on_failure": "roll_back",
            "soak": "1s",
            "regions": [
                {"name": "eu", "workload": "default/shop"},
                {
                    "name": "us",
                    "workload": "default/shop",
                    "daemon": {"url": other.url, "bearer_token_file": "token"},
                    "unpause": {"workload": "default/shop", "server": us.api.url},
                },
            ],
        }
        eu.more = {"trains": [train]}
        here, port = eu.write_config("enforce", **QUICK)
        conductor = DaemonProcess(here, port, tmp_path / "eu.log")
        with ThreadPoolExecutor() as pool:
            list(pool.map(stack.enter_context, (conductor, other)))
        yield World(eu, us, conductor, other, tmp_path)


def release(world: World, us: str) -> None:
    """Deploy a release: at once in eu, and in us it waits."""
    world.us.release(us, commit="4f2a91c", paused=True)
    world.eu.release(BETTER, commit="4f2a91c")


def test_the_next_region_is_released_once_when_the_first_is_healthy_though_the_conductor_dies(
    world: World,
) -> None:
    slow = Fault(FaultAction.LATENCY, method="PATCH", path="deployments", seconds=8)
    world.us.api.add_fault(slow)
    release(world, BETTER)
    world.wait_for("judging")
    assert world.states() == ["being judged", "waiting"]
    assert world.let_go() == []
    world.conductor.wait_until(lambda: world.journalled("step-started"), seconds=150)
    world.conductor.kill()  # in the middle of letting go
    assert world.journalled("step-done") == 0
    world.us.api.clear_faults()
    world.conductor.start()
    world.wait_for("judging", "arrived", place=1)
    arrived = world.wait_for("arrived", "needs a human", "stopped")
    assert arrived["phase"] == "arrived", arrived
    assert world.states() == ["healthy", "healthy"]
    assert world.journalled("step-started") == world.journalled("step-done") == 1
    assert len(world.let_go()) <= 1  # one that died with its client may not be in the log
    there = world.us.api.get("apps/v1", "Deployment", "shop")
    assert "paused" not in there["spec"]
    assert there["metadata"]["annotations"][RELEASED_BY].startswith("rollbackd-")
    assert (world.eu.image(), world.us.image()) == (BETTER, BETTER)
    assert world.eu.writes() == []
    watch = arrived["stops"][1]
    assert watch["url"].startswith(f"{world.other.url}/watches/")
    assert requests.get(watch["url"], timeout=10).status_code == 200
    course = [item["text"].partition(":")[0] for item in arrived["timeline"]]
    assert course == ["judging", "soaking", "releasing", "judging", "arrived"]


def test_when_the_second_region_is_harmed_it_stops_and_the_first_goes_back(world: World) -> None:
    release(world, BAD)
    world.wait_for("judging", "rolling back", "rolled back", place=1)
    back = world.wait_for("rolled back", "needs a human", "stopped")
    assert back["phase"] == "rolled back", back
    assert world.states() == ["taken back", "failed"]
    assert "us: " in back["reasons"][0]
    assert world.eu.image() == GOOD
    assert len(world.eu.writes()) == 1
    world.other.wait_for_phase("rolled back", "needs a human")  # by its own daemon
    assert world.us.image() == GOOD
    config = str(world.folder / "eu" / "rollbackd.yaml")
    shown = CliRunner().invoke(main, ["train", "show", "--config", config]).stdout
    assert "shop: rolled back 4f2a91c" in shown
    assert "✗ us failed" in shown
    assert 'rollbackd_train_region{region="us",state="failed",train="shop"} 1.0' in (
        world.conductor.metrics()
    )
    assert "eu: taken back" in world.conductor.get("/").text
