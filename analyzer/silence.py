"""Why nothing can be said of a watch: it has not begun, or a side has fallen silent."""

from typing import Any

import numpy as np

from analyzer.increments import Floats
from analyzer.membership import Member
from analyzer.rollout import Side
from analyzer.sample import Absence, Missing

STALE_TICKS = 6
STALE_S = 60.0
"""A side without any sample for so many ticks and seconds is no longer being measured."""


def awaited(member: Member[Any], cursor: float | None, pods: Floats) -> Missing:
    """Return what a comparison that has not begun still waits for.

    Args:
        member: whose comparison it is.
        cursor: the grid time up to which samples were folded in, None before the first.
        pods: (2,) instances of canary and baseline that had a sample in the newest tick.
    """
    for side, absence in (
        (Side.BASELINE, Absence.NO_BASELINE),
        (Side.CANARY, Absence.NO_CANARY),
    ):
        if not member.roster.present(side):
            return Missing(absence, f"no {side} instance is there")
        if cursor is None or not member.roster.warm(side, cursor):
            return Missing(Absence.WARMING, f"every {side} instance is still warming up")
    for side, count in zip((Side.CANARY, Side.BASELINE), pods, strict=True):
        if not count:
            return Missing(Absence.NO_SERIES, f"no samples of any {side} instance yet")
    if member.trouble is not None:
        return member.trouble
    return Missing(Absence.TOO_FEW, "no traffic on both sides yet")


def silent(seen: Floats, begun: Floats, now: float, tick_s: float) -> dict[int, Missing]:
    """Return the rows that could be measured and are silent now.

    Args:
        seen: (rows, 2) newest time at which canary and baseline had a sample.
        begun: (rows,) when each comparison began.
        now: the newest grid time.
        tick_s: distance of grid times.
    """
    limit = max(STALE_S, STALE_TICKS * tick_s)
    quiet = (now - seen > limit) & (now - begun > limit)[:, None]
    side = np.where(quiet[:, 0], Side.CANARY, Side.BASELINE)
    return {
        int(row): Missing(Absence.STALE, f"no {side[row]} samples for more than {limit:.0f} s")
        for row in np.flatnonzero(quiet.any(axis=1))
    }
