"""The calibration harness itself, on a scale of seconds; its figures are not tested here."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isclose
from pathlib import Path

import numpy as np
import pytest

from analyzer.evidence import EvidenceOf, Measured
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import Policy
from benchmarks.calibration.__main__ import document, together
from benchmarks.calibration.deployments import ERRORS, REQUESTS, START, Deployments
from benchmarks.calibration.observed import histogram_quantile
from benchmarks.calibration.page import PAGE, publish
from benchmarks.calibration.peers import PEERS
from benchmarks.calibration.printed import beside_design, beside_peers, markdown
from benchmarks.calibration.simulator import BOUNDS, Errors, Fleet, Latency, simulate_counts
from benchmarks.calibration.situations import (
    CLEAN,
    Situation,
    Table,
    fleet,
    rolling,
    scraped,
)
from benchmarks.calibration.suite import QUICK, SITUATIONS, rows
from benchmarks.calibration.summary import binomial_interval, row_from, row_of
from benchmarks.calibration.trial import Times, run

SMALL = replace(fleet(2, 3), history=60, ticks=40)
FINE = Situation(
    name="nothing wrong", table=Table.ERRORS_FINE, fleet=SMALL, errors=Errors(rate=0.01)
)
BROKEN = replace(
    FINE,
    name="half of all fail",
    table=Table.ERRORS_HARM,
    errors=Errors(rate=0.01, extra=0.5),
    pictured=True,
)
SLOW = Situation(
    name="three times as slow",
    table=Table.LATENCY_HARM,
    fleet=SMALL,
    latency=Latency(factor=3.0),
)
BOTH = replace(FINE, name="both signals", table=Table.SUITE, latency=Latency())


def share(times: Times, name: str = "rollbackd") -> float:
    return float(np.isfinite(times.alarms[name]).mean())


def cry_wolf(policy: Policy, evidence: EvidenceOf) -> Judgement:
    """A judge that calls everything degraded which it can measure."""
    found = judge(policy, evidence)
    measured = any(isinstance(e, Measured) for e in evidence.values())
    return replace(found, verdict=Verdict.DEGRADED) if measured else found


def test_harm_is_found_and_its_absence_is_not() -> None:
    assert share(run(FINE, 6, seed=1)) == 0.0
    broken = run(BROKEN, 6, seed=1)
    assert share(broken) == 1.0
    # three ticks of evidence at least, one tick after the comparison could begin
    assert broken.alarms["rollbackd"].min() >= 30.0
    assert np.median(broken.alarms["rollbackd"]) <= 60.0
    assert share(run(SLOW, 3, seed=1)) == 1.0


def test_a_judge_that_cries_wolf_is_seen_by_the_harness() -> None:
    row = row_of(FINE, run(FINE, 8, seed=1, judge=cry_wolf, peers=False), seed=1)
    assert row.judges["rollbackd"].rate == 1.0
    assert row.judges["rollbackd"].high == 1.0
    assert row.judges["rollbackd"].low > 0.6


def test_the_same_seed_gives_the_same_figures_and_another_does_not() -> None:
    first, again, other = (run(BROKEN, 4, seed, peers=False).paths for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_situation_comes_out_the_same_alone_and_among_others() -> None:
    tiny = QUICK.capped(2)
    among = list(rows([FINE, BROKEN], tiny, seed=3))
    assert list(rows([BROKEN], tiny, seed=3)) == among[1:]


def test_both_signals_are_judged_as_one_watch() -> None:
    assert share(run(BOTH, 2, seed=2, peers=False)) == 0.0
    broken = replace(BOTH, errors=BROKEN.errors)
    assert share(run(broken, 2, seed=2, peers=False)) == 1.0


def test_counters_give_back_what_was_simulated() -> None:
    where = scraped(replace(SMALL, history=30), missing=0.2, reset=0.02)
    counts = simulate_counts(where, Errors(rate=0.05), CLEAN, 3, seed=4)
    assert counts.restarted.any()
    metrics = Deployments.of(counts, None).metrics
    for name, increments in ((REQUESTS, counts.requests), (ERRORS, counts.events)):
        values = metrics[name].values.reshape(3, where.pods, where.total_ticks)
        baseline = values[:, where.canary_pods :]
        gained = np.diff(baseline, axis=2, prepend=0.0)
        restarted = np.moveaxis(counts.restarted, 1, 2)[:, where.canary_pods :]
        gained = np.where(restarted, baseline, gained)
        wanted = np.moveaxis(increments, 1, 2)[:, where.canary_pods :]
        np.testing.assert_array_equal(gained, wanted)


def test_pods_come_and_go_in_a_rolling_update() -> None:
    where: Fleet = replace(rolling(3), canary_pods=3, baseline_pods=3, history=20, ticks=12)
    counts = simulate_counts(where, Errors(), CLEAN, 1, seed=1)
    deployments = Deployments.of(counts, None)
    sizes = [
        (len(rollout.canary_instances), len(rollout.baseline_instances))
        for tick in range(where.ticks)
        for rollout in deployments.rollouts(tick)
    ]
    assert sizes[:8] == [(1, 3), (1, 2), (1, 2), (2, 2), (2, 1), (2, 1), (3, 1), (3, 0)]
    began = {i.started_at for i in deployments.rollouts(11)[0].canary_instances}
    assert began == {START + (20 + birth) * 10 for birth in (0, 3, 6)}


def test_every_peer_finds_gross_harm() -> None:
    longer = replace(BROKEN, fleet=replace(SMALL, ticks=120))
    times = run(longer, 3, seed=1)
    assert {name: share(times, name) for name in PEERS} == dict.fromkeys(PEERS, 1.0)


def test_prometheus_quantile_is_linear_inside_a_bucket() -> None:
    counts = np.zeros((2, len(BOUNDS)))
    counts[0, 3] = 10  # all between 25 and 50 ms
    quantile = histogram_quantile(counts, BOUNDS, 0.5)
    assert isclose(quantile[0], 0.0375)
    assert np.isnan(quantile[1])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 200, 0.0, 0.01828), (2, 200, 0.001213, 0.03565)]
)
def test_binomial_interval_is_exact(hits: int, of: int, low: float, high: float) -> None:
    found = binomial_interval(hits, of)
    assert found == pytest.approx((low, high), rel=1e-3)


def test_the_report_has_every_row_and_every_judge(tmp_path: Path) -> None:
    found = list(rows([FINE, BROKEN, SLOW, BOTH], QUICK.capped(2), seed=3))
    report = document(found, QUICK, 3, 1.0)
    told = json.loads(json.dumps(report))
    assert [row_from(row) for row in told["rows"]] == found
    names = [row["name"] for row in told["rows"]]
    assert names == [s.name for s in (FINE, BROKEN, SLOW, BOTH)]
    assert all(set(row["judges"]) == {"rollbackd", *PEERS} for row in told["rows"])
    assert told["seed"] == 3
    assert {"rollbackd", "numpy", "scipy", "python"} <= set(told["versions"])
    # and the page is filled in from the same rows
    (tmp_path / "images").mkdir()
    old = "made by benchmarks.calibration -->\nold\n<!-- end -->\n"
    marks = f"<!-- errors-harm, {old}<!-- pooled, {old}"
    (tmp_path / PAGE).write_text(f"before\n{marks}after\n", encoding="utf-8")
    publish(tmp_path, found, "made so")
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert BROKEN.name in page
    assert "of 4 healthy releases" in page
    assert "old" not in page
    assert len(list((tmp_path / "images").glob("calibration-*.svg"))) == 3


def test_reports_of_parts_make_one_and_the_larger_row_counts() -> None:
    first, last = FINE, BROKEN
    small = list(rows([last], QUICK.capped(1), seed=3))
    large = list(rows([last], QUICK.capped(2), seed=3))
    other = list(rows([first], QUICK.capped(1), seed=3))
    reports = [document(part, QUICK, 3, 1.0) for part in (small, large, small, other)]
    told = json.loads(json.dumps(reports))
    assert together(told, [first, last]) == [*other, *large]


def test_tables_are_rectangular() -> None:
    found = list(rows([FINE, replace(FINE, name="again")], QUICK.capped(1), seed=3))
    for cells in (beside_peers, beside_design):
        table = markdown([cells(row) for row in found]).splitlines()
        assert len(table) == 4
        assert len({line.count("|") for line in table}) == 1


def test_situations_have_names_of_their_own() -> None:
    names = [(s.table, s.name) for s in SITUATIONS]
    assert len(set(names)) == len(names)
    assert sum(s.pictured for s in SITUATIONS) == 2
    assert all(s.quick for s in SITUATIONS if s.pictured)
