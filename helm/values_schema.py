"""Writes the chart's ``values.schema.json``: ``python -m helm.values_schema``.

The part under ``config`` is made from the models that read the daemon's configuration, the rest is
``chart_values.yaml``. Draft 7, which Helm 3 and Helm 4 both understand.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from rollbackd.config.models import json_schema

HERE = Path(__file__).parent
TARGET = HERE / "rollbackd" / "values.schema.json"

CHART_OWNED = ("journal", "leadership", "http")
"""Sections of the configuration that the chart writes; not to be set in ``config``."""

WAYS_IN = ("proxy", "kubernetes")
"""How people sign in: keys of the daemon's ``http`` that are set in the chart's."""

_MODELS = "#/$defs/"
_DEFINITIONS = "#/definitions/"


def values_schema() -> dict[str, Any]:
    """Return the schema of all values."""
    chart = yaml.safe_load((HERE / "chart_values.yaml").read_text(encoding="utf-8"))
    config = json_schema()
    del config["$schema"]
    definitions = {**chart["definitions"], **config.pop("$defs")}
    for section in CHART_OWNED:
        del config["properties"][section]
    ways_in = definitions["HttpModel"]["properties"]
    for way in WAYS_IN:
        chart["properties"]["http"]["properties"][way] = ways_in[way]
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **chart,
        "properties": {"config": config, **chart["properties"]},
    }
    schema["definitions"] = _used(schema["properties"], definitions)
    redirected: dict[str, Any] = _redirected(schema)
    return redirected


def _redirected(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Return a part of the schema with its references pointing to draft 7's ``definitions``."""
    match value:
        case dict():
            return {key: _redirected(item) for key, item in value.items()}
        case list():
            return [_redirected(item) for item in value]
        case str() if value.startswith(_MODELS):
            return value.replace(_MODELS, _DEFINITIONS)
        case _:
            return value


def _used(root: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return the definitions that the root refers to, and those that these refer to."""
    found: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        text = json.dumps(waiting.pop())
        for name, definition in definitions.items():
            referred = any(f'"{start}{name}"' in text for start in (_MODELS, _DEFINITIONS))
            if referred and name not in found:
                found[name] = definition
                waiting.append(definition)
    return {name: found[name] for name in sorted(found)}


def text() -> str:
    """Return the file's content."""
    return json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
