"""No rollout is left held by us without a watch that will let it go, wherever we die."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.hold_settings import HoldSettings
from actions.holding import Standing
from actions.kubernetes_pause import KubernetesPause
from actions.ports import Conflict, Permanent, Transient
from analyzer.policy import Policy
from analyzer.rollout import Workload
from analyzer.sample import Absence, Missing
from analyzer.watch import Phase, Watch, begin
from rollbackd.holds import Holds
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from tests.fakes.kube_api import AskReadiness, FakeKubeApi
from tests.fakes.memory_journal import MemoryJournal
from tests.kubernetes import shop as cluster_shop
from tests.process.lifetime import POLICY, Lifetime, MortalJournal, Rules
from tests.process.mall import BAD, GOOD, Killed, Lifeline, Mall

ONE = HoldSettings()


@dataclass
class Yard:
    """The mall's shops as things that can be paused; it survives every life of the process.

    ``marks``: by name, the watch in our mark. ``paused``: names of all that are paused.
    """

    mall: Mall
    life: Lifeline = field(default_factory=Lifeline)
    marks: dict[str, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    pauses: int = 0
    trouble: list[Exception] = field(default_factory=list)
    unknown: Missing | None = None

    def standings(self, wanted: Collection[Workload]) -> Sequence[Standing] | Missing:
        if self.unknown is not None:
            return self.unknown
        found = []
        for name, one in self.mall.shops.items():
            if self.mall.writes and one.current == one.previous:
                self.marks.pop(name, None)  # the rollback's own write takes both away
                self.paused.discard(name)
            if name in self.marks or one.workload in wanted:
                ready = len(one.instances(one.current))
                held_by, is_paused = self.marks.get(name, ""), name in self.paused
                found.append(
                    Standing(
                        one.workload, name, one.current, one.current, 4, ready, is_paused, held_by
                    )
                )
        return found

    def pause(self, seen: Standing, watch_id: str) -> None:
        self.life.breathe()
        if self.trouble:
            raise self.trouble.pop(0)
        name = seen.workload.name
        if name in self.paused and self.marks.get(name) != watch_id:
            raise Conflict(f"{name} is paused by somebody else")
        self.paused.add(name)
        self.marks[name] = watch_id
        self.pauses += 1
        self.life.breathe()

    def let_go(self, seen: Standing, watch_id: str) -> bool:
        self.life.breathe()
        if self.trouble:
            raise self.trouble.pop(0)
        name = seen.workload.name
        if self.marks.get(name) != watch_id:
            return False
        del self.marks[name]
        self.paused.discard(name)
        self.life.breathe()
        return True


class Holding:
    """One life of the process with its holds."""

    def __init__(
        self,
        yard: Yard,
        journal: MemoryJournal,
        policy: Policy | Rules = POLICY,
        hold: HoldSettings | None = ONE,
        life: Lifeline | None = None,
    ) -> None:
        self.yard = yard
        yard.life = life or Lifeline()
        self.life = Lifetime(yard.mall, journal, policy, life=yard.life)
        own = {POLICY.name: hold} if hold is not None else {}
        self.holds = Holds(yard, yard, self.life.controller.watches, own, journal, yard.mall.clock)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.life.tick()
            self.holds.tend()

    def until(self, *phases: str) -> None:
        for _ in range(150):
            self.tick()
            if any(view.phase in phases for view in self.life.controller.watches.views()):
                self.tick()
                return
        raise AssertionError(f"not in {phases}: {self.life.controller.watches.views()}")

    def timeline(self) -> str:
        views = self.life.controller.watches.views()
        return "\n".join(item.text for view in views for item in view.timeline)


@pytest.fixture
def yard() -> Yard:
    mall = Mall()
    mall.release("v2", GOOD)
    return Yard(mall)


def deeds(journal: MemoryJournal) -> list[str]:
    return [str(entry.data["deed"]) for entry in journal.entries(kinds=frozenset({"hold"}))]


def test_a_good_release_is_held_until_it_is_judged(yard: Yard) -> None:
    journal = MemoryJournal()
    now = Holding(yard, journal)
    now.tick(2)
    assert yard.paused == {"shop"}
    assert "held: 2 of 4 pods are new and ready" in now.timeline()
    now.until("healthy")
    assert (yard.paused, yard.marks, yard.pauses) == (set(), {}, 1)
    assert deeds(journal) == ["pausing", "paused", "released"]
    now.life.end()


def test_a_bad_release_is_held_and_then_rolled_back() -> None:
    mall = Mall()
    mall.release("v2", BAD)
    yard = Yard(mall)
    now = Holding(yard, MemoryJournal())
    now.until("rolled back")
    assert mall.writes == ["shop"]
    assert (yard.paused, yard.marks, yard.pauses) == (set(), {}, 1)
    now.life.end()


@pytest.mark.parametrize(("stays", "left"), [(False, set()), (True, {"shop"})])
def test_an_inconclusive_one_goes_on_or_stays_as_the_policy_says(
    yard: Yard, stays: bool, left: set[str]
) -> None:
    journal = MemoryJournal()
    brief = replace(POLICY, horizon_s=60.0, min_observation_s=60.0)
    now = Holding(yard, journal, brief, HoldSettings(stays=stays))
    now.tick(2)
    yard.mall.outage = Missing(Absence.SOURCE_DOWN, "no data")
    now.until("inconclusive")
    now.tick(3)
    assert yard.paused == left
    assert deeds(journal).count("stays") == int(stays)  # told once, not at every look
    (watch_id,) = {entry.watch_id for entry in journal.entries(kinds=frozenset({"hold"}))}
    said = now.holds.release(watch_id, "ann")
    assert said == ("the rollout of shops/shop goes on" if stays else None)
    assert yard.paused == set()
    now.tick(3)
    assert yard.paused == set()
    now.life.end()


def test_who_lets_it_go_by_hand_has_decided(yard: Yard) -> None:
    journal = MemoryJournal()
    now = Holding(yard, journal)
    now.tick(2)
    yard.paused.clear()
    now.tick(3)
    assert (yard.paused, yard.marks) == (set(), {})
    assert "somebody resumed it by hand" in now.timeline()
    journal = now.life.end()
    again = Holding(yard, journal)
    again.tick(3)
    assert yard.pauses == 1
    again.life.end()


def test_a_release_on_a_word_is_for_good_too(yard: Yard) -> None:
    now = Holding(yard, MemoryJournal())
    now.tick(2)
    (watch_id,) = yard.marks.values()
    assert now.holds.release("another", "ann") is None
    assert now.holds.release(watch_id, "ann") == "the rollout of shops/shop goes on"
    now.tick(3)
    assert (yard.paused, yard.pauses) == (set(), 1)
    now.life.end()


def test_the_pause_of_somebody_else_stays(yard: Yard) -> None:
    yard.paused.add("shop")
    now = Holding(yard, MemoryJournal())
    now.until("healthy")
    assert (yard.paused, yard.marks) == ({"shop"}, {})
    now.life.end()


def test_trouble_passes_and_the_hold_comes_after_all(yard: Yard) -> None:
    yard.trouble += [Transient("timeout"), Conflict("changes too often")]
    now = Holding(yard, MemoryJournal())
    now.tick(2)
    assert yard.paused == set()
    now.tick(2)
    assert yard.paused == {"shop"}
    yard.unknown = Missing(Absence.SOURCE_DOWN, "the cache is old")
    now.tick()
    with pytest.raises(Transient, match="cannot be seen"):
        now.holds.release("w", "ann")
    assert yard.paused == {"shop"}
    now.life.end()


def test_without_the_right_people_are_told_once_and_the_rollout_goes_on(yard: Yard) -> None:
    yard.trouble += [Permanent("403")] * 5
    journal = MemoryJournal()
    now = Holding(yard, journal)
    now.tick(5)
    assert deeds(journal) == ["pausing", "not held"]
    assert "shops/shop could not be held: 403" in now.timeline()
    now.life.end()


def test_without_the_right_to_let_go_it_is_tried_again_and_told_once(yard: Yard) -> None:
    journal = MemoryJournal()
    now = Holding(yard, journal)
    now.tick(2)
    yard.trouble += [Permanent("403")] * 2
    now.until("healthy")
    now.tick(2)
    assert yard.paused == set()
    assert deeds(journal) == ["pausing", "paused", "not let go", "released"]
    now.life.end()


def test_a_mark_whose_journal_is_lost_is_let_go(yard: Yard) -> None:
    yard.paused.add("shop")
    yard.marks["shop"] = "a watch that nobody knows"
    yard.mall.complete()
    now = Holding(yard, MemoryJournal(), hold=None)
    now.tick()
    assert (yard.paused, yard.marks) == (set(), {})
    now.life.end()


def test_a_policy_that_is_gone_leaves_nothing_held(yard: Yard) -> None:
    first = Holding(yard, MemoryJournal())
    first.tick(2)
    assert yard.paused == {"shop"}
    journal = first.life.end()
    other = Rules(replace(POLICY, name="other"))
    second = Holding(yard, journal, other, hold=None)
    second.tick(2)
    assert yard.paused == {"shop"}  # the other policy's watch of the same rollout judges it
    second.until("healthy")
    assert (yard.paused, yard.marks) == (set(), {})
    second.life.end()


@settings(max_examples=25, deadline=None)
@given(
    breaths=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    badness=st.sampled_from([GOOD, BAD]),
    newer=st.booleans(),
)
def test_after_a_death_at_any_instruction_nothing_is_held_without_a_watch(
    breaths: list[int], badness: float, newer: bool
) -> None:
    mall, journal = Mall(), MemoryJournal()
    mall.release("v2", badness)
    yard = Yard(mall)
    for remaining in breaths:
        life = Lifeline()
        mortal = MortalJournal(life, journal.entries())
        now = Holding(yard, mortal, life=life)
        life.breaths = remaining
        with suppress(Killed):
            now.tick(40)
        now.life.end()
        journal = MemoryJournal(mortal.entries())
    if newer:
        mall.release("v3", GOOD)
    last = Holding(yard, journal)
    for _ in range(60):
        last.tick()
        living = {
            watch.id for watch in last.life.controller.watches.followed() if not watch.phase.final
        }
        # a watch that ended in this very tick lets go at the same look or the next one
        last.holds.tend()
        assert set(yard.marks.values()) <= living
        assert yard.paused == set(yard.marks)
    assert yard.marks == {}
    last.life.end()


@dataclass
class OneWatch:
    """The controller, as far as holds see it: one watch, and what it was told."""

    watch: Watch
    told: list[str] = field(default_factory=list)

    def followed(self) -> tuple[Watch, ...]:
        return (self.watch,)

    def remark(self, watch_id: str, text: str, *, urgent: bool) -> None:
        assert watch_id == self.watch.id
        assert not urgent
        self.told.append(text)


def test_a_real_rolling_update_stops_after_its_first_pod_and_goes_on_when_it_is_healthy() -> None:
    with cluster_shop.cluster() as (api, connection):
        api.create(cluster_shop.manifest())
        cluster_shop.settle(api)
        source = KubernetesRollouts(connection, Reading(cluster="test"))
        source.start()
        assert source.wait_synced(10.0)
        may_be_ready: set[str] = set()
        api.set_readiness(AskReadiness(lambda pod: pod["metadata"]["name"] in may_be_ready))
        cluster_shop.deploy(api, "shop:2")
        first = api.wait_until(lambda _: new_pods(api))[0]
        may_be_ready.add(first)

        def seen() -> Standing | None:
            found = source.standings({cluster_shop.rollout(api).workload})
            assert not isinstance(found, Missing)
            return next(iter(found), None)

        api.wait_until(lambda _: (now := seen()) is not None and now.ready == 1)
        rollout = cluster_shop.rollout(api)
        watches = OneWatch(begin(rollout, POLICY, 0.0))
        pauses = KubernetesPause(connection)
        holds = Holds(source, pauses, watches, {POLICY.name: ONE}, MemoryJournal(), lambda: 0.0)
        holds.tend()
        assert watches.told == ["held: 1 of 3 pods are new and ready"]
        api.wait_until(lambda _: (now := seen()) is not None and now.held_by == rollout.watch_id)
        held = set(new_pods(api))
        may_be_ready |= held
        api.wait_until(lambda _: (now := seen()) is not None and now.ready == len(held))
        holds.tend()
        assert set(new_pods(api)) == held
        assert len(held) < 3
        watches.watch = replace(watches.watch, phase=Phase.HEALTHY)
        api.set_readiness(AskReadiness(lambda _: True))
        holds.tend()
        cluster_shop.settle(api)
        assert len(new_pods(api)) == 3
        found = cluster_shop.deployment(api)
        assert "rollbackd.io/held-by" not in found["metadata"]["annotations"]
        source.close()


def new_pods(api: FakeKubeApi) -> list[str]:
    """Return the names of the pods that run shop:2."""
    return [
        pod["metadata"]["name"]
        for pod in api.list_objects("v1", "Pod")
        if pod["spec"]["containers"][0]["image"] == "shop:2"
    ]
