"""The stretches of time that are asked for, one after another, and what is said when one is lost."""

from dataclasses import dataclass, field

import structlog

from rollbackd.sources.http_reply import Trouble
from rollbackd.traces.book import TraceBook

log = structlog.get_logger()

CAVEAT_S = 600.0
"""How long it is told with the evidence that some of it is sampled, partial or lost."""


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

    def next(self, now: float) -> tuple[float, float] | None:
        """Return the stretch to ask for, or None when nothing new is complete."""
        step = self.pace.step_s
        end = (now - self.pace.settle_s) // step * step
        if self._until is None:
            self._until = end - step
        oldest = end - self.pace.longest_s // step * step
        if self._until < oldest:
            lost = oldest - self._until
            self.caution(f"{lost:.0f} s of traces were lost while {self.name} was away", now)
            self._until = oldest
        return (self._until, end) if end > self._until else None

    def done(self, until: float) -> None:
        """Note that everything up to a time was taken in."""
        self._until = until
        if self._trouble:
            log.info("trace backend answers again", backend=self.name)
            self._trouble = ""

    def failed(self, trouble: Trouble) -> None:
        """Note that the stretch is to be asked for again; told once for each kind of trouble."""
        if trouble.reason.value != self._trouble:
            log.warning("trace backend not readable", backend=self.name, reason=trouble.detail)
        self._trouble = trouble.reason.value

    def caution(self, text: str, now: float) -> None:
        """Let something be told with the evidence."""
        self.book.caution(text, now + CAVEAT_S)
