"""A real Prometheus of one's own: Debian's binary on a free loopback port, data in a folder."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.servers.remote_write import WrittenSeries, encoded

_READY_WITHIN_S = 60.0
_POLL_S = 0.05
_INSTALL = (
    "is not installed, and these tests need the real one: `apt-get install prometheus` "
    "(Debian 12 has 2.42, which brings promtool too), or deselect them with -m 'not servers'"
)


class PrometheusServer:
    """A Prometheus process; use it as a context manager.

    Args:
        folder: for its data, configuration and log; kept between ``stop`` and ``start``.
        targets: ``host:port`` to scrape; none means that only ``write`` and ``backfill`` bring data.
        targets_file: more targets, in a ``file_sd`` file that is read again when it changes.
        interval_s: of scrapes. flags: further command-line flags.

    Raises:
        AssertionError: prometheus or promtool is not installed, or did not get ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[str] = (),
        targets_file: Path | None = None,
        interval_s: float = 1.0,
        flags: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._flags = tuple(flags)
        self._binary = _installed("prometheus")
        self._promtool = _installed("promtool")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._write_config(targets, targets_file, interval_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What the process has written."""
        return (self._folder / "log").read_text(encoding="utf-8")

    def start(self) -> None:
        """Start the process and return once it answers queries."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--web.enable-remote-write-receiver",
                    "--log.level=warn",
                    *self._flags,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        self._await_ready()

    def stop(self) -> None:
        """End the process in good order; its data stays."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the process at once, as a crash would; its data stays."""
        self._end(kill=True)

    def write(self, series: Iterable[WrittenSeries]) -> None:
        """Write samples by remote-write.

        An empty server takes any time; later, nothing much older than its newest sample.
        """
        reply = requests.post(
            f"{self.url}/api/v1/write",
            data=encoded(series),
            headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
            timeout=30,
        )
        assert reply.status_code == 204, f"remote-write: {reply.status_code} {reply.text}"

    def backfill(self, openmetrics: str) -> None:
        """Make blocks of OpenMetrics text with timestamps; call it before ``start``."""
        source = self._folder / "backfill.om"
        source.write_text(openmetrics, encoding="utf-8")
        made = subprocess.run(
            [
                self._promtool,
                *("tsdb", "create-blocks-from", "openmetrics", source),
                self._folder / "data",
            ],
            capture_output=True,
            check=False,
            text=True,
        )
        assert made.returncode == 0, f"promtool: {made.stdout}{made.stderr}"

    def now(self) -> float:
        """Return the time of the server's clock, in seconds since the epoch."""
        reply = requests.get(f"{self.url}/api/v1/query", params={"query": "time()"}, timeout=30)
        return float(reply.json()["data"]["result"][1])

    def await_value(self, promql: str, wanted: float) -> None:
        """Return once the sum of an instant query has this value."""
        deadline = time.monotonic() + _READY_WITHIN_S
        seen: object = None
        while time.monotonic() < deadline:
            reply = requests.get(
                f"{self.url}/api/v1/query", params={"query": f"sum({promql})"}, timeout=30
            )
            result = reply.json()["data"]["result"]
            seen = float(result[0]["value"][1]) if result else None
            if seen == wanted:
                return
            time.sleep(_POLL_S)
        raise AssertionError(f"{promql} is {seen}, not {wanted}, after {_READY_WITHIN_S:g} s")

    def _write_config(
        self, targets: Sequence[str], targets_file: Path | None, interval_s: float
    ) -> None:
        interval = f"{round(interval_s * 1000)}ms"
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [
                {
                    "job_name": "tests",
                    "static_configs": [{"targets": list(targets)}],
                    "file_sd_configs": [{"files": [str(targets_file)]}] if targets_file else [],
                }
            ],
        }
        # JSON is YAML
        path = self._folder / "prometheus.yml"
        path.write_text(json.dumps(config), encoding="utf-8")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, f"prometheus ended: {self.log}"
            try:
                if requests.get(f"{self.url}/-/ready", timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(_POLL_S)
        self.kill()
        raise AssertionError(f"prometheus is not ready after {_READY_WITHIN_S:g} s: {self.log}")

    def _end(self, *, kill: bool) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(timeout=_READY_WITHIN_S)
        self._process = None


def _installed(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} {_INSTALL}"
    return path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
