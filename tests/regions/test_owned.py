"""Records that a GitOps owner would put back: moves are refused, or people are told."""

from dataclasses import replace

from actions.apply import Applier, Patience
from actions.dns.ports import Propagation
from actions.dns.record import Record, plain
from actions.dns.switch import NAME, DnsSwitch
from actions.regions.guards import Capacity
from actions.regions.limits import Limits
from analyzer.events import PlanRefused
from analyzer.regions.events import Direction, MovePlanned, StageBlocked, StageDone, Standing
from analyzer.regions.life import Region, RegionPhase
from analyzer.sample import Absence, Missing
from rollbackd.regions.mover import KeptRecord, Mover, Routes
from tests.fakes.memory_journal import MemoryJournal

WWW, EU, US = "www.shop.test", "192.0.2.1", "192.0.2.2"
OWNER = "Ingress shop/www: Argo CD Application argocd/shop would put it back"
UNKNOWN = Missing(Absence.NO_SERIES)
SICK = Region("eu", since=0.0, standing=Standing.SICK, phase=RegionPhase.SICK)
WELL = Region("us", since=0.0, standing=Standing.HEALTHY)


class Shelf:
    """One record in memory, which somebody may apply from somewhere else."""

    def __init__(self, owner: str | None) -> None:
        self.record = plain(WWW, "A", 60, (EU, US))
        self.owner = owner

    def read(self, name: str, type_: str) -> Record:
        assert (name, type_) == (WWW, "A")
        return self.record

    def swap(self, expected: Record, new: Record) -> None:
        assert expected == self.record
        self.record = new

    def propagation(self, record: Record) -> Propagation:
        assert record == self.record
        return Propagation(agreeing=("shelf",))

    def undone_by(self, name: str, type_: str) -> str | None:
        assert (name, type_) == (WWW, "A")
        return self.owner


def mover(shelf: Shelf, *, refuse_owned: bool = True) -> Mover:
    journal, backends = MemoryJournal(), {"main": shelf}
    record = KeptRecord("main", WWW, "A", {"eu": (EU,), "us": (US,)})
    applier = Applier(
        {NAME: DnsSwitch(backends)}, journal, lambda: 1.0, lambda _: True, Patience(3, 0.01, 0.01)
    )
    return Mover(
        backends=backends,
        routes=Routes((record,), (1.0,), Limits()),
        capacities=lambda: {n: Capacity(UNKNOWN, UNKNOWN, True) for n in ("eu", "us")},
        applier=applier,
        journal=journal,
        now=lambda: 1.0,
        refuse_owned=refuse_owned,
    )


def test_a_record_that_would_be_put_back_is_not_moved() -> None:
    refused = mover(Shelf(OWNER)).plan(SICK, Direction.AWAY, (WELL,))
    assert isinstance(refused, PlanRefused)
    assert refused.reasons == (OWNER,)


def test_where_owners_are_only_warned_of_the_plan_says_so() -> None:
    planned = mover(Shelf(OWNER), refuse_owned=False).plan(SICK, Direction.AWAY, (WELL,))
    assert isinstance(planned, MovePlanned)
    assert OWNER in planned.text
    unowned = mover(Shelf(None)).plan(SICK, Direction.AWAY, (WELL,))
    assert isinstance(unowned, MovePlanned)
    assert "put it back" not in unowned.text


def test_an_owner_that_came_since_the_plan_holds_it_up() -> None:
    shelf = Shelf(None)
    moving = mover(shelf)
    planned = moving.plan(SICK, Direction.AWAY, (WELL,))
    assert isinstance(planned, MovePlanned)
    region = replace(SICK, phase=RegionPhase.FAILING_OVER, plan_key=planned.plan_key)
    shelf.owner = OWNER
    blocked = moving.advance(region, planned.plan_key, 1, (WELL,))
    assert isinstance(blocked, StageBlocked)
    assert shelf.record.answers == {EU, US}
    shelf.owner = None
    assert isinstance(moving.advance(region, planned.plan_key, 1, (WELL,)), StageDone)
    assert shelf.record.answers == {US}
