"""Did the action help? The restored baseline must look like the baseline did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analyzer.wording import factor, share

TAIL = 0.05
"""Doubt on each side of the interval within which the question is decided."""
LEFT = 0.25
"""Share of the canary's rate that must be excluded before its harm counts as gone."""
SLOW_SHARE_MARGIN = 1.5
"""Ratio of shares of slow requests below which a recovery is not called a failure."""
MIN_TICKS = 3
"""Ticks since the action that must have been seen before anything is said."""


@dataclass(frozen=True, slots=True)
class Share:
    """Bad events among all events."""

    bad: float
    all: float

    @property
    def value(self) -> float:
        """The share of bad events; only where there are events."""
        return self.bad / self.all


@dataclass(frozen=True, slots=True)
class HarmCounts:
    """What was counted: the canary and the baseline up to an action, the baseline since."""

    canary: Share
    before: Share
    after: Share


class Recovery(StrEnum):
    """What is known of the recovery."""

    RECOVERED = "recovered"
    ABATED = "abated"
    """Most of the harm is shown to be gone; too few events to tell the rest from what was before."""
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
    signal: str,
    counts: HarmCounts,
    ticks: int,
    *,
    margin: float,
    harm: float,
    write: Callable[[float], str] = share,
    falls: bool = False,
) -> RecoveryCheck:
    """Compare the baseline since the action with the baseline before it, and with the canary.

    The ratio of two rates given the total count is a binomial question; its Clopper-Pearson
    interval at 90 % decides: recovered when harm is excluded, not recovered when the interval
    lies beyond the margin. A service with few events cannot exclude small harm within minutes; what
    it can show is that the canary's harm did not stay: at most ``LEFT`` of the canary's rate. This
    is a question asked once, after the decision, so a fixed-sample interval is enough; a wrong
    answer calls people or closes the watch, and never acts.

    Args:
        signal: its name, for the text.
        counts: what was counted.
        ticks: grid points seen since the action.
        margin: ratio beyond which the baseline is worse than it was.
        harm: ratio that must be excluded.
        write: writes a value for people.
        falls: what is counted is missed when there is less of it, as calls that are made no more;
            ratios are then of what was to what is.
    """
    seen = counts.before.all > 0 and counts.after.all > 0
    if not seen or ticks < MIN_TICKS:
        return RecoveryCheck(signal, Recovery.OPEN, f"{signal}: not enough traffic seen yet")
    low, high = _times_worse(counts.after, counts.before, falls=falls)
    by = " fewer" if falls else ""
    text = f"{signal} {write(counts.after.value)} now vs {write(counts.before.value)} before"
    if low > margin:
        text = f"{text}, at least {factor(low)}{by}"
        return RecoveryCheck(signal, Recovery.NOT_RECOVERED, text)
    if high < harm:
        return RecoveryCheck(signal, Recovery.RECOVERED, f"{text}, at most {factor(high)}{by}")
    if counts.canary.all > 0:
        _, left = _times_worse(counts.after, counts.canary, falls=falls)
        if left < LEFT:
            text = f"{text}; the canary's {write(counts.canary.value)} did not stay"
            return RecoveryCheck(signal, Recovery.ABATED, text)
    return RecoveryCheck(signal, Recovery.OPEN, f"{text}, at most {factor(high)}{by}")


def summarise(checks: Sequence[RecoveryCheck], *, last_call: bool) -> tuple[bool | None, str]:
    """Return whether the rollout recovered (None: not decided yet) and why.

    A failure is told at the last call only: requests in flight, full queues and cold caches make the
    first seconds after any switch look bad. At the last call, it is enough that the harm abated, and
    a signal that is still open counts as recovered when another one is proved: harm would have
    shown, and waiting serves nobody.
    """
    failed = [c for c in checks if c.recovery is Recovery.NOT_RECOVERED]
    proved = [c for c in checks if c.recovery is Recovery.RECOVERED]
    abated = [c for c in checks if c.recovery is Recovery.ABATED]
    text = "; ".join(c.text for c in (failed or checks))
    if failed:
        return (False if last_call else None), text
    if proved and len(proved) == len(checks):
        return True, text
    if last_call and (proved or abated):
        return True, text
    return None, text or "nothing could be measured since the action"


def _times_worse(now: Share, than: Share, *, falls: bool) -> tuple[float, float]:
    """Return the interval of how many times more there is now, or fewer where a fall is harmful."""
    return _ratio_interval(than, now) if falls else _ratio_interval(now, than)


def _ratio_interval(one: Share, other: Share) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of the ratio of two rates."""
    from scipy.special import betaincinv  # noqa: PLC0415  # half a second, only after an action

    a, b = one.bad, other.bad
    odds = other.all / one.all
    least = float(betaincinv(a, b + 1, TAIL)) if a > 0 else 0.0
    most = float(betaincinv(a + 1, b, 1 - TAIL)) if b > 0 else 1.0
    return (
        least / (1 - least) * odds if least < 1 else float("inf"),
        most / (1 - most) * odds if most < 1 else float("inf"),
    )
