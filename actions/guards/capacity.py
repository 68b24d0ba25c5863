"""Could the revision to go back to run at full size?"""

from typing import assert_never

from actions.facts import CannotStart, QuotaShort, Undersized, Unread
from actions.guards.guard import Objection, Strength
from actions.guards.situation import Situation
from analyzer.wording import significant

Short = CannotStart | Undersized | QuotaShort


def fits(situation: Situation) -> Objection | None:
    """Object when the rollback would leave too few instances; what is unknown is only told."""
    short: list[Short] = [
        *situation.known(CannotStart),
        *situation.known(Undersized),
        *situation.known(QuotaShort),
    ]
    if short:
        return Objection("; ".join(map(_sentence, short)), situation.settings.capacity)
    unread = list(situation.known(Unread))
    if unread:
        told = "; ".join(f"{fact.what} could not be read ({fact.why})" for fact in unread)
        return Objection(f"not known whether it would run at full size: {told}", Strength.WARN)
    return None


def _sentence(fact: Short) -> str:
    match fact:
        case CannotStart(revision=revision, instances=count, reason=reason):
            return (
                f"{count} pods of {revision}, the revision to go back to, cannot start: {reason}"
            )
        case Undersized(what=what, instances=count, least=least, by=by):
            return f"{what} would run {count} pods, and {by} asks for at least {least}"
        case QuotaShort():
            room, needed = _amount(fact.room, fact.resource), _amount(fact.needed, fact.resource)
            return (
                f"ResourceQuota {fact.quota} has room for {room} of {fact.resource}, and "
                f"{fact.instances} pods of the revision to go back to need {needed}"
            )
        case _:
            assert_never(fact)


def _amount(value: float, resource: str) -> str:
    if "memory" in resource or "storage" in resource:
        return f"{significant(value / 2**20, 3)} MiB"
    return significant(value, 3)
