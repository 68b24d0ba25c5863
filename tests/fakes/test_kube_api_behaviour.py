"""What the fake cluster does by itself: Deployments roll, pods live, tests steer."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.kube_api import (
    AskReadiness,
    ClusterSettings,
    FakeKubeApi,
    NeverReady,
    PodHooks,
    ReadyAfter,
)
from tests.fakes.kube_api.manifests import deployment, image_patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
REVISION = "deployment.kubernetes.io/revision"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
SECONDS = 10  # before an HTTP request of these tests gives up

Json = dict[str, Any]
Answer = requests.Response


@pytest.fixture
def api() -> Iterator[FakeKubeApi]:
    with FakeKubeApi() as fake:
        yield fake


def shop(api: FakeKubeApi) -> Json:
    return api.get("apps/v1", "Deployment", "shop")


def replica_sets(api: FakeKubeApi) -> dict[str, Json]:
    """Return the ReplicaSets by the image they run."""
    found = api.list_objects("apps/v1", "ReplicaSet")
    return {one["spec"]["template"]["spec"]["containers"][0]["image"]: one for one in found}


def pods(api: FakeKubeApi) -> list[Json]:
    return api.list_objects("v1", "Pod")


def condition(obj: Json, condition_type: str) -> Json:
    return next(c for c in obj["status"]["conditions"] if c["type"] == condition_type)


def set_image(api: FakeKubeApi, image: str) -> None:
    api.patch("apps/v1", "Deployment", "shop", image_patch(image))


def is_settled(api: FakeKubeApi) -> bool:
    status, spec = shop(api)["status"], shop(api)["spec"]
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    is_observed = status.get("observedGeneration") == shop(api)["metadata"]["generation"]
    return is_observed and all(status.get(count, 0) == spec["replicas"] for count in counts)


def has_pods(count: int) -> Callable[[FakeKubeApi], bool]:
    return lambda api: len(pods(api)) == count


def settle(api: FakeKubeApi) -> None:
    api.wait_until(is_settled, what="the rollout is complete")


def send_patch(api: FakeKubeApi, path: str, body: object, media_type: str, **query: str) -> Answer:
    return requests.patch(
        api.url + path,
        data=json.dumps(body),
        headers={"Content-Type": media_type},
        params=query,
        timeout=SECONDS,
    )


class TestDeployment:
    def test_a_new_deployment_gets_labelled_replica_set_and_pods(self, api: FakeKubeApi) -> None:
        api.create(deployment())
        settle(api)
        (replica_set,) = replica_sets(api).values()
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert replica_set["metadata"]["name"] == f"shop-{digest}"
        assert replica_set["spec"]["selector"]["matchLabels"]["pod-template-hash"] == digest
        assert replica_set["metadata"]["ownerReferences"][0]["uid"] == shop(api)["metadata"]["uid"]
        assert replica_set["metadata"]["annotations"][REVISION] == "1"
        for pod in pods(api):
            assert pod["metadata"]["labels"] == {"app": "shop", "pod-template-hash": digest}
            assert pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]
            assert pod["status"]["phase"] == "Running"
            assert condition(pod, "Ready")["status"] == "True"
        assert condition(shop(api), "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert condition(shop(api), "Available")["status"] == "True"
        assert "unavailableReplicas" not in shop(api)["status"]

    def test_a_rollout_keeps_within_surge_and_unavailable(self, api: FakeKubeApi) -> None:
        api.set_readiness(ReadyAfter(0.05))
        bounds = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        api.create(deployment(replicas=4, strategy=bounds))
        settle(api)
        set_image(api, "shop:2")

        def stays_within(fake: FakeKubeApi) -> bool:
            active = [p for p in pods(fake) if "deletionTimestamp" not in p["metadata"]]
            ready = [p for p in active if _is_ready(p)]
            assert len(active) <= 5
            assert len(ready) >= 3
            return is_settled(fake)

        api.wait_until(stays_within)
        sizes = {image: one["spec"]["replicas"] for image, one in replica_sets(api).items()}
        assert sizes == {"shop:1": 0, "shop:2": 4}

    def test_putting_the_template_back_reuses_the_replica_set(self, api: FakeKubeApi) -> None:
        api.create(deployment())
        settle(api)
        first = replica_sets(api)["shop:1"]
        set_image(api, "shop:2")
        settle(api)
        template = copy.deepcopy(first["spec"]["template"])
        del template["metadata"]["labels"]["pod-template-hash"]
        undo = [{"op": "replace", "path": "/spec/template", "value": template}]
        assert send_patch(api, f"{DEPLOYMENTS}/shop", undo, JSON_PATCH).status_code == 200
        settle(api)
        again = replica_sets(api)["shop:1"]
        assert again["metadata"]["uid"] == first["metadata"]["uid"]
        assert again["metadata"]["annotations"][REVISION] == "3"
        assert again["metadata"]["annotations"][f"{REVISION}-history"] == "1"
        assert shop(api)["metadata"]["annotations"][REVISION] == "3"
        assert len(replica_sets(api)) == 2

    def test_a_paused_deployment_makes_no_revision(self, api: FakeKubeApi) -> None:
        api.create(deployment())
        settle(api)
        api.patch("apps/v1", "Deployment", "shop", {"spec": {"paused": True}})
        set_image(api, "shop:2")
        api.wait_until(
            lambda fake: condition(shop(fake), "Progressing")["reason"] == "DeploymentPaused"
        )
        assert set(replica_sets(api)) == {"shop:1"}
        api.patch("apps/v1", "Deployment", "shop", {"spec": {"paused": None}})
        settle(api)
        assert set(replica_sets(api)) == {"shop:1", "shop:2"}

    def test_a_rollout_that_stands_still_exceeds_its_deadline(self, api: FakeKubeApi) -> None:
        api.create(deployment())
        settle(api)
        api.set_readiness(NeverReady())
        set_image(api, "shop:2")
        api.wait_until(lambda fake: shop(fake)["status"].get("updatedReplicas") == 1)
        api.wait_until(lambda fake: all(p["status"]["phase"] == "Running" for p in pods(fake)))
        api.skip_time(601)
        api.wait_until(
            lambda fake: (
                condition(shop(fake), "Progressing")["reason"] == "ProgressDeadlineExceeded"
            )
        )
        assert condition(shop(api), "Progressing")["status"] == "False"
        assert condition(shop(api), "Available")["status"] == "True"

    def test_old_revisions_beyond_the_history_limit_go(self, api: FakeKubeApi) -> None:
        api.create(deployment(revisionHistoryLimit=1))
        for number in (2, 3):
            settle(api)
            set_image(api, f"shop:{number}")
        settle(api)
        api.wait_until(lambda fake: set(replica_sets(fake)) == {"shop:2", "shop:3"})

    def test_recreate_never_runs_two_revisions(self, api: FakeKubeApi) -> None:
        api.create(deployment(strategy={"type": "Recreate"}))
        settle(api)
        set_image(api, "shop:2")

        def runs_one(fake: FakeKubeApi) -> bool:
            running = {pod["spec"]["containers"][0]["image"] for pod in pods(fake)}
            assert len(running) <= 1
            return running == {"shop:2"} and is_settled(fake)

        api.wait_until(runs_one)

    def test_scaling_up_and_down(self, api: FakeKubeApi) -> None:
        api.create(deployment())
        for replicas in (5, 1):
            settle(api)
            scale = {"spec": {"replicas": replicas}}
            answer = send_patch(api, f"{DEPLOYMENTS}/shop/scale", scale, MERGE_PATCH)
            assert answer.json()["spec"] == scale["spec"]
            settle(api)
            api.wait_until(has_pods(replicas))

    def test_revision_annotation_makes_no_generation_but_a_clients_does(
        self, api: FakeKubeApi
    ) -> None:
        api.create(deployment())
        settle(api)
        assert shop(api)["metadata"]["generation"] == 1
        note = {"metadata": {"annotations": {"note": "x"}}}
        assert api.patch("apps/v1", "Deployment", "shop", note)["metadata"]["generation"] == 2

    def test_deleting_takes_what_it_owns_unless_orphaned(self, api: FakeKubeApi) -> None:
        api.create(deployment())
        settle(api)
        requests.delete(
            f"{api.url}{DEPLOYMENTS}/shop", json={"propagationPolicy": "Orphan"}, timeout=SECONDS
        )
        time.sleep(0.1)
        (replica_set,) = replica_sets(api).values()
        assert not replica_set["metadata"].get("ownerReferences")
        api.delete("apps/v1", "ReplicaSet", replica_set["metadata"]["name"])
        api.wait_until(lambda fake: not pods(fake))

    def test_a_name_taken_by_another_replica_set_gives_another_hash(
        self, api: FakeKubeApi
    ) -> None:
        api.create(deployment())
        settle(api)
        requests.delete(
            f"{api.url}{DEPLOYMENTS}/shop", json={"propagationPolicy": "Orphan"}, timeout=SECONDS
        )
        api.create(deployment())
        settle(api)
        assert shop(api)["status"]["collisionCount"] == 1
        assert len(api.list_objects("apps/v1", "ReplicaSet")) == 2

    def test_deleting_a_namespace_empties_it(self, api: FakeKubeApi) -> None:
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shops"}})
        manifest = deployment()
        manifest["metadata"]["namespace"] = "shops"
        api.create(manifest)
        api.wait_until(pods)
        api.delete("v1", "Namespace", "shops", namespace="")
        api.wait_until(
            lambda fake: (
                "shops" not in str(fake.list_objects("v1", "Namespace")) and not pods(fake)
            )
        )


def _is_ready(pod: Json) -> bool:
    found = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found)


class TestPods:
    def test_hooks_follow_every_pod_and_the_last_ones_end_with_the_server(self) -> None:
        running: set[str] = set()
        hooks = PodHooks(
            created=lambda pod: running.add(pod["metadata"]["name"]),
            deleted=lambda pod: running.remove(pod["metadata"]["name"]),
        )
        with FakeKubeApi(ClusterSettings(pod_hooks=hooks)) as api:
            api.create(deployment())
            settle(api)
            assert running == {pod["metadata"]["name"] for pod in pods(api)}
            doomed = pods(api)[0]["metadata"]["name"]
            api.delete("v1", "Pod", doomed)
            leaving = api.get("v1", "Pod", doomed)
            assert leaving["metadata"]["deletionTimestamp"]
            api.wait_until(lambda fake: doomed not in str(pods(fake)) and len(running) == 2)
            assert doomed not in running
        assert running == set()

    def test_a_hook_that_fails_leaves_the_pod_waiting(self) -> None:
        def fail(_pod: Json) -> None:
            raise OSError("no such program")

        with FakeKubeApi(ClusterSettings(pod_hooks=PodHooks(created=fail))) as api:
            api.create(deployment(replicas=1))

            def waits(fake: FakeKubeApi) -> bool:
                states = str([pod["status"].get("containerStatuses") for pod in pods(fake)])
                return "RunContainerError" in states and "no such program" in states

            api.wait_until(waits)

    def test_readiness_can_be_asked_for_and_can_be_lost_again(self, api: FakeKubeApi) -> None:
        healthy = threading.Event()
        api.set_readiness(AskReadiness(lambda _pod: healthy.is_set()))
        api.create(deployment())
        api.wait_until(lambda fake: shop(fake)["status"].get("unavailableReplicas") == 2)
        healthy.set()
        settle(api)
        healthy.clear()
        api.wait_until(lambda fake: "readyReplicas" not in shop(fake)["status"])

    def test_a_status_set_by_hand_holds(self, api: FakeKubeApi) -> None:
        api.create(deployment(replicas=1))
        settle(api)
        name = pods(api)[0]["metadata"]["name"]
        api.set_pod_status(name, is_ready=False, status={"podIP": "127.0.0.7"})
        api.wait_until(lambda fake: condition(shop(fake), "Available")["status"] == "False")
        assert pods(api)[0]["status"]["podIP"] == "127.0.0.7"

    def test_an_annotation_decides_for_one_template(self, api: FakeKubeApi) -> None:
        manifest = deployment(replicas=1)
        never = {"fake.rollbackd.dev/ready-after": "never"}
        manifest["spec"]["template"]["metadata"]["annotations"] = never
        api.create(manifest)
        api.wait_until(lambda fake: [p for p in pods(fake) if p["status"]["phase"] == "Running"])
        assert not any(_is_ready(pod) for pod in pods(api))


def test_the_official_dynamic_client_lists_and_patches(api: FakeKubeApi, tmp_path: Path) -> None:
    from kubernetes import config, dynamic

    api.create(deployment())
    settle(api)
    kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
    with config.new_client_from_config(str(kubeconfig)) as connection:  # type: ignore[no-untyped-call]
        cache = str(tmp_path / "discovery")
        client = dynamic.DynamicClient(connection, cache_file=cache)  # type: ignore[no-untyped-call]
        deployments = client.resources.get(api_version="apps/v1", kind="Deployment")
        assert [item.metadata.name for item in deployments.get(namespace="default").items] == [
            "shop"
        ]
        changed = deployments.patch(
            name="shop", namespace="default", body=image_patch("shop:2"), content_type=MERGE_PATCH
        )
        assert changed.spec.template.spec.containers[0].image == "shop:2"
    settle(api)
    assert set(replica_sets(api)) == {"shop:1", "shop:2"}


def test_a_fake_of_its_own_process_is_steered_over_http() -> None:
    command = [sys.executable, "-m", "tests.fakes.kube_api", "--port", "0", "--ready-after=never"]
    with (
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server,
        requests.Session() as session,
    ):
        assert server.stdout is not None
        try:
            url = server.stdout.readline().rpartition(" ")[2].strip()
            control = f"{url}/_fake"
            added = session.post(f"{control}/faults", json={"action": "error", "count": 1})
            assert added.status_code == 201
            assert session.get(url + DEPLOYMENTS).status_code == 500
            assert session.get(f"{control}/faults").json()[0]["hits"] == 1
            assert session.post(f"{control}/faults", json={"action": "?"}).status_code == 400
            pod = deployment()["spec"]["template"] | {"metadata": {"name": "p"}}
            pods_url = f"{url}/api/v1/namespaces/default/pods"
            assert session.post(pods_url, json=pod).status_code == 201
            held = session.put(f"{control}/pods/default/p/status", json={"ready": True})
            assert held.status_code == 200
            deadline = time.monotonic() + SECONDS
            while not _is_ready(session.get(f"{pods_url}/p").json()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            logged = session.get(f"{control}/requests").json()
            assert [(one["method"], one["status"]) for one in logged][:2] == [
                ("GET", 500),
                ("POST", 201),
            ]
            assert session.post(f"{control}/history/compact").status_code == 200
            assert session.get(f"{control}/errors").json() == []
        finally:
            server.terminate()
            assert server.wait(SECONDS) == 0
