"""From a degraded watch to a plan or a refusal on record: drafts, facts, guards, journal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock

from actions.facts import Fact
from actions.guards.register import AT_THE_LAST_MOMENT, checks
from actions.guards.settings import GuardSettings
from actions.guards.situation import Situation
from actions.plan import Draft, Plan, Refused, plan_to_json
from actions.planner import plan as make_plan
from actions.ports import Actuator, Entry, FactSource, Journal, Permanent
from analyzer.check import Check, CheckOutcome
from analyzer.events import Planned, PlanRefused
from analyzer.policy import Policy
from analyzer.rollout import Rollout
from rollbackd.ledger import Ledger
from rollbackd.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Precautions:
    """What guards are told besides the drafts.

    Attributes:
        settings: of the guards, by the policy's name; those not named have the defaults.
        sources: who knows more than the actuators tell, such as about database schemas.
        preparing: actuators whose steps only prepare for an action.
    """

    settings: Mapping[str, GuardSettings] = field(default_factory=dict)
    sources: Sequence[FactSource] = ()
    preparing: frozenset[str] = frozenset()

    def of(self, policy: Policy) -> GuardSettings:
        """Return the settings of a policy's guards."""
        return self.settings.get(policy.name, GuardSettings())


class Planning:
    """Makes plans, one at a time: two that ask at once cannot both take the last of a budget.

    Args:
        actuators: by configured name. journal: where plans and refusals are written.
        precautions: what guards are told. now: seconds since the epoch.
        telemetry: counts plans and refusals.
    """

    def __init__(
        self,
        actuators: Mapping[str, Actuator],
        journal: Journal,
        precautions: Precautions,
        now: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._actuators = actuators
        self._journal = journal
        self._precautions = precautions
        self._now = now
        self._telemetry = telemetry
        self._deciding = Lock()
        self.ledger = Ledger(journal, precautions.preparing)

    def make(
        self, watch_id: str, policy: Policy, rollout: Rollout, attempt: int
    ) -> Planned | PlanRefused:
        """Ask the actuators, then the guards; write the outcome and return it.

        Raises:
            Transient: an actuator or the journal cannot answer now; nothing is on record.
        """
        drafts = [(name, self._draft(name, rollout)) for name in policy.actuators]
        sources = self._precautions.sources if drafts else ()
        facts = [fact for source in sources for fact in source.facts(rollout)]
        with self._deciding:
            situation = self._situation(policy, rollout, drafts, facts)
            found = checks(situation)
            made = make_plan(situation, found, watch_id, attempt)
            self._telemetry.checked(found)
            if isinstance(made, Refused):
                return self._refuse(watch_id, rollout, made, found)
            self._telemetry.planned(refused=False)
            planned = Planned(made.key, made.describe(), found)
            record = {"mode": policy.mode.value, "asks": planned.asks, "checks": _told(found)}
            self._note(watch_id, "plan", made.key, plan_to_json(made) | record)
            return planned

    def objections(self, plan: Plan, policy: Policy) -> tuple[str, ...]:
        """Return what speaks against beginning a plan now that did not when it was made.

        Raises:
            Transient: the journal cannot be read now.
        """
        rollout = Rollout(plan.workload, plan.bad, plan.good, (), (), (), 0.0)
        found = checks(self._situation(policy, rollout, (), ()), AT_THE_LAST_MOMENT)
        against = [c for c in found if c.outcome in {CheckOutcome.ASKS, CheckOutcome.REFUSED}]
        self._telemetry.checked(against)
        return tuple(check.text for check in against)

    def _situation(
        self,
        policy: Policy,
        rollout: Rollout,
        drafts: Sequence[tuple[str, Draft]],
        facts: Sequence[Fact],
    ) -> Situation:
        now = self._now()
        account = self.ledger.account(now)
        settings = self._precautions.of(policy)
        return Situation(
            policy, rollout, drafts, account.past, now, account.troubles, settings, facts
        )

    def _refuse(
        self, watch_id: str, rollout: Rollout, made: Refused, found: tuple[Check, ...]
    ) -> PlanRefused:
        self._telemetry.planned(refused=True)
        record = {
            "reasons": list(made.reasons),
            "workload": asdict(rollout.workload),
            "checks": _told(found),
        }
        self._note(watch_id, "refusal", "", record)
        return PlanRefused(made.reasons, found)

    def _draft(self, name: str, rollout: Rollout) -> Draft:
        """Ask an actuator; that it cannot say is a refusal, that it cannot say now is not."""
        actuator = self._actuators.get(name)
        if actuator is None:
            return Draft(refusals=(f"no action named {name} is configured",))
        try:
            return actuator.propose(rollout)
        except Permanent as error:
            return Draft(refusals=(str(error),))

    def _note(self, watch_id: str, kind: str, key: str, data: Mapping[str, object]) -> None:
        self._journal.append(Entry(self._now(), watch_id, kind, key, data))


def _told(found: Sequence[Check]) -> list[dict[str, str]]:
    """Return what guards said, for the journal."""
    return [{"guard": c.guard, "outcome": c.outcome.value, "text": c.text} for c in found]
