"""``rollbackd wait`` beside the real daemon, which may come late, be killed, and come back."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.config.files import write
from tests.end_to_end.cluster import free_port
from tests.end_to_end.daemon_process import DaemonProcess

pytestmark = pytest.mark.slow

NOTHING = {"label": "v2", "instances": []}
CANARY = {"label": "v2", "instances": ["127.0.0.1:2"]}


def rollouts(canary: Mapping[str, object]) -> str:
    """Return a file of static rollouts; nobody answers at these addresses."""
    baseline = {"label": "v1", "instances": ["127.0.0.1:1"]}
    said = {"rollbackd.io/commit": "0123456789abcdef"}
    rollout = {"name": "shop", "baseline": baseline, "canary": canary, "annotations": said}
    text: str = yaml.safe_dump([rollout])
    return text


@contextmanager
def waiting(url: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "rollbackd", "wait", "shop", "--url", url, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(pipeline: "subprocess.Popen[str]", text: str) -> None:
    """Read on until it says this. Fails at the end of what it says."""
    assert pipeline.stderr is not None
    lines: list[str] = []
    for line in pipeline.stderr:
        lines.append(line)
        if text in line:
            return
    pytest.fail(f"it never said {text!r}, only {lines}")


@pytest.fixture
def daemon(tmp_path: Path) -> DaemonProcess:
    port = free_port()
    signal = {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}}
    limits = {"min_observation": "0s", "horizon": "5s", "warm_up": "0s"}
    config = {
        "tick": "500ms",
        "settle": "0s",
        "journal": {"url": f"sqlite:///{tmp_path / 'journal.db'}"},
        "http": {"listen": f"127.0.0.1:{port}"},
        "source": {"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
        "rollouts": {"static_file": str(tmp_path / "rollouts.yaml")},
        "policies": [{"name": "shop", "signals": [signal], **limits}],
    }
    (tmp_path / "rollouts.yaml").write_text(rollouts(NOTHING), encoding="utf-8")
    return DaemonProcess(write(tmp_path, config), port, tmp_path / "daemon.log")


def test_it_waits_for_the_daemon_the_rollout_and_the_end(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    with waiting(daemon.url, "--commit", "0123456", "--timeout", "5m") as pipeline:
        said(pipeline, "nothing listens there")
        with daemon:
            said(pipeline, "waiting for a rollout of shop")
            (tmp_path / "rollouts.yaml").write_text(rollouts(CANARY), encoding="utf-8")
            said(pipeline, "v1 → v2: warming")
            daemon.kill()
            daemon.start()
            assert pipeline.wait(timeout=180) == 4
        assert pipeline.stdout is not None
        assert "inconclusive" in pipeline.stdout.read()


def test_what_ended_before_is_not_what_is_waited_for(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    (tmp_path / "rollouts.yaml").write_text(rollouts(CANARY), encoding="utf-8")
    with daemon:
        daemon.wait_for_phase("inconclusive")
        with waiting(daemon.url, "--appear", "3s") as pipeline:
            assert pipeline.wait(timeout=120) == 6
        with waiting(daemon.url, "--commit", "0123456789") as pipeline:
            assert pipeline.wait(timeout=120) == 4
