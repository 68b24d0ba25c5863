"""What the fake answers over HTTP beyond the conformance checks: watches, patches, faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.kube_api import (
    Access,
    ApiError,
    ClusterSettings,
    FakeKubeApi,
    Fault,
    FaultAction,
)
from tests.fakes.kube_api.manifests import config_map, custom_kind, deployment, image_patch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.kube_api.serving.watches import WatchEnding

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
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


def send_patch(api: FakeKubeApi, path: str, body: object, media_type: str, **query: str) -> Answer:
    return requests.patch(
        api.url + path,
        data=json.dumps(body),
        headers={"Content-Type": media_type},
        params=query,
        timeout=SECONDS,
    )


def watched(url: str, **query: str) -> list[Json]:
    """Return the events of one watch, until the server ends it."""
    query = {"watch": "true", "timeoutSeconds": "1", **query}
    with requests.get(url, params=query, stream=True, timeout=SECONDS) as answer:
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.iter_lines() if line]


class TestWatch:
    def test_a_changed_label_adds_and_removes_for_a_selecting_watch(
        self, api: FakeKubeApi
    ) -> None:
        created = api.create(config_map("one", tier="web"))
        for tier in ("db", "web"):
            api.patch("v1", "ConfigMap", "one", {"metadata": {"labels": {"tier": tier}}})
        start = created["metadata"]["resourceVersion"]
        events = watched(
            api.url + CONFIG_MAPS, resourceVersion=start, labelSelector="tier in (web,api)"
        )
        assert [event["type"] for event in events] == ["DELETED", "ADDED"]

    def test_without_a_revision_it_starts_with_everything(self, api: FakeKubeApi) -> None:
        api.create(config_map("one"))
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        events = watched(api.url + CONFIG_MAPS, allowWatchBookmarks="true", **query)
        assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
        marks = events[1]["object"]["metadata"]["annotations"]
        assert marks == {"k8s.io/initial-events-end": "true"}

    def test_a_compacted_revision_is_gone_in_the_stream(self, api: FakeKubeApi) -> None:
        old = api.create(config_map("one"))["metadata"]["resourceVersion"]
        api.compact_history()
        (event,) = watched(api.url + CONFIG_MAPS, resourceVersion=old)
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)

    def test_a_compacted_revision_is_gone_by_http(self, api: FakeKubeApi) -> None:
        old = api.create(config_map("one"))["metadata"]["resourceVersion"]
        api.compact_history(answers_http=True)
        query = {"watch": "true", "resourceVersion": old}
        answer = requests.get(api.url + CONFIG_MAPS, params=query, timeout=SECONDS)
        assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")

    @pytest.mark.parametrize("how", ["drop", "gone"])
    def test_open_watches_can_be_ended(self, api: FakeKubeApi, how: WatchEnding) -> None:
        query = {"watch": "true", "timeoutSeconds": "30"}
        with requests.get(
            api.url + CONFIG_MAPS, params=query, stream=True, timeout=SECONDS
        ) as answer:
            api.end_watches(how)
            if how == "gone":
                (line,) = answer.iter_lines()
                assert json.loads(line)["object"]["code"] == 410
            else:
                with pytest.raises(requests.exceptions.ChunkedEncodingError):
                    list(answer.iter_lines())


class TestLists:
    def test_pages_show_the_revision_of_the_first_one(self, api: FakeKubeApi) -> None:
        for name in ("a", "b", "c"):
            api.create(config_map(name))
        url = api.url + CONFIG_MAPS
        page = requests.get(url, params={"limit": 1}, timeout=SECONDS).json()
        api.delete("v1", "ConfigMap", "b")
        token = page["metadata"]["continue"]
        rest = requests.get(url, params={"continue": token}, timeout=SECONDS).json()
        assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c"]
        assert rest["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]
        api.compact_history()
        expired = requests.get(url, params={"continue": token}, timeout=SECONDS)
        assert expired.status_code == 410

    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            ("tier=web", ["a"]),
            ("tier!=web", ["b", "c"]),
            ("tier in (web, db)", ["a", "b"]),
            ("tier notin (web)", ["b", "c"]),
            ("tier", ["a", "b"]),
            ("!tier", ["c"]),
        ],
    )
    def test_label_selectors(self, api: FakeKubeApi, selector: str, names: list[str]) -> None:
        for obj in (config_map("a", tier="web"), config_map("b", tier="db"), config_map("c")):
            api.create(obj)
        query = {"labelSelector": selector}
        found = requests.get(api.url + CONFIG_MAPS, params=query, timeout=SECONDS).json()
        assert [item["metadata"]["name"] for item in found["items"]] == names

    def test_events_are_the_same_in_both_groups(self, api: FakeKubeApi) -> None:
        event = {"metadata": {"name": "e"}, "involvedObject": {"name": "shop"}, "message": "hi"}
        api.create({"apiVersion": "v1", "kind": "Event", **event})
        url = f"{api.url}/apis/events.k8s.io/v1/namespaces/default/events/e"
        seen = requests.get(url, timeout=SECONDS).json()
        assert (seen["note"], seen["regarding"]) == ("hi", {"name": "shop"})


class TestPatches:
    def test_strategic_merge_keeps_deletes_and_orders_by_key(self, api: FakeKubeApi) -> None:
        manifest = deployment()
        app = manifest["spec"]["template"]["spec"]["containers"][0]
        app["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
        api.create(manifest)
        patch = image_patch("shop:2")
        patched_app = patch["spec"]["template"]["spec"]["containers"][0]
        patched_app["env"] = [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]
        patched_app["$setElementOrder/env"] = [{"name": "C"}, {"name": "B"}]
        answer = send_patch(api, f"{DEPLOYMENTS}/shop", patch, STRATEGIC_PATCH).json()
        container = answer["spec"]["template"]["spec"]["containers"][0]
        assert [variable["name"] for variable in container["env"]] == ["C", "B"]
        assert container["image"] == "shop:2"

    def test_apply_removes_what_its_manager_leaves_out(self, api: FakeKubeApi) -> None:
        path = f"{CONFIG_MAPS}/one"
        manifest: Json = {**config_map("one"), "data": {"a": "1", "b": "2"}}
        first = send_patch(api, path, manifest, APPLY_PATCH, fieldManager="flux")
        assert first.status_code == 201
        requests.patch(
            api.url + path,
            json={"data": {"c": "3"}},
            headers={"Content-Type": MERGE_PATCH},
            timeout=SECONDS,
        )
        manifest["data"] = {"a": "1"}
        second = send_patch(api, path, manifest, APPLY_PATCH, fieldManager="flux").json()
        assert second["data"] == {"a": "1", "c": "3"}
        manifest["data"] = {"a": "9"}
        refused = send_patch(api, path, manifest, APPLY_PATCH, fieldManager="helm").json()
        assert refused["details"]["causes"][0]["field"] == ".data.a"
        taken = send_patch(
            api, path, manifest, APPLY_PATCH, fieldManager="helm", force="true"
        ).json()
        assert taken["data"]["a"] == "9"

    def test_custom_kinds_keep_unknown_fields_and_refuse_strategic_merge(
        self, api: FakeKubeApi
    ) -> None:
        api.create(custom_kind("argoproj.io", "v1alpha1", "rollouts", "Rollout"))
        rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
        api.create({**rollout, "metadata": {"name": "shop"}, "spec": {"newest": {"field": 1}}})
        path = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/shop"
        aborted = send_patch(
            api, f"{path}/status", {"status": {"abort": True}, "spec": {}}, MERGE_PATCH
        ).json()
        assert aborted["status"] == {"abort": True}
        assert aborted["spec"] == {"newest": {"field": 1}}
        assert aborted["metadata"]["generation"] == 1
        assert (
            send_patch(api, path, {"spec": {"a": 1}}, MERGE_PATCH).json()["metadata"]["generation"]
            == 2
        )
        assert send_patch(api, path, {"spec": {}}, STRATEGIC_PATCH).status_code == 415


class TestFaults:
    def test_throttling_says_when_to_come_back(self, api: FakeKubeApi) -> None:
        api.add_fault(Fault(FaultAction.THROTTLE, verb="list", count=1, seconds=3))
        throttled = requests.get(api.url + DEPLOYMENTS, timeout=SECONDS)
        assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "3")
        assert requests.get(api.url + DEPLOYMENTS, timeout=SECONDS).status_code == 200

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (Fault(FaultAction.ERROR, code=503), 503),
            (Fault(FaultAction.GONE), 410),
            (Fault(FaultAction.UNAUTHORIZED), 401),
            (Fault(FaultAction.FORBIDDEN, path="^/apis/apps/"), 403),
        ],
    )
    def test_error_answers(self, api: FakeKubeApi, fault: Fault, status: int) -> None:
        api.add_fault(fault)
        assert requests.get(api.url + DEPLOYMENTS, timeout=SECONDS).status_code == status
        api.clear_faults()
        assert requests.get(api.url + DEPLOYMENTS, timeout=SECONDS).status_code == 200

    @pytest.mark.parametrize(
        ("action", "is_applied"),
        [
            (FaultAction.DROP_BEFORE, False),
            (FaultAction.DROP_AFTER, True),
            (FaultAction.TRUNCATE, True),
        ],
    )
    def test_a_lost_answer_may_or_may_not_be_applied(
        self, api: FakeKubeApi, action: FaultAction, *, is_applied: bool
    ) -> None:
        api.add_fault(Fault(action, method="POST", count=1))
        with pytest.raises(requests.exceptions.RequestException):
            requests.post(api.url + CONFIG_MAPS, json=config_map("one"), timeout=SECONDS)
        if is_applied:
            assert api.get("v1", "ConfigMap", "one")
        else:
            with pytest.raises(ApiError, match="NotFound"):
                api.get("v1", "ConfigMap", "one")
        assert (api.requests()[-1].fault, api.requests()[-1].status) == (action.value, None)
        assert api.requests()[-1].body == config_map("one")

    def test_latency_comes_on_top_of_other_faults(self, api: FakeKubeApi) -> None:
        api.add_fault(Fault(FaultAction.LATENCY, seconds=0.2))
        api.add_fault(Fault(FaultAction.ERROR))
        answer = requests.get(api.url + DEPLOYMENTS, timeout=SECONDS)
        assert answer.status_code == 500
        assert answer.elapsed.total_seconds() >= 0.2

    def test_draws_repeat_with_their_seed(self) -> None:
        def codes(seed: int) -> list[int]:
            with FakeKubeApi() as api, requests.Session() as session:
                api.add_fault(Fault(FaultAction.ERROR, probability=0.5, seed=seed))
                return [
                    session.get(f"{api.url}/version", timeout=SECONDS).status_code
                    for _ in range(12)
                ]

        assert codes(7) == codes(7)
        assert set(codes(7)) == {200, 500}

    def test_a_watch_can_break_in_the_middle_of_an_event(self, api: FakeKubeApi) -> None:
        api.create(config_map("one"))
        api.add_fault(Fault(FaultAction.TRUNCATE, verb="watch"))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            watched(api.url + CONFIG_MAPS)


class TestAccess:
    def test_denials_are_enforced_and_reviewed(self) -> None:
        access = Access(token="secret", denied=frozenset({"patch deployments"}))
        with FakeKubeApi(ClusterSettings(access=access)) as api, requests.Session() as session:
            assert requests.get(api.url + DEPLOYMENTS, timeout=SECONDS).status_code == 401
            session.headers["Authorization"] = "Bearer secret"
            assert session.get(api.url + DEPLOYMENTS, timeout=SECONDS).status_code == 200
            refused = session.patch(
                f"{api.url}{DEPLOYMENTS}/shop",
                data="{}",
                headers={"Content-Type": MERGE_PATCH},
                timeout=SECONDS,
            )
            assert refused.json()["reason"] == "Forbidden"
            attributes = {"group": "apps", "resource": "deployments", "verb": "patch"}
            review = session.post(
                f"{api.url}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                json={"spec": {"resourceAttributes": attributes}},
                timeout=SECONDS,
            )
            assert review.json()["status"]["allowed"] is False
