"""The stretches of time that are asked for, one after another, and what is said when one is lost."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from rollbackd.sources.http_reply import Trouble
from rollbackd.traces.book import TraceBook

log = structlog.get_logger()

Stretch = tuple[float, float]
"""Begin and end in seconds since the epoch, a step apart."""

CAVEAT_S = 600.0
"""How long it is told with the evidence that some of it is sampled, partial or lost."""
UNREADABLE_S = 60.0
"""How long it is told that a backend cannot be read; as long as it cannot be, it is told anew."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a backend is asked.

    Attributes:
        step_s: length of one question. settle_s: what is newer may not be searchable yet.
        longest_s: after an outage, what is older is given up.
    """

    step_s: float
    settle_s: float
    longest_s: float


@dataclass(slots=True)
class Stretches:
    """Where polling stands. Times are whole steps, so that no span is counted twice."""

    pace: Pace
    book: TraceBook
    name: str
    _until: float | None = field(default=None)
    _trouble: str = field(default="")

    def due(self, now: float) -> Iterator[Stretch]:
        """Yield the stretches to ask for, oldest first, until nothing more is complete.

        Each is one step and begins at a multiple of it: Tempo aligns ranges to their length, so that of
        a longer or a shifted one it would tell a part only. Ends when one is not ``done``.
        """
        step = self.pace.step_s
        end = (now - self.pace.settle_s) // step * step
        if self._until is None:
            self._until = end - step
        oldest = end - self.pace.longest_s // step * step
        if self._until < oldest:
            lost = oldest - self._until
            self.caution(f"{lost:.0f} s of traces were lost while {self.name} was away", now)
            self._until = oldest
        while (begin := self._until) < end:
            yield begin, begin + step
            if self._until == begin:
                return

    def done(self, until: float) -> None:
        """Note that everything up to a time was taken in."""
        self._until = until
        if self._trouble:
            log.info("trace backend answers again", backend=self.name)
            self._trouble = ""

    def failed(self, trouble: Trouble, now: float) -> None:
        """Note that the stretch is to be asked for again; told once for each kind of trouble."""
        if trouble.reason.value != self._trouble:
            log.warning("trace backend not readable", backend=self.name, reason=trouble.detail)
        self._trouble = trouble.reason.value
        self.book.caution(f"{self.name} cannot be read: {trouble.detail}", now + UNREADABLE_S)

    def caution(self, text: str, now: float) -> None:
        """Let something be told with the evidence."""
        self.book.caution(text, now + CAVEAT_S)
