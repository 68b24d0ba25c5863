"""The reference, made from the code: what may be configured, the commands, the metrics.

Written when the documentation is built, so that it cannot differ from the code.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from rollbackd.cli import main
from rollbackd.config.custom_resource import definition
from rollbackd.config.models import json_schema
from rollbackd.telemetry import Telemetry


def write_all(folder: Path) -> None:
    """Write every page of the reference into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {
        "configuration.md": configuration(json_schema()),
        "rollbackpolicy.md": custom_resource(definition()),
        "commands.md": commands(main),
        "metrics.md": metrics(),
    }
    for name, text in pages.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def configuration(schema: Mapping[str, Any]) -> str:
    """Return the page of the configuration file: one section for each mapping in it."""
    parts = ["# Configuration\n", f"{schema.get('description', '')}\n"]
    parts += ["`rollbackd schema` prints the JSON Schema, for editors.\n", "## The file\n"]
    models = schema.get("$defs", {})
    parts += _keys(schema, models)
    for name, model in sorted(models.items()):
        if "properties" in model:
            parts += [f"(cfg-{name.lower()})=\n## {_title(name)}\n"]
            parts += [f"{model.get('description', '')}\n", *_keys(model, models)]
    return "\n".join(parts)


def _keys(model: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[str]:
    required = set(model.get("required", ()))
    for key, value in model.get("properties", {}).items():
        default = f"Default: `{value['default']}`. " if value.get("default") is not None else ""
        needed = "Required. " if key in required else default
        about = " ".join(str(value.get("description", "")).split())
        yield f"`{key}`\n: {_kind(value, models)}. {needed}{about}\n"


def _kind(value: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Return what a value may be, in words, with links to the sections of mappings."""
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        if "properties" not in models[name]:
            return _kind(models[name], models)
        return f"[{_title(name)}](#cfg-{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            kinds = [_kind(each, models) for each in value[several] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return " or ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}), models)}"
    return {"object": "mapping", "string": "text", "boolean": "true or false"}.get(
        str(value.get("type")), str(value.get("type", "any value"))
    )


def custom_resource(made: Mapping[str, Any]) -> str:
    """Return the page of a custom resource: its columns, and one section for each mapping in it."""
    spec = made["spec"]
    (version,) = spec["versions"]
    names = spec["names"]
    schema = version["schema"]["openAPIV3Schema"]
    short = ", ".join(f"`{name}`" for name in names["shortNames"])
    parts = [
        f"# {names['kind']}\n",
        f"`apiVersion: {spec['group']}/{version['name']}`; short name: {short}.\n",
        f"{schema['description']}\n",
        "How to use it: [](../how-to/policies-as-resources.md).\n",
        "| column | of |",
        "|---|---|",
        *(f"| {c['name']} | `{c['jsonPath']}` |" for c in version["additionalPrinterColumns"]),
        "",
    ]
    for key in ("spec", "status"):
        parts += _mapping(schema["properties"][key], key)
    return "\n".join(parts)


def _mapping(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the section of one mapping, and then those of the mappings in it."""
    yield f"(rbp-{_anchor(path)})=\n## {path}\n"
    yield f"{schema.get('description', '')}\n"
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"Refused: {rule['message']}.\n"
    required = set(schema.get("required", ()))
    inner = []
    for key, value in schema["properties"].items():
        of, suffix = (value["items"], "[]") if value.get("type") == "array" else (value, "")
        where = f"{path}.{key}{suffix}"
        kind = _kind({**value, "type": _type(value)}, {})
        if "properties" in of:
            inner.append((of, where))
            link = f"[{where}](#rbp-{_anchor(where)})"
            kind = f"list of {link}" if suffix else link
        default = f"Default: `{value['default']}`. " if "default" in value else ""
        needed = "Required. " if key in required else default
        yield f"`{key}`\n: {kind}. {needed}{value.get('description', '')}\n"
    for of, where in inner:
        yield from _mapping(of, where)


def _type(value: Mapping[str, Any]) -> str:
    return "number or text" if value.get("x-kubernetes-int-or-string") else str(value["type"])


def _anchor(path: str) -> str:
    return path.replace(".", "-").replace("[]", "").replace("_", "-").lower()


def _title(name: str) -> str:
    words = name.removesuffix("Model")
    return "".join(f" {c.lower()}" if c.isupper() and i else c for i, c in enumerate(words))


def commands(group: click.Group) -> str:
    """Return the page of the commands: what ``--help`` says of each."""
    parts = ["# Commands\n"]
    for path, command in _commands(group, "rollbackd"):
        context = click.Context(command, info_name=path, max_content_width=88, terminal_width=88)
        parts += [f"## {path}\n", f"```text\n{command.get_help(context)}\n```\n"]
    return "\n".join(parts)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


_METRICS = (
    "On `/metrics`. Label sets are closed and exist from the start with 0; what names a rollout is "
    "bounded: at most 200 rollouts are exported, an ended one for five minutes."
)


def metrics() -> str:
    """Return the page of the metrics, as the daemon exports them after its start."""
    telemetry = Telemetry(version="docs", environ={})
    telemetry.ticked(0.1, 1.0, ok=True)
    telemetry.follow(lambda: ())
    text = telemetry.exposition().decode()
    telemetry.close()
    lines = [
        "# Metrics\n",
        f"{_METRICS}\n",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for family in text_string_to_metric_families(text):
        labels = sorted({name for sample in family.samples for name in sample.labels} - {"le"})
        shown = ", ".join(f"`{label}`" for label in labels) or "–"
        suffix = "_total" if family.type == "counter" else ""
        lines.append(
            f"| `{family.name}{suffix}` | {family.type} | {shown} | {family.documentation} |"
        )
    return "\n".join(lines) + "\n"
