"""Does the revision to go back to work with the database as the canary left it?"""

from actions.facts import SchemaBound
from actions.guards.guard import Objection, Strength
from actions.guards.situation import Situation


def schema_allows_it(situation: Situation) -> Objection | None:
    """Object when the canary migrated a schema that the baseline may not work with."""
    found = list(situation.known(SchemaBound))
    if not found:
        return None
    strength = situation.settings.schema
    if strength is Strength.REFUSE and not any(fact.certain for fact in found):
        strength = Strength.ASK  # a person can find out what we cannot tell
    return Objection("; ".join(fact.text for fact in found), strength)
