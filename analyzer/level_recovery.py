"""Did the action help, told by a level: the restored baseline's against its own before."""

from dataclasses import dataclass

import numpy as np

from analyzer.recovery import MIN_TICKS, Recovery, RecoveryCheck
from analyzer.signal import Direction, LevelSignal
from analyzer.wording import factor, quantity
from detectors.carry_over import CARRY_OVER
from detectors.level_noise import SCALE_PAIRED

QUANTILE = 1.645
"""Normal quantile of a 90 % interval, as for shares: a question asked once, after the decision."""
PRIOR_SD, PRIOR_POINTS = 0.1, 4.0
"""Noise of an interval assumed before any was seen, worth so many intervals."""
HARM_LEFT = 0.5
"""Part of the canary's shift, on the log scale, that must be excluded before its harm counts as
gone: a level that was four times as high is then at most twice as high."""


@dataclass(frozen=True, slots=True)
class LevelChange:
    """Log means of the canary and the baseline up to an action and of the baseline since.

    Attributes:
        canary, before, after: log means, nan when unknown.
        steps: Σ of squared differences between neighbouring intervals of the baseline's mean;
            unlike its variance, it does not mistake a change of level for noise.
        pairs: how many such neighbours. ticks: intervals since the action.
    """

    canary: float
    before: float
    after: float
    steps: float
    pairs: float
    ticks: int

    @property
    def radius(self) -> float:
        """Half width of the 90 % interval of the change."""
        noise = (self.steps / 2.0 + PRIOR_POINTS * PRIOR_SD**2) / (self.pairs + PRIOR_POINTS)
        long_run = noise / (1.0 - CARRY_OVER) * (1.0 + CARRY_OVER) / (1.0 - CARRY_OVER)
        earlier = max(self.pairs - self.ticks, 1.0)
        variance = long_run * (1.0 / max(self.ticks, 1) + 1.0 / earlier)
        # restored instances may be other ones than those that left
        return float(QUANTILE * np.sqrt(variance + 2.0 * SCALE_PAIRED**2))


def check_level_recovery(
    signal: LevelSignal, change: LevelChange, now: float, before: float
) -> RecoveryCheck:
    """Compare the baseline's level since the action with its level before.

    Args:
        signal: gives direction, margin and harm.
        change: what was seen.
        now: the level since the action, in the signal's unit, for the text.
        before: the level before it.
    """
    name = signal.name
    if not np.isfinite(change.before + change.after) or change.ticks < MIN_TICKS:
        return RecoveryCheck(name, Recovery.OPEN, f"{name}: not enough seen yet")
    worse, harm = _worse(signal, change.after - change.before), 0.0
    if np.isfinite(change.canary):
        harm = _worse(signal, change.canary - change.before)
    low, high = worse - change.radius, worse + change.radius
    text = f"{name} {quantity(now, signal.unit)} now vs {quantity(before, signal.unit)} before"
    if low > np.log(signal.margin):
        text = f"{text}, worse by at least {factor(float(np.exp(low)))}"
        return RecoveryCheck(name, Recovery.NOT_RECOVERED, text)
    text = f"{text}, worse by at most {factor(float(np.exp(max(high, 0.0))))}"
    if high < np.log(max(signal.harm, signal.margin)):
        return RecoveryCheck(name, Recovery.RECOVERED, text)
    if high < HARM_LEFT * harm:
        return RecoveryCheck(name, Recovery.ABATED, f"{text}; the canary's did not stay")
    return RecoveryCheck(name, Recovery.OPEN, text)


def _worse(signal: LevelSignal, change: float) -> float:
    """Return a log change, positive where it is harmful."""
    match signal.direction:
        case Direction.HIGHER:
            return change
        case Direction.LOWER:
            return -change
        case Direction.BOTH:
            return abs(change)
