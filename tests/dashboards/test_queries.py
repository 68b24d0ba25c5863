"""Every query of the dashboards on a real Prometheus that scrapes the real daemon."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import yaml

from tests.config.files import write
from tests.dashboards.test_dashboards import COMMITTED, queries, read
from tests.end_to_end.cluster import BETTER, GOOD, SIGNALS, PodProcess, free_port
from tests.end_to_end.daemon_process import DaemonProcess
from tests.servers.prometheus import PrometheusServer

pytestmark = pytest.mark.servers

SILENT = "> 0"
"""Ends an annotation's query, which returns nothing while there is nothing to annotate."""


NOWHERE = "127.0.0.1:1"
"""Nobody answers there: regions are blind and trains wait, which is seen as well."""
TRAIN = {
    "name": "shop",
    "regions": [
        {"name": "eu", "workload": "here/shop"},
        {"name": "us", "workload": "here/shop", "daemon": {"url": f"http://{NOWHERE}"}},
    ],
}
REGIONS = {
    "signals": [SIGNALS[0]],
    "dns": [
        {
            "name": "bind",
            "nameservers": [NOWHERE],
            "rfc2136": {
                "zone": "shop.test",
                "server": NOWHERE,
                "key_name": "key",
                "secret_file": "key",
            },
        }
    ],
    "records": [
        {
            "name": "www.shop.test",
            "dns": "bind",
            "regions": {"eu": ["192.0.2.1"], "us": ["192.0.2.2"]},
        }
    ],
    "members": [
        {"name": name, "prometheus": {"url": f"http://{NOWHERE}"}, "assume_capacity": True}
        for name in ("eu", "us")
    ],
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """Run a daemon that compares two real services, and a Prometheus that has scraped it."""
    folder, port = tmp_path_factory.mktemp("scraped"), free_port()
    pods = [PodProcess(GOOD), PodProcess(BETTER)]
    serving = [f"127.0.0.1:{pod.port}" for pod in pods]
    rollout = {
        "name": "shop",
        "baseline": {"label": "v1", "instances": serving[:1]},
        "canary": {"label": "v2", "instances": serving[1:]},
    }
    # nothing can be decided so soon: it ends, and tells how long that took
    hasty = rollout | {"name": "hasty", "policy": "hasty"}
    (folder / "key").write_text("c2VjcmV0IG9mIHRoaXJ0eS10d28gY2hhcmFjdGVycw==")
    limits = {"min_observation": "0s", "horizon": "3s", "warm_up": "0s"}
    config = {
        "tick": "500ms",
        "settle": "0s",
        "journal": {"url": f"sqlite:///{folder / 'journal.db'}"},
        "http": {"listen": f"127.0.0.1:{port}"},
        "source": {"scrape": {"interval": "500ms", "targets": [{"address": a} for a in serving]}},
        "rollouts": {"static": [rollout, hasty]},
        "policies": [
            {"name": "shop", "warm_up": "0s", "signals": SIGNALS},
            {"name": "hasty", "match": {"names": ["hasty"]}, "signals": SIGNALS, **limits},
        ],
        "regions": REGIONS,
        "trains": [TRAIN],
    }
    with (
        ExitStack() as stack,
        DaemonProcess(write(folder, config), port, folder / "daemon.log"),
        PrometheusServer(folder / "prometheus", targets=[f"127.0.0.1:{port}"]) as server,
    ):
        for pod in pods:
            stack.callback(pod.close)
            pod.open()
        server.await_value("count(rollbackd_signal_low) > bool 0", 1)
        server.await_value("count(rollbackd_signal_high) > bool 0", 1)
        server.await_value("sum(rollbackd_time_to_decision_seconds_count) > bool 0", 1)
        server.await_value("count_over_time(rollbackd_watch_faults_total[1m]) >= bool 4", 1)
        yield server


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_panel_has_data(path: Path, prometheus: PrometheusServer) -> None:
    empty = []
    for promql in queries(read(path)):
        url = f"{prometheus.url}/api/v1/query"
        reply = requests.get(url, params={"query": promql}, timeout=30).json()
        assert reply["status"] == "success", json.dumps(reply)
        if not reply["data"]["result"] and not promql.endswith(SILENT):
            empty.append(promql)
    assert not empty


def test_every_recording_rule_has_data(prometheus: PrometheusServer) -> None:
    file = Path(__file__).parents[2] / "dashboards" / "rules" / "rollbackd.yaml"
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                prometheus.await_value(f"count({rule['expr']}) > bool 0", 1)
