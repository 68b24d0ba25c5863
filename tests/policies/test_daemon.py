"""The daemon with policies of the cluster: from ``kubectl apply`` to the status, and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rollbackd.config.custom_resource import definition
from rollbackd.config.models.policy_resource import API_VERSION, KIND
from rollbackd.daemon import Daemon
from tests.end_to_end.cluster import free_port
from tests.fakes.kube_api import Access, FakeKubeApi
from tests.kubernetes.shop import manifest
from tests.policies.shelf import configuration, policy

PATIENCE_S = 120.0


@pytest.fixture
def api() -> Iterator[FakeKubeApi]:
    with FakeKubeApi() as made:
        made.create(definition())
        made.create(manifest("shop:1"))
        made.wait_until(
            lambda a: a.get("apps/v1", "Deployment", "shop")["status"].get("readyReplicas") == 3,
            seconds=PATIENCE_S,
        )
        yield made


def daemon(folder: Path, api: FakeKubeApi) -> Daemon:
    kubernetes = {"server": api.url, "policy_resources": {"mode": "approve"}}
    config = configuration(
        folder,
        tick="1s",
        http={"listen": f"127.0.0.1:{free_port()}"},
        source={"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
        rollouts={"kubernetes": kubernetes},
    )
    return Daemon(config)


def status(api: FakeKubeApi) -> dict[str, Any]:
    found: dict[str, Any] = api.get(API_VERSION, KIND, "checkout").get("status", {})
    return found


def release(api: FakeKubeApi, image: str) -> None:
    containers = manifest(image)["spec"]["template"]["spec"]["containers"]
    change = {"spec": {"template": {"spec": {"containers": containers}}}}
    api.patch("apps/v1", "Deployment", "shop", change)


def watches(running: Daemon) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{running.port}/api/v1/watches"
    found: list[dict[str, Any]] = requests.get(url, timeout=10).json()
    return found


def test_a_policy_governs_a_rollout_and_tells_of_it(tmp_path: Path, api: FakeKubeApi) -> None:
    api.create(policy(namespace="default", mode="enforce", actions=["rollback"]))
    with daemon(tmp_path, api) as running:
        api.wait_until(lambda a: status(a).get("observedGeneration") == 1, seconds=PATIENCE_S)
        release(api, "shop:2")
        api.wait_until(lambda a: status(a).get("watching") == 1, seconds=PATIENCE_S)
        told = status(api)
        (one,) = told["watches"]
        assert one["workload"] == "default/shop"
        assert told["mode"] == "approve", "the configuration allows no more"
        conditions = {c["type"]: c["status"] for c in told["conditions"]}
        assert conditions == {"Ready": "True", "Limited": "True", "Degraded": "False"}
        (watch,) = watches(running)
        assert (watch["policy"], watch["mode"]) == ("default/checkout", "approve")
        page = requests.get(f"http://127.0.0.1:{running.port}/policies", timeout=10).text
        assert "default/checkout" in page

        wrong = {"signals": [{"name": "errors", "ratio": {"total": "rate(x[1m])", "bad": "y"}}]}
        api.patch(API_VERSION, KIND, "checkout", {"spec": wrong})
        api.wait_until(lambda a: status(a)["observedGeneration"] == 2, seconds=PATIENCE_S)
        assert status(api)["conditions"][0]["reason"] == "InvalidVersion"
        assert status(api)["watching"] == 1, "the watch goes on as it began"
        assert not watches(running)[0]["final"]
        metrics = requests.get(f"http://127.0.0.1:{running.port}/metrics", timeout=10).text
        assert 'rollbackd_policy_resources{state="invalid"} 1.0' in metrics

        api.delete(API_VERSION, KIND, "checkout")
        api.wait_until(lambda _: watches(running)[0]["final"], seconds=PATIENCE_S)
        assert watches(running)[0]["note"] == "its policy default/checkout was deleted"


def test_a_status_that_cannot_be_written_delays_nothing(tmp_path: Path, api: FakeKubeApi) -> None:
    api.set_access(Access(denied=frozenset({"patch rollbackpolicies/status"})))
    api.create(policy(namespace="default"))
    with daemon(tmp_path, api) as running:
        release(api, "shop:2")
        api.wait_until(lambda _: watches(running), seconds=PATIENCE_S)
        api.wait_until(
            lambda a: any(r.path.endswith("/status") and r.status == 403 for r in a.requests()),
            seconds=PATIENCE_S,
        )
        ready = requests.get(f"http://127.0.0.1:{running.port}/readyz", timeout=10)
        assert ready.status_code == 200
        assert status(api) == {}


def test_a_restart_keeps_the_watch_of_a_policy(tmp_path: Path, api: FakeKubeApi) -> None:
    api.create(policy(namespace="default"))
    with daemon(tmp_path, api) as running:
        release(api, "shop:2")
        api.wait_until(lambda _: watches(running), seconds=PATIENCE_S)
        api.wait_until(lambda a: status(a).get("watching") == 1, seconds=PATIENCE_S)
        (before,) = watches(running)
    with daemon(tmp_path, api) as running:
        api.wait_until(lambda _: watches(running), seconds=PATIENCE_S)
        (after,) = watches(running)
        assert (after["id"], after["started_at"]) == (before["id"], before["started_at"])
        assert not after["final"]
