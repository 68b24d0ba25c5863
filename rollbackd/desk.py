"""Where plans are made and carried out, off the tick's thread, one job a watch at a time."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from actions.apply import Applier, Done, Failed
from actions.guards import PastAction, Situation
from actions.plan import Draft, Plan, Refused, plan_from_json, plan_to_json
from actions.planner import plan as make_plan
from actions.ports import ActionError, Actuator, Entry, Journal, Permanent, Transient
from analyzer.events import Acted, ActFailed, Event, Planned, PlanRefused
from analyzer.policy import Policy
from analyzer.rollout import Rollout
from rollbackd.telemetry import Telemetry

log = structlog.get_logger()

Answer = Callable[[str, Event], None]


class ActionDesk:
    """Makes plans and carries them out in a small pool; answers with events.

    Asking again for what is already in hand does nothing, so the caller may ask at every tick:
    that is how passing trouble is retried and how a restart resumes.

    Args:
        actuators: by configured name. applier: carries plans out.
        journal: where plans and refusals are written before they are answered.
        answer: takes the event that a job ended with; may be called from any thread.
        now: seconds since the epoch.
        telemetry: counts plans and actions.
        workers: how many plans are carried out at once.
    """

    def __init__(
        self,
        actuators: Mapping[str, Actuator],
        applier: Applier,
        journal: Journal,
        answer: Answer,
        now: Callable[[], float],
        telemetry: Telemetry,
        workers: int = 4,
    ) -> None:
        self._actuators = actuators
        self._applier = applier
        self._journal = journal
        self._answer = answer
        self._now = now
        self._telemetry = telemetry
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="action")
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def plan(self, watch_id: str, policy: Policy, rollout: Rollout, attempt: int) -> None:
        """Ask for a plan; the answer is Planned or PlanRefused, or nothing in passing trouble."""
        self._enter(
            ("plan", watch_id),
            lambda: self._make(watch_id, policy, rollout, attempt),
            lambda bug: PlanRefused((bug,)),
        )

    def act(self, watch_id: str, plan_key: str) -> None:
        """Carry a plan out, or finish it; the answer is Acted or ActFailed."""
        self._enter(
            ("act", watch_id),
            lambda: self._carry_out(watch_id, plan_key),
            lambda bug: ActFailed(plan_key, bug, conflict=False),
        )

    def _enter(
        self,
        what: tuple[str, str],
        job: Callable[[], Event | None],
        on_bug: Callable[[str], Event],
    ) -> None:
        with self._lock:
            if self._closed or what in self._busy:
                return
            self._busy.add(what)
            self._pool.submit(self._run, what, job, on_bug)

    def _run(
        self,
        what: tuple[str, str],
        job: Callable[[], Event | None],
        on_bug: Callable[[str], Event],
    ) -> None:
        """Do a job and answer; only then may the same be asked for again."""
        _, watch_id = what
        try:
            event = self._outcome(watch_id, job, on_bug)
            if event is not None:
                self._answer(watch_id, event)
        except Transient as error:
            # the watch stays as it was, and the next tick asks for the same again
            self._telemetry.journal_failed()
            log.warning("answer not recorded", watch=watch_id, error=str(error))
        except Exception:
            log.exception("answer broke", watch=watch_id)
        finally:
            with self._lock:
                self._busy.discard(what)

    def _outcome(
        self, watch_id: str, job: Callable[[], Event | None], on_bug: Callable[[str], Event]
    ) -> Event | None:
        try:
            return job()
        except Transient as error:
            log.warning("action delayed", watch=watch_id, error=str(error))
            return None
        except Exception as error:
            # a bug must not leave a watch waiting for ever: people are called
            log.exception("action job broke", watch=watch_id)
            return on_bug(f"internal error: {error}")

    def _make(self, watch_id: str, policy: Policy, rollout: Rollout, attempt: int) -> Event:
        drafts = [(name, self._draft(name, rollout)) for name in policy.actuators]
        situation = Situation(policy, rollout, drafts, self.past_actions(), self._now())
        made = make_plan(situation, watch_id, attempt)
        if isinstance(made, Refused):
            self._telemetry.planned(refused=True)
            self._note(watch_id, "refusal", "", {"reasons": list(made.reasons)})
            return PlanRefused(made.reasons)
        self._telemetry.planned(refused=False)
        self._note(watch_id, "plan", made.key, plan_to_json(made))
        return Planned(made.key, made.describe())

    def _draft(self, name: str, rollout: Rollout) -> Draft:
        """Ask an actuator; that it cannot say is a refusal, that it cannot say now is not."""
        actuator = self._actuators.get(name)
        if actuator is None:
            return Draft(refusals=(f"no action named {name} is configured",))
        try:
            return actuator.propose(rollout)
        except Permanent as error:
            return Draft(refusals=(str(error),))

    def _carry_out(self, watch_id: str, plan_key: str) -> Event | None:
        plan = self.find_plan(watch_id, plan_key)
        if plan is None:
            return ActFailed(
                plan_key, "the journal does not hold the plan any more", conflict=False
            )
        try:
            outcome = self._applier.carry_out(plan)
        except Transient:
            raise
        except ActionError as error:
            outcome = Failed(str(error))
        match outcome:
            case None:
                self._telemetry.acted("interrupted")
                return None
            case Done():
                self._telemetry.acted("done")
                return Acted(plan_key)
            case Failed(reason=reason, conflict=conflict):
                self._telemetry.acted("conflict" if conflict else "failed")
                return ActFailed(plan_key, reason, conflict)

    def find_plan(self, watch_id: str, plan_key: str) -> Plan | None:
        """Return a plan from the journal. Raises Transient when that cannot be read."""
        kinds = frozenset({"plan"})
        for entry in self._journal.entries(watch_id=watch_id, kinds=kinds):
            if entry.key == plan_key:
                return plan_from_json(entry.data)
        return None

    def past_actions(self) -> Sequence[PastAction]:
        """Return the actions that were carried out, oldest first. Raises Transient."""
        plans: dict[str, Plan] = {}
        past = []
        for entry in self._journal.entries(kinds=frozenset({"plan", "step-done"})):
            if entry.kind == "plan":
                plans[entry.key] = plan_from_json(entry.data)
            elif (plan := plans.get(entry.data.get("plan", ""))) is not None:
                past.append(PastAction(plan.workload, entry.at, plan.bad.id, plan.good.id))
        return past

    def _note(self, watch_id: str, kind: str, key: str, data: Mapping[str, object]) -> None:
        self._journal.append(Entry(self._now(), watch_id, kind, key, data))

    def close(self) -> None:
        """Take no more jobs and wait for those in hand, which were asked to stop."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
