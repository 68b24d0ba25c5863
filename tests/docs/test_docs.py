"""The documentation builds without a warning, and what it tells people to write is accepted."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rollbackd.config import load
from rollbackd.config.manifests import Limits, load_manifests

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WHOLE = re.compile(r"```yaml\n# rollbackd\.yaml\n(.*?)```", re.DOTALL)
"""A block that says it is a whole configuration file."""
MANIFEST = re.compile(r"```yaml\n(apiVersion: rollbackd\.io/.*?)```", re.DOTALL)
"""A block that is a RollbackPolicy."""
CONFIGURATIONS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(WHOLE.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "reference" / "metrics.html").read_text(encoding="utf-8")
    assert "rollbackd_ticks_total" in page
    page = (tmp_path / "reference" / "rollbackpolicy.html").read_text(encoding="utf-8")
    assert "spec.signals[].ratio" in page


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_configuration_that_is_shown_is_valid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rollbackd.yaml"
    file.write_text(text, encoding="utf-8")
    assert load(file).policies


def test_a_policy_that_is_shown_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    shown = [block for page in PAGES for block in MANIFEST.findall(page.read_text("utf-8"))]
    file.write_text("---\n".join(shown), encoding="utf-8")
    assert len(load_manifests(file, Limits()).policies) == len(shown) > 0


def test_the_example_of_a_policy_is_valid() -> None:
    found = load_manifests(ROOT / "examples" / "rollback-policy.yaml", Limits())
    assert [read.rule.policy.name for read in found.policies] == ["shop/web", "shop/rest"]
