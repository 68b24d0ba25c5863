"""Letting go, on a person's word, of what a watch holds: ``rollbackd release``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from actions.apply import Applier, Failed
from actions.gitops_hold import NAME, released
from actions.plan import Plan, Step, keyed, plan_from_json, plan_to_json
from actions.ports import Entry, Journal


class Gate(Protocol):
    """Holds rollouts back, and lets one go when it is told to."""

    def release(self, watch_id: str, by: str) -> str | None:
        """Let the rollout of a watch go on; say what was done, None when it is not held.

        Raises Transient, Conflict or Permanent; then it is held as before.
        """


@dataclass(frozen=True, slots=True)
class Released:
    """What was let go, and what could not be, one sentence each for people."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Releases:
    """Puts back what the steps of a watch took away, by steps as any other.

    They are journalled, compared and set: what somebody changed since is left alone, and a
    release that was interrupted is simply asked for again.

    Args:
        applier: carries the steps out. journal: holds what was done.
        gates: hold rollouts back. now: seconds since the epoch.
    """

    def __init__(
        self,
        applier: Applier,
        journal: Journal,
        gates: Sequence[Gate],
        now: Callable[[], float],
    ) -> None:
        self._applier = applier
        self._journal = journal
        self._gates = gates
        self._now = now
        self._one_at_a_time = Lock()

    def release(self, watch_id: str, by: str) -> Released:
        """Let go of everything that a watch holds; nothing when it holds nothing.

        Raises:
            ActionError: the journal or the cluster cannot answer; what was not let go stays held.
        """
        with self._one_at_a_time:
            done = [said for gate in self._gates if (said := gate.release(watch_id, by))]
            failed = []
            for plan in self._open(watch_id):
                data = plan_to_json(plan) | {"by": by}
                self._journal.append(Entry(self._now(), watch_id, "release", plan.key, data))
                outcome = self._applier.carry_out(plan)
                if isinstance(outcome, Failed):
                    failed.append(f"{plan.describe()}: {outcome.reason}")
                elif outcome is None:
                    failed.append(f"{plan.describe()}: the daemon is stopping; ask again")
                else:
                    done.append(plan.describe())
            return Released(tuple(done), tuple(failed))

    def _open(self, watch_id: str) -> list[Plan]:
        """Return a plan for each owner that this watch holds and did not let go."""
        kinds = frozenset({"plan", "step-done"})
        plans: list[Plan] = []
        finished: set[str] = set()
        for entry in self._journal.entries(watch_id=watch_id, kinds=kinds):
            if entry.kind == "plan":
                plans.append(plan_from_json(entry.data))
            else:
                finished.add(entry.key)
        back = [
            _release(plan, step)
            for plan in plans
            for step in plan.steps
            if step.actuator == NAME and step.key in finished
        ]
        return [plan for plan in back if plan.steps[0].key not in finished]


def _release(plan: Plan, step: Step) -> Plan:
    """Return the plan of one step that undoes a hold; its attempt is 0, which no other has."""
    whole = Plan(plan.watch_id, plan.workload, plan.bad, plan.good, (released(step),), attempt=0)
    return keyed(whole)
