"""The StatefulSet and the DaemonSet that tests roll out on the fake API server."""

from typing import Any

from actions.cluster import revision_template
from analyzer.rollout import Revision
from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.controllers.pod_conditions import is_ready

NODES = ("node-a", "node-b", "node-c")


def manifest(kind: str, image: str = "db:1", **spec: object) -> dict[str, Any]:
    """Return a set of three pods; ``spec`` overrides fields of its specification."""
    labels = {"app": "db"}
    container = {"name": "app", "image": image, "fieldOfTomorrow": {"keep": ["me", None, 0]}}
    own = {"serviceName": "db", "replicas": 3} if kind == "StatefulSet" else {}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "db", "namespace": "default", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "anotherField": {"": [1.5, "2"]}},
            },
            **own,
            **spec,
        },
    }


def create(api: FakeKubeApi, kind: str, **spec: object) -> None:
    """Create the set, with nodes for its pods, and wait for them."""
    for node in NODES:
        api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    api.create(manifest(kind, "db:1", **spec))
    settle(api, kind)


def found(api: FakeKubeApi, kind: str) -> dict[str, Any]:
    """Return the set as it is now."""
    return api.get("apps/v1", kind, "db")


def deploy(api: FakeKubeApi, kind: str, image: str) -> None:
    """Change the image, as a new release does."""
    container = {"name": "app", "image": image, "fieldOfTomorrow": {"keep": ["me", None, 0]}}
    spec = {"template": {"spec": {"containers": [container]}}}
    api.patch("apps/v1", kind, "db", {"spec": spec})


def image_of(owner: dict[str, Any]) -> str:
    """Return the image of a template."""
    return str(owner["spec"]["template"]["spec"]["containers"][0]["image"])


def revision(api: FakeKubeApi, image: str) -> Revision:
    """Return the revision of the set that runs an image, once there is one."""

    def there(api: FakeKubeApi) -> dict[str, Any] | None:
        for one in api.list_objects("apps/v1", "ControllerRevision"):
            if image_of(revision_template(one)) == image:
                return one
        return None

    metadata = (api.wait_until(there, what=f"a revision of {image}") or {})["metadata"]
    return Revision(metadata["uid"], metadata["name"].removeprefix("db-"))


def pods(api: FakeKubeApi, image: str) -> list[dict[str, Any]]:
    """Return the pods that run an image, in order of their names."""
    every = api.list_objects("v1", "Pod")
    return [pod for pod in every if pod["spec"]["containers"][0]["image"] == image]


def settle(api: FakeKubeApi, kind: str) -> None:
    """Wait until all pods of the set run its template and are ready."""

    def is_settled(api: FakeKubeApi) -> bool:
        one = found(api, kind)
        status = one.get("status") or {}
        wanted = len(NODES) if kind == "DaemonSet" else one["spec"]["replicas"]
        ready = status.get("numberReady", status.get("readyReplicas", 0))
        is_seen = status.get("observedGeneration") == one["metadata"]["generation"]
        new = pods(api, image_of(one))  # asked for last: the status may be older than they are
        return bool(is_seen and ready == wanted == len(new) and all(map(is_ready, new)))

    api.wait_until(is_settled, what=f"{kind} settled")
