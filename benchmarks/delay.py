"""From "sample visible in the source" to "PATCH acknowledged", in the daemon as it runs.

``python -m benchmarks.delay [--repetitions 10]``

The daemon runs in this process with ticks of one second, its scheduler, journal and HTTP server
included. It asks a source in memory and rolls back Deployments of the Kubernetes API fake, over
HTTP. A release is bad from its first request on. What is timed is not how long the evidence takes to
grow, which is a matter of traffic, but everything after it: from the moment at which the sample that
tips the verdict can first be read until the API server has taken the rollback. Most of that is the
wait for the next tick, so the daemon is started anew for each repetition, at another part of a
second. ``settle`` is 0 here; in real life it comes on top (5 s by default).
"""

import argparse
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import structlog
from rich.console import Console

from actions.plan import Draft, Step
from actions.ports import Actuator, StepState
from analyzer.rollout import Rollout
from analyzer.sample import Grid, Query, Reply, Series
from rollbackd.config import load
from rollbackd.config.settings import Config
from rollbackd.daemon import Daemon
from rollbackd.wiring import KnownGood, Parts, Permit, assemble
from tests.fakes.kube_api import AskReadiness, ClusterSettings, FakeKubeApi, PodHooks
from tests.kubernetes.shop import deploy, manifest

TICK_S = 1.0
RATE = 200.0
"""Requests per second of one pod."""
SHARES = {"shop:good": 0.004, "shop:bad": 0.2}
PAST_S = 600.0
"""How long good pods had been running when they were first seen."""
PATIENCE_S = 60.0


class PodSource:
    """A metric source over the fake's pods, whose counters follow the clock."""

    def __init__(self) -> None:
        self._share: dict[str, tuple[float, float]] = {}
        self.newest = 0.0
        """Newest grid time that was answered: its samples could be read from then on."""
        self.asked_at = 0.0
        """When that was asked for."""

    def created(self, pod: dict[str, Any]) -> None:
        """Take note of a pod that starts."""
        image, now = _image(pod), time.time()
        since = now if image == "shop:bad" else now - PAST_S
        self._share[pod["metadata"]["name"]] = (since, SHARES[image])

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Answer for every pod there was."""
        pods = dict(self._share)
        if grid.end > self.newest:
            self.newest, self.asked_at = grid.end, time.time()
        return [self._answer(query, grid, pods) for query in queries]

    @staticmethod
    def _answer(query: Query, grid: Grid, pods: dict[str, tuple[float, float]]) -> Series:
        since = np.array([began for began, _ in pods.values()])[:, None]
        share = np.array([share for _, share in pods.values()])[:, None]
        age = grid.times - since
        events = np.where(age >= 0, np.floor(RATE * age), np.nan)
        if query.selector.metric == "bad_total":
            events = np.floor(events * share)
        return Series(
            query.by, tuple((name,) for name in pods), events.reshape(-1, grid.count), grid
        )

    def close(self) -> None:
        """Hold nothing."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds from the visible sample, and from the tick's question, to the acknowledged write."""

    total: float
    work: float


@dataclass
class TimedActuator:
    """An actuator that notes when its write was acknowledged, and since when that was due."""

    actuator: Actuator
    source: PodSource
    due: tuple[float, float] = (0.0, 0.0)
    delay: Delay = Delay(0.0, 0.0)
    acknowledged: threading.Event = field(default_factory=threading.Event)

    def propose(self, rollout: Rollout) -> Draft:
        """Propose; the newest samples are those that tipped the verdict."""
        self.due = (self.source.newest, self.source.asked_at)
        return self.actuator.propose(rollout)

    def inspect(self, step: Step) -> StepState:
        """Look."""
        return self.actuator.inspect(step)

    def perform(self, step: Step) -> None:
        """Write, and take the time."""
        self.actuator.perform(step)
        now, (visible, asked) = time.time(), self.due
        self.delay = Delay(now - visible, now - asked)
        self.acknowledged.set()


class OneReady:
    """Lets every good pod be ready and the first bad one of a Deployment, so that it halts there."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def __call__(self, pod: dict[str, Any]) -> bool:
        """Say whether a pod is ready."""
        if _image(pod) == "shop:good":
            return True
        name: str = pod["metadata"]["name"]
        return self._first.setdefault(pod["metadata"]["labels"]["app"], name) == name


def _image(pod: dict[str, Any]) -> str:
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def write_config(folder: Path, server: str) -> Path:
    """Write the daemon's configuration; its source is replaced by ours."""
    (folder / "nothing.om").write_text("# EOF\n", encoding="utf-8")
    ratio = {"total": "all_total", "bad": "bad_total"}
    config = {
        "tick": f"{TICK_S:g}s",
        "settle": "0s",
        "journal": {"url": f"sqlite:///{folder / 'journal.db'}"},
        "http": {"listen": f"127.0.0.1:{_free_port()}"},
        "source": {"recorded": {"files": ["nothing.om"]}},
        "rollouts": {"kubernetes": {"server": server, "id_labels": ["pod"]}},
        "actions": [{"name": "rollback", "kubernetes-rollback": {}}],
        "policies": [
            {
                "name": "bench", "mode": "enforce", "warm_up": "1s", "min_observation": "30s",
                "horizon": "5m", "persistence": "3s", "history": "2m", "actions": ["rollback"],
                "signals": [{"name": "errors", "ratio": ratio}],
            }
        ],
    }  # fmt: skip
    path = folder / "rollbackd.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


@contextmanager
def cluster() -> Iterator[tuple[FakeKubeApi, PodSource]]:
    """Run the cluster."""
    source = PodSource()
    settings = ClusterSettings(
        readiness=AskReadiness(OneReady()), pod_hooks=PodHooks(created=source.created)
    )
    with FakeKubeApi(settings) as api:
        yield api, source


@contextmanager
def daemon(config: Config, source: PodSource) -> Iterator[TimedActuator]:
    """Run the daemon with our source."""
    made: list[TimedActuator] = []

    def build(config: Config, known_good: KnownGood, permit: Permit) -> Parts:
        parts = assemble(config, known_good, permit)
        made.append(TimedActuator(parts.actuators["rollback"], source))
        return replace(parts, source=source, actuators={"rollback": made[0]})

    with Daemon(config, build):
        yield made[0]


def available(api: FakeKubeApi, name: str) -> bool:
    """Tell whether all pods of a Deployment are available."""
    status = api.get("apps/v1", "Deployment", name).get("status", {})
    return bool(status.get("availableReplicas") == 3)


def repeat(api: FakeKubeApi, config: Config, source: PodSource, number: int) -> Delay:
    """Release one bad version, and return how long its rollback took."""
    name = f"shop-{number}"
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}, "type": "RollingUpdate"}
    api.create(manifest("shop:good", name, strategy=strategy))
    api.wait_until(lambda cluster: available(cluster, name))
    with daemon(config, source) as actuator:
        deploy(api, "shop:bad", name)
        if not actuator.acknowledged.wait(PATIENCE_S):
            raise TimeoutError(f"{name} was not rolled back within {PATIENCE_S:.0f} s")
        return actuator.delay


def spread(name: str, values: Sequence[float]) -> str:
    """Return the least, the middle and the most of some seconds."""
    middle = float(np.median(values))
    return f"{name}: min {min(values):.2f} s, median {middle:.2f} s, max {max(values):.2f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="From a visible sample to the rollback.")
    parser.add_argument("--repetitions", type=int, default=10)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with TemporaryDirectory(prefix="rollbackd-bench-") as folder, cluster() as (api, source):
        config = load(write_config(Path(folder), api.url))
        delays = [repeat(api, config, source, i) for i in range(options.repetitions)]
    console = Console(width=90)
    console.print(f"ticks of {TICK_S:g} s, {len(delays)} repetitions")
    console.print(spread("visible sample to acknowledged PATCH", [d.total for d in delays]))
    console.print(spread("of it after the tick had asked", [d.work for d in delays]))


if __name__ == "__main__":
    main()
