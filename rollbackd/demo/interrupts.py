"""Somebody wants the demo to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Ctrl-C and SIGTERM, both as KeyboardInterrupt, and neither ever lost.

    Python drops what a signal handler raises while a finaliser runs, so the frames of the play ask
    again. Only the main thread may set handlers; elsewhere nothing interrupts.
    """

    def __init__(self) -> None:
        self._wanted = False

    def check(self) -> None:
        """Raise KeyboardInterrupt when somebody wants the play to end."""
        if self._wanted:
            raise KeyboardInterrupt

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Take the signals over for as long as this lasts."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, self._interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted = True
        raise KeyboardInterrupt
