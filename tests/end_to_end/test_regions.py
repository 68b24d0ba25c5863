"""Traffic leaves a sick region by DNS and comes back, with everything real."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from rollbackd.cli import main
from rollbackd.store.reader import JournalReader
from tests.dns.stub_nameserver import StubNameserver
from tests.end_to_end.daemon_process import DaemonProcess
from tests.end_to_end.two_regions import NAME, TwoRegions

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TwoRegions]:
    with TwoRegions(tmp_path) as made:
        yield made


class Regions(DaemonProcess):
    """A daemon whose regions are asked for."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        super().__init__(config, port, log)
        self.config, self.port = config, port

    def region(self, name: str) -> dict[str, Any]:
        seen = requests.get(f"http://127.0.0.1:{self.port}/api/v1/regions", timeout=5).json()
        return next(region for region in seen if region["name"] == name)

    def wait_for(self, name: str, *phases: str, seconds: float = 60) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            region = self.region(name)
            return region if region["phase"] in phases else None

        try:
            return self.wait_until(reached, seconds=seconds)
        except TimeoutError as error:
            raise AssertionError(f"{name} not in {phases}: {self.region(name)}") from error

    def wait_standing(self, standing: str, seconds: float = 60) -> None:
        def reached() -> bool:
            return all(self.region(name)["standing"] == standing for name in ("eu", "us"))

        try:
            self.wait_until(reached, seconds=seconds)
        except TimeoutError as error:
            seen = [self.region(name) for name in ("eu", "us")]
            raise AssertionError(f"not {standing}: {seen}; {self.log[-3000:]}") from error

    def dns(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["dns", *words, "--config", str(self.config)])


def daemon(world: TwoRegions, mode: str = "enforce", late_nameserver: str = "") -> Regions:
    config, port = world.write_config(mode, late_nameserver=late_nameserver)
    return Regions(config, port, world.folder / "daemon.log")


def journalled(world: TwoRegions, kind: str) -> int:
    with JournalReader.open(f"sqlite:///{world.folder / 'rollbackd.db'}") as journal:
        return sum(1 for _ in journal.entries(kinds=frozenset({kind})))


def test_a_sick_region_is_left_and_comes_back_when_it_is_well(world: TwoRegions) -> None:
    with daemon(world) as running:
        running.wait_standing("healthy")
        assert world.leads_to() == {"eu", "us"}
        world.service.sick.add("eu")
        region = running.wait_for("eu", "failed over", "needs a human")
        assert region["phase"] == "failed over", region
        assert world.leads_to() == {"us"}
        assert world.knot.ask(NAME, "A") == world.bind.ask(NAME, "A")
        assert region["drained_at"] >= region["moved_at"]
        gone = world.service.customers("eu")
        here = world.service.customers("us")
        running.wait_until(lambda: world.service.customers("us") > here + 40)
        assert world.service.customers("eu") <= gone + 20  # what was on its way
        world.service.sick.clear()
        region = running.wait_for("eu", "normal", "needs a human", seconds=90)
        assert region["phase"] == "normal", region
        assert world.leads_to() == {"eu", "us"}
        assert journalled(world, "step-done") == 2
        assert "secret of thirty-two" not in running.log
        assert running.terminate() == 0


def test_approved_killed_in_the_middle_finished_and_put_back_by_hand(world: TwoRegions) -> None:
    old = tuple(sorted(world.bind.ask(NAME, "A")))
    with StubNameserver(lambda _name, _type: old) as behind:
        late = f"{behind.server.address}:{behind.server.port}"
        running = daemon(world, "approve", late_nameserver=late)
        with running:
            running.wait_standing("healthy")
            world.service.sick.add("eu")
            waiting = running.wait_for("eu", "awaiting approval", "needs a human")
            assert waiting["phase"] == "awaiting approval", waiting
            assert world.leads_to() == {"eu", "us"}
            refused = order(running, region="eu", wish="approve", plan="another", by="ann")
            assert refused.status_code == 409
            assert world.leads_to() == {"eu", "us"}
            agreed = order(
                running, region="eu", wish="approve", plan=waiting["plan_key"], by="ann"
            )
            assert agreed.status_code == 200, agreed.text
            running.wait_until(lambda: world.leads_to() == {"us"})
            running.kill()  # written, and not told by every server: the step is not done
            assert journalled(world, "step-done") == 0
            behind.answers = lambda name, type_: tuple(world.bind.ask(name, type_))
            running.start()
            region = running.wait_for("eu", "failed over", "needs a human")
            assert region["phase"] == "failed over", region
            assert journalled(world, "step-started") == 1
            assert journalled(world, "step-done") == 1
            running.kill()
        shown = running.dns("show")
        assert f"{NAME} A → 127.0.0.4, 127.0.0.5" in shown.stdout
        assert "nothing listens there" in shown.stderr
        restored = running.dns("restore", "eu", "--yes")
        assert restored.exit_code == 0, restored.output
        assert world.leads_to() == {"eu", "us"}
        assert "is as it was" in running.dns("restore", "eu", "--yes").stdout


def order(running: Regions, **body: str) -> requests.Response:
    url = f"http://127.0.0.1:{running.port}/api/v1/regions"
    headers = {"Authorization": "Bearer secret-token"}
    return requests.post(url, json=body, headers=headers, timeout=10)
