"""Did the action help? The restored baseline must look like the baseline did."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from analyzer.wording import factor, share

TAIL = 0.05
"""Doubt on each side of the interval within which the question is decided."""
MIN_TICKS = 3
"""Ticks since the action that must have been seen before anything is said."""


@dataclass(frozen=True, slots=True)
class HarmCounts:
    """Bad events among all events of the baseline, up to an action and since."""

    bad_before: float
    all_before: float
    bad_after: float
    all_after: float


class Recovery(StrEnum):
    """What is known of the recovery."""

    RECOVERED = "recovered"
    NOT_RECOVERED = "not recovered"
    OPEN = "open"
    """Not enough was seen yet, and what was seen shows no harm."""


@dataclass(frozen=True, slots=True)
class RecoveryCheck:
    """One signal's answer, with its numbers for people."""

    signal: str
    recovery: Recovery
    text: str


def check_recovery(
    signal: str, counts: HarmCounts, ticks: int, *, margin: float, harm: float
) -> RecoveryCheck:
    """Compare the baseline since the action with the baseline before it.

    The ratio of two rates given the total count is a binomial question; its Clopper-Pearson
    interval at 90 % decides: recovered when harm is excluded, not recovered when the interval
    lies beyond the margin. This is a question asked once, after the decision, so a fixed-sample
    interval is enough; a wrong answer calls people or closes the watch, and never acts.

    Args:
        signal: its name, for the text.
        counts: what was counted.
        ticks: grid points seen since the action.
        margin: ratio beyond which the baseline is worse than it was.
        harm: ratio that must be excluded.
    """
    seen = counts.all_before > 0 and counts.all_after > 0
    if not seen or ticks < MIN_TICKS:
        return RecoveryCheck(signal, Recovery.OPEN, f"{signal}: not enough traffic seen yet")
    low, high = _ratio_interval(counts)
    now, before = counts.bad_after / counts.all_after, counts.bad_before / counts.all_before
    text = f"{signal} {share(now)} now vs {share(before)} before, at most {factor(high)}"
    if low > margin:
        text = f"{signal} {share(now)} now vs {share(before)} before, at least {factor(low)}"
        return RecoveryCheck(signal, Recovery.NOT_RECOVERED, text)
    recovered = Recovery.RECOVERED if high < harm else Recovery.OPEN
    return RecoveryCheck(signal, recovered, text)


def summarise(checks: Sequence[RecoveryCheck], *, last_call: bool) -> tuple[bool | None, str]:
    """Return whether the rollout recovered (None: not decided yet) and why.

    A failure is told at the last call only: requests in flight, full queues and cold caches make the
    first seconds after any switch look bad. At the last call, a signal that is still open counts as
    recovered when another one is proved: harm would have shown, and waiting serves nobody.
    """
    failed = [c for c in checks if c.recovery is Recovery.NOT_RECOVERED]
    proved = [c for c in checks if c.recovery is Recovery.RECOVERED]
    text = "; ".join(c.text for c in (failed or checks))
    if failed:
        return (False if last_call else None), text
    if proved and (last_call or len(proved) == len(checks)):
        return True, text
    return None, text or "nothing could be measured since the action"


def _ratio_interval(counts: HarmCounts) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of (bad_after/all_after) / (bad_before/all_before)."""
    from scipy.special import betaincinv  # noqa: PLC0415  # half a second, only after an action

    a, b = counts.bad_after, counts.bad_before
    odds = counts.all_before / counts.all_after
    least = float(betaincinv(a, b + 1, TAIL)) if a > 0 else 0.0
    most = float(betaincinv(a + 1, b, 1 - TAIL)) if b > 0 else 1.0
    return (
        least / (1 - least) * odds if least < 1 else float("inf"),
        most / (1 - most) * odds if most < 1 else float("inf"),
    )
