"""What rollbackd relies on: lists and watches, guarded writes, undo, leases, reviews of rights."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from actions.cluster import template_digest
from actions.kubernetes_rollback import KubernetesRollback
from actions.ports import Conflict, StepState
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.sample import Missing
from rollbackd.config import load
from rollbackd.kubernetes.access_review import missing
from rollbackd.kubernetes.reflector import Pace, Reflector
from rollbackd.kubernetes.rights import needs
from rollbackd.leadership.elector import Elector
from rollbackd.leadership.elector import Pace as ElectionPace
from rollbackd.leadership.kubernetes import KubernetesLease
from rollbackd.leadership.lease import Lease
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from tests.cluster.conftest import BAD, GOOD, Place
from tests.config.files import minimal, write

MERGE = "application/merge-patch+json"


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# What is asked of the API server


def test_a_reflector_lists_follows_changes_and_forgets_what_is_deleted(place: Place) -> None:
    api, path = place.connection, f"/api/v1/namespaces/{place.namespace}/configmaps"
    api.request("POST", path, body=config_map("first"))
    reflector = Reflector(api, path, lambda raw: str(raw["metadata"]["name"]), pace=Pace())
    reflector.start()
    try:
        assert reflector.wait_synced(60)
        assert "first" in reflector.snapshot().items
        api.request("POST", path, body=config_map("second"))
        assert place.until(lambda: "second" in reflector.snapshot().items)
        api.request("DELETE", f"{path}/first")
        assert place.until(lambda: "first" not in reflector.snapshot().items)
    finally:
        reflector.stop()


def test_who_saw_an_older_version_writes_nothing(place: Place) -> None:
    api, path = place.connection, f"/api/v1/namespaces/{place.namespace}/configmaps"
    seen = api.request("POST", path, body=config_map("one", key="a"))["metadata"]
    api.request("PATCH", f"{path}/one", body={"data": {"key": "b"}}, content_type=MERGE)
    stale = {"metadata": {"resourceVersion": seen["resourceVersion"]}, "data": {"key": "c"}}
    with pytest.raises(Conflict):
        api.request("PATCH", f"{path}/one", body=stale, content_type=MERGE)
    wrong = [
        {"op": "test", "path": "/data/key", "value": "a"},
        {"op": "replace", "path": "/data/key", "value": "d"},
    ]
    with pytest.raises(Conflict):
        api.patch(f"{path}/one", wrong)
    found = api.get(f"{path}/one")
    assert found is not None
    assert found["data"] == {"key": "b"}


# The undo


def rollout(place: Place) -> Rollout:
    good, bad = revision(place.release(GOOD)), revision(place.release(BAD))
    workload = Workload("default", place.namespace, "Deployment", "shop")
    return Rollout(workload, bad, good, (), (), ("namespace", "pod"), time.time())


def revision(made: dict[str, Any]) -> Revision:
    return Revision(made["metadata"]["uid"], made["metadata"]["labels"]["pod-template-hash"])


def test_a_rollback_brings_back_the_template_whole_and_once(place: Place) -> None:
    planned = rollout(place)
    before = place.replica_set(GOOD)
    assert before is not None
    rollback = KubernetesRollback(place.connection, name="rollback")
    draft = rollback.propose(planned)
    assert draft.refusals == ()
    (step,) = draft.steps
    assert rollback.inspect(step) is StepState.PENDING
    rollback.perform(step)
    assert rollback.inspect(step) in {StepState.SETTLING, StepState.DONE}
    after = place.deployment()
    assert template_digest(after) == template_digest(before)
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == GOOD
    generation = after["metadata"]["generation"]
    rollback.perform(step)  # what is there already is not written again
    assert place.deployment()["metadata"]["generation"] == generation


def test_a_rollback_meets_somebody_else_and_leaves_it_alone(place: Place) -> None:
    planned = rollout(place)
    rollback = KubernetesRollback(place.connection, name="rollback")
    (step,) = rollback.propose(planned).steps
    place.release(f"{BAD}.1")
    assert rollback.inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict):
        rollback.perform(step)
    image = place.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"{BAD}.1"


def test_a_rollout_is_seen(place: Place) -> None:
    planned = rollout(place)
    if not place.controlled:
        pytest.skip("no Deployment controller runs in this cluster, so there are no pods")
    reading = Reading("default", ("namespace", "pod"), 3600.0, lambda _: ())
    source = KubernetesRollouts(place.connection, reading, namespaces=(place.namespace,))
    source.start()
    try:
        assert source.wait_synced(60)

        def seen() -> bool:
            found = source.rollouts()
            return not isinstance(found, Missing) and [r.canary for r in found] == [planned.canary]

        assert place.until(seen)
    finally:
        source.close()


# Leading


def test_a_lease_is_taken_renewed_and_released(place: Place) -> None:
    store = KubernetesLease(place.connection, place.namespace, "rollbackd", time.time)
    elected, pace = threading.Event(), ElectionPace(15.0, 10.0, 0.2)
    one = Elector(store, "one", pace, on_elected=elected.set, on_lost=lambda: None)
    one.start()
    assert elected.wait(60)
    held = store.read()
    assert held is not None
    assert held.holder == "one"
    assert place.until(lambda: store.read() != held), "it is renewed"
    with pytest.raises(Conflict):
        store.write(Lease("other", 15.0, 1), held)
    one.close()
    released = store.read()
    assert released is not None
    assert released.holder == ""


# Rights


def test_the_cluster_answers_which_rights_there_are(place: Place, tmp_path: Path) -> None:
    values = minimal() | {
        "rollouts": {"kubernetes": {"kubeconfig": str(place.kubeconfig)}},
        "journal": {"dsn_env": "NOT_READ_HERE"},
        "leadership": {"lease_namespace": place.namespace},
    }
    values["policies"][0] |= {"mode": "enforce", "actions": ["rollback"]}
    wanted = needs(load(write(tmp_path, values)))
    assert wanted
    assert missing(place.connection, wanted) == ()
