"""A canary that never becomes ready, from the release to the end, with no metric at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rollbackd.config import load
from rollbackd.config.custom_resource import definition
from rollbackd.config.models.policy_resource import API_VERSION, KIND
from rollbackd.daemon import Daemon
from rollbackd.store.reader import JournalReader
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes import sets
from tests.kubernetes.shop import cluster, image, manifest, patch, settle
from tests.policies.shelf import policy

pytestmark = pytest.mark.slow

NEVER_READY = {"fake.rollbackd.dev/ready-after": "never"}
CRASHING = {
    "restartCount": 4,
    "ready": False,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
}


@pytest.fixture
def api() -> Iterator[FakeKubeApi]:
    with cluster() as (api, _):
        yield api


QUICK: dict[str, Any] = {
    "mode": "enforce",
    "actions": ["rollback"],
    "facts_after": "2s",
    "persistence": "1s",
    "warm_up": "0s",
}


def configured(api: FakeKubeApi, folder: Path, **kubernetes: Any) -> Any:  # noqa: ANN401  a Config
    values = minimal()
    own = values["policies"][0] | ({} if kubernetes else QUICK)
    parts = {
        "tick": "500ms",
        "settle": "0s",
        "journal": {"url": f"sqlite:///{folder / 'journal.db'}"},
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "source": {"prometheus": {"url": "http://127.0.0.1:1"}},
        "rollouts": {"kubernetes": {"server": api.url, "events": True, **kubernetes}},
        "actions": [{"name": "rollback", "kubernetes-rollback": {"delete_stuck_pods": True}}],
        "policies": [own],
    }
    return load(write(folder, values | parts))


def crash(api: FakeKubeApi, image: str) -> None:
    """Let the only pod of an image crash, as its kubelet would tell."""

    def only(api: FakeKubeApi) -> list[dict[str, Any]]:
        found = sets.pods(api, image)
        return [pod for pod in found if (pod.get("status") or {}).get("startTime")]

    (pod,) = api.wait_until(only, what=f"a pod of {image}")
    told = [{**pod["status"]["containerStatuses"][0], **CRASHING}]
    api.set_pod_status(pod["metadata"]["name"], is_ready=False, status={"containerStatuses": told})


def final_view(daemon: Daemon, api: FakeKubeApi) -> dict[str, Any]:
    """Return what the API shows of the only watch once it is over."""

    def over(_: FakeKubeApi) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{daemon.port}/api/v1/watches"
        shown = requests.get(url, timeout=5).json()
        views = shown["watches"] if isinstance(shown, dict) else shown
        return [view for view in views if view["final"]]

    (view,) = api.wait_until(over, seconds=60.0, what="the end of the watch")
    return view


def test_a_deployment_goes_back_and_everybody_is_told(api: FakeKubeApi, tmp_path: Path) -> None:
    api.create(manifest())
    settle(api)
    with Daemon(configured(api, tmp_path)) as daemon:
        container = {"name": "app", "image": "shop:2"}
        template = {"metadata": {"annotations": NEVER_READY}, "spec": {"containers": [container]}}
        patch(api, spec={"template": template})
        crash(api, "shop:2")
        view = final_view(daemon, api)
        assert view["phase"] == "rolled back"
        assert image(api) == "shop:1"
        assert view["reasons"][0].startswith("1 of 1 canary pods in CrashLoopBackOff (OOMKilled)")
        assert view["reasons"][0].endswith("; 0 of 3 baseline pods")
        assert "3 of 3 baseline pods are well" in view["timeline"][-1]["text"]

        def events(api: FakeKubeApi) -> list[str]:
            found = [event["reason"] for event in api.list_objects("v1", "Event")]
            return found if "RolloutRolledBack" in found else []

        assert {"RolloutDegraded", "RolloutActing"} <= set(api.wait_until(events, seconds=30.0))
    with JournalReader.open(f"sqlite:///{tmp_path / 'journal.db'}") as journal:
        kinds = [entry.kind for entry in journal.entries()]
        assert kinds.count("step-done") == 1
        assert "facts" in kinds


def test_a_policy_of_the_cluster_rolls_back_and_says_so(api: FakeKubeApi, tmp_path: Path) -> None:
    """The configuration's own policy only observes; the namespace's may do more."""
    api.create(definition())
    api.create(policy(namespace="default", **QUICK))
    api.create(manifest())
    settle(api)
    with Daemon(configured(api, tmp_path, policy_resources={"mode": "enforce"})) as daemon:
        container = {"name": "app", "image": "shop:2"}
        template = {"metadata": {"annotations": NEVER_READY}, "spec": {"containers": [container]}}
        patch(api, spec={"template": template})
        crash(api, "shop:2")
        view = final_view(daemon, api)
        assert (view["policy"], view["phase"]) == ("default/checkout", "rolled back")
        assert image(api) == "shop:1"

        def told(api: FakeKubeApi) -> dict[str, Any]:
            status = api.get(API_VERSION, KIND, "checkout").get("status", {})
            done = status.get("lastAction", {}).get("phase") == "rolled back"
            return status if done and not status["watching"] else {}

        status = api.wait_until(told, seconds=60.0, what="the status of the policy")
        assert status["lastAction"]["workload"] == "default/shop"
        conditions = {each["type"]: each["status"] for each in status["conditions"]}
        assert conditions == {"Ready": "True", "Limited": "False", "Degraded": "False"}


def test_a_stateful_set_that_waits_in_vain_is_set_free(api: FakeKubeApi, tmp_path: Path) -> None:
    sets.create(api, "StatefulSet")
    with Daemon(configured(api, tmp_path)) as daemon:
        second = sets.manifest("StatefulSet", "db:2")["spec"]["template"]
        second["metadata"]["annotations"] = NEVER_READY
        api.patch("apps/v1", "StatefulSet", "db", {"spec": {"template": second}})
        crash(api, "db:2")
        view = final_view(daemon, api)
        assert view["phase"] == "rolled back", view["timeline"]
        assert len(sets.pods(api, "db:1")) == 3
        assert "delete the pods" in view["plan"]
