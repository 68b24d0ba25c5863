"""The lease as a value, and the port through which it is kept."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lease:
    """Whose turn it is. It holds no times: clocks of replicas may differ as they like.

    Attributes:
        holder: identity of the process that leads; "" when it was released.
        duration_s: others wait this long for a change of ``version`` before they take over.
        transitions: how often the holder changed.
        version: changes with every write; given by the store, "" before the first.
    """

    holder: str
    duration_s: float
    transitions: int
    version: str = ""


class LeaseStore(Protocol):
    """Where a lease is kept. Both methods raise Transient or Permanent, too."""

    def read(self) -> Lease | None:
        """Return the lease as it is now, or None when there never was one."""

    def write(self, lease: Lease, seen: Lease | None) -> Lease:
        """Write the lease, if it is still as it was seen; return it with its new version.

        Raises Conflict when it was written in the meantime, and then it is as it was; after a
        Transient it is unknown whether it was written.
        """
