"""Why nothing can be said of a watch: it has not begun, or a side has fallen silent."""

from typing import Any

import numpy as np

from analyzer.families.increments import Floats
from analyzer.families.membership import Member
from analyzer.rollout import Side
from analyzer.sample import Absence, Missing

STALE_TICKS = 6
STALE_S = 60.0
"""A side without any sample for so many ticks and seconds is no longer being measured."""


UNSERVED = 20.0
"""Requests that the canary should have had, and had none: e⁻²⁰ if its traffic goes on as before."""
CHECK = "check its weight, its route and whether it is ready"


def awaited(member: Member[Any], cursor: float | None, pods: Floats, recent: Floats) -> Missing:
    """Return what a comparison that has not begun still waits for.

    Args:
        member: whose comparison it is.
        cursor: the grid time up to which samples were folded in, None before the first.
        pods: (2,) instances of canary and baseline that had a sample in the newest tick.
        recent: (2,) requests of either side in the last ticks.
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
            detail = f"no samples of any {side} instance yet"
            if side is Side.CANARY and recent[1] >= UNSERVED:
                detail += "; the baseline has some: is it scraped, does it get traffic?"
            return Missing(Absence.NO_SERIES, detail)
    if member.trouble is not None:
        return member.trouble
    if recent[1] >= UNSERVED and not recent[0]:
        return Missing(Absence.NO_TRAFFIC, f"the baseline is served, the canary is not: {CHECK}")
    return Missing(Absence.TOO_FEW, "no traffic on both sides yet")


def cut_off(unserved: Floats, canary: Floats, baseline: Floats) -> dict[int, Missing]:
    """Return the rows whose canary was served before and is not any more, while the baseline is.

    Args:
        unserved: (rows,) requests of the baseline since the canary's last.
        canary: (rows,) requests of the canary so far.
        baseline: (rows,) requests of the baseline so far.
    """
    expected = unserved * canary / np.maximum(baseline, 1.0)
    return {
        int(row): Missing(
            Absence.NO_TRAFFIC,
            f"the canary gets no traffic any more while the baseline is served: {CHECK}",
        )
        for row in np.flatnonzero(expected >= UNSERVED)
    }


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
