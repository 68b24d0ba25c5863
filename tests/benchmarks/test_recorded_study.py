"""The study's cases are what they say: healthy ones unchanged, struck ones changed by the fault."""

from typing import Any

import pytest

from benchmarks.recorded.injected import FAULTS, injected
from benchmarks.recorded.invented import SYSTEMS, invented
from benchmarks.recorded.recombined import recombined


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    return list(invented(2))


def values(case: dict[str, Any], side: str) -> list[list[float | None]]:
    return sorted([row for m in case["metrics"] for row in m[side].values()], key=str)


def test_invented_systems_have_what_they_promise(cases: list[dict[str, Any]]) -> None:
    assert len(cases) == 2 * len(SYSTEMS)
    for case, system in zip(cases[::2], SYSTEMS, strict=True):
        assert (case["pairing"] == "concurrent") == system.paired
        assert all(len(m["baseline"]) == system.baselines for m in case["metrics"])
        assert all(len(m["t"]) == system.points for m in case["metrics"])


def test_recombined_cases_only_change_who_is_called_canary(cases: list[dict[str, Any]]) -> None:
    beside = cases[0]
    turned = list(recombined([beside]))
    assert len(turned) == len(beside["metrics"][0]["baseline"])
    for case in turned:
        assert case["kind"] == "aa"
        both = [values(c, "canary") + values(c, "baseline") for c in (case, beside)]
        assert sorted(both[0], key=str) == sorted(both[1], key=str)
        assert values(case, "canary") != values(beside, "canary")


def test_a_fault_changes_the_canary_from_its_onset_on_and_nothing_else(
    cases: list[dict[str, Any]],
) -> None:
    healthy = {case["id"]: case for case in cases}
    struck = list(injected(cases))
    assert {case["fault_type"] for case in struck} == {f.name for f in FAULTS}
    for case in struck:
        before = healthy[case["id"].removesuffix(f"-{case['fault_type']}")]
        fault = next(f for f in FAULTS if f.name == case["fault_type"])
        for metric, old in zip(case["metrics"], before["metrics"], strict=True):
            assert metric["baseline"] == old["baseline"]
            since = sum(t < case["onset_s"] for t in metric["t"])
            for name, row in metric["canary"].items():
                assert row[:since] == old["canary"][name][:since]
                assert (row == old["canary"][name]) or fault.touches(metric)
    assert list(injected(cases)) == struck
