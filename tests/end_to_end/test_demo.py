"""The demo as a user runs it: a process, its exit code, what it prints, the report it leaves."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]

COMPANY_S = 240
"""Longer than any demo may take, even beside other tests on two cores."""


def demo(report: Path, fault: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rollbackd", "demo", "--fault", fault, "--plain"]
    command += ["--report", str(report), *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=COMPANY_S, cwd=report.parent
    )


@pytest.mark.parametrize(
    ("fault", "outcome", "options"),
    [
        ("errors", "rolled back", ()),
        ("latency", "rolled back", ()),
        ("crash", "rolled back", ()),
        ("n-plus-one", "more `SELECT items` calls per request", ()),
        ("dependency", "shared incident", ()),
        ("none", "healthy", ()),
        ("errors", "rolled back", ("--no-nginx",)),
    ],
    ids=["errors", "latency", "crash", "n plus one", "dependency", "none", "errors without NGINX"],
)
def test_the_demo_ends_as_it_should(
    tmp_path: Path, fault: str, outcome: str, options: tuple[str, ...]
) -> None:
    report = tmp_path / "report.html"
    done = demo(report, fault, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(report) in done.stdout
    page = report.read_text(encoding="utf-8")
    assert outcome in page
    assert page.count("<svg") >= 3
