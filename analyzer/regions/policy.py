"""How regions are moved: validated at the edge, and light to import."""

from dataclasses import dataclass

from analyzer.policy import Mode


@dataclass(frozen=True, slots=True)
class RegionPolicy:
    """How regions are moved. All times are in seconds.

    Attributes:
        sick_for_s: sickness must last this long, unless something else speaks for it, too.
        healthy_for_s: a drained region must have been healthy this long before traffic returns.
        dwell_s: time between two moves of a region; with the two above, what keeps it from flapping.
        step_pause_s: least time between two stages of a move.
        approval_expires_s: an approval that has not come by then is void.
        stuck_after_s: a move whose next stage is held up this long calls people.
        renew_s: evidence of a region known to be sick is weighed anew after this long.
    """

    mode: Mode = Mode.OBSERVE
    sick_for_s: float = 120.0
    healthy_for_s: float = 1800.0
    dwell_s: float = 1800.0
    step_pause_s: float = 60.0
    approval_expires_s: float = 1800.0
    stuck_after_s: float = 1800.0
    renew_s: float = 300.0
