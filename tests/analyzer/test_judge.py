from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.evidence import Finding, Measured
from analyzer.judge import Verdict, judge
from analyzer.policy import Policy, WhenMissing
from analyzer.sample import Absence, Missing
from analyzer.signal import HistogramSignal, RatioSignal, Selector, Tier
from tests.analyzer.strategies import evidence_of, policies

ERRORS = RatioSignal("errors", Selector("all"), Selector("bad"), weight=0.5)
LATENCY = HistogramSignal("latency", Selector("lat_bucket"), weight=0.5)
POLICY = Policy("p", (ERRORS, LATENCY))
FINE = Finding(0.4, True, 1.0, 1.0, 0.8, 1.2, False, True, 0.004, 0.004, ticks=60)
BAD = Finding(3.1e5, True, 10.2, 10.2, 6.1, 17.0, True, False, 0.041, 0.004, ticks=60)
OPEN = Finding(1.3, True, 1.4, 1.4, 0.5, 4.0, True, False, 0.006, 0.004, ticks=5)
GONE = Missing(Absence.SOURCE_DOWN, "connection refused")


def test_reasons_carry_the_numbers() -> None:
    judgement = judge(POLICY, {"errors": Measured(BAD), "latency": Measured(FINE)})
    assert judgement.verdict is Verdict.DEGRADED
    assert judgement.reasons[0].text == "errors 4.1 % vs 0.40 %, ×10 [×6.1, ×17], e-value 3·10⁵"


def test_a_fault_that_began_late_tells_its_recent_ratio() -> None:
    late = replace(BAD, ratio=1.8, recent_ratio=4.9, low=0.8, high=3.5)
    (first, *_) = judge(POLICY, {"errors": Measured(late), "latency": Measured(FINE)}).reasons
    assert "×1.8 [×0.80, ×3.5] since the start, ×4.9 lately" in first.text


def test_healthy_needs_every_critical_signal_to_exclude_harm() -> None:
    fine = {"errors": Measured(FINE), "latency": Measured(FINE)}
    assert judge(POLICY, fine).verdict is Verdict.HEALTHY
    assert judge(POLICY, fine | {"latency": Measured(OPEN)}).verdict is Verdict.INCONCLUSIVE
    assert judge(POLICY, fine | {"latency": GONE}).verdict is Verdict.INCONCLUSIVE


def test_ignored_absence_lets_the_rest_be_healthy_but_never_nothing() -> None:
    policy = replace(POLICY, when_missing=WhenMissing.IGNORE)
    assert judge(policy, {"errors": Measured(FINE), "latency": GONE}).verdict is Verdict.HEALTHY
    assert judge(policy, {"errors": GONE, "latency": GONE}).verdict is Verdict.INCONCLUSIVE


def test_blind_is_said_with_the_reason() -> None:
    judgement = judge(POLICY, {"errors": GONE, "latency": GONE})
    assert judgement.blind
    assert "source down: connection refused" in judgement.reasons[0].text


def test_both_sides_worse_is_a_shared_incident() -> None:
    drifting = replace(OPEN, drift_e=5e4)
    judgement = judge(POLICY, {"errors": Measured(drifting), "latency": Measured(FINE)})
    assert judgement.verdict is Verdict.SHARED_INCIDENT
    assert "baseline itself is worse" in judgement.reasons[0].text


def test_a_canary_far_worse_than_a_shared_incident_is_still_degraded() -> None:
    worse = replace(BAD, drift_e=5e4)
    assert judge(POLICY, {"errors": Measured(worse)}).verdict is Verdict.DEGRADED
    little = replace(worse, e_value=400.0)
    assert judge(POLICY, {"errors": Measured(little)}).verdict is Verdict.SHARED_INCIDENT


def test_a_supporting_signal_needs_company() -> None:
    supporting = replace(LATENCY, tier=Tier.SUPPORTING)
    policy = replace(POLICY, signals=(ERRORS, supporting))
    alone = {"errors": Measured(FINE), "latency": Measured(BAD)}
    assert judge(policy, alone).verdict is Verdict.INCONCLUSIVE
    company = alone | {"errors": Measured(replace(BAD, e_value=4.0))}
    assert judge(policy, company).verdict is Verdict.DEGRADED


def test_info_signals_never_count() -> None:
    policy = replace(POLICY, signals=(ERRORS, replace(LATENCY, tier=Tier.INFO)))
    judgement = judge(policy, {"errors": Measured(FINE), "latency": Measured(BAD)})
    assert judgement.verdict is Verdict.HEALTHY
    assert judgement.e_value < 1


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_a_broken_e_value_is_no_evidence(value: float) -> None:
    assert judge(POLICY, {"errors": Measured(replace(BAD, e_value=value))}).e_value == 0


@given(st.data())
def test_judge_is_total_and_degraded_only_on_measured_harm(data: st.DataObject) -> None:
    policy = data.draw(policies())
    evidence = data.draw(evidence_of(policy))
    judgement = judge(policy, evidence)
    if judgement.verdict is Verdict.DEGRADED:
        assert judgement.e_value >= 1 / policy.alpha
        assert any(
            isinstance(e, Measured) and e.finding.harmful and e.finding.tested
            for e in evidence.values()
        )


@given(st.data())
def test_taking_data_away_never_makes_a_case_against_the_canary(data: st.DataObject) -> None:
    policy = data.draw(policies())
    evidence = data.draw(evidence_of(policy))
    fewer = dict(evidence)
    for name in data.draw(st.sets(st.sampled_from(sorted(evidence)))) if evidence else ():
        fewer[name] = data.draw(st.builds(Missing, st.sampled_from(Absence)))
    before, after = judge(policy, evidence), judge(policy, fewer)
    assert after.e_value <= before.e_value
    if after.verdict is Verdict.DEGRADED:
        # less caution during a shared incident that cannot be seen any more is the one exception
        assert before.verdict in {Verdict.DEGRADED, Verdict.SHARED_INCIDENT}


@given(policies(), st.sampled_from(Absence))
def test_nothing_but_absence_is_never_more_than_inconclusive(
    policy: Policy, absence: Absence
) -> None:
    evidence = {s.name: Missing(absence) for s in policy.signals}
    assert judge(policy, evidence).verdict is Verdict.INCONCLUSIVE
