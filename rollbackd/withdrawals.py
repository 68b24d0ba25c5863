"""Taking back, on request, a release that was judged and kept: it failed somewhere else.

The watch stays as it ended. The way back is a plan like any other, with guards, journal and
preconditions, under an id of its own; asking again is how one learns what became of it, and how a
restart goes on.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import structlog

from actions.apply import Applier, Done, Failed
from actions.plan import Plan, plan_from_json
from actions.ports import ActionError, Entry, Journal, Transient, newest
from analyzer.events import PlanRefused
from analyzer.policy import Policy
from analyzer.rollout import Rollout
from analyzer.watch import Phase, Watch
from rollbackd.planning import Planning
from rollbackd.records import watch_from_json

log = structlog.get_logger()

KEPT = frozenset({Phase.HEALTHY, Phase.INCONCLUSIVE})
"""Phases in which a watch leaves its release in place, as far as the daemon goes."""


class State(StrEnum):
    """How a withdrawal stands."""

    UNKNOWN = "unknown"
    """There is no such watch."""
    UNDER_WAY = "under way"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """How a withdrawal stands, in words for people, too."""

    state: State
    text: str


class Withdrawals:
    """Takes releases back. Thread-safe; the work is done by one thread.

    Args:
        planning: makes the plan, and asks the guards. applier: carries it out.
        journal: knows the watches, and what was withdrawn.
        policies: returns a policy by its name. now: seconds since the epoch.
        permit: raises Fenced when another process decides.
    """

    def __init__(
        self,
        planning: Planning,
        applier: Applier,
        journal: Journal,
        policies: Callable[[str], Policy | None],
        now: Callable[[], float],
        permit: Callable[[], None],
    ) -> None:
        self._planning = planning
        self._applier = applier
        self._journal = journal
        self._policies = policies
        self._now = now
        self._permit = permit
        self._busy: set[str] = set()
        self._ended: dict[str, Withdrawn] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="withdrawal")

    def withdraw(self, watch_id: str, by: str) -> Withdrawn:
        """Begin to take back what a watch followed, or tell how that is going.

        What was refused or failed is told once; asked again after that, it is tried anew.

        Raises:
            Transient: the journal does not answer, or another replica decides; ask again.
        """
        self._permit()
        with self._lock:
            if watch_id in self._busy:
                return Withdrawn(State.UNDER_WAY, "on its way back")
            if (ended := self._ended.pop(watch_id, None)) is not None:
                return ended
        watch = self._watch(watch_id)
        if watch is None:
            return Withdrawn(State.UNKNOWN, "there is no such watch")
        policy = self._policies(watch.policy)
        if watch.phase not in KEPT or watch.baseline is None or policy is None:
            return Withdrawn(State.REFUSED, _refusal(watch, policy))
        plans = self._plans(watch_id)
        done = self._keys(watch_id, "step-done")
        if plans and all(step.key in done for step in plans[-1].steps):
            return Withdrawn(State.DONE, plans[-1].describe())
        with self._lock:
            if self._closed:
                raise Transient("the daemon is stopping")
            if watch_id not in self._busy:
                self._busy.add(watch_id)
                self._pool.submit(self._work, watch, policy, by, plans)
        return Withdrawn(State.UNDER_WAY, f"taking {watch.canary.label} back")

    def _work(self, watch: Watch, policy: Policy, by: str, plans: list[Plan]) -> None:
        ended: Withdrawn | None = None
        try:
            ended = self._carried_out(watch, policy, by, plans)
        except Transient as error:
            log.warning("withdrawal delayed", watch=watch.id, error=str(error))
        except ActionError as error:
            ended = Withdrawn(State.FAILED, str(error))
        except Exception as error:
            log.exception("withdrawal broke", watch=watch.id)
            ended = Withdrawn(State.FAILED, f"internal error: {type(error).__name__}")
        finally:
            with self._lock:
                self._busy.discard(watch.id)
                if ended is not None and ended.state is not State.DONE:
                    self._ended[watch.id] = ended  # what is done, the journal tells

    def _carried_out(
        self, watch: Watch, policy: Policy, by: str, plans: list[Plan]
    ) -> Withdrawn | None:
        """Finish what was begun, or plan and carry out; None when asked to stop."""
        begun = self._keys(watch.id, "step-started") - self._keys(watch.id, "step-failed")
        plan = next((p for p in reversed(plans) if {s.key for s in p.steps} & begun), None)
        if plan is None:
            rollout = Rollout(
                watch.workload, watch.canary, watch.baseline, (), (), (), watch.started_at
            )
            data = {"by": by, "watch": watch.id}
            self._journal.append(Entry(self._now(), _id(watch.id), "withdrawal", "", data))
            made = self._planning.make(_id(watch.id), policy, rollout, len(plans) + 1)
            if isinstance(made, PlanRefused):
                return Withdrawn(State.REFUSED, "; ".join(made.reasons))
            plan = self._plans(watch.id)[-1]
        log.warning("withdrawing", watch=watch.id, by=by, plan=plan.describe())
        match self._applier.carry_out(plan):
            case Done():
                return Withdrawn(State.DONE, plan.describe())
            case Failed(reason=reason):
                return Withdrawn(State.FAILED, reason)
            case None:
                return None

    def _watch(self, watch_id: str) -> Watch | None:
        last = newest(self._journal.entries(watch_id=watch_id, kinds=frozenset({"watch"})))
        return None if last is None else watch_from_json(last.data)

    def _plans(self, watch_id: str) -> list[Plan]:
        kinds = frozenset({"plan"})
        entries = self._journal.entries(watch_id=_id(watch_id), kinds=kinds)
        return [plan_from_json(entry.data) for entry in entries]

    def _keys(self, watch_id: str, kind: str) -> set[str]:
        entries = self._journal.entries(watch_id=_id(watch_id), kinds=frozenset({kind}))
        return {entry.key for entry in entries}

    def settle(self) -> None:
        """Wait until nothing is in hand."""
        self._pool.submit(lambda: None).result()

    def close(self) -> None:
        """Take no more requests, and wait for the one in hand, which was asked to stop."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def _id(watch_id: str) -> str:
    """Return the id under which the journal keeps the withdrawal of a watch's release."""
    return f"withdrawal/{watch_id}"


def _refusal(watch: Watch, policy: Policy | None) -> str:
    if watch.phase not in KEPT:
        return f"{watch.workload} is {watch.phase.value}: there is nothing to take back"
    if watch.baseline is None:
        return f"{watch.workload} has no revision to go back to"
    assert policy is None  # noqa: S101  the two above and this are all there is
    return f'there is no policy "{watch.policy}" any more'
