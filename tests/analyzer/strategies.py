"""Hypothesis strategies for the vocabulary of a watch."""

from hypothesis import strategies as st

from analyzer.events import (
    Acted,
    ActFailed,
    Approved,
    Demanded,
    Ended,
    Event,
    Judged,
    Planned,
    PlanRefused,
    RecoveryMeasured,
    Rejected,
    Resumed,
    Snoozed,
    Superseded,
)
from analyzer.evidence import Evidence, Finding, Measured
from analyzer.judge import Judgement, Reason, Verdict
from analyzer.policy import Mode, Policy, WhenMissing
from analyzer.rollout import Revision
from analyzer.sample import Absence, Missing
from analyzer.signal import HistogramSignal, RatioSignal, Selector, Signal, Tier

PLAN_KEYS = ("plan-1", "plan-2", "plan-3")

any_float = st.floats(allow_nan=True, allow_infinity=True)
e_values = st.one_of(st.floats(0, 1e6), st.sampled_from([0.0, 1.0, 1e3, 1e300, float("inf")]))


@st.composite
def signals(draw: st.DrawFn, name: str) -> Signal:
    tier = draw(st.sampled_from(Tier))
    weight = draw(st.floats(0.05, 1))
    if draw(st.booleans()):
        return RatioSignal(name, Selector("all"), Selector("bad"), tier, weight)
    return HistogramSignal(name, Selector("lat_bucket"), "s", tier, weight)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    count = draw(st.integers(1, 5))
    return Policy(
        name="p",
        signals=tuple(draw(signals(f"s{i}")) for i in range(count)),
        mode=draw(st.sampled_from(Mode)),
        alpha=draw(st.sampled_from([0.001, 0.01, 0.05])),
        when_missing=draw(st.sampled_from(WhenMissing)),
    )


missing = st.builds(Missing, st.sampled_from(Absence), st.text(max_size=10))

findings = st.builds(
    Finding,
    e_value=st.one_of(e_values, any_float),
    tested=st.booleans(),
    ratio=any_float,
    recent_ratio=any_float,
    low=any_float,
    high=any_float,
    harmful=st.booleans(),
    harmless=st.booleans(),
    canary_value=any_float,
    baseline_value=any_float,
    quantile=st.sampled_from(["", "p50", "p99"]),
    detectable=st.none() | st.floats(1, 10),
    drift_e=st.one_of(e_values, any_float),
    ticks=st.integers(0, 1000),
)

evidence = st.one_of(missing, st.builds(Measured, findings))


@st.composite
def evidence_of(draw: st.DrawFn, policy: Policy) -> dict[str, Evidence]:
    """Evidence for some of a policy's signals; the others were never heard of."""
    names = [s.name for s in policy.signals]
    chosen = draw(st.sets(st.sampled_from(names)))
    return {name: draw(evidence) for name in sorted(chosen)}


judgements = st.builds(
    Judgement,
    verdict=st.sampled_from(Verdict),
    reasons=st.lists(st.builds(Reason, st.just("s0"), st.text(max_size=5)), max_size=2).map(tuple),
    e_value=st.floats(0, 1e6),
    limit=st.just(100.0),
    blind=st.booleans(),
)

keys = st.sampled_from(PLAN_KEYS)

events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Judged, judgements, st.booleans()),
    st.builds(Planned, keys, st.just("roll back")),
    st.builds(PlanRefused, st.just(("no baseline",))),
    st.builds(Approved, keys, st.just("ann")),
    st.builds(Rejected, keys, st.just("ann")),
    st.builds(Acted, keys),
    st.builds(ActFailed, keys, st.just("boom"), st.booleans()),
    st.builds(RecoveryMeasured, st.sampled_from([True, False, None]), st.just("errors")),
    st.builds(Snoozed, st.floats(0, 1e5), st.just("ann")),
    st.builds(Resumed, st.just("ann")),
    st.builds(Demanded, st.just("ann")),
    st.builds(Superseded, st.just(Revision("r3", "v3"))),
    st.builds(Ended, st.just("gone")),
)
