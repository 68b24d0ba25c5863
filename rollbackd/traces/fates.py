"""What can become of a span that comes in."""

from enum import StrEnum


class Fate(StrEnum):
    """What became of a span. Closed set: it labels a metric."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    LATE = "late"
    INVALID = "invalid"
    UNATTRIBUTED = "unattributed"
    """Its resource names no process or version that rollouts could be matched with."""
    CROWDED = "crowded"
    """It came from a process, or was an operation, beyond the bounds."""
    REFUSED = "refused"
    """It came while no more could be taken; the sender was told to come again."""
