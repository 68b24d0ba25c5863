"""Many parts are summed up in columns; what comes out is what their plain definition says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.evidence import Finding
from analyzer.judge import ATTRIBUTED, admitted
from analyzer.signal import ChangedCalls
from analyzer.traces.operations import ENTRY_KINDS, kind_of
from analyzer.traces.shares import STRUCTURE, Aspect
from analyzer.traces.summing import (
    ASPECTS,
    COMPANY,
    MAJOR,
    TOLD,
    Asked,
    Measure,
    strongest,
    sum_up,
)
from analyzer.traces.wording import Accusation, cleared, drifting, tell
from tests.traces.columns import OPERATIONS, every_of


def plainly(
    every: Sequence[Accusation], asked_of: Mapping[str, float], measure: Measure
) -> Finding:
    """Sum up one by one, as a person would."""
    told_only = measure.changed_calls is not ChangedCalls.HARM
    changed = [a for a in every if told_only and a.aspect in STRUCTURE]
    worse = [a for a in every if not (told_only and a.aspect in STRUCTURE)]
    strong, different = (
        plainly_strongest(worse, ATTRIBUTED),
        plainly_strongest(changed, ATTRIBUTED),
    )
    lead = strong[0] if strong else max(worse or every, key=lambda a: a.contribution)
    asked = {o: n for o, n in asked_of.items() if kind_of(o) in ENTRY_KINDS and n} or asked_of
    least = MAJOR * sum(asked.values())
    major = [
        a
        for a in worse
        if a.aspect in {Aspect.ERRORS, Aspect.DURATION} and asked.get(a.operation, -1.0) >= least
    ]
    known = [a for a in every if a.aspect not in STRUCTURE]
    drift = max(0.0, 1.0 - sum(a.share for a in known))
    compared = len({a.operation for a in every if a.finding.tested})
    calm = cleared(compared, len(asked_of))
    calm = f"{calm}; changed: {tell(different, TOLD)}" if different else calm
    company = min(sum(a.contribution for a in changed), COMPANY * measure.decisive)
    return replace(
        lead.finding,
        e_value=sum(a.contribution for a in worse) + company,
        tested=any(a.finding.tested for a in every),
        harmful=bool(strong),
        harmless=bool(major) and all(a.finding.harmless for a in major) and not strong,
        drift_e=drift + sum(a.share * a.finding.drift_e for a in known),
        detectable=None,
        drifting=drifting(known),
        told=tell([*strong, *different], TOLD) if strong else calm,
    )


def plainly_strongest(every: Sequence[Accusation], least: float) -> list[Accusation]:
    strong = [a for a in every if a.finding.harmful and a.contribution >= least]
    strong = [a for a in strong if a.contribution > 0]
    return sorted(strong, key=lambda a: (-a.contribution, a.operation, a.aspect, a.called))


evidence = st.one_of(st.floats(0, 3), st.floats(0, 1e9), st.just(math.nan), st.just(math.inf))
findings = st.builds(
    Finding,
    e_value=evidence,
    tested=st.booleans(),
    ratio=st.floats(0.1, 9),
    recent_ratio=st.floats(0.1, 9),
    low=st.floats(0.01, 1),
    high=st.floats(1, 100),
    harmful=st.booleans(),
    harmless=st.booleans(),
    canary_value=st.floats(0, 1),
    baseline_value=st.floats(0.001, 1),
    drift_e=st.one_of(st.just(1.0), st.floats(0, 1e6)),
    ticks=st.integers(0, 99),
)
accusations = st.builds(
    Accusation,
    st.sampled_from(OPERATIONS),
    st.sampled_from(ASPECTS),
    findings,
    st.floats(1e-6, 0.25),
    called=st.sampled_from(["", "a|client|b"]),
)
whole = st.lists(accusations, min_size=1, max_size=6)


@given(whole, st.lists(st.integers(0, 99), min_size=4, max_size=4), st.sampled_from(ChangedCalls))
def test_columns_sum_up_to_what_the_parts_say_one_by_one(
    every: list[Accusation], spans: list[int], changed: ChangedCalls
) -> None:
    measure = Measure(changed, 100.0)
    asked = dict(zip(OPERATIONS, map(float, spans), strict=True))
    entry = np.array([kind_of(o) in ENTRY_KINDS for o in OPERATIONS])
    found = sum_up(every_of(every), Asked(np.array(spans, dtype=float), entry), measure)
    plain = plainly(every, asked, measure)
    assert found.e_value == pytest.approx(plain.e_value, rel=1e-12)
    assert found.drift_e == pytest.approx(plain.drift_e, rel=1e-12)
    alike = replace(found, e_value=plain.e_value, drift_e=plain.drift_e)
    assert repr(alike) == repr(plain)  # nan is nan


@given(whole, st.floats(0, 10))
def test_what_is_strong_in_columns_is_what_is_strong_by_itself(
    every: list[Accusation], least: float
) -> None:
    among = np.ones(len(every), dtype=np.bool_)
    assert strongest(every_of(every), among, least) == plainly_strongest(every, least)


@given(whole)
def test_a_column_contributes_what_its_finding_does(every: list[Accusation]) -> None:
    assert every_of(every).contribution.tolist() == [a.contribution for a in every]
    assert [a.share * admitted(a.finding) for a in every] == [a.contribution for a in every]
