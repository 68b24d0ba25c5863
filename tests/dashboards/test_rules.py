import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards.exported import Labels, exported, strangers

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "rules" / "rollbackd.yaml"
CASES = Path(__file__).parent / "rules_cases.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "How to check", "What to do"]


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules that are an "alert" or a "record"."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def cases() -> list[dict[str, Any]]:
    """Return promtool's cases of alerts."""
    tests = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    return [case for test in tests for case in test.get("alert_rule_test", [])]


def known() -> dict[str, Labels]:
    """Return what the daemon exports and what the rules record."""
    labels: Labels = {}
    return {**exported(), **{rule["record"]: labels for rule in rules("record")}}


def promtool(*arguments: str | Path) -> None:
    program = shutil.which("promtool")
    assert program is not None, (
        "promtool is not installed: `apt-get install prometheus`, or deselect this test with "
        "-m 'not servers'"
    )
    done = subprocess.run([program, *arguments], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_ask_only_for_what_is_exported() -> None:
    series = known()
    for rule in (*rules("alert"), *rules("record")):
        assert strangers(rule["expr"], series) == set(), rule


@pytest.mark.servers
def test_prometheus_accepts_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.servers
def test_alerts_come_when_they_should_and_only_then() -> None:
    promtool("test", "rules", CASES)


def test_every_alert_has_a_case_in_which_it_comes_and_one_in_which_it_does_not() -> None:
    comes = {case["alertname"] for case in cases() if case["exp_alerts"]}
    stays_away = {case["alertname"] for case in cases() if not case["exp_alerts"]}
    names = {rule["alert"] for rule in rules("alert")}
    assert comes == stays_away == names


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {}
    for rule in rules("alert"):
        page = ROOT / rule["annotations"]["runbook"]
        heading, *sections = re.findall(
            r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert (heading, sections) == (rule["alert"], SECTIONS)
        pages[page.name] = rule
    assert {path.name for path in RUNBOOKS.glob("rollbackd-*.md")} == set(pages)


def test_every_alert_says_how_urgent_it_is_and_what_is_wrong() -> None:
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"].endswith(".")
