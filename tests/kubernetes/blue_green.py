"""A Service that is switched between a blue and a green Deployment, on the fake API server."""

from typing import Any

from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes.shop import manifest, settle

LABEL = "example.com/colour"


def deployment(colour: str, image: str, namespace: str = "default") -> dict[str, Any]:
    """Return the Deployment of one colour."""
    made = manifest(image, f"shop-{colour}")
    made["metadata"]["namespace"] = namespace
    labels = {"app": "shop", LABEL: colour}
    made["spec"]["selector"]["matchLabels"] = labels
    made["spec"]["template"]["metadata"]["labels"] = labels
    return made


def service(colour: str = "blue", namespace: str = "default") -> dict[str, Any]:
    """Return the Service that leads to a colour."""
    said = {"rollbackd.io/blue-green": LABEL}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": namespace, "annotations": said},
        "spec": {"selector": {"app": "shop", LABEL: colour}, "ports": [{"port": 80}]},
    }


def create(api: FakeKubeApi, namespace: str = "default") -> None:
    """Deploy shop:1 as the blue colour, which is live, and shop:2 as the green one."""
    api.create(service(namespace=namespace))
    api.create(deployment("blue", "shop:1", namespace))
    settle(api, "shop-blue", namespace)
    api.skip_time(5.0)  # times of the API are whole seconds
    api.create(deployment("green", "shop:2", namespace))
    settle(api, "shop-green", namespace)


def switch(api: FakeKubeApi, colour: str, namespace: str = "default") -> None:
    """Let the Service lead to a colour, as people do."""
    api.patch("v1", "Service", "shop", {"spec": {"selector": {LABEL: colour}}}, namespace)


def live(api: FakeKubeApi) -> str:
    """Return the colour that the Service leads to."""
    return str(api.get("v1", "Service", "shop")["spec"]["selector"][LABEL])


def served(api: FakeKubeApi) -> set[str]:
    """Return the Deployments whose pods get traffic, by the Service's endpoints."""
    slices = api.list_objects("discovery.k8s.io/v1", "EndpointSlice")
    return {
        endpoint["targetRef"]["name"].rsplit("-", 2)[0]
        for each in slices
        for endpoint in each["endpoints"]
        if endpoint["conditions"]["ready"]
    }
