"""A shop on the fake cluster whose pods are real processes, scraped by a real Prometheus."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from actions.marks import COMMIT
from tests.fakes.kube_api import AskReadiness, ClusterSettings, FakeKubeApi, PodHooks
from tests.fakes.kube_api.request_log import LoggedRequest
from tests.servers.prometheus import PrometheusServer

CUSTOMERS_PER_POD = 4
PAUSE_S = 0.04
"""Between two requests of one customer; a service that answers in 0.12 s then gets 25 a second."""
LOAD_SECONDS = 240.0
"""Customers go home after this, whatever the test does."""
GOOD, BETTER, BAD = "shop:good", "shop:better", "shop:bad"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class PodProcess:
    """One pod's service process and its customers."""

    def __init__(self, image: str, customers: int = CUSTOMERS_PER_POD) -> None:
        self.port = free_port()
        options = ["--port", str(self.port), "--version", image]
        if image == BAD:
            options += ["--fault", "errors", "--armed"]
        service = [sys.executable, "-m", "rollbackd.demo.service", *options]
        self._process = subprocess.Popen(service)
        self._leaving = threading.Event()
        self._customers = [
            threading.Thread(target=self._visit, daemon=True) for _ in range(customers)
        ]

    def open(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=2)
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                for customer in self._customers:
                    customer.start()
                return
        raise TimeoutError("the pod's process does not answer")

    def _visit(self) -> None:
        end = time.monotonic() + LOAD_SECONDS
        with requests.Session() as session:
            while time.monotonic() < end and not self._leaving.wait(PAUSE_S):
                try:
                    session.get(f"http://127.0.0.1:{self.port}/", timeout=2)
                except requests.RequestException:
                    return

    def close(self) -> None:
        self._leaving.set()
        self._process.terminate()
        self._process.wait(timeout=10)
        for customer in self._customers:
            if customer.is_alive():
                customer.join()


class ShopCluster:
    """A Deployment of four pods on the fake API server; only the first new pod gets ready.

    So a rolling update halts half-way, as one does whose further pods start slowly: three pods of
    the old revision and one of the new share the traffic until somebody decides.
    """

    def __init__(self, folder: Path, customers: int = CUSTOMERS_PER_POD) -> None:
        self._folder = folder
        self._customers = customers
        self.more: dict[str, object] = {}
        """Further keys of the daemon's configuration."""
        self._targets = folder / "targets.json"
        self._pods: dict[str, PodProcess] = {}
        self._ready: dict[str, str] = {}
        self._lock = threading.Lock()
        hooks = PodHooks(created=self._open, deleted=self._close)
        self.api = FakeKubeApi(
            ClusterSettings(readiness=AskReadiness(self._is_ready), pod_hooks=hooks)
        )
        self._write_targets()
        self.prometheus = PrometheusServer(folder / "prometheus", targets_file=self._targets)

    def __enter__(self) -> Self:
        self.prometheus.start()
        self.api.__enter__()
        self.api.create(_manifest(GOOD))
        self.api.wait_until(lambda _: len(self._ready) == 4, seconds=60, what="four ready pods")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.api.__exit__(kind, error, trace)
        self.prometheus.stop()
        for pod in list(self._pods.values()):
            pod.close()

    def _is_ready(self, pod: dict[str, Any]) -> bool:
        """Let every pod of the first revision be ready, and one of each later one."""
        name, image = pod["metadata"]["name"], _image(pod)
        with self._lock:
            others = [n for n, other in self._ready.items() if n != name and other == image]
            if name not in self._pods or (image != GOOD and others):
                return False
            self._ready[name] = image
            return True

    def _open(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        process = PodProcess(_image(pod), self._customers)
        process.open()
        with self._lock:
            self._pods[name] = process
            self._write_targets()

    def _close(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        with self._lock:
            process = self._pods.pop(name, None)
            self._ready.pop(name, None)
            self._write_targets()
        if process is not None:
            process.close()

    def _write_targets(self) -> None:
        groups = [
            {
                "targets": [f"127.0.0.1:{process.port}"],
                "labels": {"namespace": "default", "pod": name},
            }
            for name, process in self._pods.items()
        ]
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps(groups), encoding="utf-8")
        fresh.rename(self._targets)

    def release(self, image: str, *, commit: str = "", paused: bool = False) -> None:
        """Change the image, as a new release does; a paused one waits until somebody lets it go."""
        container = {"name": "app", "image": image}
        spec: dict[str, Any] = {"template": {"spec": {"containers": [container]}}}
        change: dict[str, Any] = {"spec": spec | ({"paused": True} if paused else {})}
        if commit:
            change["metadata"] = {"annotations": {COMMIT: commit}}
        self.api.patch("apps/v1", "Deployment", "shop", change)

    def image(self) -> str:
        """Return the image that the Deployment asks for now."""
        found = self.api.get("apps/v1", "Deployment", "shop")
        image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def writes(self) -> list[LoggedRequest]:
        """Return the writes to the Deployment that came over HTTP, from the daemon that is."""
        return [r for r in self.api.requests() if r.method != "GET" and "deployments" in r.path]

    def write_config(self, mode: str = "enforce", **policy: object) -> tuple[Path, int]:
        """Write the daemon's configuration; return it and the port the daemon answers on."""
        port = free_port()
        token = self._folder / "token"
        token.write_text("only-for-this-test", encoding="utf-8")
        settings = {
            "name": "shop", "mode": mode, "warm_up": "2s", "min_observation": "15s",
            "horizon": "3m", "persistence": "4s", "history": "60s", "blind_after": "5s",
            "recovery": "60s", "actions": ["rollback"], "signals": SIGNALS, **policy,
        }  # fmt: skip
        config = {
            "tick": "1s",
            "settle": "2s",
            "journal": {"url": f"sqlite:///{self._folder / 'journal.db'}"},
            "http": {"listen": f"127.0.0.1:{port}", "token_file": str(token)},
            "source": {"prometheus": {"url": self.prometheus.url, "timeout": "3s"}},
            "rollouts": {"kubernetes": {"server": self.api.url, "namespaces": ["default"]}},
            "actions": [{"name": "rollback", "kubernetes-rollback": {}}],
            "policies": [settings],
            **self.more,
        }
        path = self._folder / "rollbackd.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        return path, port


SIGNALS = [
    {
        "name": "errors",
        "ratio": {
            "total": "http_requests_total",
            "bad": 'http_requests_total{code=~"5.."}',
        },
        "weight": 0.5,
        "harm": 5,
        "harm_rate": "5%",
    },
    {
        "name": "latency",
        "histogram": {"buckets": "http_request_duration_seconds_bucket", "unit": "s"},
        "weight": 0.5,
        "harm": 2,
        "tier": "supporting",  # a minute of one pod cannot clear a latency's tail
    },
]


def _image(pod: dict[str, Any]) -> str:
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def _manifest(image: str) -> dict[str, Any]:
    labels = {"app": "shop"}
    container = {"name": "app", "image": image, "fieldOfTomorrow": {"keep": [1, "ü", None]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "default", "labels": labels},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": labels},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
