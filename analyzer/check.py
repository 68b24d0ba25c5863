"""What a guard said about a plan, as watches and people hear of it."""

from dataclasses import dataclass
from enum import StrEnum


class CheckOutcome(StrEnum):
    """How a guard answered."""

    PASSED = "passed"
    WARNED = "warned"
    ASKS = "asks"
    """A person has to approve the plan, whatever the mode."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Check:
    """What one guard said about a plan: its name, its answer and, unless it passed, why."""

    guard: str
    outcome: CheckOutcome = CheckOutcome.PASSED
    text: str = ""
