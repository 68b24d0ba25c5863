"""A lease in memory that keeps the promises of the port, and can be made to fail."""

from dataclasses import replace
from threading import Lock

from actions.ports import Conflict
from rollbackd.leadership.lease import Lease


class MemoryLease:
    """Implements ``LeaseStore``; thread-safe.

    ``failures``: what the next calls raise, in order; None lets one pass. ``lost_answers``: what
    the next writes raise after they took place.
    """

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.failures: list[Exception | None] = []
        self.lost_answers: list[Exception | None] = []
        self._lock = Lock()

    def read(self) -> Lease | None:
        self._fail(self.failures)
        return self.lease

    def write(self, lease: Lease, seen: Lease | None) -> Lease:
        self._fail(self.failures)
        with self._lock:
            if seen != self.lease:
                raise Conflict("written by another")
            version = 1 if seen is None else int(seen.version) + 1
            self.lease = replace(lease, version=str(version))
            written = self.lease
        self._fail(self.lost_answers)
        return written

    @staticmethod
    def _fail(failures: list[Exception | None]) -> None:
        failure = failures.pop(0) if failures else None
        if failure is not None:
            raise failure
