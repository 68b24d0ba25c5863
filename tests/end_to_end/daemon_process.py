"""The real daemon as a process that tests start, kill, ask and wait for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import requests

from rollbackd.views import WatchView
from rollbackd.views_json import views_from_json

POLL_S = 0.1
T = TypeVar("T")


class DaemonProcess:
    """``python -m rollbackd run`` with a configuration; use it as a context manager."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        self._command = [sys.executable, "-m", "rollbackd", "run", "--config", str(config)]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            if self._process is not None:
                self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and return once it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1"}
            )
        self.wait_until(self._is_ready, seconds=180)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the daemon ended: {self.log}"
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, *, seconds: float = 60) -> int:
        """Wait until it ended by itself; return its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout=seconds)
        self._process = None
        return code

    def get(self, path: str) -> requests.Response:
        """Return what it answers to a GET."""
        return requests.get(f"{self.url}{path}", timeout=5)

    def kill(self) -> None:
        """End it as a crash does: kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def terminate(self) -> int:
        """Ask it to stop; return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def views(self) -> list[WatchView]:
        return views_from_json(requests.get(f"{self.url}/api/v1/watches", timeout=5).json())

    def metrics(self) -> str:
        return requests.get(f"{self.url}/metrics", timeout=5).text

    def view(self) -> WatchView | None:
        """Return the only watch, or None when there is none yet."""
        views = self.views()
        assert len(views) <= 1, [v.id for v in views]
        return views[0] if views else None

    def wait_for_phase(self, *phases: str, seconds: float = 90) -> WatchView:
        """Return the watch once it is in one of these phases."""
        seen: list[str] = []

        def reached() -> WatchView | None:
            view = self.view()
            if view is not None and view.phase not in seen[-1:]:
                seen.append(view.phase)
            return view if view is not None and view.phase in phases else None

        try:
            return self.wait_until(reached, seconds=seconds)
        except TimeoutError as error:
            view = self.view()
            known = (view.reasons, [s.missing for s in view.signals]) if view else "no watch"
            text = f"phases {seen}, not {phases}; {known}; log:\n{self.log}"
            raise AssertionError(text) from error

    def wait_until(self, holds: Callable[[], T | None], *, seconds: float = 60) -> T:
        """Ask again and again until the answer is true; return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := holds():
                return answer
            time.sleep(POLL_S)
        raise TimeoutError(f"not within {seconds} s; log:\n{self.log}")
