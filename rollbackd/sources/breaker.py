"""A circuit breaker: a server that is down is asked now and then, not by every query."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from analyzer.sample import Absence, Missing
from rollbackd.sources.http_reply import Trouble

_SERVER_TROUBLES = frozenset({Absence.SOURCE_DOWN, Absence.TIMEOUT, Absence.THROTTLED})
"""What speaks against the server. Other troubles are answers: it is there and works."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """When to leave a server alone, and for how long.

    Attributes:
        tolerated: 5xx replies and time-outs in a row before the server counts as down; a single
            heavy query may fail this way and must not blind the others. A refused connection, and
            a request to stay away (429), count at once.
        first_pause_s: until the first probe. It doubles with each probe that fails, up to
        longest_pause_s: which bounds how late a recovery is noticed.
    """

    tolerated: int = 3
    first_pause_s: float = 1.0
    longest_pause_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse pauses that cannot be."""
        if self.tolerated < 1 or not 0 < self.first_pause_s <= self.longest_pause_s:
            raise ValueError(
                f"needs tolerated >= 1 and 0 < first_pause_s <= longest_pause_s: {self}"
            )


class Breaker:
    """Thread-safe; closed (all pass), open (none pass), or probing (one passes).

    Args:
        backoff: thresholds and pauses. monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, backoff: Backoff, monotonic: Callable[[], float]) -> None:
        self._backoff = backoff
        self._monotonic = monotonic
        self._lock = Lock()
        self._failures = 0
        self._pause_s = 0.0
        self._retry_at = 0.0
        self._cause: Missing | None = None
        """Why it is open; None = closed."""
        self._probing = False

    def refusal(self) -> Missing | None:
        """Return None when the caller may ask the server, and must then report how it went.

        While open, one caller at a time is let through once the pause is over.
        """
        with self._lock:
            if self._cause is None:
                return None
            now = self._monotonic()
            if now >= self._retry_at:
                # should the probe never report, the next one may go after another pause
                self._retry_at = now + self._pause_s
                self._probing = True
                return None
            throttled = self._cause.reason is Absence.THROTTLED
            return Missing(
                Absence.THROTTLED if throttled else Absence.SOURCE_DOWN,
                f"not asked, next attempt in {self._retry_at - now:.1f} s; "
                f"last trouble: {self._cause}",
            )

    def succeeded(self) -> bool:
        """Report an answer; return whether this ended an outage."""
        with self._lock:
            ended = self._cause is not None
            self._cause, self._failures, self._probing, self._pause_s = None, 0, False, 0.0
            return ended

    def failed(self, trouble: Trouble) -> bool:
        """Report a trouble; return whether this began an outage.

        Troubles that are answers (a refused query, say) count as success.
        """
        if trouble.reason not in _SERVER_TROUBLES:
            self.succeeded()
            return False
        with self._lock:
            self._failures += 1
            at_once = trouble.unreachable or trouble.reason is Absence.THROTTLED
            if self._cause is not None and not self._probing:
                return False  # under way when it opened: counted already
            if self._cause is None and not at_once and self._failures < self._backoff.tolerated:
                return False
            began = self._cause is None
            longest = self._backoff.longest_pause_s
            wished = trouble.retry_after_s or 0.0
            self._pause_s = min(longest, max(self._backoff.first_pause_s, 2 * self._pause_s))
            self._retry_at = self._monotonic() + min(longest, max(self._pause_s, wished))
            self._cause, self._probing = trouble.missing, False
            return began
