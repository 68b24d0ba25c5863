"""A decision taken live and the same decision taken again from its record."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from analyzer.rollout import Vitals
from analyzer.sample import Absence, Grid, Missing, Query, Reply
from analyzer.watch import Phase
from rollbackd.replay import KINDS, NotReplayable, Record, record_of, replay
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import ERRORS, LATENCY, POLICY, Lifetime, observing
from tests.process.mall import BAD, GOOD, TICK_S, Mall

BOTH = replace(POLICY, signals=(ERRORS, LATENCY))


def lived(mall: Mall, *, badness: float, until: str) -> MemoryJournal:
    """Let a rollout be watched to its end; return the journal."""
    life = Lifetime(mall, MemoryJournal(), observing(signals=BOTH.signals))
    mall.release("v2", badness)
    life.until(until)
    return life.end()


def recorded(journal: MemoryJournal) -> Record:
    return record_of(journal.entries(kinds=KINDS))


@pytest.mark.parametrize(
    ("badness", "end", "decided"),
    [(BAD, "reported", Phase.DEGRADED), (GOOD, "healthy", Phase.HEALTHY)],
)
def test_the_same_samples_lead_to_the_same_decision(
    badness: float, end: str, decided: Phase
) -> None:
    mall = Mall()
    again = replay(recorded(lived(mall, badness=badness, until=end)), mall)
    assert again.same, again.text
    assert again.looks[-1].phase is decided
    assert len(again.looks) > 1


@pytest.mark.parametrize("had_traffic", [False, True])
def test_what_the_cluster_said_leads_to_the_same_decision(had_traffic: bool) -> None:
    mall = Mall()
    shop = mall.shops["shop"]
    shop.vitals |= {"v1": Vitals()}
    life = Lifetime(mall, MemoryJournal(), observing(signals=BOTH.signals))
    mall.release("v2")
    if had_traffic:
        life.tick(5)
    shop.vitals["v2"] = Vitals("CrashLoopBackOff", 4, "OOMKilled", mall.clock.at)
    life.until("reported")
    again = replay(recorded(life.end()), mall)
    assert again.same, again.text
    assert again.looks[-1].judgement.by_facts
    assert "CrashLoopBackOff (OOMKilled)" in again.looks[-1].judgement.reasons[0].text


def test_the_evidence_is_that_of_the_live_watch() -> None:
    mall = Mall()
    journal = lived(mall, badness=BAD, until="reported")
    again = replay(recorded(journal), mall)
    (view,) = journal.latest("view").values()
    assert again.looks[-1].judgement.e_value == pytest.approx(view.data["evidence"])
    assert tuple(r.text for r in again.looks[-1].judgement.reasons) == tuple(view.data["reasons"])


def test_another_policy_would_have_decided_otherwise_and_this_is_said() -> None:
    mall = Mall()
    record = recorded(lived(mall, badness=BAD, until="reported"))
    deaf = replace(record, policy=replace(record.policy, alpha=1e-300))
    again = replay(deaf, mall)
    assert not again.same
    assert "recorded: degraded" in again.text


class Forgetful:
    """A source that has nothing of the past any more."""

    def __init__(self, reason: Absence) -> None:
        self._reason = reason

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        del grid
        return [Missing(self._reason, "gone") for _ in queries]

    def close(self) -> None:
        pass


def test_samples_that_are_gone_do_not_make_a_decision() -> None:
    record = recorded(lived(Mall(), badness=BAD, until="reported"))
    again = replay(record, Forgetful(Absence.NO_SERIES))
    assert not again.same
    with pytest.raises(NotReplayable, match="cannot be had: source down: gone"):
        replay(record, Forgetful(Absence.SOURCE_DOWN))


@pytest.mark.parametrize("lost", ["policy", "roster", "armed", "watch"])
def test_a_record_with_a_hole_says_what_is_missing(lost: str) -> None:
    journal = lived(Mall(), badness=BAD, until="reported")
    kept = [entry for entry in journal.entries(kinds=KINDS) if entry.kind != lost]
    with pytest.raises(NotReplayable):
        record_of(kept)


def test_a_long_watch_is_fetched_in_parts_and_judged_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mall = Mall()
    record = recorded(lived(mall, badness=GOOD, until="healthy"))
    whole = replay(record, mall)
    monkeypatch.setattr("rollbackd.replay.MAX_COLUMNS", 5)
    assert replay(record, mall).looks == whole.looks
    assert len(whole.looks) * TICK_S > POLICY.min_observation_s / 2


def test_a_watch_that_was_never_decided_is_the_same_when_it_still_is_not() -> None:
    record = replace(recorded(lived(Mall(), badness=BAD, until="reported")), decided=None)
    again = replay(record, Forgetful(Absence.NO_SERIES))
    assert again.text.startswith("recorded: undecided")


def test_entries_of_other_kinds_are_not_needed() -> None:
    journal = lived(Mall(), badness=BAD, until="reported")
    assert {e.kind for e in journal.entries()} > KINDS - {"facts"}
    everything = record_of(journal.entries())
    assert everything.decided == recorded(journal).decided
