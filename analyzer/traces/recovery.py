"""Did the action help the operations that were guilty?"""

from typing import assert_never

from analyzer.families.rate import RateFamily
from analyzer.recovery import SLOW_SHARE_MARGIN, RecoveryCheck, check_recovery
from analyzer.traces.operations import name_of
from analyzer.traces.parts import Part
from analyzer.traces.shares import Aspect
from analyzer.wording import share, significant


def check_part(part: Part) -> RecoveryCheck:
    """Return whether what was accused of a restored operation is as it was.

    Of calls and requests that had gone, it is whether they are there again as often as before; of
    everything else, whether there is no more of it than before.
    """
    family = part.family
    tally = family.tally(part.member)
    signal = tally.member.signal
    slow = part.aspect in {Aspect.DURATION, Aspect.SELF_TIME}
    margin = max(signal.margin, SLOW_SHARE_MARGIN if slow else 1.0)
    # what can be missing is counted as a rate, and only that
    falls = isinstance(family, RateFamily)
    return check_recovery(
        f"{name_of(part.operation)}: {_what(part)}",
        family.event_counts(tally)
        if isinstance(family, RateFamily)
        else family.harm_counts(tally),
        tally.ticks,
        margin=margin,
        harm=max(signal.harm, margin),
        write=_spans if part.aspect in {Aspect.FAN_OUT, Aspect.DEPTH} else share,
        falls=falls,
    )


def _what(part: Part) -> str:
    """Return what of an operation is measured again."""
    match part.aspect:
        case Aspect.DURATION | Aspect.SELF_TIME:
            return f"slow by {part.aspect}"
        case Aspect.VANISHED_CALLS:
            return f"`{name_of(part.called)}` calls"
        case Aspect.NEW_CALLS:
            return "calls that the baseline never made"
        case (
            Aspect.ERRORS
            | Aspect.FAN_OUT
            | Aspect.NEW_ERRORS
            | Aspect.RETRIES
            | Aspect.DEPTH
            | Aspect.REQUESTS
        ):
            return part.aspect.value
        case _:
            assert_never(part.aspect)


def _spans(value: float) -> str:
    return f"{significant(value)} spans per span"
