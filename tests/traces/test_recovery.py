"""After an action, the operations that were guilty are measured again."""

from dataclasses import replace

import pytest

from analyzer.judge import Verdict, judge
from analyzer.signal import Tier
from tests.traces.street import OLD, POLICY, SIGNAL, WATCH, Shape, Street

ACTING = replace(SIGNAL, tier=Tier.CRITICAL)
HARMS = [
    (Shape(errors=0.3), "GET /: errors"),
    (Shape(own_s=0.160), "GET /: slow by self time"),
    (Shape(queries=10), "GET /: calls"),
    (Shape(errors=0.1, error_type="NewBug"), "GET /: new error types"),
]
IDS = ["errors", "own time", "n plus one", "new errors"]


def rolled_back(street: Street, canary: Shape, after: Shape, minutes: float = 4) -> None:
    """Let a canary be found guilty, and then nothing but the baseline be there."""
    evidence = street.live(4, canary=canary)
    policy = replace(POLICY, signals=(street.signal,))
    if street.signal.tier is Tier.CRITICAL:
        assert judge(policy, {SIGNAL.name: evidence}).verdict is Verdict.DEGRADED
    street.comparison.mark(WATCH, street.now)
    for _ in range(round(6 * minutes)):
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


def test_nothing_waits_for_an_operation_that_only_kept_company() -> None:
    street = Street()
    rolled_back(street, Shape(errors=0.3), Shape(), minutes=0)
    assert street.comparison.traces.recovery(WATCH) == []


def test_without_an_accusation_nothing_is_measured_again() -> None:
    street = Street(signal=ACTING)
    street.live(3, canary=Shape())
    street.comparison.mark(WATCH, street.now)
    street.tick(dict.fromkeys(OLD, Shape()))
    assert street.comparison.traces.recovery(WATCH) == []
