"""What the user wants watched, how sure the daemon must be, and what it may do."""

from dataclasses import dataclass
from enum import StrEnum

from analyzer.signal import Signal


class Mode(StrEnum):
    """How far the daemon goes."""

    OBSERVE = "observe"
    """Everything but the last step: it says what it would have done."""
    APPROVE = "approve"
    """A person approves each plan before it is carried out."""
    ENFORCE = "enforce"
    """Plans are carried out at once."""


NOT_WATCHED = "off"
"""What a workload says instead of a mode to be left alone."""


def lowered(mode: Mode, asked: str | None) -> Mode:
    """Return a policy's mode, lowered to what the workload itself asks for.

    Whoever may change a workload must not gain the daemon's rights by it, so a mode that goes
    further than the policy's changes nothing. One that is no mode at all was meant to change
    something: it counts as the lowest.
    """
    if asked is None:
        return mode
    order = tuple(Mode)
    wanted = Mode(asked) if asked in order else Mode.OBSERVE
    return min(mode, wanted, key=order.index)


class WhenMissing(StrEnum):
    """What to do while critical signals cannot be measured. Rolling back is not a choice."""

    HOLD = "hold"
    """Hold the watch and say so; it goes on when the data comes back."""
    IGNORE = "ignore"
    """Go on with what can be measured; without any measured critical signal nothing is decided."""
    PAGE = "page"
    """Hold, and call a person."""


class FactUse(StrEnum):
    """What the cluster's own word on the canary's instances may cause (crash loops and the like)."""

    ACT = "act"
    """As much as a critical signal: the policy's mode says how far that goes."""
    SHOW = "show"
    """It is told among the reasons, and keeps a rollout from being called healthy."""
    IGNORE = "ignore"
    """Nothing at all."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, validated at the edge. All times are in seconds.

    Attributes:
        alpha: tolerated probability of rolling back a healthy rollout, per rollout.
        warm_up_s: instances younger than this are left out on both sides.
        min_observation_s: a rollout is never called healthy before this age.
        horizon_s: when nothing is decided by then, the watch ends inconclusive.
        persistence_s: a single burst shorter than this cannot decide (detectors.md 2.5).
        history_s: how much of the baseline's past the noise model is fitted on.
        blind_after_s: critical signals missing for this long count as blindness.
        recovery_s: how long an action may take to show its effect before people are called.
        approval_expires_s: an approval that has not come by then is void; people are called.
        cool_down_s: a workload acted on is not acted on again for this long.
        actuators: names of the configured actuators to use, in order.
        facts: what the cluster's word on the canary's instances may cause.
        facts_after_s: how long their distress must last before it decides.
        request_mix: whether both sides get the same requests is looked at, where routes are known.
        discovers: the signals are found when a watch begins; until then there are none.
        after_promotion_s: how long a revision is compared with its workload's past once nothing
            older runs beside it; 0: not at all.
        after_promotion_mode: how far that may go at most.
    """

    name: str
    signals: tuple[Signal, ...]
    mode: Mode = Mode.OBSERVE
    alpha: float = 0.01
    warm_up_s: float = 60.0
    min_observation_s: float = 120.0
    horizon_s: float = 3600.0
    persistence_s: float = 30.0
    history_s: float = 7200.0
    when_missing: WhenMissing = WhenMissing.HOLD
    blind_after_s: float = 120.0
    recovery_s: float = 300.0
    approval_expires_s: float = 1800.0
    cool_down_s: float = 1800.0
    actuators: tuple[str, ...] = ()
    facts: FactUse = FactUse.ACT
    facts_after_s: float = 60.0
    discovers: bool = False
    request_mix: bool = True
    after_promotion_s: float = 0.0
    after_promotion_mode: Mode = Mode.APPROVE

    @property
    def weights(self) -> dict[str, float]:
        """Each signal's share of α, normalised to sum 1 over the signals that may act.

        Fixed by the policy, not by what happens to be measurable: otherwise data that goes
        missing would make the rest count for more, and absence would create evidence.
        """
        acting = [s for s in self.signals if s.tier != "info"]
        total = sum(s.weight for s in acting)
        return {s.name: s.weight / total for s in acting} if total > 0 else {}
