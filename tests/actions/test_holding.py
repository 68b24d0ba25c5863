"""When a rolling update is held, and what becomes of it: every phase, both ways."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.hold_settings import HoldSettings
from actions.holding import LetGo, Pause, Standing, Stay, pause_due, release_due
from analyzer.policy import Mode, Policy
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.watch import Phase, begin

SHOP = Workload("c", "n", "Deployment", "shop")
ROLLOUT = Rollout(SHOP, Revision("uid-2", "v2"), Revision("uid-1", "v1"), (), (), ("pod",), 0.0)
POLICY = Policy("p", (), mode=Mode.ENFORCE)
WATCH = begin(ROLLOUT, POLICY, 0.0)
FREE = Standing(SHOP, "uid", "digest", "v2", 10, 1, is_paused=False, held_by="")
HELD = replace(FREE, is_paused=True, held_by=WATCH.id)
ONE = HoldSettings()


def test_a_rolling_update_is_held_when_enough_of_it_is_ready() -> None:
    assert pause_due(FREE, WATCH, ONE) == Pause(WATCH.id)
    for seen in (
        replace(FREE, ready=0),
        replace(FREE, ready=10),
        replace(FREE, is_paused=True),
        replace(FREE, current="v3"),
        replace(FREE, current=None),
        replace(FREE, replicas=1),
    ):
        assert pause_due(seen, WATCH, ONE) is None


@pytest.mark.parametrize("phase", Phase)
def test_only_what_is_being_judged_is_held(phase: Phase) -> None:
    due = pause_due(FREE, replace(WATCH, phase=phase), ONE)
    judging = {Phase.WARMING, Phase.OBSERVING, Phase.HELD}
    assert (due is not None) == (phase in judging)


def test_mode_observe_holds_nothing() -> None:
    assert pause_due(FREE, replace(WATCH, mode=Mode.OBSERVE), ONE) is None


@pytest.mark.parametrize(
    ("settings", "replicas", "enough"),
    [
        (HoldSettings(pods=1), 10, 1),
        (HoldSettings(pods=3), 10, 3),
        (HoldSettings(pods=30), 10, 9),
        (HoldSettings(share=0.25), 10, 3),
        (HoldSettings(share=0.01), 10, 1),
        (HoldSettings(share=1.0), 10, 9),
        (HoldSettings(share=0.5), 2, 1),
    ],
)
def test_how_many_are_enough(settings: HoldSettings, replicas: int, enough: int) -> None:
    assert settings.enough(replicas) == enough


def test_it_stays_held_while_its_watch_goes_on() -> None:
    for phase in (p for p in Phase if not p.final):
        assert release_due(HELD, replace(WATCH, phase=phase), ONE) is None


@pytest.mark.parametrize(
    ("phase", "stays", "held"),
    [
        (Phase.HEALTHY, True, False),
        (Phase.SUPERSEDED, True, False),
        (Phase.ROLLED_BACK, True, False),
        (Phase.REPORTED, True, False),
        (Phase.INCONCLUSIVE, False, False),
        (Phase.INCONCLUSIVE, True, True),
        (Phase.NEEDS_HUMAN, False, True),
    ],
)
def test_what_becomes_of_it_when_its_watch_is_over(phase: Phase, stays: bool, held: bool) -> None:
    due = release_due(HELD, replace(WATCH, phase=phase, note="why"), HoldSettings(stays=stays))
    assert isinstance(due, Stay if held else LetGo)


def test_a_policy_that_holds_no_more_lets_an_inconclusive_one_go() -> None:
    over = replace(WATCH, phase=Phase.INCONCLUSIVE)
    assert isinstance(release_due(HELD, over, None), LetGo)


def test_what_nobody_follows_and_what_is_replaced_is_let_go() -> None:
    forgotten = release_due(HELD, None, ONE)
    assert isinstance(forgotten, LetGo)
    assert forgotten.urgent
    replaced = release_due(replace(HELD, current=None), WATCH, ONE)
    assert isinstance(replaced, LetGo)
    assert "another revision" in replaced.why
    by_hand = release_due(replace(HELD, is_paused=False), WATCH, ONE)
    assert isinstance(by_hand, LetGo)
    assert "by hand" in by_hand.why


@given(
    phase=st.sampled_from(Phase),
    current=st.sampled_from(["v2", "v3", None]),
    is_known=st.booleans(),
    settings=st.sampled_from([None, HoldSettings(), HoldSettings(stays=True)]),
)
def test_whatever_is_held_has_a_watch_that_goes_on_or_a_person_who_was_told(
    phase: Phase, current: str | None, is_known: bool, settings: HoldSettings | None
) -> None:
    watch = replace(WATCH, phase=phase) if is_known else None
    due = release_due(replace(HELD, current=current), watch, settings)
    if due is None:
        assert watch is not None
        assert not watch.phase.final
    else:
        assert isinstance(due, LetGo | Stay)
        assert due.why
