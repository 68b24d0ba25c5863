"""The reference, made from the code: what may be configured, the commands, metrics, the API.

Written when the documentation is built, so that it cannot differ from the code.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import BaseModel

from analyzer.regions.life import Region
from analyzer.trains.life import waiting
from analyzer.watch import Phase
from rollbackd.cli import main
from rollbackd.config.custom_resource import definition
from rollbackd.config.models import json_schema
from rollbackd.http import BODIES
from rollbackd.kubernetes.cache import CacheState, Snapshot
from rollbackd.regions.doors import RegionOrder
from rollbackd.telemetry import CONCLUSIONS, Telemetry
from rollbackd.trains.doors import TrainOrder, WithdrawalOrder
from rollbackd.views import SignalPoint, SignalView, WatchView
from rollbackd.web.openapi import Bodies, document

ROOT = Path(__file__).parents[1]


def write_all(folder: Path) -> None:
    """Write every page of the reference into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {
        "configuration.md": configuration(json_schema()),
        "rollbackpolicy.md": custom_resource(definition()),
        "commands.md": commands(main),
        "metrics.md": metrics(),
        "policy.md": policy(json_schema()),
        "api.md": api(document(version("rollbackd"), _bodies())),
        "examples.md": examples(ROOT / "examples"),
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


_POLICY = """\
# Policies

What a policy may say: `policies` of the configuration is a list of these. The first that matches a
rollout is used, or the one that the workload names by the annotation `rollbackd.io/policy`. How to
choose: [margins and tiers](../how-to/choose-margins-and-tiers.md).
"""


def policy(schema: Mapping[str, Any]) -> str:
    """Return the page of one policy: its keys, and every mapping within it, links included."""
    models = schema["$defs"]
    names = list(_within("PolicyModel", models))
    parts = [_POLICY, *_keys(models["PolicyModel"], models)]
    for name in names[1:]:
        parts += [f"## {_title(name)}\n", f"{models[name].get('description', '')}\n"]
        parts += _keys(models[name], models)
    own = {f"](#cfg-{name.lower()})": f"](#{_slug(name)})" for name in names}
    text = "\n".join(parts)
    for there, here in own.items():
        text = text.replace(there, here)
    return text


def _within(name: str, models: Mapping[str, Any]) -> Iterator[str]:
    """Yield a mapping and those within it, each once, in the order in which they are met."""
    seen: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        if current not in seen and "properties" in models.get(current, {}):
            seen[current] = None
            waiting += _references(models[current])
    yield from seen


def _references(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield str(part["$ref"]).rpartition("/")[2]
        for each in part.values():
            yield from _references(each)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def _slug(name: str) -> str:
    return _title(name).strip().lower().replace(" ", "-")


_API = """\
# API

JSON over HTTP on `http.listen`. The daemon describes it itself at `/api/v1/openapi.json` (OpenAPI 3.1).
Reading needs no token; deciding needs `Authorization: Bearer`, with `http.token_file`. Numbers that JSON
has none for are the words `"NaN"`, `"Infinity"` and `"-Infinity"`. Keys may be added; ignore those
you do not know. Paths of regions and trains are there where some are configured.
"""


def _bodies() -> Bodies:
    """Return everything that a daemon takes which has regions and trains."""
    orders: dict[str, type[BaseModel]] = {"region": RegionOrder, "train": TrainOrder}
    return replace(BODIES, orders=orders, withdrawal=WithdrawalOrder)


def api(description: Mapping[str, Any]) -> str:
    """Return the page of the API, from its own description."""
    parts = [_API]
    for path, methods in description["paths"].items():
        for method, call in methods.items():
            parts += [f"## {method.upper()} {path}\n", f"{call['summary']}.\n"]
            if "requestBody" in call:
                parts.append(f"Takes {_content(call['requestBody'])}.\n")
            parts += ["| status | meaning | answer |", "|---|---|---|"]
            for status, answer in call["responses"].items():
                parts.append(f"| {status} | {answer['description']} | {_content(answer)} |")
            parts.append("")
    for name, schema in sorted(description["components"]["schemas"].items()):
        about = " ".join(str(schema.get("description", "")).split())
        parts += [f"## {name}\n", f"{about}\n" if about else ""]
        required = set(schema.get("required", ()))
        for key, value in schema.get("properties", {}).items():
            needed = "" if key in required else ", may be missing"
            parts.append(f"- `{key}`: {_json_kind(value)}{needed}")
        if "enum" in schema:
            parts.append("One of " + ", ".join(f"`{each}`" for each in schema["enum"]) + ".")
        parts.append("")
    return "\n".join(parts)


def _content(holder: Mapping[str, Any]) -> str:
    return _json_kind(holder["content"]["application/json"]["schema"])


def _json_kind(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        kinds = (_json_kind(each) for each in value["anyOf"] if each.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return " or ".join(f"`{each}`" for each in value["enum"])
    if value.get("type") == "array":
        return f"list of {_json_kind(value['items'])}"
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(
        str(value.get("type")), str(value.get("type", "any value"))
    )


def examples(folder: Path) -> str:
    """Return the page that shows every example whole; each is checked by a test."""
    parts = [
        "# Examples\n",
        "Whole files, in `examples/` of the repository. Tests validate each.\n",
    ]
    for file in sorted(folder.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8").rstrip()
        parts += [f"## {file.relative_to(folder)}\n", f"```yaml\n{text}\n```\n"]
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


_METRICS = """\
On `/metrics`, in Prometheus' text format, or in OpenMetrics when that is asked for.

Label sets are closed: their values stand here, and counters and histograms exist from the start with 0. Only these labels have values that are not known beforehand: `workload`, `canary` and `signal`
name rollouts, of which at most 200 are exported, an ended one for five minutes; `notifier` is a name in your
configuration. With ten signals each, that is some 16,000 series at most, and usually a few hundred.
"""
_OPEN = frozenset({"workload", "canary", "signal", "notifier", "region", "train"})
_POINT = SignalPoint(0.0, 0.02, 0.01, 2.0, 1.5, 3.0, 5.0)
_SIGNAL = SignalView("errors", "ratio", "", "critical", 1.25, 200.0, "", None, (_POINT,))


class _Pods:
    path = "/api/v1/pods"

    def snapshot(self) -> Snapshot[str]:
        return Snapshot((), CacheState.SYNCED, 0.5)


def _exposition() -> str:
    """Return what a daemon exports that has done a little of everything."""
    telemetry = Telemetry(version="docs", environ={})
    telemetry.ticked(0.1, 1.0, ok=True)
    telemetry.expect_notifier("NAME")
    telemetry.follow_regions(
        lambda: (Region("eu", since=0.0),), lambda: (waiting("checkout", ("eu", "us"), 0.0),)
    )
    telemetry.follow_caches(lambda: (_Pods(),))
    for phase in CONCLUSIONS:
        telemetry.concluded(phase, 60.0, None)
    views = tuple(_view(phase, time.time()) for phase in Phase)
    telemetry.follow(lambda: views)
    text = telemetry.exposition().decode()
    telemetry.close()
    return text


def _view(phase: Phase, now: float) -> WatchView:
    return WatchView(
        id=phase.value,
        workload="shop/checkout",
        canary="v2",
        baseline="v1",
        policy="default",
        mode="observe",
        phase=phase.value,
        verdict="inconclusive",
        reasons=(),
        evidence=5.0,
        limit=100.0,
        started_at=now,
        updated_at=now,
        final=phase.final,
        outlook="",
        plan=None,
        signals=(_SIGNAL,),
        timeline=(),
    )


def metrics() -> str:
    """Return the page of the metrics: what a daemon exports, with the values of every label."""
    lines = ["# Metrics\n", _METRICS, "| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in text_string_to_metric_families(_exposition()):
        suffix = "_total" if family.type == "counter" else ""
        labels = _labels(family.samples) or "–"
        lines.append(
            f"| `{family.name}{suffix}` | {family.type} | {labels} | {family.documentation} |"
        )
    return "\n".join(lines) + "\n"


def _labels(samples: Iterable[Sample]) -> str:
    """Return the labels of samples, and the values of those whose values are known beforehand."""
    values: dict[str, dict[str, None]] = {}
    for sample in samples:
        for label, value in sample.labels.items():
            values.setdefault(label, {})[value] = None
    shown = []
    for label, found in sorted(values.items()):
        if label in _OPEN:
            shown.append(f"`{label}`")
        elif label != "le":
            shown.append(f"`{label}`: " + ", ".join(found))
    return "; ".join(shown)
