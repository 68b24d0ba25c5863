"""Recorded spans go the daemon's own way, and say nothing where they can say nothing."""

import random
from typing import Any

import pytest

from analyzer.evidence import Evidence, Measured
from analyzer.sample import Absence, Missing
from benchmarks.recorded.cases import Metric
from benchmarks.recorded.catalogue import TRACES, policy_for
from benchmarks.recorded.following import Following
from benchmarks.recorded.spans import Traced

SHOP, STORE = 0, 1
DURATION_S = 400
POLICY = policy_for([], paired=True, traced=True)


def side(seed: int, *, shop: float = 0.02, store: float = 0.02) -> dict[str, Any]:
    """Return spans: two requests a second that ask a store, and the shares of both that fail."""
    dice = random.Random(seed)
    spans: dict[str, Any] = {
        key: []
        for key in ("trace", "service", "operation", "start_us", "dur_us", "parent", "error")
    }
    for trace in range(2 * DURATION_S):
        start = trace * 500_000 + dice.randrange(400_000)
        length = 20_000 + dice.randrange(60_000)
        row = len(spans["trace"])
        for of, begin, lasts, parent, share in (
            (SHOP, start, length, -1, shop),
            (STORE, start + 1000, length // 2, row, store),
        ):
            spans["trace"].append(trace)
            spans["service"].append(of)
            spans["operation"].append(of)
            spans["start_us"].append(begin)
            spans["dur_us"].append(lasts)
            spans["parent"].append(parent)
            spans["error"].append(int(dice.random() < share))
    return spans | {"traces_kept": 2 * DURATION_S, "traces_total": 2 * DURATION_S}


def case(canary: dict[str, Any], baseline: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "service": "shop",
        "spans": {
            "services": ["shop", "store"],
            "operations": ["GET /", "SELECT items"],
            "baseline": side(1) if baseline is None else baseline,
            "canary": canary,
        },
    }


def told(of: dict[str, Any], at: float = DURATION_S) -> Evidence:
    return Traced.of(of, POLICY, TRACES).evidence(at)


def test_failing_requests_of_the_service_are_found_and_those_of_others_are_not_its_fault() -> None:
    guilty = told(case(side(2, shop=0.4)))
    assert isinstance(guilty, Measured)
    assert guilty.finding.harmful
    assert guilty.finding.e_value > 1 / POLICY.alpha
    assert "GET /: errors" in guilty.finding.told
    for innocent in (side(2), side(3), side(2, store=0.6)):
        found = told(case(innocent))
        assert isinstance(found, Measured)
        assert not found.finding.harmful


EMPTY: dict[str, list[int]] = {
    key: [] for key in ("trace", "service", "operation", "start_us", "dur_us", "parent")
}


@pytest.mark.parametrize("empty", ["baseline", "canary"])
def test_one_side_without_spans_is_no_evidence(empty: str) -> None:
    nothing = EMPTY | {"error": [], "traces_kept": 0, "traces_total": 12}
    of = case(side(2, shop=0.9))
    of["spans"][empty] = nothing
    found = told(of)
    assert isinstance(found, Missing)
    assert found.reason is Absence.NO_SERIES
    assert empty in found.detail


@pytest.mark.parametrize("kept", [1, 100, 300])
def test_sampling_that_differs_between_the_sides_is_no_evidence(kept: int) -> None:
    of = case(side(2, shop=0.9) | {"traces_kept": kept})
    found = told(of)
    assert isinstance(found, Missing)
    assert found.reason is Absence.PARTIAL
    of["spans"]["baseline"]["traces_kept"] = kept  # both alike: that is neutral
    assert isinstance(told(of), Measured)


def test_a_service_without_spans_of_its_own_is_no_evidence() -> None:
    of = case(side(2, shop=0.9)) | {"service": "checkout"}
    assert isinstance(told(of), Missing)


def test_without_flags_nothing_failed_and_the_impossible_is_left_out() -> None:
    both = [side(seed) | {"error": None} for seed in (1, 2)]
    for broken in both:
        broken["dur_us"][::7] = [-5] * len(broken["dur_us"][::7])
        broken["parent"][3] = 3  # its own parent
    found = told(case(both[0], both[1]))
    assert isinstance(found, Measured)
    assert not found.finding.harmful
    assert "errors" not in found.finding.told


def test_what_comes_later_changes_nothing() -> None:
    whole = case(side(2, shop=0.4))
    for at in (90.0, 200.0):
        cut = case({**whole["spans"]["canary"]}, {**whole["spans"]["baseline"]})
        for of in (cut["spans"]["canary"], cut["spans"]["baseline"]):
            ends = zip(of["start_us"], of["dur_us"], strict=True)
            keep = [i for i, (start, length) in enumerate(ends) if start + length <= at * 1e6]
            place = {old: new for new, old in enumerate(keep)}
            parents = [place.get(of["parent"][i], -1) for i in keep]
            for key in EMPTY.keys() | {"error"}:
                of[key] = [of[key][i] for i in keep]
            of["parent"] = parents
        assert told(cut, at) == told(whole, at)


def test_they_stand_beside_the_metrics_and_cannot_act_alone() -> None:
    times = [float(t) for t in range(0, DURATION_S, 20)]
    flat = Metric(
        "latency",
        "latency",
        "gauge",
        "ms",
        "higher-is-worse",
        20.0,
        times,
        {"b": [50.0 + i % 3 for i in range(len(times))]},
        {"c": [50.0 + i % 4 for i in range(len(times))]},
    )
    following = Following(paired=True, traced=case(side(2, shop=0.4)))
    assert not following.look([flat], DURATION_S)
    assert following.judgement is not None
    assert any("GET /: errors" in reason.text for reason in following.judgement.reasons)
    assert following.judgement.e_value > 1 / POLICY.alpha
