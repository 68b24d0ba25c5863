"""Plans of moves: where traffic goes, and every reason for which it must not."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actions.dns.record import Member, Record, Routing, plain
from actions.dns.switch import records_of
from actions.plan import Plan, Refused
from actions.regions.guards import Capacity, MoveSituation, Name
from actions.regions.limits import Limits
from actions.regions.planner import plan_move, stages, until_stage
from actions.regions.shift import NoWay, away, back, loads
from analyzer.regions.events import Direction, Standing
from analyzer.regions.life import Region, RegionPhase
from analyzer.sample import Absence, Missing

ENDPOINTS = {"eu": ("192.0.2.1",), "us": ("192.0.2.2",), "ap": ("192.0.2.3",)}
POOLS = {"eu": ("eu",), "us": ("us",), "ap": ("ap",)}
PLAIN = plain("www.shop.test", "A", 60, ("192.0.2.1", "192.0.2.2"))
WEIGHTED = Record(
    "www.shop.test",
    "A",
    60,
    (Member("ap", (), 0.0), Member("eu", (), 100.0), Member("us", (), 50.0)),
    Routing.WEIGHTED,
)
FAILOVER = replace(
    WEIGHTED, routing=Routing.FAILOVER, members=(Member("eu", ()), Member("us", ()))
)
SHARES = (0.5, 1.0)


def test_a_plain_record_loses_the_regions_values() -> None:
    shift = away(PLAIN, ENDPOINTS, "eu", ("us",), SHARES)
    assert [r.answers for r in shift.stages] == [{"192.0.2.2"}]
    alone = plain("www.shop.test", "A", 60, ("192.0.2.1",))
    shift = away(alone, ENDPOINTS, "eu", ("ap", "us"), SHARES)
    assert [r.answers for r in shift.stages] == [{"192.0.2.3"}]
    assert back(shift.stages[-1], alone, SHARES).stages == (alone,)


def test_weights_are_given_up_in_steps_and_taken_back_in_steps() -> None:
    shift = away(WEIGHTED, POOLS, "eu", ("us",), SHARES)
    assert [r.describe().split(" → ")[1] for r in shift.stages] == [
        "ap 0, eu 50, us 50",
        "ap 0, eu 0, us 50",
    ]
    assert back(shift.after, WEIGHTED, SHARES).stages == (shift.stages[0], WEIGHTED)


def test_a_stand_by_without_weight_takes_over() -> None:
    active = replace(WEIGHTED, members=(Member("eu", (), 1.0), Member("us", (), 0.0)))
    shift = away(active, POOLS, "eu", ("us",), SHARES)
    assert [m.weight for m in shift.after.members] == [0.0, 1.0]


def test_a_failover_record_puts_the_region_last() -> None:
    shift = away(FAILOVER, POOLS, "eu", ("us",), SHARES)
    assert [m.id for m in shift.after.members] == ["us", "eu"]
    with pytest.raises(NoWay, match="does not lead there now"):
        away(FAILOVER, POOLS, "us", ("eu",), SHARES)


def test_what_nobody_knows_is_not_moved() -> None:
    foreign = plain("www.shop.test", "A", 60, ("192.0.2.1", "192.0.2.9"))
    with pytest.raises(NoWay, match="belongs to no region"):
        away(foreign, ENDPOINTS, "eu", ("us",), SHARES)


@given(
    st.lists(st.integers(0, 255), min_size=2, max_size=3),
    st.lists(st.floats(0.05, 0.95), max_size=3),
    st.sampled_from(["eu", "us"]),
)
def test_a_move_ends_with_nothing_and_comes_back_to_what_was(
    weights: list[int], shares: list[float], region: str
) -> None:
    ids = ("eu", "us", "ap")
    members = tuple(Member(i, (), float(w)) for i, w in zip(ids, weights, strict=False))
    record = replace(WEIGHTED, members=members)
    assume(sum(m.weight for m in members if m.id == region) > 0)
    others = [m.id for m in members if m.id != region]
    steps = (*sorted(shares), 1.0)
    shift = away(record, POOLS, region, others, steps)
    assert loads(shift.after, POOLS)[region] == 0
    parts = [loads(r, POOLS)[region] for r in (record, *shift.stages)]
    assert parts == sorted(parts, reverse=True)
    home = back(shift.after, record, steps)
    assert home.after == record
    parts = [loads(r, POOLS)[region] for r in (shift.after, *home.stages)]
    assert parts == sorted(parts)


def region(name: str, standing: Standing = Standing.HEALTHY, **fields: object) -> Region:
    return replace(Region(name, since=0.0, standing=standing, text="numbers"), **fields)  # type: ignore[arg-type]


def situation(*others: Region, **fields: object) -> MoveSituation:
    peers = others or (region("us"), region("ap"))
    shift = away(WEIGHTED, POOLS, "eu", [r.name for r in peers], SHARES)
    made = MoveSituation(
        region=region("eu", Standing.SICK, phase=RegionPhase.SICK),
        direction=Direction.AWAY,
        others=peers,
        names=(Name("main", shift, POOLS),),
        found=(WEIGHTED,),
        capacity={n: Capacity(100.0, 1000.0) for n in POOLS},
        limits=Limits(),
        past=(),
        now=0.0,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def test_a_plan_has_a_step_for_each_stage_and_keys() -> None:
    plan = plan_move(situation())
    assert isinstance(plan, Plan)
    assert stages(plan) == 2
    assert [records_of(s)[0] for s in plan.steps] == [WEIGHTED, records_of(plan.steps[0])[1]]
    assert until_stage(plan, 1).steps == plan.steps[:1]
    assert plan.describe().startswith("take traffic from eu: www.shop.test A → ap 0, eu 50, us 50")
    assert plan.watch_id == "region/eu"
    assert plan_move(situation()) == plan


UNKNOWN = Missing(Absence.SOURCE_DOWN)
OTHERS = {n: Capacity(100.0, 1000.0) for n in ("eu", "ap")}


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (situation(region("us", Standing.SICK), region("ap")), "us is sick"),
        (situation(region("us", Standing.BLIND), region("ap")), "us is blind"),
        (situation(region("us", Standing.SHARED), region("ap")), "us is shared incident"),
        (
            situation(region("us"), region("ap", phase=RegionPhase.FAILING_BACK)),
            "one region at a time",
        ),
        (situation(region("us"), region("ap", away=True)), "one region at a time"),
        (situation(limits=Limits(min_healthy=2)), "only 1 healthy"),
        (situation(capacity={**OTHERS, "us": Capacity(100.0, 200.0)}), "would carry 300"),
        (situation(capacity={**OTHERS, "us": Capacity(100.0, UNKNOWN)}), "is not known"),
        (
            situation(
                capacity={
                    "eu": Capacity(UNKNOWN, 1.0),
                    "us": Capacity(1.0, 9e9),
                    "ap": OTHERS["ap"],
                }
            ),
            "load of eu",
        ),
        (situation(limits=Limits(max_ttl_s=59)), "lower its TTL first"),
        (situation(past=(-10.0, -20.0, -30.0, -40.0)), "all that is allowed"),
        (situation(found=(replace(WEIGHTED, ttl=61),)), "somebody changed"),
        (situation(undone=("Argo CD Application argocd/edge would put it back",)), "argocd/edge"),
    ],
)
def test_each_guard_refuses_in_its_own_words(case: MoveSituation, says: str) -> None:
    refused = plan_move(case)
    assert isinstance(refused, Refused)
    assert says in " ".join(refused.reasons)


def test_a_region_that_is_assumed_to_carry_everything_is_not_measured() -> None:
    capacity = {n: Capacity(UNKNOWN, UNKNOWN, assumed=True) for n in POOLS}
    assert isinstance(plan_move(situation(capacity=capacity)), Plan)


def test_a_region_comes_back_only_in_health_and_to_an_untouched_record() -> None:
    shift = back(away(WEIGHTED, POOLS, "eu", ("us",), SHARES).after, WEIGHTED, SHARES)
    well = situation(
        region=region("eu", Standing.HEALTHY, away=True, phase=RegionPhase.FAILED_OVER),
        direction=Direction.BACK,
        names=(Name("main", shift, POOLS),),
        found=(shift.before,),
    )
    assert isinstance(plan_move(well), Plan)
    ill = plan_move(replace(well, region=replace(well.region, standing=Standing.UNDECIDED)))
    touched = plan_move(replace(well, found=(WEIGHTED,)))
    assert isinstance(ill, Refused)
    assert isinstance(touched, Refused)
    assert "somebody changed" in touched.reasons[0]


STANDINGS = st.sampled_from(Standing)
LOADS = st.one_of(st.just(UNKNOWN), st.floats(0, 1000))


@given(
    st.tuples(STANDINGS, STANDINGS),
    st.tuples(LOADS, LOADS, LOADS),
    st.tuples(LOADS, LOADS, LOADS),
    st.integers(1, 3),
)
def test_traffic_never_goes_where_it_must_not(
    standings: tuple[Standing, Standing],
    load: tuple[float | Missing, ...],
    limit: tuple[float | Missing, ...],
    min_healthy: int,
) -> None:
    names = ("eu", "us", "ap")
    others = tuple(region(n, s) for n, s in zip(names[1:], standings, strict=True))
    capacity = {n: Capacity(a, b) for n, a, b in zip(names, load, limit, strict=True)}
    plan = plan_move(situation(*others, capacity=capacity, limits=Limits(min_healthy=min_healthy)))
    if isinstance(plan, Refused):
        return
    assert min_healthy == 1
    after = loads(records_of(plan.steps[-1])[1], POOLS)
    for other in others:
        if after[other.name] > 0:
            own = capacity[other.name]
            assert other.standing in {Standing.HEALTHY, Standing.UNDECIDED}
            total = 0.0
            for each in capacity.values():
                assert not isinstance(each.load, Missing)
                total += each.load
            assert not isinstance(own.limit, Missing)
            assert after[other.name] * total <= own.limit
