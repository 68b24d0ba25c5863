"""What users can set about holding a rolling update back. Pure."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class HoldSettings:
    """When a rolling update is held back.

    Attributes:
        pods: after so many new pods are ready. share: or so large a share of the wanted ones,
            0 to 1; the larger of the two counts.
        stays: an inconclusive one stays held until a person lets it go; else it goes on.
    """

    pods: int = 1
    share: float = 0.0
    stays: bool = False

    def enough(self, replicas: int) -> int:
        """Return how many new pods are enough; never all of them, for nothing is held then."""
        return max(1, min(max(self.pods, ceil(self.share * replicas)), replicas - 1))
