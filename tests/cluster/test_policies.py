"""RollbackPolicies on a cluster: the definition is taken, bad ones are refused, a status is seen."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from actions.ports import ActionError
from rollbackd.config.custom_resource import definition
from rollbackd.config.manifests import Limits
from rollbackd.config.models.policy_resource import API_VERSION, PLURAL
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.kubernetes.errors import NotFound
from rollbackd.policies.clerk import StatusClerk
from rollbackd.policies.source import PolicyResources
from rollbackd.telemetry import Telemetry
from tests.cluster.conftest import REAL, Place
from tests.policies.shelf import policy

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
ERRORS = {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}}

by_cel = pytest.mark.skipif(not REAL, reason="the fake API server evaluates no CEL")


@contextmanager
def installed(api: Connection) -> Iterator[None]:
    """Have the definition in a cluster; one that is there already is somebody's, and is left there."""
    made = definition()
    path = f"{DEFINITIONS}/{made['metadata']['name']}"
    is_ours = api.get(path) is None
    if is_ours:
        api.request("POST", DEFINITIONS, body=made)
    try:
        yield
    finally:
        if is_ours:
            api.request("DELETE", path)


@pytest.fixture(scope="module")
def kept() -> Iterator[None]:
    """Keep the definition in a real cluster for all tests: it takes a while to come and go."""
    if not REAL:
        yield
        return
    connection = Connection(ClusterAccess(kubeconfig=Path(os.environ["KUBECONFIG"])))
    with installed(connection):
        yield
    connection.close()


@pytest.fixture
def policies(kept: None, place: Place) -> Iterator[str]:
    """Return the path of the policies of the test's namespace, where the server knows them."""
    del kept
    path = f"/apis/{API_VERSION}/namespaces/{place.namespace}/{PLURAL}"

    def is_served() -> bool:
        try:
            place.connection.request("GET", path)
        except ActionError:
            return False
        return True

    with nullcontext() if REAL else installed(place.connection):
        assert place.until(is_served)
        yield path


def made(place: Place, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - YAML
    return policy(namespace=place.namespace, **spec)


@pytest.mark.usefixtures("policies")
def test_the_definition_is_accepted_as_structural(place: Place) -> None:
    name = definition()["metadata"]["name"]

    def conditions() -> dict[str, str]:
        found = place.connection.get(f"{DEFINITIONS}/{name}") or {}
        told = found.get("status", {}).get("conditions", ())
        return {each["type"]: each["status"] for each in told}

    assert place.until(lambda: conditions().get("Established") == "True")
    assert conditions().get("NamesAccepted") == "True"
    assert "NonStructuralSchema" not in conditions()


SIGNAL = "exactly one of ratio, histogram"
BY_SCHEMA = [
    ({"mode": "act"}, 'supported values: "observe", "approve", "enforce"'),
    ({"alpha": 0.9}, "less than or equal to 0.5"),
    ({"alpha": 0}, "greater than 0"),
    ({"horizon": "1 hour"}, "should match"),
    ({"horizon": 60}, "string"),
    ({"signals": []}, "should have at least 1 items"),
    ({"signals": [ERRORS, ERRORS]}, "Duplicate value"),
    ({"actions": ["a", "a"]}, "Duplicate value"),
    ({"signals": [{"ratio": ERRORS["ratio"]}]}, "Required value"),
    ({"priority": 1001}, "less than or equal to 1000"),
    ({"match": {"kinds": ["Pod"]}}, "Unsupported value"),
]  # fmt: skip
BY_CEL = [
    ({"horizon": "1m"}, "horizon is shorter than min_observation"),
    ({"mode": "enforce"}, "need at least one action"),
    ({"hold": {"pods": 1}}, "mode observe changes nothing"),
    ({"mode": "enforce", "actions": ["rollback"], "signals": [{**ERRORS, "tier": "info"}]},
     "every signal is info"),
    ({"signals": [{"name": "errors"}]}, SIGNAL),
    ({"signals": [{**ERRORS, "gauge": {"values": "x"}}]}, SIGNAL),
    ({"signals": [{"name": "g", "gauge": {"values": "x"}, "floor": "1%"}]}, "have floor"),
    ({"guards": {"freezes": [{"name": "x", "cron": "0 18 * * fri"}]}}, "give from and to"),
    ({"guards": {"freezes": [{"name": "x", "from": "2026-11-27 18:00", "to": "2026-11-26 18:00"}]}},
     "it ends before it begins"),
]  # fmt: skip


def refused(place: Place, policies: str, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ActionError) as caught:
        place.connection.request("POST", policies, body=made(place, **spec))
    assert "422" in str(caught.value)
    assert said.casefold() in str(caught.value).casefold()


@pytest.mark.parametrize(("spec", "said"), BY_SCHEMA, ids=[str(i) for i in range(len(BY_SCHEMA))])
def test_the_server_refuses_what_does_not_fit_the_schema(
    place: Place, policies: str, spec: dict[str, Any], said: str
) -> None:
    refused(place, policies, spec, said)


@by_cel
@pytest.mark.parametrize(("spec", "said"), BY_CEL, ids=[str(i) for i in range(len(BY_CEL))])
def test_the_server_refuses_what_does_not_fit_together(
    place: Place, policies: str, spec: dict[str, Any], said: str
) -> None:
    refused(place, policies, spec, said)


@pytest.mark.parametrize(
    "spec",
    [
        {"horizon": "1d", "min_observation": "1m30s"},
        {"mode": "enforce", "actions": ["rollback"], "hold": {"pods": "10%"}, "deciders": {}},
        {"guards": {"freezes": [{"name": "x", "cron": "0 18 * * fri", "lasts": "2d"}]}},
        {"signals": [{"name": "g", "gauge": {"values": "x"}, "margin": "+15%", "weight": 0.3}]},
        {"signals": [{"name": "t", "traces": {}}]},
        {"signals": None},
    ],
    ids=["days", "hold", "freeze", "gauge", "traces", "found"],
)
def test_the_server_takes_what_is_right_and_shows_its_defaults(
    place: Place, policies: str, spec: dict[str, Any]
) -> None:
    stored = place.connection.request("POST", policies, body=made(place, **spec))["spec"]
    assert stored["mode"] == spec.get("mode", "observe")
    assert stored["warm_up"] == "1m"
    # what the server made of it says the same to us
    resources = PolicyResources(
        place.connection, "default", Limits(), namespaces=(place.namespace,)
    )
    resources.start()
    try:
        assert all(reflector.wait_synced(60) for reflector in resources.reflectors)
        found = resources.all()
        assert isinstance(found, tuple)
        assert [each.trouble for each in found] == [""]
    finally:
        resources.close()


def test_a_status_is_written_and_seen(place: Place, policies: str) -> None:
    api = place.connection
    api.request("POST", policies, body=made(place))
    one = f"{policies}/checkout"
    resources = PolicyResources(api, "default", Limits(), namespaces=(place.namespace,))
    telemetry = Telemetry(version="test", environ={})
    clerk = StatusClerk(resources, tuple, api, telemetry, time.time)
    resources.start()

    def told(generation: int) -> dict[str, Any] | None:
        clerk.tend()
        status: dict[str, Any] = (api.get(one) or {}).get("status", {})
        return status if status.get("observedGeneration") == generation else None

    def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
        return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}

    try:
        status = place.until(lambda: told(1))
        assert status is not None
        assert conditions(status)["Ready"] == ("True", "Valid")
        assert (status["mode"], status["watching"], status["watches"]) == ("observe", 0, [])
        after = api.get(one)
        assert after is not None
        assert after["metadata"]["generation"] == 1, "a status is no new version"
        # The server reads no PromQL, we do.
        wrong = {"signals": [{"name": "errors", "ratio": {"total": "rate(x[1m])", "bad": "y"}}]}
        api.request("PATCH", one, body={"spec": wrong}, content_type=MERGE)
        status = place.until(lambda: told(2))
        assert status is not None
        assert conditions(status)["Ready"] == ("False", "InvalidVersion")
        assert "spec.signals[0].ratio.total" in str(status["conditions"])
        # Who may write policies does not write their status on the way.
        forged = {"status": {"mode": "enforce"}}
        api.request("PATCH", one, body=forged, content_type=MERGE)
        kept = api.get(one)
        assert kept is not None
        assert kept["status"]["mode"] == "observe"
        api.request("DELETE", one)
        assert place.until(lambda: resources.all() == ())
        with pytest.raises(NotFound):
            api.request("GET", one)
    finally:
        resources.close()
        telemetry.close()
