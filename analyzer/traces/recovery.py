"""Did the action help the operations that were guilty?"""

from analyzer.recovery import SLOW_SHARE_MARGIN, RecoveryCheck, check_recovery
from analyzer.traces.aspects import AnyFamily
from analyzer.traces.operations import name_of
from analyzer.traces.shares import Aspect
from analyzer.wording import share, significant


def check_operation(
    operation: str, aspect: Aspect, family: AnyFamily, member: str
) -> RecoveryCheck:
    """Return whether one aspect of a restored operation looks as it did.

    Args:
        operation: its label.
        aspect: what of it was worse.
        family: compares that.
        member: under which id.
    """
    tally = family.tally(member)
    signal = tally.member.signal
    slow = aspect in {Aspect.DURATION, Aspect.SELF_TIME}
    margin = max(signal.margin, SLOW_SHARE_MARGIN if slow else 1.0)
    what = f"slow by {aspect}" if slow else aspect.value
    return check_recovery(
        f"{name_of(operation)}: {what}",
        family.harm_counts(tally),
        tally.ticks,
        margin=margin,
        harm=max(signal.harm, margin),
        write=_spans if aspect is Aspect.FAN_OUT else share,
    )


def _spans(value: float) -> str:
    return f"{significant(value)} spans per span"
