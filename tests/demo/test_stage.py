"""The whole stage with the real daemon: set, supervised, and gone without a trace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rollbackd.demo.observer import Observer
from rollbackd.demo.stage import Stage, StageError
from tests.demo.processes import alive, descendants
from tests.servers.nginx import eventually

pytestmark = [pytest.mark.slow, pytest.mark.servers]

KEPT_OPEN = """
import sys, time
from pathlib import Path
from rollbackd.demo.stage import Stage
with Stage("none", Path(sys.argv[2]), seconds=60, no_nginx=sys.argv[1] == "splitter"):
    print("set", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("proxy", ["nginx", "splitter"])
def test_nothing_is_left_after_kill_9(proxy: str, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", KEPT_OPEN, proxy, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == "set\n"
        family = descendants(parent.pid)
        assert len(family) >= 7
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
        assert eventually(lambda: not any(alive(pid) for pid in family), 20.0)


def test_ctrl_c_ends_tidily(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-c", "from rollbackd.demo import run; raise SystemExit(run('none'))"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert demo.stdout is not None
    with demo.stdout:
        for line in demo.stdout:
            if "collecting the baseline's history" in line:
                break
        family = descendants(demo.pid)
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.wait(30) == 130
    assert "everything was ended" in rest
    assert len(family) >= 7
    assert not any(alive(pid) for pid in family)
    assert list(tmp_path.iterdir()) == []


def test_a_crashing_canary_is_restarted_and_a_dead_baseline_ends_the_demo(
    tmp_path: Path,
) -> None:
    others = descendants(os.getpid())  # servers that other tests of this process share
    with (
        Stage("crash", tmp_path, seconds=60, no_nginx=True) as stage,
        Observer(stage.daemon_address, stage.customers_address) as observer,
    ):
        assert all(actor.pid for actor in stage.actors())
        stage.admit_canary()
        assert stage.front.canary_is_admitted()
        stage.arm_fault()

        def has_crashed_twice() -> bool:
            stage.supervise()
            return stage.restarts >= 2

        def customers_saw_it() -> bool:
            counted = observer.customers()
            return counted is not None and counted.failed.get(stage.addresses.canary, 0) > 0

        assert eventually(has_crashed_twice, 40.0)
        assert eventually(customers_saw_it)
        assert eventually(lambda: observer.watch() is not None)
        victim = next(a.pid for a in stage.actors() if a.name == "baseline-1")
        assert victim is not None
        os.kill(victim, signal.SIGKILL)

        def is_noticed() -> bool:
            try:
                stage.supervise()
            except StageError as error:
                return "baseline-1 ended by itself" in str(error)
            return False

        assert eventually(is_noticed)
        family = descendants(os.getpid()) - others
    assert family
    assert not any(alive(pid) for pid in family)
