"""The fake cluster's clock: real time, which a test may move forward."""

from __future__ import annotations

import time


class Clock:
    """Tell the time; `skip` makes hours pass at once (progress deadlines, grace periods)."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time() + self._skipped

    def skip(self, seconds: float) -> None:
        """Move the clock forward."""
        if seconds < 0:
            raise ValueError(f"the clock only moves forward, not by {seconds} s")
        self._skipped += seconds
