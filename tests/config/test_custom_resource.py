"""The definition of RollbackPolicy: as the API server wants it, and the same as the models say."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from helm.policy_definition import TARGET, text
from rollbackd.config.cross_checks import SIGNALS
from rollbackd.config.custom_resource import definition, structural
from rollbackd.config.models.policy_resource import PolicySpecModel

Schema = dict[str, Any]

KNOWN = {
    *("type", "description", "properties", "required", "items", "additionalProperties", "enum"),
    *("pattern", "format", "default", "nullable", "minimum", "maximum", "exclusiveMinimum"),
    *("minLength", "maxLength", "minItems", "maxItems", "x-kubernetes-validations"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string"),
}
"""Keywords of structural schemas that we use; the API server refuses or drops any other."""


@pytest.fixture(scope="module")
def version() -> Schema:
    (found,) = definition()["spec"]["versions"]
    version: Schema = found
    return version


@pytest.fixture(scope="module")
def root(version: Schema) -> Schema:
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every schema in a schema."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def test_the_committed_definition_is_the_one_of_the_models() -> None:
    committed = TARGET.read_text(encoding="utf-8")
    assert committed == text(), "run: python -m helm.policy_definition"
    assert yaml.safe_load(committed) == definition()


def test_it_is_structural(root: Schema) -> None:
    for path, schema in nodes(root):
        assert schema.keys() <= KNOWN, path
        one_type = isinstance(schema.get("type"), str)
        assert one_type != schema.get("x-kubernetes-int-or-string", False), path
        assert not {"properties", "additionalProperties"} <= schema.keys(), path
        assert schema.get("type") != "array" or "items" in schema, path
        assert set(schema.get("required", ())) <= schema.get("properties", {}).keys(), path
        # null would be compared with the enumeration, and refused
        assert not {"enum", "nullable"} <= schema.keys(), path


def test_patterns_are_of_the_api_servers_kind(root: Schema) -> None:
    """Go's RE2 knows neither look-around nor references back."""
    for path, schema in nodes(root):
        if pattern := schema.get("pattern"):
            re.compile(pattern)
            assert not re.search(r"\(\?[=!<]|\\[1-9]", pattern), path


def test_every_key_of_the_models_is_in_it(root: Schema) -> None:
    spec = root["properties"]["spec"]
    assert spec["properties"].keys() == PolicySpecModel.model_fields.keys()
    signal = spec["properties"]["signals"]["items"]
    assert set(SIGNALS) <= signal["properties"].keys()


def test_its_defaults_are_those_of_the_models(root: Schema) -> None:
    spec = root["properties"]["spec"]
    shown = {
        name: value["default"] for name, value in spec["properties"].items() if "default" in value
    }
    assert shown["mode"] == "observe"
    assert shown["horizon"] == "1h"
    without, with_them = PolicySpecModel.model_validate({}), PolicySpecModel.model_validate(shown)
    assert without == with_them
    # Further down they depend on what else is there: floor is not for every kind of signal.
    deeper = [path for path, schema in nodes(spec) if "default" in schema and path.count(".") > 1]
    assert deeper == []


def test_lists_are_bounded_where_rules_look_into_them(root: Schema) -> None:
    spec = root["properties"]["spec"]["properties"]
    for found in (spec["signals"], spec["actions"], spec["guards"]["properties"]["freezes"]):
        assert found["maxItems"] <= 50
    for path, schema in nodes(root["properties"]["spec"]):
        for rule in schema.get("x-kubernetes-validations", ()):
            for name in re.findall(r"duration\(self\.(\w+)\)", rule["rule"]):
                assert schema["properties"][name]["maxLength"] <= 64, path


def test_rules_look_at_keys_that_are_there(root: Schema) -> None:
    seen = 0
    for path, schema in nodes(root):
        for rule in schema.get("x-kubernetes-validations", ()):
            named = set(re.findall(r"\bself\.(\w+)", rule["rule"]))
            assert named, path
            assert named <= schema["properties"].keys(), path
            bare = set(re.findall(r"(?<!has\()self\.(\w+)", rule["rule"])) - {
                name for name in named if f"has(self.{name})" in rule["rule"]
            }
            # what is not asked for with has() must always be there
            assert all("default" in schema["properties"][name] for name in bare), path
            seen += 1
    assert seen >= 8


def test_columns_show_what_a_status_holds(version: Schema, root: Schema) -> None:
    names = [column["name"] for column in version["additionalPrinterColumns"]]
    assert names[:6] == ["Ready", "Mode", "Watching", "Verdict", "Last action", "When"]
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"]
        if path.startswith((".metadata", ".status.conditions")):
            continue
        found = root
        for part in path.strip(".").split("."):
            found = found["properties"][part]
        of = {"date": "string"}.get(column["type"], column["type"])
        assert found["type"] == of, path
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": ["string", "object"]}, "no one type stands for"),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, "there are several"),
        ({"type": "string", "contentEncoding": "base64"}, "contentEncoding cannot be said"),
    ],
)
def test_what_cannot_be_said_is_no_silent_loss(schema: Schema, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        structural(schema, {})
