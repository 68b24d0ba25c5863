"""Custom resources on the fake: pruned, completed and refused as their definition says."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.kube_api.manifests import custom_kind
from tests.fakes.kube_api.objects.errors import ApiError

VERSION = "test.dev/v1"
SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 5},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "share": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "note": {"type": "string", "nullable": True, "pattern": "^a", "maxLength": 3},
        "either": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "tags": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "x-kubernetes-list-type": "set",
            "items": {"type": "string"},
        },
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "on": {"type": "boolean", "default": True},
                },
            },
        },
    },
}
STATUS = {"type": "object", "properties": {"seen": {"type": "integer"}}}


@pytest.fixture
def api() -> Iterator[FakeKubeApi]:
    kind = custom_kind("test.dev", "v1", "things", "Thing")
    schema = {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}
    kind["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    with FakeKubeApi() as made:
        made.create(kind)
        yield made


def thing(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    metadata = {"name": "one", "namespace": "default"}
    return {"apiVersion": VERSION, "kind": "Thing", "metadata": metadata, "spec": spec}


def test_unknown_fields_go_and_defaults_come(api: FakeKubeApi) -> None:
    stored = api.create(
        {**thing(size=1, odd=1, free={"a": {"b": 1}}, parts=[{"name": "x", "odd": 2}]), "odd": 3}
    )
    assert "odd" not in stored
    assert stored["spec"] == {
        "size": 1,
        "color": "red",
        "free": {"a": {"b": 1}},
        "parts": [{"name": "x", "on": True}],
    }
    assert api.create({**thing(size=1, color=None), "metadata": {"name": "two"}})["spec"] == {
        "size": 1,
        "color": "red",
    }


def test_a_status_is_pruned_too_and_starts_no_generation(api: FakeKubeApi) -> None:
    api.create(thing(size=1))
    status = {"status": {"seen": 1, "odd": 2}}
    changed = api.patch(VERSION, "Thing", "one", status, subresource="status")
    assert changed["status"] == {"seen": 1}
    assert changed["metadata"]["generation"] == 1
    with pytest.raises(ApiError, match="must be of type integer"):
        api.patch(VERSION, "Thing", "one", {"status": {"seen": "x"}}, subresource="status")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec.size: Required value"),
        ({"size": True}, 'must be of type integer: "boolean"'),
        ({"size": "1"}, 'spec.size in body must be of type integer: "string"'),
        ({"size": None}, "must be of type integer"),
        ({"size": 0}, "greater than or equal to 1"),
        ({"size": 6}, "less than or equal to 5"),
        ({"size": 1, "share": 0}, "greater than 0"),
        ({"size": 1, "color": "green"}, 'supported values: "red", "blue"'),
        ({"size": 1, "note": "b"}, "should match '^a'"),
        ({"size": 1, "note": "abcd"}, "Too long"),
        ({"size": 1, "either": 1.5}, "must be an integer or a string"),
        ({"size": 1, "labels": {"a": 1}}, "spec.labels.a"),
        ({"size": 1, "tags": []}, "should have at least 1 items"),
        ({"size": 1, "tags": ["a", "b", "c"]}, "Too many"),
        ({"size": 1, "tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        ({"size": 1, "parts": [{"name": "x"}, {"name": "x"}]}, "spec.parts[1]: Duplicate value"),
        ({"size": 1, "parts": [{}]}, "spec.parts[0].name: Required value"),
    ],
)
def test_what_does_not_fit_is_refused(api: FakeKubeApi, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError) as caught:
        api.create(thing(**spec))
    assert "422" in str(caught.value)
    assert said in str(caught.value)


def test_what_fits_is_taken(api: FakeKubeApi) -> None:
    made = thing(size=1, note=None, either="a", share=0.5, labels={"a": "b"}, tags=["a", "b"])
    assert api.create(made)["spec"] == {**made["spec"], "color": "red"}
