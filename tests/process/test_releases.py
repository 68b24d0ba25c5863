"""Letting go: what was held is put back once, whoever asks and however often."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from actions.apply import Applier, Done, Patience
from actions.gitops_hold import NAME, GitOpsHold, GitOpsOwners
from actions.plan import Plan, keyed, plan_to_json
from actions.ports import Entry
from rollbackd.releases import Releases
from tests.fakes.kube_api import Access, FakeKubeApi
from tests.fakes.memory_journal import MemoryJournal
from tests.kubernetes import shop
from tests.kubernetes.gitops import AUTOMATED, Sample, argo_application
from tests.process.lifetime import MortalJournal
from tests.process.mall import Killed, Lifeline


@dataclass
class Held:
    """An Application that is held for a watch, and the journal that tells of it."""

    api: FakeKubeApi
    owner: Sample
    applier: Applier
    journal: MemoryJournal
    watch_id: str
    gates: list[str] = field(default_factory=list)

    def releases(self, journal: MemoryJournal | None = None) -> Releases:
        journal = journal or self.journal
        applier = Applier(self.applier.actuators, journal, lambda: 2.0, lambda _: True, QUICK)
        return Releases(applier, journal, (), lambda: 2.0)

    def automated(self) -> object:
        return self.owner.now(self.api)["spec"]["syncPolicy"].get("automated")


QUICK = Patience(attempts=2, settle_s=5.0)


@pytest.fixture
def held() -> Iterator[Held]:
    with shop.cluster() as (api, connection):
        api.create(shop.manifest())
        shop.settle(api)
        shop.deploy(api, "shop:2")
        shop.settle(api)
        owner = argo_application()
        owner.create(api)
        shop.patch(api, metadata=owner.marks)
        hold = GitOpsHold(connection, GitOpsOwners(connection))
        rollout = shop.rollout(api)
        assert rollout.baseline is not None
        steps = hold.propose(rollout).steps
        plan = keyed(
            Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, steps)
        )
        journal = MemoryJournal()
        journal.append(Entry(1.0, plan.watch_id, "plan", plan.key, plan_to_json(plan)))
        applier = Applier({NAME: hold}, journal, lambda: 1.0, lambda _: True, QUICK)
        assert applier.carry_out(plan) == Done()
        yield Held(api, owner, applier, journal, plan.watch_id)


def test_what_is_held_is_put_back_once(held: Held) -> None:
    assert held.automated() is None
    first = held.releases().release(held.watch_id, "ann")
    assert first.done == ("put the automatic sync of Argo CD Application argocd/shop back",)
    assert held.automated() == AUTOMATED
    (entry,) = held.journal.entries(kinds=frozenset({"release"}))
    assert entry.data["by"] == "ann"
    written = shop.writes(held.api)
    again = held.releases().release(held.watch_id, "ann")
    assert (again.done, again.failed) == ((), ())
    assert shop.writes(held.api) == written


def test_a_watch_that_holds_nothing_lets_nothing_go(held: Held) -> None:
    nothing = held.releases().release("another", "ann")
    assert (nothing.done, nothing.failed) == ((), ())
    assert held.automated() is None


def test_what_somebody_changed_since_is_left_alone_and_told(held: Held) -> None:
    held.owner.patch(held.api, {"spec": {"syncPolicy": {"automated": {"prune": False}}}})
    told = held.releases().release(held.watch_id, "ann")
    assert told.done == ()
    assert "no longer as planned" in told.failed[0]
    assert held.automated() == {"prune": False}


def test_without_the_right_it_stays_held_and_may_be_asked_for_again(held: Held) -> None:
    held.api.set_access(Access(denied=frozenset({"patch applications"})))
    told = held.releases().release(held.watch_id, "ann")
    assert "cannot patch" in told.failed[0]
    held.api.set_access(Access())
    assert held.releases().release(held.watch_id, "ann").done
    assert held.automated() == AUTOMATED


def test_a_release_that_is_killed_anywhere_is_finished_by_the_next_one(held: Held) -> None:
    kept = list(held.journal.entries())
    whole = Lifeline(1000)
    for breath in range(20):
        life = Lifeline(breath)
        journal = MortalJournal(life, kept)
        try:
            held.releases(journal).release(held.watch_id, "ann")
        except Killed:
            survived = MemoryJournal(journal.entries())
            held.releases(survived).release(held.watch_id, "ann")
            assert held.automated() == AUTOMATED
        else:
            whole = life
            break
        # held again, for the next place to die at
        held.owner.patch(
            held.api,
            {
                "metadata": {"annotations": {"rollbackd.io/held-by": held.watch_id}},
                "spec": {"syncPolicy": {"automated": None}},
            },
        )
    assert whole.breaths is not None
    assert breath == 6  # before and after: release, step-started, step-done
    assert held.automated() == AUTOMATED
