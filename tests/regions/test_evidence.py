"""What the evidence of a region means, where it comes from, and who else speaks against it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from analyzer.judge import Judgement, Reason, Verdict
from analyzer.ports import MetricSource
from analyzer.regions.events import Standing
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Selector
from benchmarks.regions import AROUND_S, SICK_AT_S, trial
from benchmarks.regions import SICK as SICK_WORLDS
from benchmarks.regions import WELL as WELL_WORLDS
from rollbackd.regions.assessor import assessed
from rollbackd.regions.causes import causes_of
from rollbackd.regions.source import REGION, RegionalSource
from rollbackd.views import TimelineItem
from tests.cli.sample_views import healthy

HARM = (Reason("errors", "errors 9 % vs 0.4 %", 50.0),)
WELL: dict[str, float] = {"errors": 0.5}
WORSE = {"errors": 1e6}


@pytest.mark.parametrize(
    ("verdict", "drift", "blind", "standing"),
    [
        (Verdict.DEGRADED, WORSE, False, Standing.SICK),
        (Verdict.DEGRADED, WELL, False, Standing.DIFFERENT),
        (Verdict.DEGRADED, {}, False, Standing.DIFFERENT),
        (Verdict.DEGRADED, {"latency": 1e6}, False, Standing.SHARED),
        (Verdict.SHARED_INCIDENT, WORSE, False, Standing.SHARED),
        (Verdict.SHARED_INCIDENT, WELL, False, Standing.UNDECIDED),
        (Verdict.INCONCLUSIVE, WORSE, False, Standing.SHARED),
        (Verdict.INCONCLUSIVE, WELL, False, Standing.UNDECIDED),
        (Verdict.INCONCLUSIVE, WORSE, True, Standing.BLIND),
        (Verdict.HEALTHY, WELL, False, Standing.HEALTHY),
        (Verdict.HEALTHY, WORSE, False, Standing.SHARED),
    ],
)
def test_only_worse_than_the_others_and_than_before_is_sick(
    verdict: Verdict, drift: dict[str, float], blind: bool, standing: Standing
) -> None:
    found = assessed("eu", Judgement(verdict, HARM, 50.0, 100.0, blind=blind), drift)
    assert found.standing is standing
    assert "errors 9 % vs 0.4 %" in found.text


@pytest.mark.parametrize("verdict", Verdict)
def test_while_most_of_the_others_are_worse_too_nobody_is_sick(verdict: Verdict) -> None:
    others = ("us", "ap")
    found = assessed("eu", Judgement(verdict, HARM, 50.0, 100.0), WORSE, others)
    assert found.standing is Standing.SHARED
    assert "as most of us, ap" in found.text
    # who is as before is as before, whatever the others are
    alone = assessed("eu", Judgement(verdict, HARM, 50.0, 100.0), WELL)
    assert assessed("eu", Judgement(verdict, HARM, 50.0, 100.0), WELL, others) == alone


@pytest.mark.parametrize("seed", [60004, 60006, 60023, 60024])
def test_what_is_left_of_a_shared_incident_accuses_nobody(seed: int) -> None:
    """Each of these worlds was once left within the hour, for what was seen in the incident."""
    assert set(trial(WELL_WORLDS["shared incidents"], seed, 1.0).values()) == {None}


def test_who_falls_sick_amidst_a_shared_incident_is_left_all_the_same() -> None:
    left = trial(SICK_WORLDS["failures ×10, amidst a shared incident"], 1_040_000, 2.0)
    assert left["eu"] is not None
    assert SICK_AT_S < left["eu"] < SICK_AT_S + 2 * AROUND_S
    assert (left["us"], left["ap"]) == (None, None)


@dataclass
class Sheet(MetricSource):
    """Answers every query with one instance, or with why it cannot."""

    value: float
    trouble: Missing | None = None
    closed: bool = False

    def fetch(self, queries: list[Query], grid: Grid) -> list[Reply]:  # type: ignore[override]
        if self.trouble is not None:
            return [self.trouble for _ in queries]
        assert all(REGION not in q.by for q in queries)
        assert all(label != REGION for q in queries for label, _ in q.restrict)
        key = tuple("pod-1" for _ in queries[0].by)
        values = np.full((1, grid.count), self.value)
        return [Series(q.by, (key,), values, grid) for q in queries]

    def close(self) -> None:
        self.closed = True


QUERY = Query(Selector("all_total"), (REGION, "instance"), ((REGION, frozenset({"eu"})),))
GRID = Grid(0.0, 1.0, 2)


def test_regions_are_told_apart_and_a_silent_one_is_just_absent() -> None:
    sheets = {"eu": Sheet(1.0), "us": Sheet(2.0)}
    source = RegionalSource(sheets)
    (reply,) = source.fetch([QUERY], GRID)
    assert isinstance(reply, Series)
    assert reply.keys == (("eu", "pod-1"), ("us", "pod-1"))
    assert reply.values.tolist() == [[1.0, 1.0], [2.0, 2.0]]
    sheets["eu"].trouble = Missing(Absence.SOURCE_DOWN)
    (reply,) = source.fetch([QUERY], GRID)
    assert isinstance(reply, Series)
    assert reply.keys == (("us", "pod-1"),)
    found = source.instances(QUERY, 5.0, 1.0)
    assert found == {"eu": Missing(Absence.SOURCE_DOWN), "us": (("us", "pod-1"),)}
    sheets["us"].trouble = Missing(Absence.TIMEOUT)
    (missing,) = source.fetch([QUERY], GRID)
    assert isinstance(missing, Missing)
    source.close()
    assert all(sheet.closed for sheet in sheets.values())


def test_watches_speak_against_the_region_that_they_are_in() -> None:
    held = replace(healthy(), id="prod-eu/shop/Deployment/a@1", phase="held", workload="shop/a")
    held = replace(held, verdict="shared incident")
    failed = replace(
        held, id="prod-us/shop/Deployment/b@1", phase="needs a human", workload="shop/b"
    )
    text = "needs a human: the action did not help: errors 4 % now"
    failed = replace(failed, timeline=(TimelineItem(1.0, "phase", text),))
    clusters = {"eu": ("prod-eu",), "us": ("prod-us",), "ap": ("prod-ap",)}
    assert causes_of([held, failed], clusters) == {
        "eu": "shared incident in shop/a",
        "us": "the rollback of shop/b did not help",
    }
    assert causes_of([replace(held, verdict="inconclusive")], clusters) == {}
