"""Both traffic switches, against a real NGINX and the real splitter process."""

import dataclasses
import http.client
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from actions.nginx_switch import Installation, NginxSwitch, UpstreamBlock, serving_workers
from actions.plan import Step
from actions.ports import Conflict, Permanent, StepState, Transient
from actions.splitter_switch import SplitterSwitch
from actions.upstream_file import Servers, UpstreamSwitch
from analyzer.rollout import Instance, Revision, Rollout, Workload
from tests.servers.nginx import PROGRAM, Nginx, eventually, free_port

LOAD_REQUESTS = 400
"""Per switch under load: enough to be running before, while and after the proxy reloads."""


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (inherited name)
        pass


@contextmanager
def backend() -> Iterator[str]:
    """Run one HTTP server; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        server.socket.settimeout(1)  # a caller that hangs up at once must not block accept()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def good() -> Iterator[str]:
    with backend() as address:
        yield address


@pytest.fixture
def bad() -> Iterator[str]:
    with backend() as address:
        yield address


def rollout(good: str, bad: str) -> Rollout:
    return Rollout(
        workload=Workload("local", "demo", "Static", "shop"),
        canary=Revision("v2", "v2"),
        baseline=Revision("v1", "v1"),
        canary_instances=(Instance((bad,)),),
        baseline_instances=(Instance((good,)),),
        id_labels=("instance",),
        started_at=0.0,
    )


@dataclasses.dataclass
class Setup:
    """A running proxy with two servers in rotation, and the switch that owns its file."""

    switch: UpstreamSwitch
    file: Path
    get: Callable[[], tuple[int, str]]
    spoil: str
    """A content of the right layout that the proxy refuses."""

    def served(self) -> set[str]:
        return {self.get()[1] for _ in range(12)}


@contextmanager
def nginx_setup(directory: Path, good: str, bad: str) -> Iterator[Setup]:
    with Nginx(directory, [good, bad]) as nginx:
        switch = NginxSwitch(
            upstream_file=nginx.upstream_file,
            upstream="shop",
            installation=Installation(program=PROGRAM, config=nginx.config),
        )
        spoil = f"upstream shop {{ server {good}; server {bad} no-such-word; }}\n"
        yield Setup(switch, nginx.upstream_file, nginx.get, spoil)


@contextmanager
def splitter_setup(directory: Path, good: str, bad: str) -> Iterator[Setup]:
    port = free_port()
    file = directory / "weights.json"
    file.write_text(json.dumps({"admin": f"127.0.0.1:{port}", "servers": {good: 1, bad: 1}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "rollbackd.demo.splitter", "--file", str(file)]
    )

    def get() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("X-Upstream", "")
        finally:
            connection.close()

    def up() -> bool:
        try:
            get()
        except OSError:
            return False
        return True

    try:
        assert eventually(up, 20.0)
        yield Setup(SplitterSwitch(file=file), file, get, spoil="")
    finally:
        process.terminate()
        process.wait(10)


SETUPS = [
    pytest.param(nginx_setup, id="nginx", marks=pytest.mark.servers),
    pytest.param(splitter_setup, id="splitter"),
]


@pytest.fixture(params=SETUPS)
def setup(request: pytest.FixtureRequest, tmp_path: Path, good: str, bad: str) -> Iterator[Setup]:
    with request.param(tmp_path, good, bad) as running:
        yield running


@pytest.fixture
def step(setup: Setup, good: str, bad: str) -> Step:
    draft = setup.switch.propose(rollout(good, bad))
    assert draft.refusals == ()
    (only,) = draft.steps
    return only


@pytest.mark.usefixtures("bad")
def test_switches_without_a_failed_request_under_load(setup: Setup, step: Step, good: str) -> None:
    assert len(setup.served()) == 2
    switched = threading.Event()

    def ask(_: int) -> tuple[bool, int, str]:
        was_switched = switched.is_set()  # before the request is sent
        return (was_switched, *setup.get())

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, range(LOAD_REQUESTS))
        setup.switch.perform(step)
        switched.set()
        seen = list(answers) + [ask(0) for _ in range(12)]
    assert {status for _, status, _ in seen} == {200}
    assert {server for after, _, server in seen if after} == {good}
    assert setup.switch.inspect(step) is StepState.DONE


def test_before_it_is_performed_a_step_is_pending_and_nothing_changed(
    setup: Setup, step: Step, bad: str
) -> None:
    assert setup.switch.inspect(step) is StepState.PENDING
    assert bad in setup.served()
    assert bad in step.describe()


def test_performing_twice_writes_once(setup: Setup, step: Step) -> None:
    setup.switch.perform(step)
    first = setup.file.stat()
    setup.switch.perform(step)
    second = setup.file.stat()
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_the_file_keeps_its_mode_and_nothing_is_left_beside_it(setup: Setup, step: Step) -> None:
    setup.file.chmod(0o640)
    before = {p.name for p in setup.file.parent.iterdir()}
    setup.switch.perform(step)
    assert setup.file.stat().st_mode & 0o7777 == 0o640
    assert {p.name for p in setup.file.parent.iterdir()} == before


def test_a_symbolic_link_stays_one(setup: Setup, step: Step, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.conf"
    setup.file.rename(real)
    setup.file.symlink_to(real)
    setup.switch.perform(step)
    assert setup.file.is_symlink()
    assert real.read_text() == step.desired["content"]


def test_a_change_by_somebody_else_is_a_conflict(setup: Setup, step: Step) -> None:
    text = setup.file.read_text() + "\n"
    setup.file.write_text(text)
    assert setup.switch.inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict, match="somebody else"):
        setup.switch.perform(step)
    assert setup.file.read_text() == text


def test_after_the_switch_there_is_nothing_to_propose(
    setup: Setup, step: Step, good: str, bad: str
) -> None:
    setup.switch.perform(step)
    (reason,) = setup.switch.propose(rollout(good, bad)).refusals
    assert f"the canary ({bad}) takes no traffic" in reason


def test_refuses_to_leave_no_baseline(setup: Setup, bad: str) -> None:
    (reason,) = setup.switch.propose(rollout("127.0.0.1:1", bad)).refusals
    assert "no baseline server would be left" in reason


def test_an_unreadable_file_is_refused(setup: Setup, good: str, bad: str) -> None:
    setup.file.unlink()
    (reason,) = setup.switch.propose(rollout(good, bad)).refusals
    assert "No such file" in reason


def test_a_file_that_is_not_ours_is_refused(setup: Setup, good: str, bad: str) -> None:
    setup.file.write_text("server { listen 80; }\n")
    (reason,) = setup.switch.propose(rollout(good, bad)).refusals
    assert "not ours to change" in reason


def test_a_huge_or_binary_file_is_refused(setup: Setup, good: str, bad: str) -> None:
    setup.file.write_text("# " + "x" * 70_000)
    assert "too large" in setup.switch.propose(rollout(good, bad)).refusals[0]
    setup.file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in setup.switch.propose(rollout(good, bad)).refusals[0]


def test_content_the_proxy_refuses_is_put_back(setup: Setup, step: Step, bad: str) -> None:
    """Nothing is reloaded: the proxy goes on with what it had."""
    before = setup.file.read_text()
    broken = dataclasses.replace(
        step, desired={**step.desired, **_content(setup.spoil), "summary": "break it"}
    )
    with pytest.raises(Permanent):
        setup.switch.perform(broken)
    assert setup.file.read_text() == before
    assert bad in setup.served()


def _content(text: str) -> dict[str, str]:
    from actions.upstream_file import digest

    return {"content": text, "sha256": digest(text)}


def _die_after_writing(switch: UpstreamSwitch, step: Step) -> None:
    """Perform the step in this process, which kills itself when the file has been written."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    switch._proxy.load = die  # type: ignore[method-assign]
    switch.perform(step)


def test_a_kill_between_write_and_reload_is_finished_by_the_next_perform(
    setup: Setup, step: Step, good: str, bad: str
) -> None:
    victim = multiprocessing.get_context("fork").Process(
        target=_die_after_writing, args=(setup.switch, step)
    )
    victim.start()
    victim.join(20)
    assert victim.exitcode == -signal.SIGKILL
    assert setup.file.read_text() == step.desired["content"]
    assert setup.served() == {good, bad}, "written, but not in use"
    assert setup.switch.inspect(step) is StepState.PENDING
    setup.switch.perform(step)
    assert setup.switch.inspect(step) is StepState.DONE
    assert setup.served() == {good}


def test_a_left_over_temporary_file_does_not_matter(setup: Setup, step: Step, good: str) -> None:
    (setup.file.parent / f".{setup.file.name}.rollbackd-new").write_text("half of a wri")
    setup.switch.perform(step)
    assert setup.served() == {good}


def test_a_step_for_another_file_is_refused(setup: Setup, step: Step) -> None:
    other = dataclasses.replace(step, target={**step.target, "file": "/elsewhere"})
    with pytest.raises(Permanent, match="/elsewhere"):
        setup.switch.inspect(other)


def test_a_server_cannot_be_on_both_sides() -> None:
    with pytest.raises(ValueError, match="cannot be both"):
        Servers(baseline=frozenset({"a:1", "b:1"}), canary=frozenset({"b:1"}))


# NGINX alone


@pytest.fixture
def nginx(tmp_path: Path, good: str, bad: str) -> Iterator[Nginx]:
    with Nginx(tmp_path, [good, bad]) as running:
        yield running


def installed(nginx: Nginx) -> Installation:
    return Installation(program=PROGRAM, config=nginx.config)


def switch_for(nginx: Nginx, installation: Installation | None = None) -> NginxSwitch:
    return NginxSwitch(
        upstream_file=nginx.upstream_file,
        upstream="shop",
        installation=installation or installed(nginx),
    )


def propose(switch: NginxSwitch, good: str, bad: str) -> Step:
    (step,) = switch.propose(rollout(good, bad)).steps
    return step


@pytest.mark.servers
def test_the_workers_are_replaced(nginx: Nginx, good: str, bad: str) -> None:
    master = int(nginx.pid_file.read_text())
    before = {w.pid for w in serving_workers(master)}
    switch = switch_for(nginx)
    switch.perform(propose(switch, good, bad))
    after = {w.pid for w in serving_workers(master)}
    assert len(before) == len(after) == 2
    assert not before & after


@pytest.mark.servers
def test_nginx_says_why_it_refuses(nginx: Nginx, good: str, bad: str) -> None:
    switch = switch_for(nginx)
    step = propose(switch, good, bad)
    nginx.config.write_text(nginx.config.read_text().replace("http {", "http { no_such_word on;"))
    with pytest.raises(Permanent, match='unknown directive "no_such_word"'):
        switch.perform(step)
    assert switch.inspect(step) is StepState.PENDING
    assert nginx.upstream_file.read_text() == step.expected["content"]


@pytest.mark.servers
def test_a_stale_pid_file_stops_the_switch_before_it_writes(
    nginx: Nginx, good: str, bad: str
) -> None:
    switch = switch_for(nginx)
    step = propose(switch, good, bad)
    pid = nginx.pid_file.read_text()
    nginx.pid_file.write_text(f"{os.getpid()}\n")
    with pytest.raises(Transient, match=f"stale: process {os.getpid()} is not an NGINX master"):
        switch.perform(step)
    assert nginx.upstream_file.read_text() == step.expected["content"]
    nginx.pid_file.write_text(pid)
    switch.perform(step)


@pytest.mark.servers
def test_a_stopped_nginx_is_waited_for(nginx: Nginx, good: str, bad: str) -> None:
    switch = switch_for(nginx)
    step = propose(switch, good, bad)
    nginx.stop()
    with pytest.raises(Transient, match="NGINX does not run"):
        switch.perform(step)
    nginx.start()
    switch.perform(step)
    assert {nginx.get()[1] for _ in range(6)} == {good}


@pytest.mark.servers
def test_a_machine_without_nginx_is_refused(nginx: Nginx, good: str, bad: str) -> None:
    switch = switch_for(nginx, Installation(program="no-such-nginx"))
    (reason,) = switch.propose(rollout(good, bad)).refusals
    assert 'NGINX is not installed: there is no program "no-such-nginx"' in reason


@pytest.mark.servers
@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user of a child")
def test_without_permission_to_signal_it_is_refused(good: str, bad: str) -> None:
    """As user nobody, where the directory may be written: the master may not be signalled."""
    with tempfile.TemporaryDirectory() as name, Nginx(Path(name), [good, bad]) as nginx:
        Path(name).chmod(0o777)
        heard, told = multiprocessing.Pipe(duplex=False)

        def as_nobody() -> None:
            os.setgid(65534)
            os.setuid(65534)
            told.send(switch_for(nginx).propose(rollout(good, bad)).refusals)

        child = multiprocessing.get_context("fork").Process(target=as_nobody)
        child.start()
        assert heard.poll(20)
        (reason,) = heard.recv()
        child.join(10)
    assert "no permission to signal the NGINX master" in reason


@pytest.mark.servers
def test_a_probe_that_fails_keeps_the_step_open(nginx: Nginx, good: str, bad: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/"
    impatient = dataclasses.replace(installed(nginx), probe=nobody, load_timeout_s=1.0)
    switch = switch_for(nginx, impatient)
    step = propose(switch, good, bad)
    with pytest.raises(Transient, match="is not in use"):
        switch.perform(step)
    assert switch.inspect(step) is StepState.PENDING
    itself = f"http://127.0.0.1:{nginx.port}/"
    healed = switch_for(nginx, dataclasses.replace(installed(nginx), probe=itself))
    assert healed.inspect(step) is StepState.DONE


@pytest.mark.servers
def test_blue_green_goes_back_to_blue(nginx: Nginx, good: str, bad: str) -> None:
    text = (
        f"upstream shop {{\n  server {good} down; # blue\n  server {bad} weight=2; # green\n}}\n"
    )
    nginx.upstream_file.write_text(text)
    os.kill(int(nginx.pid_file.read_text()), signal.SIGHUP)
    assert eventually(lambda: {nginx.get()[1] for _ in range(6)} == {bad})
    switch = switch_for(nginx)
    step = propose(switch, good, bad)
    assert f"and put {good} back" in step.describe()
    switch.perform(step)
    assert {nginx.get()[1] for _ in range(6)} == {good}
    assert nginx.upstream_file.read_text() == (
        f"upstream shop {{\n  server {good}; # blue\n  server {bad} weight=2 down; # green\n}}\n"
    )


# The file's layout


BLOCK = UpstreamBlock(Path("shop.conf"), "shop")


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("upstream shop { server a; }", {"a:80": True}),
        ("upstream shop{server A:81 down;}", {"a:81": False}),
        ('upstream shop { server "a:81"; }', {"a:81": True}),
        ("upstream shop { server unix:/run/a.sock; }", {"unix:/run/a.sock": True}),
        ("upstream shop { server [::1]:81 weight=2; }", {"[::1]:81": True}),
        ("# c }\nupstream shop { least_conn; # server x;\n server a:1\n down ; }", {"a:1": False}),
        ("upstream shop { server downtown:1; }", {"downtown:1": True}),
    ],
)
def test_reads_servers(text: str, servers: dict[str, bool]) -> None:
    assert BLOCK.servers(text) == servers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "upstream other { server a; }",
        "upstream shop { server a; } upstream other { server b; }",
        "upstream shop { server a; } keepalive 3;",
        "upstream shop { server a; } upstream shop { server a; }",
        "upstream shop { server a; ",
        "upstream shop { server a }",
        "} upstream shop { server a; }",
        ";",
        "include others.conf; upstream shop { server a; }",
    ],
)
def test_refuses_files_with_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="not ours to change"):
        BLOCK.servers(text)


def test_a_switch_changes_nothing_else() -> None:
    text = "upstream shop {\n  server a:1 weight=3 # c\n ;\n\tserver b:1 down;\n  zone z 64k;\n}\n"
    switched = BLOCK.switched(text, off={"a:1"}, on={"b:1"})
    assert switched == (
        "upstream shop {\n  server a:1 weight=3 down # c\n ;\n\tserver b:1;\n  zone z 64k;\n}\n"
    )
    assert BLOCK.switched(switched, off={"b:1"}, on={"a:1"}) == text


def test_switching_is_idempotent() -> None:
    text = "upstream shop { server a:1; server b:1; }"
    once = BLOCK.switched(text, off={"b:1"}, on=())
    assert BLOCK.switched(once, off={"b:1"}, on=()) == once
