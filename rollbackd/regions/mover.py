"""Makes and carries out the plans of moves: reads records and capacities, asks guards, applies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actions.apply import Applier, Done, Failed
from actions.dns.ports import DnsBackend, Owned
from actions.dns.record import Record
from actions.dns.switch import records_of
from actions.plan import Plan, Refused, plan_to_json
from actions.ports import Entry, Journal, Permanent
from actions.regions.guards import (
    STAGE_GUARDS,
    Capacity,
    MoveSituation,
    Name,
    refusals,
)
from actions.regions.limits import Limits
from actions.regions.planner import plan_move, stage_of, stages, until_stage, watch_id
from actions.regions.shift import Endpoints, NoWay, Shift, away, back
from analyzer.events import ActFailed, PlanRefused
from analyzer.regions.events import (
    Direction,
    MovePlanned,
    RegionEvent,
    Restored,
    StageBlocked,
    StageDone,
)
from analyzer.regions.life import Region, RegionPhase, same_words
from rollbackd.regions.journey import (
    ORIGIN,
    Place,
    find_plan,
    journey,
    moves_begun,
    origin_to_json,
)

Capacities = Callable[[], Mapping[str, Capacity]]


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record that leads to regions: in which backend, and what stands for which region."""

    backend: str
    name: str
    type: str
    endpoints: Endpoints

    @property
    def place(self) -> Place:
        """Where the journal finds it."""
        return self.backend, self.name, self.type


@dataclass(frozen=True, slots=True)
class Routes:
    """What is moved, and how.

    Attributes:
        records: those that lead to regions; they are moved together.
        steps: share of its weight that a region has given up after each stage.
        limits: what a move must respect.
    """

    records: tuple[KeptRecord, ...]
    steps: tuple[float, ...]
    limits: Limits


class Mover:
    """Plans moves and carries out their stages. All calls by one thread.

    Args:
        backends: by configured name. routes: what is moved, and how.
        capacities: asks for them, by region.
        applier: carries plans out. journal: where plans are written.
        now: seconds since the epoch.
        refuse_owned: do not change what a GitOps owner would put back; else only say so.
    """

    def __init__(
        self,
        *,
        backends: Mapping[str, DnsBackend],
        routes: Routes,
        capacities: Capacities,
        applier: Applier,
        journal: Journal,
        now: Callable[[], float],
        refuse_owned: bool = True,
    ) -> None:
        self._refuse_owned = refuse_owned
        self._backends = backends
        self._records = routes.records
        self._steps = routes.steps
        self._limits = routes.limits
        self._capacities = capacities
        self._applier = applier
        self._journal = journal
        self._now = now
        self._refused: dict[str, str] = {}

    def plan(self, region: Region, direction: Direction, others: Sequence[Region]) -> RegionEvent:
        """Return what came of planning a move. Raises Transient: ask again later."""
        try:
            found = {kept.place: self._read(kept) for kept in self._records}
            origin = journey(self._journal, region.name).origin if region.away else {}
            if direction is Direction.BACK and found == origin:
                return Restored("somebody")
            names = self._names(region, direction, others, found)
            undone = self._undone()
        except (Permanent, NoWay) as error:
            return self._refuse(region, (str(error),))
        situation = self._situation(
            region, direction, others, names, tuple(found.values()), undone
        )
        made = plan_move(situation)
        if isinstance(made, Refused):
            return self._refuse(region, made.reasons)
        entries = [Entry(self._now(), made.watch_id, "plan", made.key, plan_to_json(made))]
        if not region.away:
            entries.insert(
                0, Entry(self._now(), made.watch_id, ORIGIN, made.key, origin_to_json(found))
            )
        self._journal.append(*entries)
        told = "; ".join((made.describe(), *(() if self._refuse_owned else undone)))
        return MovePlanned(direction, made.key, told, stages(made))

    def advance(
        self, region: Region, plan_key: str, stage: int, others: Sequence[Region]
    ) -> RegionEvent | None:
        """Carry a plan out up to a stage; None when asked to stop. Raises Transient."""
        plan = find_plan(self._journal, region.name, plan_key)
        if plan is None:
            return ActFailed(plan_key, "the journal does not hold the plan any more", False)
        part = until_stage(plan, stage)
        if not self._begun(part, stage):
            try:
                reasons = self._objections(region, plan, others)
            except Permanent as error:
                return ActFailed(plan_key, str(error), False)
            if reasons:
                return StageBlocked(plan_key, reasons)
        try:
            outcome = self._applier.carry_out(part)
        except Permanent as error:
            outcome = Failed(str(error))
        match outcome:
            case None:
                return None
            case Failed(reason=reason, conflict=conflict):
                return ActFailed(plan_key, reason, conflict)
            case Done():
                changed = [records_of(s)[0] for s in part.steps if stage_of(s) == stage]
                drain_s = max(self._limits.drain_s(record) for record in changed)
                return StageDone(plan_key, stage, self._now() + drain_s)

    def _read(self, kept: KeptRecord) -> Record:
        return self._backends[kept.backend].read(kept.name, kept.type)

    def _names(
        self,
        region: Region,
        direction: Direction,
        others: Sequence[Region],
        found: Mapping[Place, Record],
    ) -> tuple[Name, ...]:
        if direction is Direction.AWAY:
            receivers = [r.name for r in others if r.standing.takes_traffic and not r.away]
            shifts = {
                k.place: away(found[k.place], k.endpoints, region.name, receivers, self._steps)
                for k in self._records
            }
        else:
            past = journey(self._journal, region.name)
            if set(past.origin) != set(found):
                raise NoWay(
                    f"the journal does not hold what every record of {region.name} was; "
                    "put it back by hand"
                )
            shifts = {
                place: back(past.left[place], origin, self._steps)
                for place, origin in past.origin.items()
            }
        return tuple(Name(k.backend, shifts[k.place], k.endpoints) for k in self._records)

    def _situation(
        self,
        region: Region,
        direction: Direction,
        others: Sequence[Region],
        names: tuple[Name, ...],
        found: tuple[Record, ...],
        undone: tuple[str, ...],
    ) -> MoveSituation:
        return MoveSituation(
            region=region,
            direction=direction,
            others=others,
            names=names,
            found=found,
            capacity=self._capacities(),
            limits=self._limits,
            past=moves_begun(self._journal),
            now=self._now(),
            undone=undone if self._refuse_owned else (),
        )

    def _undone(self) -> tuple[str, ...]:
        """Return who would put back a change of a record. Raises Transient or Permanent."""
        asked = ((self._backends[k.backend], k) for k in self._records)
        said = (b.undone_by(k.name, k.type) for b, k in asked if isinstance(b, Owned))
        return tuple(dict.fromkeys(why for why in said if why))

    def _objections(self, region: Region, plan: Plan, others: Sequence[Region]) -> tuple[str, ...]:
        """Ask again what may have changed since the plan was made."""
        returning = region.phase is RegionPhase.FAILING_BACK
        direction = Direction.BACK if returning else Direction.AWAY
        shifts: dict[Place, Shift] = {}
        for step in plan.steps:
            before, after = records_of(step)
            place = (step.target["backend"], before.name, before.type)
            first = shifts[place].before if place in shifts else before
            shifts[place] = Shift(first, (after,))
        names = tuple(
            Name(k.backend, shifts[k.place], k.endpoints)
            for k in self._records
            if k.place in shifts
        )
        found = tuple(name.shift.before for name in names)
        situation = self._situation(region, direction, others, names, found, self._undone())
        return refusals(situation, STAGE_GUARDS)

    def _begun(self, part: Plan, stage: int) -> bool:
        """Tell whether an earlier process began this stage; then it is finished."""
        keys = {step.key for step in part.steps if stage_of(step) == stage}
        kinds = frozenset({"step-started"})
        entries = self._journal.entries(watch_id=part.watch_id, kinds=kinds)
        return any(entry.key in keys for entry in entries)

    def _refuse(self, region: Region, reasons: tuple[str, ...]) -> PlanRefused:
        """Write a refusal; the same one as before is not written again."""
        text = "; ".join(reasons)
        if not same_words(self._refused.get(region.name, ""), text):
            data = {"reasons": list(reasons)}
            self._journal.append(Entry(self._now(), watch_id(region.name), "refusal", "", data))
            self._refused[region.name] = text
        return PlanRefused(reasons)
