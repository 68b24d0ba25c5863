"""A Canary of Flagger on the fake API server: the tests play Flagger."""

from actions.flagger_abort import GATE_PATH, KIND, VERSION
from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.manifests import custom_kind
from tests.kubernetes.shop import manifest, settle


def install(api: FakeKubeApi) -> None:
    """Make the cluster know Canaries."""
    group, _, version = VERSION.partition("/")
    api.create(custom_kind(group, version, "canaries", KIND))


HOOK = {"name": "rollbackd", "type": "rollback", "url": f"http://rollbackd:8080{GATE_PATH}"}


def begin(api: FakeKubeApi, namespace: str = "default") -> None:
    """Deploy shop:1 as Flagger's primary, and let it analyse shop:2."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    canary = {
        "apiVersion": VERSION,
        "kind": KIND,
        "metadata": {"name": "shop", "namespace": namespace, "labels": {"team": "shop"}},
        "spec": {"targetRef": target, "analysis": {"webhooks": [HOOK]}},
    }
    api.create(canary)
    for name in ("shop", "shop-primary"):
        made = manifest("shop:1", name)
        made["metadata"]["namespace"] = namespace
        api.create(made)
        settle(api, name, namespace)
    say(api, "Initialized", namespace)
    change = {"spec": {"template": manifest("shop:2")["spec"]["template"]}}
    api.patch("apps/v1", "Deployment", "shop", change, namespace)
    settle(api, "shop", namespace)
    say(api, "Progressing", namespace)


def say(api: FakeKubeApi, phase: str, namespace: str = "default") -> None:
    """Write the phase into the Canary's status, as Flagger does."""
    status = {"status": {"phase": phase}}
    api.patch(VERSION, KIND, "shop", status, namespace, subresource="status")
