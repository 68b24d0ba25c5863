"""Columns of findings that are already there."""

from collections.abc import Sequence

import numpy as np

from analyzer.traces.summing import ASPECTS, Every, contributions
from analyzer.traces.wording import Accusation

OPERATIONS = (
    "shop|server|GET /",
    "shop|server|POST /order",
    "shop|client|SELECT items",
    "mail|consumer|send",
)


def every_of(accusations: Sequence[Accusation]) -> Every:
    """Return the columns of findings that are already there."""
    findings = [a.finding for a in accusations]
    share = np.array([a.share for a in accusations])
    tested, harmful = (np.array([getattr(f, n) for f in findings]) for n in ("tested", "harmful"))
    e_value = np.array([f.e_value for f in findings])
    return Every(
        operation=np.array([OPERATIONS.index(a.operation) for a in accusations]),
        aspect=np.array([ASPECTS.index(a.aspect) for a in accusations]),
        share=share,
        tested=tested,
        drift_e=np.array([f.drift_e for f in findings]),
        contribution=contributions(share, e_value, tested, harmful),
        harmful=harmful,
        accuse=lambda some: [accusations[i] for i in some.tolist()],
    )
