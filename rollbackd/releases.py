"""Letting go, on a person's word, of what a watch holds; and what each watch holds now."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import structlog

from actions.apply import Applier, Failed
from actions.gitops_hold import NAME, held, released
from actions.plan import Plan, Step, keyed, plan_from_json, plan_to_json
from actions.ports import Entry, Journal

log = structlog.get_logger()


class Gate(Protocol):
    """Holds rollouts back, and lets one go when it is told to."""

    def release(self, watch_id: str, by: str) -> str | None:
        """Let the rollout of a watch go on; say what was done, None when it is not held.

        Raises Transient, Conflict or Permanent; then it is held as before.
        """

    def holding(self, watch_id: str) -> str:
        """Name what it holds for a watch as far as it knows, "" for nothing; asks nobody."""


@dataclass(frozen=True, slots=True)
class Released:
    """What was let go, and what could not be, one sentence each for people."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


NOTHING = Released()


class Releases:
    """Puts back what the steps of a watch took away, by steps as any other.

    They are journalled, compared and set: what somebody changed since is left alone, and a
    release that was interrupted is simply asked for again.

    Args:
        applier: carries the steps out. journal: holds what was done.
        gates: hold rollouts back. now: seconds since the epoch.
        remark: told what was let go, by the watch's id.
    """

    def __init__(
        self,
        applier: Applier,
        journal: Journal,
        gates: Sequence[Gate],
        now: Callable[[], float],
        remark: Callable[[str, str], None] = lambda _watch_id, _text: None,
    ) -> None:
        self._remark = remark
        self._applier = applier
        self._journal = journal
        self._gates = gates
        self._now = now
        self._one_at_a_time = Lock()
        self._learning = Lock()
        self._held: dict[str, tuple[str, ...]] = {}

    def restore(self) -> None:
        """Learn what every watch holds, from the journal. Raises Transient."""
        entries: dict[str, list[Entry]] = {}
        for entry in self._journal.entries(kinds=_TELLING):
            entries.setdefault(entry.watch_id, []).append(entry)
        for watch_id, of in entries.items():
            try:
                self._learn(watch_id, of)
            except (KeyError, TypeError, ValueError):
                log.exception("plan not readable, what it holds is not known", watch=watch_id)

    def look(self, watch_id: str) -> None:
        """Learn what a watch holds now that steps of it were carried out. Raises Transient."""
        self._learn(watch_id, self._entries(watch_id))

    def _learn(self, watch_id: str, entries: Iterable[Entry]) -> None:
        names = tuple(dict.fromkeys(held(hold.step) for hold in _open(entries)))
        with self._learning:
            others = {key: of for key, of in self._held.items() if key != watch_id}
            self._held = others | ({watch_id: names} if names else {})

    def held(self, watch_id: str) -> tuple[str, ...]:
        """Name what a watch holds, for people; answers at once, from any thread."""
        gates = (gate.holding(watch_id) for gate in self._gates)
        return (*(name for name in gates if name), *self._held.get(watch_id, ()))

    def release(self, watch_id: str, by: str) -> Released:
        """Let go of everything that a watch holds; nothing when it holds nothing.

        Raises:
            ActionError: the journal or the cluster cannot answer; what was not let go stays held.
        """
        with self._one_at_a_time:
            done = [said for gate in self._gates if (said := gate.release(watch_id, by))]
            back, failed = [], []
            for hold in _open(self._entries(watch_id)):
                plan = hold.back()
                data = plan_to_json(plan) | {"by": by}
                self._journal.append(Entry(self._now(), watch_id, "release", plan.key, data))
                outcome = self._applier.carry_out(plan)
                if isinstance(outcome, Failed):
                    failed.append(f"{plan.describe()}: {outcome.reason}")
                elif outcome is None:
                    failed.append(f"{plan.describe()}: the daemon is stopping; ask again")
                else:
                    back.append(plan.describe())
            self.look(watch_id)
            for text in back:
                self._remark(watch_id, f"released by {by}: {text}")
            return Released((*done, *back), tuple(failed))

    def _entries(self, watch_id: str) -> Iterable[Entry]:
        return self._journal.entries(watch_id=watch_id, kinds=_TELLING)


_TELLING = frozenset({"plan", "step-done"})
"""Entries that tell what was held and let go."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """A step of a plan that holds an owner."""

    plan: Plan
    step: Step

    def back(self) -> Plan:
        """Return the plan of one step that undoes it; its attempt is 0, which no other has."""
        plan, step = self.plan, released(self.step)
        return keyed(Plan(plan.watch_id, plan.workload, plan.bad, plan.good, (step,), attempt=0))


def _open(entries: Iterable[Entry]) -> list[_Hold]:
    """Return every hold of a watch that was begun and not let go."""
    plans: list[Plan] = []
    finished: set[str] = set()
    for entry in entries:
        if entry.kind == "plan":
            plans.append(plan_from_json(entry.data))
        else:
            finished.add(entry.key)
    holds = [
        _Hold(plan, step)
        for plan in plans
        for step in plan.steps
        if step.actuator == NAME and step.key in finished
    ]
    return [hold for hold in holds if hold.back().steps[0].key not in finished]
