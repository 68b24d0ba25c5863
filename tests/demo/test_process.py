"""Children of the stage: started, watched, ended; and none outlives a parent killed with -9."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollbackd.demo import process
from rollbackd.demo.front import Addresses, NginxFront
from rollbackd.demo.process import Child
from tests.demo.processes import alive, descendants
from tests.servers.nginx import PROGRAM, Nginx, eventually, free_port

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]

PARENT = """
import sys, time
from pathlib import Path
from rollbackd.demo.process import Child
child = Child("child", sys.argv[2:], Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


def up(child: Child) -> bool:
    return "up" in child.log_tail()


def test_a_child_runs_until_it_is_stopped(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEPER, tmp_path)
    assert not child.runs()
    child.stop()
    child.start()
    assert eventually(lambda: up(child))
    pid = child.pid
    assert pid is not None
    assert alive(pid)
    child.stop()
    assert not alive(pid)
    assert child.pid is None
    child.stop()


def test_when_a_child_ended_is_known_and_it_can_be_started_again(tmp_path: Path) -> None:
    child = Child("short", [sys.executable, "-c", "import sys; print(sys.argv)"], tmp_path)
    child.start()
    assert eventually(lambda: not child.runs())
    assert 0 < (child.ended_at or 0) <= time.monotonic()
    child.start("--armed")
    assert not child.ended_at
    assert eventually(lambda: not child.runs())
    assert child.log_tail().endswith("['-c', '--armed']")


def test_a_child_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOP_TIMEOUT_S", 0.2)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    child = Child("stubborn", [sys.executable, "-c", code], tmp_path)
    child.start()
    assert eventually(lambda: up(child))
    pid = child.pid
    assert pid is not None
    child.stop()
    assert not alive(pid)


def test_a_program_that_does_not_exist_is_told_in_the_log(tmp_path: Path) -> None:
    child = Child("nobody", ["/no/such/program"], tmp_path)
    child.start()
    assert eventually(lambda: not child.runs())
    assert "/no/such/program" in child.log_tail() or "No such file" in child.log_tail()


def killed_with_its_parent(directory: Path, command: list[str], offspring: int) -> None:
    """Kill a parent with -9 and see everything below it end.

    ``offspring``: how many processes the child itself starts, waited for before the kill.
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory), *command],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert eventually(lambda: len(descendants(child)) >= offspring)
        family = {child, *descendants(child)}
        assert all(alive(pid) for pid in family)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
        assert eventually(lambda: not any(alive(pid) for pid in family))
    finally:
        parent.kill()
        parent.wait(10)
        assert parent.stdout is not None
        parent.stdout.close()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    killed_with_its_parent(tmp_path, SLEEPER, offspring=0)


@pytest.mark.servers
def test_nginx_and_its_workers_die_with_their_parent(tmp_path: Path) -> None:
    nobody = tuple(f"127.0.0.1:{free_port()}" for _ in range(2))
    addresses = Addresses(f"127.0.0.1:{free_port()}", nobody[:1], nobody[1])
    front = NginxFront(PROGRAM, tmp_path, addresses)
    front.write()
    killed_with_its_parent(tmp_path, list(front.command), offspring=1)


def test_a_leash_without_its_parent_starts_nothing(tmp_path: Path) -> None:
    from rollbackd.demo import leash

    witness = tmp_path / "witness"
    command = [sys.executable, "-S", "-E", leash.__file__, "1", "touch", str(witness)]
    assert subprocess.run(command, timeout=20, check=False).returncode == 1
    assert not witness.exists()


@pytest.mark.servers
def test_the_demos_nginx_admits_the_canary(tmp_path: Path) -> None:
    """Before, its upstream file lists the canary as down; after, NGINX sends requests to it."""
    with Nginx(tmp_path, ["127.0.0.1:9"]) as shop:
        pass
    canary, baseline = (f"127.0.0.1:{free_port()}" for _ in range(2))
    front = NginxFront(PROGRAM, tmp_path, Addresses(f"127.0.0.1:{shop.port}", (baseline,), canary))
    front.write()
    child = Child("proxy", front.command, tmp_path)
    child.start()
    try:
        assert eventually(lambda: _upstreams(shop) == {baseline})
        assert not front.canary_is_admitted()
        pid = child.pid
        assert pid is not None
        front.admit_canary(pid)
        assert front.canary_is_admitted()
        assert eventually(lambda: _upstreams(shop) == {baseline, canary})
    finally:
        child.stop()


def _upstreams(shop: Nginx) -> set[str]:
    try:
        return {shop.get()[1] for _ in range(4)}
    except OSError:
        return set()
