"""The workflows, read: they run on GitHub only."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.helm_program import CHART

ROOT = CHART.parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WRITES = {
    ("image", "push"): {"packages"},
    ("chart", "push"): {"packages"},
    ("release", "image"): {"packages"},
    ("release", "chart"): {"packages"},
    ("release", "pypi"): {"id-token"},
}
"""The only jobs that may write, and what."""

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def test_there_is_one_for_each_thing_that_is_released() -> None:
    assert [path.stem for path in FILES] == ["chart", "image", "release", "test"]


@each_file
def test_actions_are_pinned_by_commit_and_say_which_version_that_is(path: Path) -> None:
    for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        if line.startswith("./"):
            assert (ROOT / line).is_file()
        else:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)


@each_file
def test_jobs_may_write_only_what_they_must(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        granted = job.get("permissions", {})
        writes = {scope for scope, access in granted.items() if access == "write"}
        assert writes == WRITES.get((path.stem, name), set())


@each_file
def test_no_job_runs_for_ever_or_leaves_its_token_behind(path: Path) -> None:
    workflow = read(path)
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 60
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each_file
def test_no_expression_is_pasted_into_a_script(path: Path) -> None:
    for step in steps(read(path)):
        assert "${{" not in step.get("run", ""), step


@each_file
def test_the_targets_of_make_are_there(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for step in steps(read(path)):
        assert set(re.findall(r"make ([a-z-]+)", step.get("run", ""))) <= targets
