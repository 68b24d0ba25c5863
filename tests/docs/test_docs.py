"""The documentation builds without a warning, and what it tells people to write is accepted."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from analyzer.policy import Policy
from analyzer.signal import Selector, Signal
from rollbackd.catalogue import CATALOGUE
from rollbackd.cli import main
from rollbackd.config import load
from rollbackd.config.manifests import Limits, load_manifests
from tests.dashboards.exported import exposition
from tests.docs.blocks import PAGES, ROOT, Block, Kind, blocks, commands

BLOCKS = [pytest.param(block, id=block.name) for block in blocks()]
CHART = ROOT / "helm" / "rollbackd"
EXAMPLES = [
    pytest.param(file, id=file.stem)
    for file in sorted((ROOT / "examples").rglob("*.yaml"))
    if file.name != "slack-app-manifest.yaml"  # has a test of its own
]
REST: dict[str, Any] = {
    "source": {"prometheus": {"url": "http://prometheus.monitoring.svc:9090"}},
    "rollouts": {"kubernetes": {}},
    "actions": [{"name": "rollback", "kubernetes-rollback": {}}],
    "policies": [{"name": "default", "actions": ["rollback"]}],
}
"""What stands around a part of a configuration."""


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "reference" / "metrics.html").read_text(encoding="utf-8")
    missing = {name for name in documented() if name not in page}
    assert not missing
    page = (tmp_path / "reference" / "rollbackpolicy.html").read_text(encoding="utf-8")
    assert "spec.signals[].ratio" in page


def documented() -> set[str]:
    """Return the metrics that a daemon exports, as the page names them."""
    families = text_string_to_metric_families(exposition().decode())
    return {f"{f.name}_total" if f.type == "counter" else f.name for f in families}


def validate(file: Path) -> None:
    """Do what people do with the file: ``rollbackd validate``."""
    result = CliRunner().invoke(main, ["validate", str(file)])
    assert result.exit_code == 0, result.output
    assert "valid" in result.output


@pytest.mark.parametrize("block", BLOCKS)
def test_what_is_shown_is_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "rollbackd.yaml"
    match block.kind:
        case Kind.WHOLE:
            file.write_text(block.text, encoding="utf-8")
            validate(file)
        case Kind.PART:
            whole = REST | yaml.safe_load(block.text)
            file.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
            validate(file)
        case Kind.VALUES:
            defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
            schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
            jsonschema.validate(_merged(defaults, yaml.safe_load(block.text)), schema)
        case Kind.POLICY:
            file.write_text(block.text, encoding="utf-8")
            assert load_manifests(file, Limits()).policies
        case Kind.MANIFEST | Kind.COLLECTOR | Kind.TEMPO | Kind.WORKFLOW:
            assert isinstance(yaml.safe_load(block.text), dict)
        case None:
            kinds = ", ".join(f'"{kind}"' for kind in Kind)
            pytest.fail(f"say in the first line what it is: one of {kinds}\n\n{block.text}")


GUIDES = [
    pytest.param(page, id=page.stem)
    for page in PAGES
    if page.parent.name == "how-to" and not page.stem.startswith("add-")
]


@pytest.mark.parametrize("page", GUIDES)
def test_every_guide_shows_what_to_configure(page: Path) -> None:
    kinds = {block.kind for block in blocks() if block.page == page}
    assert kinds & {Kind.WHOLE, Kind.PART, Kind.VALUES, Kind.WORKFLOW}


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.stem) for p in PAGES if p.parent.name == "how-to"]
)
def test_every_guide_can_be_found(page: Path) -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"how-to/{page.stem}\n" in index or "how-to/*" in index


def _merged(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Merge as Helm does: maps key by key, all else replaced, null takes away."""
    merged = dict(defaults)
    for key, value in values.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if values.get(key, value) is not None}


@pytest.mark.parametrize("file", EXAMPLES)
def test_every_example_is_valid(file: Path) -> None:
    validate(file)


OURS = [pytest.param(words, id=name) for name, words in commands() if words[0] == "rollbackd"]
MADE = [pytest.param(words, id=name) for name, words in commands() if words[0] == "make"]


@pytest.mark.parametrize("words", OURS)
def test_every_command_that_is_shown_can_be_given(words: list[str]) -> None:
    command: click.Command = main
    rest = words[1:]
    while isinstance(command, click.Group):
        name, *rest = rest
        assert name in command.commands, name
        command = command.commands[name]
    command.make_context("rollbackd", rest)  # parses, and does nothing


@pytest.mark.parametrize("words", MADE)
def test_every_target_of_make_that_is_shown_is_there(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words[1] in targets


POLICIES = sorted((ROOT / "examples" / "policies").glob("*.yaml"))
BEYOND_THE_CATALOGUE = {
    "jobs_total": "the reader's own, and the file says so",
    "job_duration_seconds_bucket": "the reader's own, and the file says so",
}
"""Metrics of examples that are in no ready-made signal, and who exposes them."""


def test_the_examples_of_policies_are_those_that_people_ask_for() -> None:
    wanted = {"http", "grpc", "istio", "linkerd", "jvm", "queue-worker", "batch-worker"}
    assert {file.stem for file in POLICIES} == wanted | {"database-clients"}


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_examples_name_metrics_that_exist(file: Path) -> None:
    known = {found.metric for offer in CATALOGUE for found in selectors(offer.signal)}
    used = {s.metric for rule in load(file).policies for s in _measured(rule.policy)}
    assert used <= known | BEYOND_THE_CATALOGUE.keys()
    assert not known & BEYOND_THE_CATALOGUE.keys()


def _measured(policy: Policy) -> Iterator[Selector]:
    for signal in policy.signals:
        yield from selectors(signal)


def selectors(signal: Signal) -> Iterator[Selector]:
    """Yield what a signal reads."""
    values = (getattr(signal, field.name) for field in fields(signal))
    yield from (value for value in values if isinstance(value, Selector))


def test_the_example_of_a_policy_names_its_namespace() -> None:
    found = load_manifests(ROOT / "examples" / "rollback-policy.yaml", Limits())
    assert [read.rule.policy.name for read in found.policies] == ["shop/web", "shop/rest"]
