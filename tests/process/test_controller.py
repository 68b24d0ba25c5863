"""The life of watches: through trouble of every port, and through restarts at every instruction."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from actions.ports import Permanent, Transient
from analyzer.events import Approved, Ended, Planned
from analyzer.policy import Mode, Policy
from analyzer.rollout import Workload
from analyzer.sample import Absence, Missing
from analyzer.signal import Signal
from rollbackd.controller import ABSENT_LOOKS
from rollbackd.known_good import MOST
from rollbackd.telemetry import Telemetry
from rollbackd.watches import KEEP_FINAL
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import (
    ERRORS,
    LATENCY,
    POLICY,
    TELEMETRY,
    Lifetime,
    MortalJournal,
    Rules,
    observing,
    phases,
)
from tests.process.mall import BAD, GOOD, Killed, Lifeline, Mall

SHOP = Workload("mall", "shops", "Static", "shop")
WHOLE_LIFE = ["warming", "degraded", "acting", "verifying", "rolled back"]


@contextmanager
def running(
    mall: Mall,
    policy: Policy | Rules = POLICY,
    *,
    journal: MemoryJournal | None = None,
    telemetry: Telemetry = TELEMETRY,
) -> Iterator[Lifetime]:
    """Run a controller over a journal of its own, or the one that is given."""
    life = Lifetime(mall, journal or MemoryJournal(), policy, telemetry=telemetry)
    yield life
    life.end()


@pytest.fixture
def mall() -> Mall:
    return Mall()


# From the first canary instance to the end


def test_a_bad_canary_is_rolled_back_and_its_recovery_measured(mall: Mall) -> None:
    with running(mall) as life:
        life.tick(3)
        assert life.controller.watches.views() == ()
        mall.release("v2", BAD)
        view = life.until("rolled back", "needs a human")
        assert view.phase == "rolled back"
        assert mall.writes == ["shop"]
        assert [item.text.partition(":")[0] for item in view.timeline] == WHOLE_LIFE[1:]
        assert phases(life.journal) == WHOLE_LIFE
        assert "errors" in view.reasons[0]
        kinds = [e.kind for e in life.journal.entries() if e.kind.startswith("step")]
        assert kinds == ["step-started", "step-done"]


def test_a_good_canary_ends_healthy_and_is_good_to_go_back_to(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        view = life.until("healthy", "degraded")
        assert view.phase == "healthy"
        assert view.final
        assert mall.writes == []
        assert life.controller.watches.known_good(SHOP) == ("v2",)


def test_while_verifying_the_restored_instances_count(mall: Mall) -> None:
    """Instances that replace the canary's after a rollback are the baseline's from then on."""
    with running(mall) as life:
        mall.release("v2", BAD)
        life.until("verifying")
        rosters = list(life.journal.entries(kinds=frozenset({"roster"})))
        mall.shops["shop"].serving = [
            replace(s, until=mall.clock.at) if s.until == float("inf") else s
            for s in mall.shops["shop"].serving
        ] + [replace(mall.shops["shop"].serving[0], name="fresh", since=mall.clock.at)]
        assert life.until("rolled back", "needs a human").phase == "rolled back"
        newest = list(life.journal.entries(kinds=frozenset({"roster"})))[-1]
        assert newest.seq > rosters[-1].seq
        open_ = [s["id"] for s in newest.data["stays"] if s["until"] is None]
        assert open_ == [["fresh"]]


def test_a_rollback_that_did_not_help_calls_people(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2", BAD)
        life.until("acting", "verifying")
        mall.shops["shop"].badness["v1"] = BAD
        mall.shops["shop"].serving.append(
            replace(mall.shops["shop"].serving[0], name="sick", since=mall.clock.at)
        )
        life.until("needs a human")
        assert mall.writes == ["shop"]


def test_a_newer_revision_supersedes_the_one_before(mall: Mall) -> None:
    with running(mall, observing()) as life:
        mall.release("v2")
        life.until("observing")
        mall.release("v3")
        life.tick()
        assert life.view("@v2").phase == "superseded"
        assert "v3" in life.view("@v2").timeline[-1].text
        assert life.view("@v3").phase == "warming"
        assert life.controller.watches.known_good(SHOP) == ()


def test_a_rollout_is_gone_only_after_several_looks(mall: Mall) -> None:
    with running(mall, observing(min_observation_s=900.0)) as life:
        mall.release("v2")
        life.until("observing")
        shop = mall.shops["shop"]
        for looks in (ABSENT_LOOKS - 1, 1):
            shop.current = "v1"  # not seen …
            life.tick(looks)
            assert not life.view().final
            shop.current = "v2"  # … and seen again: a cache had lagged behind
            life.tick()
        shop.current = "v1"
        life.tick(ABSENT_LOOKS)
        assert life.view().phase == "inconclusive"
        assert "gone" in life.view().timeline[-1].text


def test_a_source_that_cannot_tell_its_rollouts_changes_nothing(mall: Mall) -> None:
    with running(mall, observing(min_observation_s=900.0)) as life:
        mall.release("v2")
        life.until("observing")
        mall.unknown = Missing(Absence.SOURCE_DOWN, "the API server is away")
        mall.shops["shop"].current = "v1"
        life.tick(3 * ABSENT_LOOKS)
        assert life.view().phase == "observing"
        mall.unknown = None
        life.tick(ABSENT_LOOKS)
        assert life.view().phase == "inconclusive"


@settings(max_examples=25, deadline=None)
@given(away=st.lists(st.booleans(), min_size=30, max_size=30), bad=st.booleans())
def test_nothing_is_called_healthy_while_its_rollout_cannot_be_seen(
    away: list[bool], bad: bool
) -> None:
    """What is not seen may be what went bad; evidence of harm stands all the same."""
    mall = Mall()
    with running(mall, observing()) as life:
        mall.release("v2", BAD if bad else GOOD)
        life.tick(2)
        for is_away in away:
            mall.unknown = Missing(Absence.SOURCE_DOWN, "the API server is away")
            mall.unknown = mall.unknown if is_away else None
            before = life.view().phase
            life.tick()
            view = life.view()
            if is_away and before != "healthy":
                assert view.phase != "healthy"
                assert view.final or view.verdict != "healthy"
                if view.verdict == "inconclusive" and view.phase == "observing":
                    assert view.reasons
        mall.unknown = None
        assert life.until("healthy", "reported").phase == ("reported" if bad else "healthy")


def test_out_of_sight_it_says_so_and_the_metric_shows_it(mall: Mall) -> None:
    telemetry = Telemetry(version="test", environ={})
    with running(mall, observing(min_observation_s=900.0), telemetry=telemetry) as life:
        mall.release("v2")
        life.until("observing")
        life.tick(15)
        assert life.view().verdict == "healthy"
        mall.unknown = Missing(Absence.SOURCE_DOWN, "the API server is away")
        life.tick()
        assert life.view().verdict == "inconclusive"
        assert "cannot be seen: source down: the API server is away" in life.view().reasons[0]
        assert b"rollbackd_rollout_source_up 0.0" in telemetry.exposition()
        mall.unknown = None
        life.tick()
        assert life.view().verdict == "healthy"
        assert b"rollbackd_rollout_source_up 1.0" in telemetry.exposition()
    telemetry.close()


def test_a_final_watch_never_comes_back(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        life.until("healthy")
        before = life.view()
        life.tick(5)  # the rollout is still to be seen
        assert life.view() == before
        assert phases(life.journal)[-1] == "healthy"
    with running(mall, journal=life.journal) as again:
        again.tick(5)
        assert again.view() == before  # to be seen as it ended
        assert phases(life.journal).count("warming") == 1


def test_a_revision_that_is_released_again_is_watched_anew(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2", BAD)
        life.until("rolled back")
        life.tick(2)
        mall.release("v2")  # the same revision; what ailed it is mended
        life.tick(2)
        assert life.view("@v2.1").phase == "rolled back"
        assert life.until("healthy", watch="@v2.2").phase == "healthy"


def test_old_ended_watches_are_hidden_and_live_ones_are_not() -> None:
    names = [f"shop{i}" for i in range(KEEP_FINAL + 5)]
    mall = Mall(*names)
    with running(mall, observing()) as life:
        for name in names:
            mall.release("v2", shop=name)
        life.tick(2)
        for name in names[1:]:
            mall.shops[name].current = "v1"
        life.tick(ABSENT_LOOKS + 2)
        views = life.controller.watches.views()
        assert len(views) == KEEP_FINAL + 1
        assert [v.workload for v in views if not v.final] == ["shops/shop0"]
        assert len(life.journal.latest("watch")) == len(names)


# People


def test_approval_is_for_one_plan_and_a_stale_plan_is_not_shown(mall: Mall) -> None:
    with running(mall, replace(POLICY, mode=Mode.APPROVE)) as life:
        mall.release("v2", BAD)
        view = life.until("awaiting approval")
        (plan,) = life.journal.entries(kinds=frozenset({"plan"}))
        life.tick(3)
        life.controller.watches.handle(view.id, Approved("another plan", "ann"))
        life.controller.watches.handle(view.id, Planned("another plan", "late"))
        life.tick()
        assert life.view().phase == "awaiting approval"
        assert plan.key in str(life.view().plan)
        assert mall.writes == []
        life.controller.watches.handle(view.id, Approved(plan.key, "ann"))
        assert life.until("rolled back").phase == "rolled back"
        assert len(list(life.journal.entries(kinds=frozenset({"plan"})))) == 1


def test_what_happens_in_the_middle_of_a_tick_ends_a_watch_and_disturbs_no_other() -> None:
    mall = Mall("shop", "other")
    with running(mall, observing()) as life:
        mall.release("v2", shop="other")
        mall.release("v2", shop="shop")
        life.until("observing", watch="/shop@")
        ended = life.view("/other@").id
        mall.meanwhile = lambda: life.controller.watches.handle(ended, Ended("deleted"))
        with capture_logs() as logs:
            life.tick(3)
        assert [e for e in logs if e["log_level"] == "error"] == []
        assert life.view("/other@").phase == "inconclusive"
        life.until("healthy", watch="/shop@")
        assert phases(life.journal, "/other@")[-1] == "inconclusive"


# Trouble


def test_blindness_holds_and_passes(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        life.until("observing")
        mall.outage = Missing(Absence.SOURCE_DOWN, "connection refused")
        held = life.until("held", "degraded")
        assert held.phase == "held"
        assert "connection refused" in str(held.signals[0].missing)
        mall.outage = None
        assert life.until("healthy", "degraded").phase == "healthy"


@settings(max_examples=25, deadline=None)
@given(failing=st.lists(st.booleans(), max_size=25))
def test_an_outage_of_the_journal_loses_no_transition(failing: list[bool]) -> None:
    mall, journal = Mall(), MemoryJournal()
    with running(mall, journal=journal) as life:
        mall.release("v2", BAD)
        journal.failures.extend(Transient("disk full") if f else None for f in failing)
        view = life.until("rolled back", "needs a human")
        assert view.phase == "rolled back"
        assert mall.writes == ["shop"]
        texts = [item.text for item in view.timeline]
        assert len(texts) == len(set(texts))
        written = phases(journal)
        assert [p for p in written if p != "observing"] == WHOLE_LIFE


def test_an_outage_while_instances_are_restored_does_not_stop_the_others() -> None:
    mall = Mall("shop", "other")
    with running(mall) as life:
        mall.release("v2", BAD)
        life.until("verifying")
        mall.release("v2", BAD, shop="other")
        mall.shops["shop"].serving.append(
            replace(mall.shops["shop"].serving[0], name="more", since=mall.clock.at)
        )
        life.journal.failures.append(None)  # "other" begins
        life.journal.failures.append(None)
        life.journal.failures.append(Transient("disk full"))
        with capture_logs() as logs:
            life.tick()
        assert [entry["log_level"] for entry in logs if "not writable" in entry["event"]]
        life.until("rolled back", watch="other")
        assert life.view("/shop@").phase == "rolled back"


GARBLED = replace(LATENCY, name="garbled")


def _foreign() -> Policy:
    """A policy whose comparison cannot even be joined."""

    class Alien:
        name, weight, tier, margin, id_labels = "alien", 1.0, ERRORS.tier, 1.0, None

    return replace(POLICY, name="special", signals=(cast("Signal", Alien()),))


def _misjudged() -> Policy:
    """A policy that cannot be judged once the canary looks healthy."""
    own = replace(ERRORS, name="own")
    return replace(POLICY, name="special", signals=(own,), min_observation_s=cast("float", "x"))


def _garbled() -> Policy:
    """A policy whose signal's series make no sense at all."""
    return replace(POLICY, name="special", signals=(GARBLED,))


class Odd(StrEnum):
    """A mode that nobody has words for."""

    ODD = "odd"


def _undrawable() -> Policy:
    """A policy whose watches cannot be shown once they observe."""
    return replace(POLICY, name="special", mode=cast("Mode", Odd.ODD))


@pytest.mark.parametrize("bug", [_foreign, _misjudged, _garbled, _undrawable])
def test_an_error_of_our_own_ends_that_watch_and_the_others_go_on(
    bug: Callable[[], Policy],
) -> None:
    mall, telemetry = Mall("shop", "odd"), Telemetry(version="test", environ={})
    mall.garbled = frozenset({LATENCY.buckets.metric})
    rules = Rules(special={"odd": bug()})
    with running(mall, rules, telemetry=telemetry) as life:
        mall.release("v2", shop="odd")
        mall.release("v2", BAD)
        with capture_logs() as logs:
            assert life.until("rolled back", watch="/shop@").phase == "rolled back"
            life.tick(20)
        assert phases(life.journal, "/odd@")[-1] == "needs a human"
        assert mall.writes == ["shop"]
        broke = [e["event"] for e in logs if e["log_level"] == "error"]
        assert broke
        assert len(broke) == len(set(broke)), broke  # each is told once, not at every tick
        assert b"rollbackd_watch_faults_total 1.0" in telemetry.exposition()
    telemetry.close()


def test_a_watch_whose_end_cannot_be_written_stays_ended_until_a_restart(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2", BAD)
        life.until("warming")
        life.journal.failures.extend([Permanent("read-only")] * 2)
        life.until("needs a human")
        life.tick(5)
        assert life.view().phase == "needs a human"
        assert mall.writes == []
    with running(mall, journal=life.journal) as again:
        again.until("rolled back")


# Restarts


@settings(max_examples=60, deadline=None)
@given(breaths=st.lists(st.integers(0, 40), max_size=4), settling=st.integers(0, 2))
def test_after_a_death_at_any_instruction_the_next_life_finishes(
    breaths: list[int], settling: int
) -> None:
    mall, journal = Mall(), MemoryJournal()
    mall.release("v2", BAD)
    mall.settling = settling
    for remaining in [*breaths, None]:
        life = Lifeline()
        mortal = MortalJournal(life, journal.entries())
        now = Lifetime(mall, mortal, life=life)
        life.breaths = remaining
        with suppress(Killed):
            now.tick(60)
        now.end()
        journal = MemoryJournal(mortal.entries())
    assert mall.writes == ["shop"]
    assert [p for p in phases(journal) if p != "observing"] == WHOLE_LIFE
    kinds = [e.kind for e in journal.entries() if e.kind.startswith("step")]
    assert kinds == ["step-started", "step-done"]


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "armed": lambda data: data["signals"]["errors"].update(noise={"type": "Alien"}),
    "view": lambda data: data.pop("timeline"),
    "roster": lambda data: data.update(stays=[{"id": 1}]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_ends_its_watch_and_the_start_goes_on(kind: str) -> None:
    mall = Mall("shop", "other")
    with running(mall, observing(min_observation_s=900.0)) as life:
        for shop in ("shop", "other"):
            mall.release("v2", shop=shop)
        life.until("observing", watch="/other@")
        life.until("observing", watch="/shop@")
    newest = next(e for w, e in life.journal.latest(kind).items() if "/shop@" in w)
    damaged = cast("dict[str, Any]", json.loads(json.dumps(newest.data)))
    DAMAGE[kind](damaged)
    life.journal.append(replace(newest, data=damaged))
    with capture_logs() as logs, running(mall, observing(), journal=life.journal) as again:
        again.tick()
        assert again.view("/shop@").phase == "needs a human"
        assert again.view("/other@").phase == "observing"
        assert phases(life.journal, "/shop@")[-1] == "needs a human"
        again.until("healthy", watch="/other@")
    assert [e["event"] for e in logs if e["log_level"] == "error"] == ["watch broke"]


def test_a_watch_that_cannot_be_read_is_left_alone_and_not_begun_anew(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2", BAD)
        life.tick(2)
    newest = next(iter(life.journal.latest("watch").values()))
    life.journal.append(replace(newest, data={"id": newest.watch_id}))
    with capture_logs() as logs, running(mall, journal=life.journal) as again:
        again.tick(5)
        assert again.controller.watches.views() == ()
    assert any(e["event"] == "watch not readable, it is left alone" for e in logs)
    assert mall.writes == []


@pytest.mark.parametrize("restart_at", [4, 9, 20])
def test_a_restart_comes_to_the_same_evidence(restart_at: int) -> None:
    policy = observing(signals=(ERRORS, LATENCY), min_observation_s=900.0)

    def follow(*, restart: bool) -> list[dict[str, Any]]:
        mall = Mall()
        life = Lifetime(mall, MemoryJournal(), policy)
        mall.release("v2")
        life.tick(restart_at)
        if restart:
            journal = life.end()
            mall.clock.at += 45.0  # nobody looks for a while
            life = Lifetime(mall, journal, policy)
        else:
            mall.clock.at += 45.0
        life.tick(12)
        life.end()
        return [asdict(signal.points[-1]) for signal in life.view().signals]

    for restarted, steady in zip(follow(restart=True), follow(restart=False), strict=True):
        # single precision, whose last bits depend on the shape of the arrays
        assert restarted == pytest.approx(steady, rel=1e-6)


def test_a_restart_remembers_what_was_seen_and_what_is_good(mall: Mall) -> None:
    with running(mall) as life:
        for revision in ("v2", "v3"):
            mall.release(revision)
            life.until("healthy", watch=f"@{revision}")
            mall.complete()
        mall.release("v4")
        life.tick(6)
        assert life.controller.watches.known_good(SHOP) == ("v3", "v2")
        before = life.view("@v4")
    with running(mall, journal=life.journal) as again:
        assert again.controller.watches.known_good(SHOP) == ("v3", "v2")
        again.tick()
        after = again.view("@v4")
        assert after.started_at == before.started_at
        assert after.timeline[: len(before.timeline)] == before.timeline
        first = [p.at for p in after.signals[0].points]
        assert first == sorted(first)


def test_a_revision_that_was_left_is_good_no_more(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2")
        life.until("healthy")
        mall.release("v3")
        life.until("healthy", watch="@v3")
        mall.release("v2", BAD)
        life.until("rolled back", watch="@v2.3")
        assert life.controller.watches.known_good(SHOP) == ("v3",)


def test_only_so_many_good_revisions_are_remembered(mall: Mall) -> None:
    with running(mall, observing(min_observation_s=0.0)) as life:
        released = [f"v{i}" for i in range(2, MOST + 4)]
        for revision in released:
            mall.release(revision)
            life.until("healthy", watch=f"@{revision}.")
            mall.complete()
        assert life.controller.watches.known_good(SHOP) == tuple(reversed(released))[:MOST]


def test_a_policy_that_is_gone_leaves_its_watches_alone(mall: Mall) -> None:
    with running(mall) as life:
        mall.release("v2", BAD)
        life.tick(2)
    other = Rules(replace(POLICY, name="other", mode=Mode.OBSERVE))
    with capture_logs() as logs, running(mall, other, journal=life.journal) as again:
        again.tick()
        assert mall.writes == []
    assert any(entry["event"] == "watch dropped" for entry in logs)


def test_what_is_put_back_after_a_rollback_is_told_and_never_fought_over() -> None:
    """As Argo CD does when nobody holds it."""
    mall, journal = Mall(), MemoryJournal()
    mall.release("v2", BAD)
    life = Lifetime(mall, journal)
    life.until("verifying")
    mall.release("v2", BAD)
    view = life.until("needs a human", watch="@v2.1")
    assert any("somebody put it back" in item.text for item in view.timeline)
    assert mall.writes == ["shop"]
    again = life.until("needs a human", watch="@v2.2")
    refused = {guard.guard for guard in again.guards if guard.outcome != "passed"}
    assert refused == {"returned", "cool-down"}
    assert mall.writes == ["shop"]
    life.end()
    reborn = Lifetime(mall, journal)
    reborn.tick()
    assert mall.writes == ["shop"]
    reborn.end()


def test_a_restart_while_the_source_has_no_series_yet_goes_on_when_it_has(mall: Mall) -> None:
    policy = replace(POLICY, signals=(ERRORS, LATENCY))
    with running(mall, policy) as first:
        mall.release("v2")
        first.until("observing")
        first.tick(2)
    mall.outage = Missing(Absence.NO_SERIES, "the source is just back")
    with running(mall, policy, journal=first.journal) as second:
        second.tick(2)
        assert second.view().phase in {"observing", "held"}
        mall.outage = None
        second.until("healthy")
