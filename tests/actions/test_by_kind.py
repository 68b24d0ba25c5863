import pytest

from actions.by_kind import ByKind
from actions.plan import Draft, Step
from actions.ports import Permanent, StepState
from analyzer.rollout import Revision, Rollout, Workload


class Scripted:
    """An actuator that says who it is."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.performed: list[Step] = []

    def propose(self, rollout: Rollout) -> Draft:
        return Draft((Step("back", {"kind": self.kind}, {}, {"of": rollout.workload.name}),))

    def inspect(self, step: Step) -> StepState:
        return StepState.DONE if step in self.performed else StepState.PENDING

    def perform(self, step: Step) -> None:
        self.performed.append(step)


def rollout(kind: str) -> Rollout:
    workload = Workload("test", "team", kind, "shop")
    return Rollout(workload, Revision("2", "2"), Revision("1", "1"), (), (), ("pod",), 0.0)


def test_each_kind_is_left_to_the_actuator_that_knows_it() -> None:
    one, other = Scripted("Deployment"), Scripted("DaemonSet")
    both = ByKind({"Deployment": one, "DaemonSet": other}, "back")
    (step,) = both.propose(rollout("DaemonSet")).steps
    both.perform(step)
    assert (one.performed, other.performed) == ([], [step])
    assert both.inspect(step) is StepState.DONE


def test_steps_of_plans_that_do_not_name_a_kind_are_about_deployments() -> None:
    one = Scripted("Deployment")
    step = Step("back", {"name": "shop"}, {}, {})
    ByKind({"Deployment": one}, "back").perform(step)
    assert one.performed == [step]


def test_a_kind_that_nobody_knows_is_refused() -> None:
    back = ByKind({"Deployment": Scripted("Deployment")}, "back")
    (reason,) = back.propose(rollout("Job")).refusals
    assert reason == "back knows no Job such as team/shop, only Deployment"
    with pytest.raises(Permanent, match="knows no Job any more"):
        back.perform(Step("back", {"kind": "Job"}, {}, {}))
