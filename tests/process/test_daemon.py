"""Start and end of the process: what prevents a start is told in a line, what was begun is kept."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from actions.ports import Entry
from rollbackd.config import load
from rollbackd.config.settings import Config
from rollbackd.daemon import BROKEN, Daemon, run
from rollbackd.store.journal import SqlJournal
from rollbackd.store.reader import JournalReader
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.end_to_end.daemon_process import DaemonProcess
from tests.fakes.kube_api import NeverReady, ReadyAfter
from tests.kubernetes.shop import cluster, deploy, image, manifest, settle, writes
from tests.process.begun_rollback import NOW, begun_rollback


def journal_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'journal.db'}"


def config(folder: Path, **parts: object) -> Config:
    """Return a configuration that scrapes nobody and watches nothing."""
    (folder / "rollouts.json").write_text("[]")
    quiet = {
        "tick": "1s",
        "journal": {"url": journal_url(folder)},
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "source": {"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
        "rollouts": {"static_file": "rollouts.json"},
        "actions": [],
    }
    return load(write(folder, minimal() | quiet | parts))


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert [thread for thread in left if thread.is_alive()] == []


def refusal(config: Config, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a daemon that cannot start; return its one line of complaint."""
    capsys.readouterr()
    assert run(config) == BROKEN
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rollbackd cannot run: ")
    return line


# Starts that fail


def test_a_port_in_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = config(tmp_path, http={"listen": f"127.0.0.1:{port}"})
        line = refusal(taken, capsys)
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line
    SqlJournal.open(journal_url(tmp_path)).close()  # it was given back


def test_a_journal_of_another_daemon_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SqlJournal.open(journal_url(tmp_path))
    line = refusal(config(tmp_path), capsys)
    assert "only one rollbackd may write" in line
    other.append(Entry(NOW, "", "daemon", "", {}))
    other.close()


def test_a_journal_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = config(tmp_path, journal={"url": "sqlite:////proc/rollbackd/journal.db"})
    assert "Make the directory exist and be writable" in refusal(nowhere, capsys)


def test_a_secret_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"prometheus": {"url": "http://prom:9090", "bearer_token_env": "NOBODY_SET_THIS"}}
    assert "NOBODY_SET_THIS" in refusal(config(tmp_path, source=source), capsys)


# A start, and an end in good order


def test_it_starts_gets_ready_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Daemon(config(tmp_path)) as daemon:
        url = f"http://127.0.0.1:{daemon.port}"
        ready = threading.Event()
        for _ in range(200):
            if requests.get(f"{url}/readyz", timeout=5).status_code == 200:
                break
            ready.wait(0.05)
        assert requests.get(f"{url}/readyz", timeout=5).text == "ready\n"
        assert requests.get(f"{url}/api/v1/watches", timeout=5).json() == []
        metrics = requests.get(f"{url}/metrics", timeout=5).text
        assert 'rollbackd_ticks_total{outcome="failed"} 0.0' in metrics
        port = daemon.port
    with socket.create_server(("127.0.0.1", port)):
        pass
    SqlJournal.open(journal_url(tmp_path)).close()


# A step in flight


def steps(folder: Path) -> list[str]:
    with JournalReader.open(journal_url(folder)) as journal:
        return [e.kind for e in journal.entries() if e.kind.startswith("step")]


def test_sigterm_in_the_middle_of_a_step_hands_it_over(tmp_path: Path) -> None:
    port = free_port()
    with cluster() as (api, connection):
        api.create(manifest())
        settle(api)
        deploy(api, "shop:2")
        settle(api)
        with SqlJournal.open(journal_url(tmp_path)) as journal:
            journal.append(*begun_rollback(api, connection))
        file = config(
            tmp_path,
            http={"listen": f"127.0.0.1:{port}"},
            rollouts={"kubernetes": {"server": api.url}},
            actions=[{"name": "rollback", "kubernetes-rollback": {}}],
        ).file
        api.set_readiness(NeverReady())  # the restored pods: the change takes no effect
        with DaemonProcess(file, port, tmp_path / "log") as daemon:
            daemon.wait_until(lambda: image(api) == "shop:1")
            assert daemon.terminate() == 0
            assert steps(tmp_path) == ["step-started"]
            assert "Traceback" not in daemon.log
            api.set_readiness(ReadyAfter(0.0))
            daemon.start()
            view = daemon.wait_for_phase("verifying", "needs a human")
            assert view.phase == "verifying"
        assert steps(tmp_path) == ["step-started", "step-done"]
        assert writes(api) == 1
