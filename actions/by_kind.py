"""One action for workloads of several kinds: each is left to the actuator that knows its kind."""

from collections.abc import Mapping

from actions.plan import Draft, Step
from actions.ports import Actuator, Permanent, StepState
from analyzer.rollout import Rollout

FIRST_KIND = "Deployment"
"""Kind of the steps that do not name theirs."""


class ByKind:
    """An actuator that hands each call over to another one, by the workload's kind.

    Args:
        actuators: by kind; their steps name the kind in their target.
        name: the action's name, which the steps of all of them bear.
    """

    def __init__(self, actuators: Mapping[str, Actuator], name: str) -> None:
        self._actuators = dict(actuators)
        self._name = name

    def propose(self, rollout: Rollout) -> Draft:
        """Return the steps that the kind's own actuator proposes, or why there are none."""
        workload = rollout.workload
        actuator = self._actuators.get(workload.kind)
        if actuator is None:
            known = ", ".join(sorted(self._actuators))
            reason = f"{self._name} knows no {workload.kind} such as {workload}, only {known}"
            return Draft(refusals=(reason,))
        return actuator.propose(rollout)

    def inspect(self, step: Step) -> StepState:
        """Compare the world with the step."""
        return self._of(step).inspect(step)

    def perform(self, step: Step) -> None:
        """Carry the step out."""
        self._of(step).perform(step)

    def _of(self, step: Step) -> Actuator:
        kind = step.target.get("kind", FIRST_KIND)
        actuator = self._actuators.get(kind)
        if actuator is None:
            raise Permanent(f"{self._name} knows no {kind} any more: {step.describe()}")
        return actuator
