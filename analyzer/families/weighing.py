"""What the members of a family weigh, for sums over very many of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzer.families.increments import Floats
from detectors.findings import Weights

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Weighing:
    """One entry for each member, as parallel arrays.

    Attributes:
        known: it is measured now; the other arrays mean something only there.
        e_value, tested, drift_e: as in ``Finding``. harmful: the same, where the evidence is such
            that the member heeds it (``Member.heed``).
    """

    known: Bools
    e_value: Floats
    tested: Bools
    harmful: Bools
    drift_e: Floats

    @classmethod
    def nothing(cls, members: int) -> "Weighing":
        """Return the weighing of members of which nothing is known."""
        never = (np.zeros(members, dtype=np.bool_) for _ in range(3))
        return cls(next(never), np.ones(members), next(never), next(never), np.ones(members))

    def put(self, at: NDArray[np.intp], weights: Weights) -> None:
        """Write down what some members weigh, by their positions."""
        self.e_value[at] = weights.e_value
        self.tested[at] = weights.tested
        self.harmful[at] = weights.harmful
        self.drift_e[at] = weights.drift_e
