"""What people are shown: bounded, complete from first to newest, and worded for every phase."""

from dataclasses import replace
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.evidence import Finding, Measured
from analyzer.judge import judge
from analyzer.policy import Mode, WhenMissing
from analyzer.rollout import Revision, Workload
from analyzer.sample import Absence, Missing
from analyzer.signal import Tier
from analyzer.watch import Hold, Phase, Watch
from rollbackd.portrait import MAX_POINTS, MAX_TIMELINE, Portrait, Thinned, outlook
from rollbackd.views import SignalPoint
from rollbackd.views_json import view_from_json, view_to_json
from tests.process.lifetime import ERRORS, LATENCY, POLICY

BOTH = replace(POLICY, signals=(ERRORS, LATENCY, replace(ERRORS, name="seen", tier=Tier.INFO)))
WATCH = Watch(
    id="c/n/Deployment/shop@v2",
    workload=Workload("c", "n", "Deployment", "shop"),
    canary=Revision("2", "v2"),
    baseline=Revision("1", "v1"),
    policy="usual",
    mode=Mode.ENFORCE,
    started_at=1000.0,
    since=1060.0,
)
FINDING = Finding(
    e_value=4e5, tested=True, ratio=10.0, recent_ratio=12.0, low=6.0, high=17.0, harmful=True,
    harmless=False, canary_value=0.041, baseline_value=0.004,
)  # fmt: skip


def look(at: float) -> SignalPoint:
    return SignalPoint(at, 0.1, 0.1, 1.0, 0.5, 2.0, 1.0)


@given(st.integers(1, 12 * MAX_POINTS))
def test_thinning_keeps_first_and_newest_and_is_bounded(count: int) -> None:
    trail = Thinned()
    for i in range(count):
        trail.add(look(float(i)))
    kept = [point.at for point in trail.all()]
    assert kept[0] == 0.0
    assert kept[-1] == count - 1
    assert kept == sorted(set(kept))
    assert len(kept) <= MAX_POINTS + 1
    gaps = {later - earlier for earlier, later in pairwise(kept[:-1])}
    assert len(gaps) <= 1  # evenly spaced, but for the newest
    assert count < MAX_POINTS or len(kept) >= MAX_POINTS // 2


def test_nothing_seen_is_nothing_shown() -> None:
    assert Thinned().all() == ()


@given(st.integers(1, 3 * MAX_POINTS), st.integers(0, 2 * MAX_POINTS))
def test_a_restart_goes_on_with_what_was_seen(before: int, after: int) -> None:
    portrait = Portrait()
    for i in range(before):
        portrait.look(float(i), {"errors": Measured(FINDING)}, {"errors": (0.1, 0.1)})
    portrait.note(5.0, "phase", "observing")
    portrait.plan = "go back"
    again = Portrait.from_view(portrait.view(WATCH, BOTH, 0.0))
    for i in range(before, before + after):
        again.look(float(i), {"errors": Measured(FINDING)}, {"errors": (0.1, 0.1)})
    seen = again.view(WATCH, BOTH, 0.0)
    points = [p.at for p in seen.signals[0].points]
    assert (points[0], points[-1]) == (0.0, before + after - 1)
    assert points == sorted(set(points))
    assert len(points) <= MAX_POINTS + 1
    assert seen.plan == "go back"
    assert [item.text for item in seen.timeline] == ["observing"]


def test_the_timeline_forgets_its_middle_and_never_its_start() -> None:
    portrait = Portrait()
    for i in range(3 * MAX_TIMELINE):
        portrait.note(float(i), "phase", f"{i}")
    texts = [item.text for item in portrait.timeline]
    assert len(texts) == MAX_TIMELINE
    assert (texts[0], texts[-1]) == ("0", f"{3 * MAX_TIMELINE - 1}")


def test_numbers_that_are_unknown_are_shown_as_unknown() -> None:
    portrait = Portrait()
    unknown = replace(FINDING, ratio=nan, low=0.0, high=inf, e_value=1.0)
    portrait.look(1.0, {"errors": Measured(unknown)}, {"errors": (nan, 0.004)})
    (point,) = portrait.signals["errors"].all()
    assert point == SignalPoint(1.0, None, 0.004, None, None, None, 1.0)


def test_a_signal_that_is_missing_says_why_and_shows_its_values() -> None:
    portrait, down = Portrait(), Missing(Absence.SOURCE_DOWN, "refused")
    portrait.look(1.0, {"errors": down, "latency": down}, {"latency": (0.05, 0.06)})
    errors, latency, seen = portrait.view(WATCH, BOTH, 2.0).signals
    assert (errors.missing, errors.points) == ("source down: refused", ())
    assert latency.points == (SignalPoint(1.0, 0.05, 0.06, None, None, None, 1.0),)
    assert seen.missing == "not measured yet"


def test_the_view_says_everything_in_json() -> None:
    portrait, evidence = Portrait(), {"errors": Measured(FINDING)}
    portrait.look(1.0, evidence, {"errors": (0.041, 0.004)})
    watch = replace(WATCH, judgement=judge(BOTH, evidence), phase=Phase.DEGRADED, plan_key="k1")
    view = portrait.view(watch, BOTH, 1100.0)
    assert view_from_json(view_to_json(view)) == view
    assert view.plan_key == "k1"
    errors, latency, seen = view.signals
    assert "×10 [×6.0, ×17]" in errors.summary
    assert (errors.kind, errors.unit) == ("ratio", "share")
    assert (latency.kind, latency.unit) == ("histogram", "s")
    weights = BOTH.weights
    assert errors.threshold == pytest.approx(1 / (BOTH.alpha * weights["errors"]))
    assert seen.threshold == inf  # what is only shown decides nothing


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("when_missing", WhenMissing)
def test_every_phase_has_an_outlook(phase: Phase, mode: Mode, when_missing: WhenMissing) -> None:
    hold = Hold.BLIND if phase is Phase.HELD else None
    watch = replace(WATCH, phase=phase, mode=mode, hold=hold, plan_key="k1")
    policy = replace(BOTH, mode=mode, when_missing=when_missing)
    text = outlook(watch, policy, 1090.0)
    assert text
    assert "None" not in text
    assert phase.final == text.startswith("nothing more is done")
    match phase:
        case Phase.OBSERVING:
            assert {
                Mode.OBSERVE: "says what it would do",
                Mode.APPROVE: "asks for approval",
                Mode.ENFORCE: "rolls back",
            }[mode] in text
        case Phase.HELD:
            assert ("people were called" in text) == (when_missing is WhenMissing.PAGE)
        case Phase.AWAITING_APPROVAL:
            assert "29 min 30 s" in text
        case _:
            pass
