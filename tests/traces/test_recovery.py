"""After an action, the operations that were guilty are measured again."""

from dataclasses import replace

import pytest

from analyzer.judge import Verdict, judge
from analyzer.signal import ChangedCalls, Tier
from tests.traces.street import OLD, POLICY, SIGNAL, WATCH, Shape, Street

ACTING = replace(SIGNAL, tier=Tier.CRITICAL)
HARMS = [
    (Shape(errors=0.3), "GET /: errors"),
    (Shape(own_s=0.160), "GET /: slow by self time"),
    (Shape(queries=10), "GET /: calls"),
    (Shape(errors=0.1, error_type="NewBug"), "GET /: new error types"),
]
IDS = ["errors", "own time", "n plus one", "new errors"]
USUAL, PLAIN = Shape(), Shape(errors=0.0)
AUDITED, ORDERED = replace(PLAIN, other_call="POST audit"), replace(PLAIN, orders=0.3)
CHANGES = [
    (AUDITED, PLAIN, "GET /: `POST audit` calls"),
    (replace(AUDITED, other_share=0.2), PLAIN, "GET /: `POST audit` calls"),
    (PLAIN, AUDITED, "GET /: calls that the baseline never made"),
    (ORDERED, PLAIN, "POST /order: requests"),
    (PLAIN, replace(PLAIN, layers=3), "GET /: critical path"),
    (PLAIN, replace(PLAIN, queries=10), "GET /: calls"),
    (PLAIN, replace(PLAIN, failing_queries=0.3), "GET /: retries"),
]
CHANGE_IDS = ["vanished", "rare one vanished", "new", "requests", "path", "n plus one", "retries"]
CALLS_MATTER = replace(ACTING, changed_calls=ChangedCalls.HARM)


def rolled_back(street: Street, canary: Shape, after: Shape, usual: Shape = USUAL) -> None:
    """Let a canary be found guilty, and then nothing but the baseline be there."""
    evidence = street.live(4, canary=canary, usual=usual)
    policy = replace(POLICY, signals=(street.signal,))
    if street.signal.tier is Tier.CRITICAL:
        assert judge(policy, {SIGNAL.name: evidence}).verdict is Verdict.DEGRADED
    street.comparison.mark(WATCH, street.now)
    for _ in range(24):
        street.tick(dict.fromkeys(OLD, after))


@pytest.mark.parametrize(("canary", "told"), HARMS, ids=IDS)
def test_an_operation_that_is_well_again_is_told(canary: Shape, told: str) -> None:
    street = Street(signal=ACTING)
    rolled_back(street, canary, Shape())
    recovered, text = street.comparison.recovery(WATCH, last_call=True)
    assert recovered is True
    assert told in text


@pytest.mark.parametrize("tier", [Tier.CRITICAL, Tier.SUPPORTING])
@pytest.mark.parametrize(("canary", "told"), HARMS[:3], ids=IDS[:3])
def test_an_operation_that_stays_bad_is_told(canary: Shape, told: str, tier: Tier) -> None:
    street = Street(signal=replace(SIGNAL, tier=tier))
    rolled_back(street, canary, canary)
    recovered, text = street.comparison.recovery(WATCH, last_call=True)
    assert recovered is False
    assert told in text


@pytest.mark.parametrize(("usual", "canary", "told"), CHANGES, ids=CHANGE_IDS)
def test_calls_that_are_as_they_were_are_told(usual: Shape, canary: Shape, told: str) -> None:
    street = Street(signal=CALLS_MATTER)
    rolled_back(street, canary, usual, usual=usual)
    recovered, text = street.comparison.recovery(WATCH, last_call=True)
    assert recovered is True
    assert told in text


@pytest.mark.parametrize(("usual", "canary", "told"), CHANGES, ids=CHANGE_IDS)
def test_calls_that_stay_changed_are_told(usual: Shape, canary: Shape, told: str) -> None:
    street = Street(signal=CALLS_MATTER)
    rolled_back(street, canary, canary, usual=usual)
    recovered, text = street.comparison.recovery(WATCH, last_call=True)
    assert recovered is False
    assert told in text


def test_changed_calls_that_are_no_harm_are_not_measured_again() -> None:
    street = Street(signal=ACTING)
    street.live(4, canary=AUDITED, usual=PLAIN)
    street.comparison.mark(WATCH, street.now)
    street.tick(dict.fromkeys(OLD, PLAIN))
    assert street.comparison.traces.recovery(WATCH) == []


def test_nothing_waits_for_an_operation_that_only_kept_company() -> None:
    street = Street()
    street.live(4, canary=Shape(errors=0.3))
    street.comparison.mark(WATCH, street.now)
    assert street.comparison.traces.recovery(WATCH) == []


def test_without_an_accusation_nothing_is_measured_again() -> None:
    street = Street(signal=ACTING)
    street.live(3, canary=Shape())
    street.comparison.mark(WATCH, street.now)
    street.tick(dict.fromkeys(OLD, Shape()))
    assert street.comparison.traces.recovery(WATCH) == []
