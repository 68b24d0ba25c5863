"""The fake passes every check that a real kube-apiserver passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ROLLBACKD_SHARED", REPOSITORY.parent / "shared"))
SCRIPT = SHARED / "tools" / "kube_api_conformance.py"
STOP_SECONDS = 10
CONFORMANCE_SECONDS = 60


@pytest.fixture
def server_url() -> Iterator[str]:
    """Run the fake as developers do; it must say where it is, and end when told to."""
    command = [sys.executable, "-m", "tests.fakes.kube_api", "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().rpartition(" ")[2].strip()
        finally:
            server.terminate()
            assert server.wait(STOP_SECONDS) == 0


def test_passes_all_checks_of_the_conformance_script(server_url: str) -> None:
    assert SCRIPT.is_file(), (
        f"{SCRIPT} is missing: the checks live outside this repository, "
        "set ROLLBACKD_SHARED to the folder that holds tools/kube_api_conformance.py"
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT), server_url],
        capture_output=True,
        text=True,
        timeout=CONFORMANCE_SECONDS,
        check=False,
    )
    assert done.stdout.endswith("29/29\n"), done.stdout + done.stderr
