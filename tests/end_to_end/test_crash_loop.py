"""A canary that never becomes ready, from the release to the end, with no metric at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rollbackd.config import load
from rollbackd.daemon import Daemon
from rollbackd.store.reader import JournalReader
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes import sets
from tests.kubernetes.shop import cluster, image, manifest, patch, settle

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


def configured(api: FakeKubeApi, folder: Path) -> Any:  # noqa: ANN401  a Config
    values = minimal()
    policy = values["policies"][0] | {
        "mode": "enforce",
        "actions": ["rollback"],
        "facts_after": "2s",
        "persistence": "1s",
        "warm_up": "0s",
    }
    parts = {
        "tick": "500ms",
        "settle": "0s",
        "journal": {"url": f"sqlite:///{folder / 'journal.db'}"},
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "source": {"prometheus": {"url": "http://127.0.0.1:1"}},
        "rollouts": {"kubernetes": {"server": api.url, "events": True}},
        "actions": [{"name": "rollback", "kubernetes-rollback": {"delete_stuck_pods": True}}],
        "policies": [policy],
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
