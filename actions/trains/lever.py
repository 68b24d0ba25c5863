"""The port of levers: what lets a release into one region."""

from typing import Protocol

from actions.plan import Step
from actions.ports import Performer
from actions.trains.planner import Bound


class Lever(Performer, Protocol):
    """A performer that also knows the step that releases its region."""

    def draft(self, bound: Bound) -> Step:
        """Return the step. Reads the world, changes nothing. Raises Transient or Permanent."""
