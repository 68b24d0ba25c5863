"""A child process of the stage: started on a leash, watched, ended by its pid."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rollbackd.demo import leash

STOP_TIMEOUT_S = 8.0
"""After SIGTERM, before SIGKILL: the daemon may be finishing a step."""

LOG_TAIL_CHARACTERS = 1500
"""How much of a log is shown when its process ended too early."""


class Child:
    """One process with its own log file.

    It is in a session of its own, so that Ctrl-C in the terminal reaches only the demo, which then
    ends its children in order.

    Args:
        name: for people and for the log's file name.
        command: the program and its arguments.
        directory: where the log goes.
        environment: added to ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.ended_at: float | None = None

    def start(self, *more: str) -> None:
        """Start the process, with more arguments if need be."""
        leashed = [sys.executable, "-S", "-E", leash.__file__, str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own command line, no shell)
                [*leashed, *self._command, *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )
        self.ended_at = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.runs() and self._process is not None else None

    def runs(self) -> bool:
        """Tell whether it runs now, and note when it was first seen to have ended."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        if self.ended_at is None:
            self.ended_at = time.monotonic()
        return False

    def send(self, signal_number: int) -> None:
        """Send a signal if it runs."""
        if self._process is not None and self.runs():
            self._process.send_signal(signal_number)

    def ask_to_stop(self) -> None:
        """Send SIGTERM without waiting."""
        if self._process is not None and self.runs():
            self._process.terminate()

    def stop(self) -> None:
        """End it and wait until it is gone; idempotent."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log_tail(self) -> str:
        """Return the end of its log."""
        try:
            return self.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].strip()
        except OSError:
            return ""
