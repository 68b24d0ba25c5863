import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.values_schema import CHART_OWNED, TARGET, text, values_schema
from tests.helm.helm_program import CHART

ROOT = CHART.parents[1]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return values_schema()


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return read


def test_the_committed_schema_is_the_one_of_the_models() -> None:
    committed = TARGET.read_text(encoding="utf-8")
    assert committed == text(), "run: python -m helm.values_schema"


def test_references_lead_to_definitions_that_are_there(schema: dict[str, Any]) -> None:
    everything = json.dumps(schema)
    assert "$defs" not in everything
    for name in schema["definitions"]:
        assert f'"#/definitions/{name}"' in everything


def test_what_the_chart_writes_cannot_be_set(schema: dict[str, Any]) -> None:
    assert not set(CHART_OWNED) & set(schema["properties"]["config"]["properties"])
    assert not {"HttpModel", "JournalModel"} & set(schema["definitions"])


def test_every_key_has_its_default_in_values_yaml(
    schema: dict[str, Any], values: dict[str, Any]
) -> None:
    for key, described in schema["properties"].items():
        if key in {"global", "config"}:
            continue
        assert key in values
        for inner in described.get("properties", {}):
            assert inner in values[key], f"{key}.{inner}"


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == project["version"]
