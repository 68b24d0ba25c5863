"""The port through which records are read and changed."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from actions.dns.record import Record


@dataclass(frozen=True, slots=True)
class Propagation:
    """Which authoritative servers give a record's new answer.

    Attributes:
        agreeing: servers that do. stale: servers that still give another one.
        silent: servers that did not answer; they are told to people and waited for by nobody.
    """

    agreeing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether somebody gives the new answer and nobody an old one."""
        return bool(self.agreeing) and not self.stale

    def describe(self) -> str:
        """Say in one line how far it is."""
        parts = [f"{len(self.agreeing)} of {len(self.agreeing) + len(self.stale)} servers agree"]
        parts += [f"still old: {', '.join(self.stale)}"] if self.stale else []
        parts += [f"no answer: {', '.join(self.silent)}"] if self.silent else []
        return "; ".join(parts)


class DnsBackend(Protocol):
    """One zone of one provider. Every call raises Transient or Permanent for trouble."""

    def read(self, name: str, type_: str) -> Record:
        """Return a record as it is now.

        Raises Permanent when there is none, when it is not in our zone, or when it is of a kind
        that we do not change.
        """

    def swap(self, expected: Record, new: Record) -> None:
        """Replace a record, but only while it is exactly as expected.

        Raises Conflict when it is not (nothing was written), Transient (unknown whether it was
        written) or Permanent (it was not written).
        """

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server for the record. A silent server is no error."""


@runtime_checkable
class Owned(Protocol):
    """A backend whose records others may apply from somewhere else, such as by GitOps."""

    def undone_by(self, name: str, type_: str) -> str | None:
        """Say who would put back a change of a record, or None. Raises as ``DnsBackend.read``."""
