"""Operations judged: each kind of harm is found and named, and nothing else is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.evidence import Measured
from analyzer.judge import SHARED_EVIDENCE, Verdict, judge
from analyzer.rollout import Side
from analyzer.sample import Absence, Missing
from analyzer.signal import Tier
from analyzer.traces import operations as names
from analyzer.traces.novelty import NoveltyFamily
from analyzer.traces.shares import SHARE_OF_ASPECT, share_of_known, share_of_late
from analyzer.traces.summing import COMPANY
from rollbackd.traces.book import LATE_S
from rollbackd.traces.fates import Fate
from rollbackd.traces.measures import COUNTERS
from rollbackd.traces.otlp import decode
from tests.traces.building import CLIENT, NOW, Made, request, span_id, trace_id
from tests.traces.street import NEW, OLD, POLICY, SIGNAL, WATCH, Shape, Street, found

LIMIT = 1.0 / POLICY.alpha


@pytest.mark.parametrize(
    ("canary", "told"),
    [
        (Shape(errors=0.3), ["GET /: errors"]),
        (Shape(own_s=0.120), ["GET /: self time", "its own: "]),
        (Shape(query_s=0.100), ["SELECT items: ", "downstream"]),
        (Shape(queries=10), ["GET /: ", "more `SELECT items` calls per request"]),
        (Shape(errors=0.08, error_type="NewBug"), ["GET /: ", "new errors NewBug"]),
        (Shape(failing_queries=0.3), ["SELECT items: errors", "GET /: retries"]),
    ],
    ids=["errors", "own time", "slow call", "n plus one", "new errors", "retries"],
)
def test_harm_is_found_named_and_shown(canary: Shape, told: Sequence[str]) -> None:
    finding = found(Street().live(4, canary=canary))
    assert finding.harmful
    assert finding.e_value >= LIMIT
    for words in told:
        assert words in finding.told
    sides = [example.side for example in finding.examples]
    assert 1 <= sides.count(Side.CANARY) <= 3
    assert sides.count(Side.BASELINE) == 1
    assert all(example.url.startswith("http://traces/") for example in finding.examples)


@pytest.mark.parametrize("seed", range(2))
def test_a_healthy_canary_is_not_accused(seed: int) -> None:
    finding = found(Street(seed=seed).live(5, canary=Shape()))
    assert finding.tested
    assert not finding.harmful
    assert finding.e_value < 2.0
    assert "no operation is worse, 2 of 2 compared" in finding.told


def test_a_slow_dependency_of_both_sides_is_a_shared_incident() -> None:
    slow = Shape(query_s=0.150)
    evidence = Street().live(6, canary=slow, baseline=slow, after=9)
    finding = found(evidence)
    assert not finding.harmful
    assert finding.drift_e >= SHARED_EVIDENCE
    assert finding.drifting.startswith("SELECT items")
    policy = replace(POLICY, signals=(replace(SIGNAL, tier=Tier.CRITICAL),))
    judgement = judge(policy, {SIGNAL.name: evidence})
    assert judgement.verdict is Verdict.SHARED_INCIDENT
    assert "traces (SELECT items" in judgement.reasons[0].text


def test_a_baseline_that_keeps_showing_new_kinds_of_errors_is_no_shared_incident() -> None:
    street = Street()
    street.live(1, canary=Shape())
    for i in range(30):
        kind = Shape(errors=0.05, error_type=f"Kind{'abcdefghijklmnopqrstuvwxyzABCD'[i]}")
        street.tick(dict.fromkeys((*OLD, *NEW), kind))
    finding = found(street.evidence())
    (told,) = (
        f.evidence()
        for f in street.comparison.traces.families
        if type(f) is NoveltyFamily and f.selectors()[1].selector.metric == names.ERRORS
    )
    drifts = [e.finding.drift_e for e in told.values() if isinstance(e, Measured)]
    assert drifts
    assert max(drifts) == 1.0
    assert not finding.harmful


def test_a_new_call_is_told_and_is_no_evidence() -> None:
    finding = found(Street().live(3, canary=Shape(own_s=0.12, other_call="POST audit")))
    assert "new `POST audit` calls per request" in finding.told


def test_traces_alone_do_not_act_by_default() -> None:
    evidence = Street().live(3, canary=Shape(errors=0.3))
    judgement = judge(POLICY, {SIGNAL.name: evidence})
    assert SIGNAL.tier is Tier.SUPPORTING
    assert judgement.e_value >= judgement.limit
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_what_is_missing_is_said_and_an_operation_with_few_spans_says_nothing() -> None:
    street = Street(rate=0)
    waiting = street.live(1, canary=Shape())
    assert isinstance(waiting, Missing)
    assert waiting.reason is Absence.NO_SERIES
    rare = Street(signal=replace(SIGNAL, min_spans=100_000))
    assert isinstance(rare.live(2, canary=Shape(errors=1.0)), Missing)
    other = Street(signal=replace(SIGNAL, services=("elsewhere",)))
    assert isinstance(other.live(1, canary=Shape(errors=1.0)), Missing)


def test_a_canary_that_stops_sending_is_not_accused() -> None:
    street = Street()
    street.live(3, canary=Shape())
    for _ in range(30):
        street.tick(dict.fromkeys(("old-1", "old-2", "old-3"), Shape()))
    evidence = street.evidence()
    assert isinstance(evidence, Missing)
    assert evidence.reason is Absence.STALE


def test_leaving_forgets_everything() -> None:
    street = Street()
    street.live(1, canary=Shape())
    street.comparison.leave(WATCH)
    assert list(street.comparison.families) == []
    assert street.comparison.traces.questions() == []


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(0, 5000))
def test_shares_never_exceed_the_whole(known: int, late: int) -> None:
    total = known * share_of_known(known) + sum(share_of_late(k + 1) for k in range(late))
    assert total <= 1.0 + 1e-9
    assert sum(SHARE_OF_ASPECT.values()) == pytest.approx(1.0)


@dataclass
class Skewed(Street):
    """A street whose pods ask a store on another machine; the canary's clocks are wrong."""

    skew_s: float = 0.0

    def send(self, spans: list[Made], pod: str) -> None:
        asked = [
            Made("/items", start=s.start, end=s.end, trace=s.trace, span=span_id(), parent=s.span)
            for s in spans
            if s.kind == CLIENT
        ]
        wrong = self.skew_s if pod in NEW else 0.0
        sent = [replace(s, start=s.start + wrong, end=s.end + wrong) for s in spans]
        super().send(sent, pod)
        if asked:
            made = request(asked, pod="store-1", service="store")
            out = decode(made, self.book.catalogue, made.SerializeToString(), self.now)
            self.book.take(out.columns, self.now)


@pytest.mark.parametrize("skew_s", [-30.0, -0.006, 0.006, 30.0])
def test_a_canary_whose_clock_is_wrong_is_not_accused(skew_s: float) -> None:
    finding = found(Skewed(skew_s=skew_s).live(4, canary=Shape()))
    assert finding.tested
    assert not finding.harmful
    assert finding.e_value < 2.0


@dataclass
class Delayed(Street):
    """A street whose canary tells of some of its calls minutes later than of the rest."""

    share: float = 0.5

    def send(self, spans: list[Made], pod: str) -> None:
        late = [
            s for s in spans if s.kind == CLIENT and pod in NEW and s.span[-1] < 256 * self.share
        ]
        super().send([s for s in spans if s not in late], pod)
        made = request(late, pod=pod)
        if late:
            out = decode(made, self.book.catalogue, made.SerializeToString(), self.now)
            self.book.take(out.columns, self.now + 2 * LATE_S)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_canary_whose_calls_are_told_too_late_does_not_seem_to_do_them_itself(
    share: float,
) -> None:
    slow = Shape(query_s=0.060, queries=2)
    street = Delayed(share=share)
    finding = found(street.live(4, canary=slow, usual=slow))
    assert street.book.fates[Fate.LATE] > 0
    assert finding.tested
    assert not finding.harmful
    # that calls are gone may be told, and add a tenth at most where something else is worse
    assert finding.e_value < 2.0 + COMPANY * LIMIT


root, top = trace_id(), span_id()
GOOD = [
    Made("GET /", start=0.0, end=0.1, trace=root, span=top),
    Made("SELECT items", CLIENT, 0.0, 0.05, root, span_id(), top),
]
bad = st.one_of(
    st.sampled_from(GOOD),  # once more
    st.builds(
        Made,
        trace=st.binary(max_size=15),
        failed=st.booleans(),
    ),
    st.builds(
        lambda start, length: Made(start=start, end=start + length, failed=True),
        st.one_of(st.floats(-9e8, -200), st.floats(200, 9e8)),
        st.floats(0, 10),
    ),
    st.builds(lambda length: Made(start=0.0, end=-length, failed=True), st.floats(0.001, 1e6)),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(bad, max_size=12))
def test_bad_spans_of_the_canary_change_nothing_that_is_judged(spans: list[Made]) -> None:
    clean, dirty = Street(), Street()
    clean.send(GOOD, "new-1")
    dirty.send([*GOOD, *spans], "new-1")
    huge = {"blob": "x" * 5000}
    dirty.send([Made(attributes=huge, failed=True)], "")  # a process nobody knows
    for street in (clean, dirty):
        street.book.turn(NOW)
        street.book.turn(NOW)
    rows = range(clean.book.catalogue.rows)
    assert (clean.book.rows.now(rows)[:, :COUNTERS] == dirty.book.rows.now(rows)).all()
    assert request(GOOD).resource_spans
