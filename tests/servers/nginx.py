"""A real NGINX on loopback in a directory of its own, for tests of the traffic switch."""

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = "/usr/sbin/nginx"
"""Debian's; not in the PATH of ordinary users."""

START_TIMEOUT_S = 10.0


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(claim: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Wait until the claim holds; return whether it came to hold in time."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Nginx:
    """An NGINX that proxies one port to ``upstream shop``, which stands in ``upstream_file``.

    Every answer says in ``X-Upstream`` which server gave it; failures are not hidden by a second
    try at another server.
    """

    def __init__(self, directory: Path, servers: Sequence[str]) -> None:
        self.port = free_port()
        self.config = directory / "nginx.conf"
        self.pid_file = directory / "nginx.pid"
        self.upstream_file = directory / "shop.conf"
        lines = "".join(f"    server {s} max_fails=0;\n" for s in servers)
        self.upstream_file.write_text(f"upstream shop {{\n{lines}}}\n")
        temporary = "".join(
            f"    {kind}_temp_path {directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.config.write_text(
            f"pid {self.pid_file};\n"
            f"error_log {directory}/error.log;\n"
            "daemon off;\nworker_processes 2;\n"
            "events { worker_connections 256; }\n"
            "http {\n"
            "    access_log off;\n"
            f"{temporary}"
            f"    include {self.upstream_file};\n"
            "    server {\n"
            f"        listen 127.0.0.1:{self.port};\n"
            "        location / {\n"
            "            proxy_pass http://shop;\n"
            "            proxy_next_upstream off;\n"
            "            add_header X-Upstream $upstream_addr always;\n"
            "        }\n    }\n}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._process = subprocess.Popen([PROGRAM, "-c", str(self.config)])
        if not eventually(self._answers, START_TIMEOUT_S):
            self.stop()
            raise TimeoutError("NGINX did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
            self._process = None

    def get(self) -> tuple[int, str]:
        """Send one request; return the status and the server that answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("X-Upstream", "")
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            self.get()
        except OSError:
            return False
        return True
