"""Where plans are made and carried out, off the tick's thread, one job a watch at a time."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from actions.apply import Applier, Done, Failed
from actions.plan import Plan, plan_from_json
from actions.ports import ActionError, Entry, Journal, Transient
from analyzer.events import Acted, ActFailed, Event, Planned, PlanRefused
from analyzer.policy import Policy
from analyzer.rollout import Rollout
from rollbackd.decision_spans import outcome
from rollbackd.ledger import acts_alone
from rollbackd.planning import Planning
from rollbackd.telemetry import Telemetry

log = structlog.get_logger()

Answer = Callable[[str, Event], None]


class ActionDesk:
    """Makes plans and carries them out in a small pool; answers with events.

    Asking again for what is already in hand does nothing, so the caller may ask at every tick:
    that is how passing trouble is retried and how a restart resumes.

    Args:
        planning: makes plans. applier: carries them out.
        journal: where plans are kept.
        answer: takes the event that a job ended with; may be called from any thread.
        telemetry: counts actions.
        workers: how many plans are carried out at once.
    """

    def __init__(
        self,
        planning: Planning,
        applier: Applier,
        journal: Journal,
        answer: Answer,
        telemetry: Telemetry,
        workers: int = 4,
    ) -> None:
        self._planning = planning
        self._applier = applier
        self._journal = journal
        self._answer = answer
        self._telemetry = telemetry
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="action")
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def plan(self, watch_id: str, policy: Policy, rollout: Rollout, attempt: int) -> None:
        """Ask for a plan; the answer is Planned or PlanRefused, or nothing in passing trouble."""
        self._enter(
            ("plan", watch_id),
            lambda: self._plan(watch_id, policy, rollout, attempt),
            lambda bug: PlanRefused((bug,)),
        )

    def act(self, watch_id: str, policy: Policy, plan_key: str) -> None:
        """Carry a plan out, or finish it; the answer is Acted or ActFailed."""
        self._enter(
            ("act", watch_id),
            lambda: self._act(watch_id, policy, plan_key),
            lambda bug: ActFailed(plan_key, bug, conflict=False),
        )

    def _plan(self, watch_id: str, policy: Policy, rollout: Rollout, attempt: int) -> Event | None:
        with self._telemetry.spans.job("plan", watch_id) as span:
            event = self._planning.make(watch_id, policy, rollout, attempt)
            match event:
                case Planned(plan_key=key):
                    span.set_attribute("rollbackd.plan", key)
                    outcome(span, "made")
                case PlanRefused(reasons=reasons):
                    span.set_attribute("rollbackd.reasons", list(reasons))
                    outcome(span, "refused")
            return event

    def _act(self, watch_id: str, policy: Policy, plan_key: str) -> Event | None:
        with self._telemetry.spans.job("act", watch_id) as span:
            span.set_attribute("rollbackd.plan", plan_key)
            event = self._carry_out(watch_id, policy, plan_key)
            match event:
                case Acted():
                    outcome(span, "done")
                case ActFailed(reason=reason):
                    outcome(span, reason, failed=True)
                case _:
                    outcome(span, "interrupted")
            return event

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

    def _carry_out(self, watch_id: str, policy: Policy, plan_key: str) -> Event | None:
        entry = self._plan_entry(watch_id, plan_key)
        if entry is None:
            return ActFailed(
                plan_key, "the journal does not hold the plan any more", conflict=False
            )
        plan = plan_from_json(entry.data)
        if acts_alone(entry.data) and not self._was_begun(plan):
            against = self._planning.objections(plan, policy)
            if against:
                reason = f"nothing was written: {'; '.join(against)}"
                self._telemetry.acted("failed")
                return ActFailed(plan_key, reason, conflict=False)
        try:
            ended = self._applier.carry_out(plan)
        except Transient:
            raise
        except ActionError as error:
            ended = Failed(str(error))
        match ended:
            case None:
                self._telemetry.acted("interrupted")
                return None
            case Done():
                self._telemetry.acted("done")
                return Acted(plan_key)
            case Failed(reason=reason, conflict=conflict):
                self._telemetry.acted("conflict" if conflict else "failed")
                return ActFailed(plan_key, reason, conflict)

    def in_hand(self) -> dict[str, int]:
        """Return how many jobs of each kind, "plan" and "act", are in hand or wait."""
        with self._lock:
            return dict(Counter(kind for kind, _ in self._busy))

    def find_plan(self, watch_id: str, plan_key: str) -> Plan | None:
        """Return a plan from the journal. Raises Transient when that cannot be read."""
        entry = self._plan_entry(watch_id, plan_key)
        return None if entry is None else plan_from_json(entry.data)

    def _plan_entry(self, watch_id: str, plan_key: str) -> Entry | None:
        found = self._journal.entries(watch_id=watch_id, kinds=frozenset({"plan"}))
        return next((entry for entry in found if entry.key == plan_key), None)

    def _was_begun(self, plan: Plan) -> bool:
        keys = {step.key for step in plan.steps}
        kinds = frozenset({"step-started", "step-done"})
        return any(
            e.key in keys for e in self._journal.entries(watch_id=plan.watch_id, kinds=kinds)
        )

    def close(self) -> None:
        """Take no more jobs and wait for those in hand, which were asked to stop."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
