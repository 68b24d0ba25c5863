"""Carrying a plan out: journalled, verified, idempotent, safe to be killed at any instruction.

For each step: look at the world, write STARTED, perform, look until the effect is in place, write
DONE. A step is performed only while the world is as the plan expected it, and the actuator checks
the same precondition again in the write itself; so whatever is interrupted, and wherever, running
``carry_out`` again finishes what is half done and repeats nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actions.plan import Plan, Step
from actions.ports import (
    Conflict,
    Entry,
    Fenced,
    Journal,
    Performer,
    Permanent,
    StepState,
    Transient,
)


@dataclass(frozen=True, slots=True)
class Done:
    """Every step of the plan has taken effect."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The plan was not carried out whole. ``conflict``: the world moved on before a write."""

    reason: str
    conflict: bool = False


Outcome = Done | Failed


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try.

    Attributes:
        attempts: tries of a call that fails in passing; with the waits between them some two
            minutes, in which an API server that restarts is back. backoff_s: wait before the second
            try, doubled each time up to max_backoff_s. longest_asked_s: a longer wait that the
            other side asks for is cut short to this.
        settle_s: how long a written change may take to show its effect.
        poll_s: time between two looks meanwhile.
    """

    attempts: int = 12
    backoff_s: float = 0.5
    max_backoff_s: float = 15.0
    longest_asked_s: float = 60.0
    settle_s: float = 600.0
    poll_s: float = 1.0


def always() -> None:
    """Permit to act: there is only this process."""


@dataclass(frozen=True, slots=True)
class Applier:
    """Carries out plans.

    Attributes:
        actuators: by the name that steps carry. journal: where STARTED and DONE are written.
        now: seconds since the epoch.
        pause: waits so many seconds; returns False when the process is asked to stop, and then
            the step in flight is left for the next start, which verifies and finishes it.
        permit: raises Fenced when another process leads; asked right before each write. The step
            in flight is then left for that process.
    """

    actuators: Mapping[str, Performer]
    journal: Journal
    now: Callable[[], float]
    pause: Callable[[float], bool]
    patience: Patience = Patience()
    permit: Callable[[], None] = always

    def carry_out(self, plan: Plan) -> Outcome | None:
        """Carry the plan out, or finish what an earlier process began of it.

        Returns:
            The outcome, or None when the process was asked to stop; the plan then stays open.

        Raises:
            Transient: the journal cannot be written; nothing was done that it does not know of.
        """
        seen = {
            (entry.kind, entry.key)
            for entry in self.journal.entries(
                watch_id=plan.watch_id, kinds=frozenset({"step-started", "step-done"})
            )
        }
        for step in plan.steps:
            if ("step-done", step.key) in seen:
                continue
            try:
                finished = self._bring_about(plan, step, ("step-started", step.key) in seen)
            except Conflict as error:
                self._note(plan, "step-failed", step, reason=str(error), conflict=True)
                return Failed(str(error), conflict=True)
            except (Permanent, _OutOfPatience) as error:
                self._note(plan, "step-failed", step, reason=str(error), conflict=False)
                return Failed(str(error))
            if not finished:
                return None
        return Done()

    def _bring_about(self, plan: Plan, step: Step, started: bool) -> bool:
        """Make one step true; return False when asked to stop before it was.

        ``started``: an earlier process may have written it, so a world that moved on is not a
        conflict that allows a new plan, but something for people to look at.
        """
        actuator = self.actuators.get(step.actuator)
        if actuator is None:
            raise Permanent(f"no action named {step.actuator!r} is configured any more")
        state = self._patiently(lambda: actuator.inspect(step))
        if state is None:
            return False
        if state is StepState.MOVED_ON:
            error = Permanent if started else Conflict
            raise error(f"the world is no longer as planned: {step.describe()}")
        if state is StepState.PENDING:
            if not started:
                self._note(plan, "step-started", step)
            state = self._patiently(lambda: self._perform(actuator, step))
        if state is None or not self._settle(actuator, step, state):
            return False
        self._note(plan, "step-done", step)
        return True

    def _settle(self, actuator: Performer, step: Step, state: StepState) -> bool:
        """Wait until a written change is in place."""
        deadline = self.now() + self.patience.settle_s
        while state is not StepState.DONE:
            if state is StepState.MOVED_ON:
                raise Permanent(f"somebody changed it while it settled: {step.describe()}")
            if self.now() >= deadline:
                waited = f"{self.patience.settle_s:.0f} s"
                raise _OutOfPatience(f"written, but no effect within {waited}: {step.describe()}")
            if not self.pause(self.patience.poll_s):
                return False
            looked = self._patiently(lambda: actuator.inspect(step))
            if looked is None:
                return False
            state = looked
        return True

    def _patiently(self, call: Callable[[], StepState]) -> StepState | None:
        """Call, trying again with back-off while it fails in passing; None when asked to stop.

        Who is fenced stops, too: that a write was not allowed says nothing about the step.
        """
        wait = self.patience.backoff_s
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return call()
            except Fenced:
                return None
            except Transient as error:
                if attempt == self.patience.attempts:
                    raise _OutOfPatience(f"gave up after {attempt} tries: {error}") from error
                asked = min(error.retry_after_s, self.patience.longest_asked_s)
            if not self.pause(max(wait, asked)):
                return None
            wait = min(2 * wait, self.patience.max_backoff_s)
        raise AssertionError("unreachable: the loop returns or raises")

    def _perform(self, actuator: Performer, step: Step) -> StepState:
        """Write the change, unless the write of an earlier try got through after all."""
        state = actuator.inspect(step)
        if state is StepState.MOVED_ON:
            raise Conflict(f"the world is no longer as planned: {step.describe()}")
        if state is StepState.PENDING:
            self.permit()
            actuator.perform(step)
            state = actuator.inspect(step)
        return StepState.SETTLING if state is StepState.PENDING else state

    def _note(self, plan: Plan, kind: str, step: Step, **data: object) -> None:
        data = {"plan": plan.key, "step": step.describe(), **data}
        self.journal.append(Entry(self.now(), plan.watch_id, kind, step.key, data))


class _OutOfPatience(Exception):
    """Passing trouble did not pass."""
