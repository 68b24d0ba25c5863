"""The benchmark scores exactly as the recordings' own evaluator does."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.recorded.cases import Metric, load
from benchmarks.recorded.catalogue import policy_for
from benchmarks.recorded.following import Following
from benchmarks.recorded.judging import judge
from benchmarks.recorded.scoring import by_source, run

SHARED = Path(os.environ.get("ROLLBACKD_SHARED", Path(__file__).parents[3] / "shared"))
CASES = SHARED / "data" / "recorded-cases"
EVERY = 6
"""Every sixth case: a few of each source and kind."""


@pytest.fixture(scope="module")
def some_cases() -> list[dict[str, Any]]:
    if not (CASES / "evaluate.py").exists():
        pytest.fail(f"no recorded cases in {CASES}: set ROLLBACKD_SHARED to the shared folder")
    return list(load(CASES, "dev"))[::EVERY]


@pytest.fixture(scope="module")
def evaluator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate", CASES / "evaluate.py")
    if spec is None or spec.loader is None:
        pytest.fail(f"{CASES / 'evaluate.py'} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_ways_of_scoring_agree(
    some_cases: list[dict[str, Any]], evaluator: ModuleType
) -> None:
    ours = [run(c, Following(paired=c["pairing"] == "concurrent").look) for c in some_cases]
    theirs = evaluator.evaluate(judge, cases=some_cases)
    assert [o.alarm_s for o in ours] == [row["alarm"] for row in theirs]
    table = by_source(ours)
    for source, row in evaluator.table(theirs).items():
        found = table[source]
        assert found.detected_pct == row["detected_pct"]
        assert found.premature_pct == row["premature_pct"]
        assert found.median_delay_s == row["median_delay_s"]
        assert found.median_delay_steps == row["median_delay_steps"]
        assert found.false_alarm_pct == row["false_alarm_pct"]
        assert found.clean_false_alarm_pct == row["clean_false_alarm_pct"]
        assert found.silent_alarm_pct == row["silent_alarm_pct"]


def metric(name: str, role: str, unit: str, canary: list[float | None], **other: Any) -> Metric:  # noqa: ANN401
    return Metric(
        name=name,
        role=role,
        kind=other.get("kind", "gauge"),
        unit=unit,
        direction=other.get("direction", "higher-is-worse"),
        step_s=60,
        times=[60 * i for i in range(len(canary))],
        baseline={name: list(other.get("baseline", [1.0] * len(canary))) for name in "ab"},
        canary={"c": canary},
    )


def test_weights_come_from_the_roles_alone() -> None:
    metrics = [
        metric("slow", "latency", "s", [1.0]),
        metric("slower", "latency", "s", [2.0]),
        metric("cpu", "resource", "cores", [1.0]),
        metric("context", "resource", "cores", [1.0], direction="none"),
    ]
    policy = policy_for(metrics, paired=True)
    weights = policy.weights
    assert set(weights) == {"slow", "slower", "cpu"}
    assert weights["slow"] == weights["slower"]
    assert weights["slow"] + weights["slower"] > weights["cpu"] > 0


@pytest.mark.parametrize("value", [None, 0.0, float("inf"), 1.0])
def test_empty_and_constant_recordings_do_not_alarm(value: float | None) -> None:
    metrics = [
        metric("slow", "latency", "s", [value] * 8, baseline=[value] * 8),
        metric("bad", "error", "ratio", [value] * 8, baseline=[value] * 8),
        metric("asked", "traffic", "requests per s", [value] * 8, baseline=[value] * 8),
    ]
    assert not Following(paired=True).look(metrics, 600.0)


def test_a_slow_canary_is_found() -> None:
    slow = metric("slow", "latency", "s", [1.0, 1.02, 3.0, 3.1, 2.9, 3.0])
    following = Following(paired=True)
    assert following.look([slow], 600.0)
    assert following.judgement is not None
    assert "slow" in following.judgement.reasons[0].text
