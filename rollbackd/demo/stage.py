"""The stage: every process of the demo but the demo itself, started in order and ended together."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from rollbackd.demo.configuration import BASELINE, CANARY, Files, Listening
from rollbackd.demo.front import Addresses, Front, NginxFront, SplitterFront, nginx_program
from rollbackd.demo.process import Child

BASELINE_PROCESSES = 3

RATE = 200.0
"""Requests a second in all; a quarter of them reaches the canary when it is admitted."""

DEPENDENCY = "dependency"
"""The fault of what both versions depend on."""

READY_TIMEOUT_S = 30.0
"""For one process to answer; on a busy machine Python imports take their time."""

READY_POLL_S = 0.05

RESTART_DELAY_S, MAX_RESTART_DELAY_S = 0.5, 8.0
"""Between a crash and the supervisor's restart: doubled each time up to the second, as Kubernetes
does. Without that, starting Python again and again would slow the whole machine down."""


class StageError(Exception):
    """The stage could not be set: a process did not start, or ended by itself; says which."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One process of the stage, for people."""

    name: str
    role: str
    pid: int | None
    restarts: int


class Stage:
    """The shop, its customers, the proxy between them, and the daemon that watches.

    A context manager: entering starts everything and waits until it answers; leaving ends
    everything, whatever happened. All processes are children of this one and end with it.

    Args:
        fault: what the canary can be made to suffer, see ``service.FAULTS``; or ``dependency``.
        directory: where configuration, journal and logs go; it must exist.
        seconds: how long the customers come, at most.
        no_nginx: use the built-in splitter even where NGINX is installed.
    """

    def __init__(self, fault: str, directory: Path, *, seconds: float, no_nginx: bool) -> None:
        self._seconds = seconds
        self._fault = fault
        self.directory = directory
        ports = _free_ports(BASELINE_PROCESSES + 6)
        listen = [f"127.0.0.1:{port}" for port in ports]
        self._stock_port = ports[BASELINE_PROCESSES]
        self.traces_address = listen[BASELINE_PROCESSES + 1]
        self.customers_address, self.daemon_address = listen[-2:]
        self.addresses = Addresses(listen[-3], tuple(listen[:BASELINE_PROCESSES]), listen[-4])
        self.files = Files(self.directory)
        program = None if no_nginx else nginx_program()
        self.front: Front = (
            NginxFront(program, self.directory, self.addresses)
            if program
            else SplitterFront(self.directory, self.addresses)
        )
        self._children = self._cast()
        self._canary = self._children["canary"]
        self.restarts = 0
        self.fault_armed = False

    def _cast(self) -> dict[str, Child]:
        """Return all processes, the servers of the shop first and in the order of addresses."""
        module = [sys.executable, "-m"]
        commands = {
            f"baseline-{i + 1}": self._service(address, BASELINE, "none")
            for i, address in enumerate(self.addresses.baseline)
        }
        fault = "none" if self._fault == DEPENDENCY else self._fault
        commands["canary"] = self._service(self.addresses.canary, CANARY, fault)
        commands["proxy"] = list(self.front.command)
        metrics_port = self.customers_address.rpartition(":")[2]
        commands["customers"] = [
            *(*module, "rollbackd.demo.load", "--target", self.addresses.front),
            *("--metrics-port", metrics_port, "--rate", str(RATE)),
            *("--seconds", str(self._seconds + READY_TIMEOUT_S)),
        ]
        commands["rollbackd"] = [*module, "rollbackd", "run", "--config", str(self.files.config)]
        commands["stock"] = [*module, "rollbackd.demo.stock", "--port", str(self._stock_port)]
        return {
            name: Child(
                name, argv, self.directory, self._exporting() if name in self._shop() else None
            )
            for name, argv in commands.items()
        }

    def _shop(self) -> list[str]:
        """Return the names of the processes that serve customers, in the order of addresses."""
        return [*(f"baseline-{i + 1}" for i in range(BASELINE_PROCESSES)), "canary"]

    def _exporting(self) -> dict[str, str]:
        """Return the environment that makes OpenTelemetry's SDK send spans to the daemon, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.traces_address}",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }

    def _service(self, address: str, version: str, fault: str) -> list[str]:
        port = address.rpartition(":")[2]
        command = [sys.executable, "-m", "rollbackd.demo.service", "--port", port]
        command += ["--version", version, "--fault", fault]
        return [*command, "--stock", str(self._stock_port)]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        self.front.write()
        action = self.front.action()
        self.files.write_config(
            Listening(self.daemon_address, self.traces_address),
            self.addresses,
            self.customers_address,
            action,
            # elsewhere they only keep company: a demo's traffic rules their harm out too late
            traces_decide=self._fault in {DEPENDENCY, "n-plus-one"},
        )
        self.files.write_rollout(self.addresses, canary_serves=False)
        ready = {
            name: f"http://{address}/metrics"
            for name, address in zip(self._children, self.addresses.servers, strict=False)
        }
        ready["proxy"] = f"http://{self.addresses.front}/"
        ready["rollbackd"] = f"http://{self.daemon_address}/readyz"
        self._children["stock"].start()
        for name in ready:  # at once: Python's imports are most of it
            self._children[name].start()
        for name, url in ready.items():
            self._await_answer(self._children[name], url)
        # last: a customer before the shop is open would be counted as a failure of the baseline
        self._children["customers"].start()
        self._await_answer(self._children["customers"], f"http://{self.customers_address}/metrics")

    def _await_answer(self, child: Child, url: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _answers(url):
            if not child.runs():
                raise StageError(f"{child.name} ended while starting:\n{child.log_tail()}")
            if time.monotonic() > deadline:
                raise StageError(
                    f"{child.name} was not ready within {READY_TIMEOUT_S:g} s:\n{child.log_tail()}"
                )
            time.sleep(READY_POLL_S)

    def _stop(self) -> None:
        """End all processes, the last started first: nobody asks a server that is gone."""
        children = list(reversed(self._children.values()))
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.stop()

    def admit_canary(self) -> None:
        """Give the canary its share of traffic, and tell the daemon of the rollout."""
        pid = self._children["proxy"].pid
        if pid is None:
            raise StageError("the proxy has ended")
        self.front.admit_canary(pid)
        self.files.write_rollout(self.addresses, canary_serves=True)

    def arm_fault(self) -> None:
        """Make the canary go bad, or what everybody depends on."""
        self.fault_armed = True
        guilty = self._children["stock"] if self._fault == DEPENDENCY else self._canary
        guilty.send(signal.SIGUSR1)

    def supervise(self) -> None:
        """Restart a crashed canary after a moment; call this often.

        Raises:
            StageError: another process has ended, which no fault of the demo does.
        """
        for child in self._children.values():
            if child is not self._canary and not child.runs():
                raise StageError(f"{child.name} ended by itself:\n{child.log_tail()}")
        if self._canary.runs() or self._canary.ended_at is None:
            return
        delay = min(RESTART_DELAY_S * 2**self.restarts, MAX_RESTART_DELAY_S)
        if time.monotonic() - self._canary.ended_at >= delay:
            self.restarts += 1
            self._canary.start(*(["--armed"] if self.fault_armed else []))

    def actors(self) -> Iterator[Actor]:
        """Yield what runs now, for people."""
        roles = {
            "canary": f"shop {CANARY} at {self.addresses.canary}",
            "proxy": f"{self.front.name} at {self.addresses.front}",
            "customers": f"{RATE:g} requests a second",
            "stock": f"what the shop asks, at port {self._stock_port}",
            "rollbackd": f"the daemon at {self.daemon_address}",
        }
        for i, address in enumerate(self.addresses.baseline):
            roles[f"baseline-{i + 1}"] = f"shop {BASELINE} at {address}"
        for name, child in self._children.items():
            restarts = self.restarts if child is self._canary else 0
            yield Actor(name, roles[name], child.pid, restarts)


def _answers(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the environment would not reach these
        try:
            return session.get(url, timeout=READY_TIMEOUT_S).ok
        except requests.RequestException:
            return False


def _free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on now, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
