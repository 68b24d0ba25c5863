"""How the evidence of one trace signal is shared out among operations, and among their aspects.

Shares are fixed when an operation is first compared, by what the baseline did until then, and never
change: what goes missing makes nothing else count for more. They sum to 1 at most, however many
operations appear, so their weighted mean is an e-value (detectors.md 7).
"""

from enum import StrEnum
from typing import Final


class Aspect(StrEnum):
    """What of an operation is compared."""

    ERRORS = "errors"
    DURATION = "duration"
    SELF_TIME = "self time"
    FAN_OUT = "calls"
    NEW_ERRORS = "new error types"
    RETRIES = "retries"


SHARE_OF_ASPECT: Final = {
    Aspect.ERRORS: 0.30,
    Aspect.DURATION: 0.25,
    Aspect.SELF_TIME: 0.10,
    Aspect.FAN_OUT: 0.20,
    Aspect.NEW_ERRORS: 0.10,
    Aspect.RETRIES: 0.05,
}
KNOWN_FIRST: Final = 0.75
"""Share of the operations that the baseline is known to have when the comparison begins."""


def share_of_known(count: int) -> float:
    """Return the share of each of the operations known at the beginning."""
    return KNOWN_FIRST / count


def share_of_late(k: int) -> float:
    """Return the share of the k-th operation (from 1) that appears later: 1/(k(k+1)) of the rest."""
    return (1.0 - KNOWN_FIRST) / (k * (k + 1))
