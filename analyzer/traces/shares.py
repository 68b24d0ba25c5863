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
    NEW_CALLS = "new calls"
    VANISHED_CALLS = "vanished calls"
    DEPTH = "critical path"
    REQUESTS = "requests"


SHARE_OF_ASPECT: Final = {
    Aspect.ERRORS: 0.28,
    Aspect.DURATION: 0.22,
    Aspect.SELF_TIME: 0.09,
    Aspect.FAN_OUT: 0.16,
    Aspect.NEW_ERRORS: 0.09,
    Aspect.RETRIES: 0.05,
    Aspect.NEW_CALLS: 0.03,
    Aspect.VANISHED_CALLS: 0.04,
    Aspect.DEPTH: 0.01,
    Aspect.REQUESTS: 0.03,
}
STRUCTURE: Final = frozenset(
    {Aspect.NEW_CALLS, Aspect.VANISHED_CALLS, Aspect.DEPTH, Aspect.REQUESTS}
)
"""What is different and need not be worse: a new version may well call something else."""
KNOWN_FIRST: Final = 0.75
"""Share of the operations that the baseline is known to have when the comparison begins."""


def share_of_known(count: int) -> float:
    """Return the share of each of the operations known at the beginning."""
    return KNOWN_FIRST / count


def share_of_late(k: int) -> float:
    """Return the share of the k-th operation (from 1) that appears later: 1/(k(k+1)) of the rest."""
    return (1.0 - KNOWN_FIRST) / (k * (k + 1))
