from dataclasses import replace
from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from analyzer.rollout import Instance, Side
from analyzer.roster import Roster
from tests.analyzer.scenario import rollout

OBSERVED = rollout(2, 1, started=1000.0)
WARM_UP = 60.0


def canary(**changes: object) -> Instance:
    return replace(OBSERVED.canary_instances[0], **changes)  # type: ignore[arg-type]


def stays(roster: Roster, side: Side) -> list[tuple[float, float]]:
    return [(s.since, s.until) for s in roster.stays if s.side is side]


def test_an_instance_counts_from_the_end_of_its_warm_up() -> None:
    roster = Roster().observe(OBSERVED, 1005, WARM_UP)
    assert stays(roster, Side.CANARY) == [(1060.0, inf)]
    assert roster.warm(Side.CANARY, 1059) == 0
    assert roster.warm(Side.CANARY, 1060) == 1


def test_nothing_new_is_the_same_object() -> None:
    roster = Roster().observe(OBSERVED, 1005, WARM_UP)
    assert roster.observe(OBSERVED, 1015, WARM_UP) is roster


def test_an_instance_that_leaves_or_turns_unready_stops_counting_and_comes_back_later() -> None:
    roster = Roster().observe(OBSERVED, 1005, WARM_UP)
    for gone in ((), (canary(ready=False),), (canary(terminating=True),)):
        left = roster.observe(replace(OBSERVED, canary_instances=gone), 1100, WARM_UP)
        assert stays(left, Side.CANARY) == [(1060.0, 1100)]
        back = left.observe(OBSERVED, 1200, WARM_UP)
        assert stays(back, Side.CANARY) == [(1060.0, 1100), (1200, inf)]


def test_a_restarted_instance_warms_up_again() -> None:
    roster = Roster().observe(OBSERVED, 1005, WARM_UP)
    again = replace(OBSERVED, canary_instances=(canary(started_at=1150.0),))
    assert stays(roster.observe(again, 1160, WARM_UP), Side.CANARY) == [
        (1060.0, 1160),
        (1210.0, inf),
    ]


def test_an_unknown_start_is_long_ago_only_for_a_baseline_known_from_the_beginning() -> None:
    unknown = rollout(1, 1)
    unknown = replace(
        unknown,
        baseline_instances=(Instance(("b0",)),),
        canary_instances=(Instance(("c0",)),),
    )
    roster = Roster().observe(unknown, 1000, WARM_UP)
    assert stays(roster, Side.BASELINE) == [(-inf, inf)]
    assert stays(roster, Side.CANARY) == [(1060.0, inf)]
    grown = replace(unknown, baseline_instances=(Instance(("b0",)), Instance(("b1",))))
    assert stays(roster.observe(grown, 2000, WARM_UP), Side.BASELINE)[-1] == (2060.0, inf)


def test_after_a_rollback_only_the_baseline_goes_on() -> None:
    roster = Roster().observe(OBSERVED, 1005, WARM_UP)
    restored = roster.restored((*OBSERVED.baseline_instances, Instance(("b9",), 1100.0)), 1110, 60)
    assert stays(restored, Side.CANARY) == [(1060.0, 1110)]
    assert restored.present(Side.BASELINE) == 3


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(1, 100)), max_size=10))
def test_stays_of_one_instance_never_overlap(course: list[tuple[bool, bool, float]]) -> None:
    roster, now = Roster(), 1000.0
    for there, ready, pause in course:
        now += pause
        instances = (canary(ready=ready),) if there else ()
        roster = roster.observe(replace(OBSERVED, canary_instances=instances), now, WARM_UP)
        mine = stays(roster, Side.CANARY)
        assert all(until <= since for (_, until), (since, _) in pairwise(mine))
        assert sum(until == inf for _, until in mine) == (there and ready)
