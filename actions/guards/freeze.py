"""Times in which nothing is to be changed."""

from actions.guards.guard import Objection, Strength
from actions.guards.situation import Situation
from analyzer.wording import duration


def is_not_frozen(situation: Situation) -> Objection | None:
    """Object while a freeze is on; of several, the one that objects most is told."""
    on = [
        (freeze, end)
        for freeze in situation.settings.freezes
        if (end := freeze.ends_at(situation.now)) is not None
    ]
    if not on:
        return None
    order = list(Strength)
    freeze, end = max(on, key=lambda pair: (order.index(pair[0].strength), pair[1]))
    left = duration(end - situation.now)
    return Objection(f"changes are frozen ({freeze.name}) for another {left}", freeze.strength)
