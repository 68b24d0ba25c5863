"""What was done and which workloads were in trouble, read from the journal as it grows."""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from actions.guards.situation import PastAction, Trouble
from actions.plan import Plan, plan_from_json
from actions.ports import Entry, Journal
from analyzer.policy import Mode
from analyzer.rollout import Workload

KEPT_ACTIONS = 20
"""Past actions remembered of each workload: enough for every revision that its history holds."""
KEPT_TROUBLE_S = 86400.0
"""Troubles older than this are forgotten; budgets and incidents look back at most this far."""

_KINDS = frozenset({"plan", "refusal", "step-started", "step-done"})


@dataclass(frozen=True, slots=True)
class Account:
    """What guards need to know of the past: actions and troubles, oldest first."""

    past: tuple[PastAction, ...]
    troubles: tuple[Trouble, ...]


class Ledger:
    """Follows the journal: each look reads only what was written since the last one.

    The first look reads the plans and steps that the journal still holds, through its index of
    kinds. Thread-safe.

    Args:
        journal: the record. preparing: actuators whose steps only prepare for the action, such as
            the hold of a GitOps owner; they alone do not make a past action.
    """

    def __init__(self, journal: Journal, preparing: frozenset[str] = frozenset()) -> None:
        self._journal = journal
        self._preparing = preparing
        self._lock = Lock()
        self._read_up_to = 0
        self._plans: dict[str, Plan] = {}
        self._past: defaultdict[Workload, deque[PastAction]] = defaultdict(
            lambda: deque(maxlen=KEPT_ACTIONS)
        )
        self._troubles: dict[str, Trouble] = {}

    def account(self, now: float) -> Account:
        """Return what is known now, seconds since the epoch. Raises Transient."""
        with self._lock:
            for entry in self._journal.entries(kinds=_KINDS, after=self._read_up_to):
                self._take(entry)
                self._read_up_to = entry.seq
            self._forget(now)
            past = sorted((a for of in self._past.values() for a in of), key=lambda a: a.at)
            troubles = sorted(self._troubles.values(), key=lambda t: t.at)
            return Account(tuple(past), tuple(troubles))

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "plan":
                plan = self._plans[entry.watch_id] = plan_from_json(entry.data)
                self._note(entry, plan.workload, acts=acts_alone(entry.data))
            case "refusal" if "workload" in entry.data:
                self._note(entry, Workload(**entry.data["workload"]), acts=False)
            case "step-started":
                known = self._troubles.get(entry.watch_id)
                if known is not None and self._is_of_plan(entry):
                    self._troubles[entry.watch_id] = replace(known, acts=True)
            case "step-done" if self._is_of_plan(entry):
                self._act(entry, self._plans[entry.watch_id])

    def _is_of_plan(self, entry: Entry) -> bool:
        plan = self._plans.get(entry.watch_id)
        return plan is not None and plan.key == entry.data.get("plan")

    def _act(self, entry: Entry, plan: Plan) -> None:
        actuator = next((s.actuator for s in plan.steps if s.key == entry.key), "")
        if actuator not in self._preparing:
            done = PastAction(plan.workload, entry.at, plan.bad.id, plan.good.id)
            self._past[plan.workload].append(done)

    def _note(self, entry: Entry, workload: Workload, *, acts: bool) -> None:
        """Note that a watch is in trouble; planning again neither adds one nor makes it newer."""
        known = self._troubles.get(entry.watch_id)
        began = entry.at if known is None else known.at
        already = known is not None and known.acts
        self._troubles[entry.watch_id] = Trouble(
            entry.watch_id, workload, began, acts=acts or already
        )

    def _forget(self, now: float) -> None:
        over = [w for w, t in self._troubles.items() if now - t.at > KEPT_TROUBLE_S]
        for watch_id in over:
            del self._troubles[watch_id]


def acts_alone(plan_data: Mapping[str, Any]) -> bool:
    """Tell from a plan's journal entry whether it is carried out without asking a person."""
    return plan_data.get("mode") == Mode.ENFORCE.value and not plan_data.get("asks")
