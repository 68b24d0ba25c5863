"""Watches under policies of the cluster: they keep the version they began with, until it is deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from analyzer.policy import Mode, Policy
from rollbackd.controller import ABSENT_LOOKS
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import POLICY, Lifetime, Rules
from tests.process.mall import BAD, Mall

NAME = "shops/usual"
OURS = replace(POLICY, name=NAME)


@dataclass(frozen=True)
class ClusterRules(Rules):
    """One policy of the cluster: ``named`` knows those of the file only. ``gone`` can be changed."""

    usual: Policy = OURS
    gone: list[str] = field(default_factory=list)

    def policy_for(self, rollout: object) -> Policy | None:
        del rollout
        return None if NAME in self.gone else self.usual

    def named(self, name: str) -> Policy | None:
        del name
        return None

    def lapsed(self, name: str) -> bool:
        return name in self.gone


@contextmanager
def running(mall: Mall, rules: Rules, journal: MemoryJournal | None = None) -> Iterator[Lifetime]:
    life = Lifetime(mall, journal or MemoryJournal(), rules)
    yield life
    life.end()


@pytest.fixture
def mall() -> Mall:
    return Mall()


def test_a_watch_ends_when_its_policy_is_deleted(mall: Mall) -> None:
    rules = ClusterRules()
    with running(mall, rules) as life:
        mall.release("v2")
        life.until("observing")
        rules.gone.append(NAME)
        life.tick(ABSENT_LOOKS - 1)
        assert not life.view().final
        life.tick()
        view = life.view()
        assert (view.phase, view.note) == ("inconclusive", f"its policy {NAME} was deleted")


def test_a_policy_that_is_replaced_ends_nothing(mall: Mall) -> None:
    rules = ClusterRules()
    with running(mall, rules) as life:
        mall.release("v2")
        life.until("observing")
        for _ in range(5):
            rules.gone.append(NAME)
            life.tick(ABSENT_LOOKS - 1)
            rules.gone.clear()
            life.tick()
        assert life.view().phase in {"observing", "healthy"}


def test_an_action_that_began_is_finished_without_its_policy(mall: Mall) -> None:
    rules = ClusterRules()
    with running(mall, rules) as life:
        life.tick(3)
        mall.release("v2", BAD)
        life.until("verifying", "acting")
        rules.gone.append(NAME)
        assert life.until("rolled back", "inconclusive").phase == "rolled back"


def test_a_deleted_policy_lets_nobody_act_any_more(mall: Mall) -> None:
    rules = ClusterRules(replace(OURS, mode=Mode.APPROVE))
    with running(mall, rules) as life:
        life.tick(3)
        mall.release("v2", BAD)
        life.until("awaiting approval")
        rules.gone.append(NAME)
        assert life.until("inconclusive", "verifying").phase == "inconclusive"


def test_a_restart_goes_on_under_the_version_that_the_watch_began_with(mall: Mall) -> None:
    journal = MemoryJournal()
    with running(mall, ClusterRules(), journal) as life:
        life.tick(3)
        mall.release("v2", BAD)
        life.tick(2)
        assert life.view().mode == "enforce"
    lenient = ClusterRules(replace(OURS, mode=Mode.OBSERVE, actuators=(), horizon_s=130.0))
    with running(mall, lenient, journal) as life:
        assert life.until("rolled back", "reported", "inconclusive").phase == "rolled back"


def test_after_a_restart_a_watch_whose_policy_is_gone_is_dropped(mall: Mall) -> None:
    journal = MemoryJournal()
    with running(mall, ClusterRules(), journal) as life:
        mall.release("v2")
        life.until("observing")
    with running(mall, ClusterRules(gone=[NAME]), journal) as life:
        life.tick(2)
        assert life.controller.watches.views() == ()
