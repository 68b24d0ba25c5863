"""A Canary of Flagger on the fake API server: the tests play Flagger."""

from rollbackd.rollouts.flagger import KIND, VERSION
from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.manifests import custom_kind
from tests.kubernetes.shop import deploy, manifest, settle


def install(api: FakeKubeApi) -> None:
    """Make the cluster know Canaries."""
    group, _, version = VERSION.partition("/")
    api.create(custom_kind(group, version, "canaries", KIND))


def begin(api: FakeKubeApi) -> None:
    """Deploy shop:1 as Flagger's primary, and let it analyse shop:2."""
    canary = {
        "apiVersion": VERSION,
        "kind": KIND,
        "metadata": {"name": "shop", "namespace": "default", "labels": {"team": "shop"}},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}},
    }
    api.create(canary)
    for name in ("shop", "shop-primary"):
        api.create(manifest("shop:1", name))
        settle(api, name)
    say(api, "Initialized")
    deploy(api, "shop:2")
    settle(api)
    say(api, "Progressing")


def say(api: FakeKubeApi, phase: str) -> None:
    """Write the phase into the Canary's status, as Flagger does."""
    status = {"status": {"phase": phase}}
    api.patch(VERSION, KIND, "shop", status, "default", subresource="status")
