"""All guards by name, and asking them."""

from collections.abc import Mapping
from types import MappingProxyType

from actions.guards.budget import no_platform_incident, within_budget
from actions.guards.capacity import fits
from actions.guards.freeze import is_not_frozen
from actions.guards.gitops import owner_is_dealt_with
from actions.guards.guard import Guard, GuardName
from actions.guards.history import cooled_down, target_is_not_bad, was_not_put_back
from actions.guards.schema import schema_allows_it
from actions.guards.situation import Situation
from actions.guards.way_back import (
    actuators_agree,
    changes_something,
    has_actuator,
    has_baseline,
    no_newer_revision,
    nobody_paused_it,
)
from analyzer.check import Check

GUARDS: Mapping[GuardName, Guard] = MappingProxyType(
    {
        GuardName.WAY_BACK: has_baseline,
        GuardName.ACTION: has_actuator,
        GuardName.ACTUATOR: actuators_agree,
        GuardName.NO_CHANGE: changes_something,
        GuardName.PAUSED: nobody_paused_it,
        GuardName.NEWER_REVISION: no_newer_revision,
        GuardName.BAD_TARGET: target_is_not_bad,
        GuardName.RETURNED: was_not_put_back,
        GuardName.COOL_DOWN: cooled_down,
        GuardName.BUDGET: within_budget,
        GuardName.INCIDENT: no_platform_incident,
        GuardName.FREEZE: is_not_frozen,
        GuardName.CAPACITY: fits,
        GuardName.SCHEMA: schema_allows_it,
        GuardName.GITOPS: owner_is_dealt_with,
    }
)
"""In the order in which people read them."""

AT_THE_LAST_MOMENT: Mapping[GuardName, Guard] = MappingProxyType(
    {name: GUARDS[name] for name in (GuardName.BUDGET, GuardName.INCIDENT, GuardName.FREEZE)}
)
"""Asked again just before the first write of a plan that no person approved: the watches that go
bad in the same tick do not know of each other while their plans are made."""


def checks(situation: Situation, guards: Mapping[GuardName, Guard] = GUARDS) -> tuple[Check, ...]:
    """Ask every guard and return what each said, in order."""
    return tuple(_check(name, guard, situation) for name, guard in guards.items())


def _check(name: GuardName, guard: Guard, situation: Situation) -> Check:
    objection = guard(situation)
    if objection is None:
        return Check(name.value)
    return Check(name.value, objection.strength.outcome, objection.text)
