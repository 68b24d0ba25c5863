from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.rollouts.derivation import NO_MEMORY
from rollbackd.rollouts.revisions import families
from tests.rollouts.world import (
    NOW,
    READING,
    World,
    deployment,
    done,
    pods,
    revision,
    shuffled,
    under_way,
    worlds,
)


def test_a_rollout_half_way() -> None:
    world = under_way(policy="strict")
    rollout = world.look()
    (family,) = families([world.deployment], world.replica_sets, world.pods)
    assert rollout == Rollout(
        workload=Workload("prod", "team", "Deployment", "shop"),
        canary=Revision("v2", "v2"),
        baseline=Revision("v1", "v1"),
        canary_instances=READING.instances(family, "v2"),
        baseline_instances=READING.instances(family, "v1"),
        id_labels=("namespace", "pod"),
        started_at=NOW - 8000.0,
        ordinal=2,
        complete=False,
        policy="strict",
        labels={"app": "shop"},
    )
    assert [i.id[1] for i in rollout.canary_instances] == ["shop-v2-0"]
    assert [i.id[1] for i in rollout.baseline_instances] == ["shop-v1-0", "shop-v1-1"]


def test_replica_sets_seen_later_than_their_deployment_are_no_rollout_of_the_old_revision() -> (
    None
):
    assert under_way(template="v1", revision=1).look() is None


def test_one_id_label_holds_the_name_of_the_pod() -> None:
    world = under_way()
    world.reading = replace(READING, id_labels=("kubernetes_pod_name",))
    rollout = world.look()
    assert rollout is not None
    assert [i.id for i in rollout.canary_instances] == [("shop-v2-0",)]


def test_a_fast_rollout_is_followed_to_the_end_and_no_longer() -> None:
    world = done(age_s=599.0)
    rollout = world.look()
    assert rollout is not None
    assert rollout.complete
    assert rollout.baseline == Revision("v1", "v1")
    assert rollout.baseline_instances == ()
    assert done(age_s=600.0).look() is None


@pytest.mark.parametrize(("asked", "is_followed"), [
    ({}, False), ({"team": 700.0}, True), ({"team": 100.0}, False), ({"other": 700.0}, False),
])  # fmt: skip
def test_a_policy_of_its_namespace_may_ask_to_follow_it_longer(
    asked: dict[str, float], is_followed: bool
) -> None:
    world = done(age_s=650.0)
    world.reading = replace(READING, longest_s=lambda: asked)
    assert (world.look() is not None) is is_followed


def test_a_rollout_that_is_stuck_stays_one() -> None:
    world = under_way()
    world.now += 1e6
    assert world.look() is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"replicas": 0},
        {"is_deleting": True},
        {"template": "v3", "is_observed": False},
        {"is_paused": True, "template": "v3"},
    ],
    ids=["scaled to zero", "deleted", "no ReplicaSet yet", "paused before its ReplicaSet"],
)
def test_what_is_no_rollout(fields: dict[str, object]) -> None:
    assert under_way(**fields).look() is None


def test_a_rollout_paused_half_way_is_still_one() -> None:
    assert under_way(is_paused=True).look() is not None


def test_the_first_revision_takes_nothing_over() -> None:
    assert World(deployment("v1"), [revision("v1", 1, 3)], pods("v1", 3)).look() is None


def test_without_history_there_is_no_baseline() -> None:
    world = World(deployment("v2"), [revision("v2", 2, 3, created_at=NOW - 60.0)], pods("v2", 3))
    rollout = world.look()
    assert rollout is not None
    assert (rollout.baseline, rollout.complete) == (None, True)


def test_recreate_compares_with_nothing_that_runs() -> None:
    world = World(
        deployment("v2"),
        [revision("v1", 1), revision("v2", 2, 3, created_at=NOW - 60.0)],
        pods("v2", 3, ready=0),
    )
    rollout = world.look()
    assert rollout is not None
    assert (rollout.baseline, rollout.complete) == (Revision("v1", "v1"), True)


def test_pods_of_the_baseline_that_are_going_do_not_hold_a_rollout_open() -> None:
    world = done(age_s=60.0)
    world.pods += [replace(pod, is_terminating=True) for pod in pods("v1", 1)]
    rollout = world.look()
    assert rollout is not None
    assert rollout.complete
    assert [i.terminating for i in rollout.baseline_instances] == [True]


def test_equal_templates_that_read_differently_are_told_by_their_number() -> None:
    assert (rollout := under_way(template="v2 with a new default").look()) is not None
    assert rollout.canary == Revision("v2", "v2")


class TestBaseline:
    """v3 is rolled out; v2 never got far, and v1 is what ran before."""

    def world(self, v1: int, v2: int, **fields: object) -> World:
        return World(
            deployment("v3", revision=3, **fields),
            [
                revision("v1", 1, v1),
                revision("v2", 2, v2),
                revision("v3", 3, 1, created_at=NOW - 60.0),
            ],
            [*pods("v1", v1), *pods("v2", v2), *pods("v3", 1)],
        )

    def baseline(self, world: World) -> str | None:
        rollout = world.look()
        assert rollout is not None
        return rollout.baseline.id if rollout.baseline else None

    def test_is_the_one_known_to_be_good(self) -> None:
        world = self.world(v1=0, v2=3)
        world.reading = replace(READING, known_good=lambda _: ("gone", "v1", "v2"))
        assert self.baseline(world) == "v1"

    def test_is_never_the_canary_even_when_that_is_known_to_be_good(self) -> None:
        world = self.world(v1=2, v2=1)
        world.reading = replace(READING, known_good=lambda _: ("v3", "v2"))
        assert self.baseline(world) == "v2"

    def test_is_the_one_with_the_most_ready_pods_not_the_previous_one(self) -> None:
        assert self.baseline(self.world(v1=2, v2=1)) == "v1"

    def test_stays_the_same_when_the_others_are_scaled_down(self) -> None:
        world = self.world(v1=2, v2=1)
        assert self.baseline(world) == "v1"
        later = self.world(v1=0, v2=1)
        later.memory = world.memory
        assert self.baseline(later) == "v1"

    def test_is_the_one_that_was_settled_when_nothing_else_runs(self) -> None:
        world = World(deployment("v1", revision=1), [revision("v1", 1, 3)], pods("v1", 3))
        assert world.look() is None
        memory, world = world.memory, self.world(v1=0, v2=0)
        world.memory = memory
        assert self.baseline(world) == "v1"

    def test_without_any_memory_is_the_most_recent_one(self) -> None:
        assert self.baseline(self.world(v1=0, v2=0)) == "v2"

    def test_is_not_one_that_we_rolled_back_from(self) -> None:
        world = self.world(v1=1, v2=2)
        marks: dict[str, Any] = {"rolled_back_from": "v2", "rolled_back_to": "v1"}
        world.replica_sets = [
            revision("v1", 3, 1, was_current_before=True, **marks),
            revision("v2", 2, 2),
            revision("v3", 4, 1, **marks),
        ]
        world.deployment = deployment("v3", revision=4, **marks)
        assert self.baseline(world) == "v1"
        world.replica_sets[0] = revision("v1", 3, was_current_before=True, **marks)
        world.pods = [*pods("v2", 2), *pods("v3", 1)]
        world.memory = NO_MEMORY
        assert self.baseline(world) == "v1"

    def test_may_be_one_that_was_rolled_out_again_since(self) -> None:
        world = self.world(v1=0, v2=2)
        marks: dict[str, Any] = {"rolled_back_from": "v2", "rolled_back_to": "v1"}
        world.replica_sets = [
            revision("v1", 3, was_current_before=True, **marks),
            revision("v2", 4, 2, was_current_before=True, **marks),
            revision("v3", 5, 1, **marks),
        ]
        world.deployment = deployment("v3", revision=5, **marks)
        assert self.baseline(world) == "v2"


class TestWayBack:
    MARKS: ClassVar[dict[str, Any]] = {"rolled_back_from": "v2", "rolled_back_to": "v1"}

    def test_our_rollback_is_no_rollout(self) -> None:
        before_the_controller_saw_it = World(
            deployment("v1", is_observed=False, **self.MARKS),
            [revision("v1", 1, 2), revision("v2", 2, 1)],
            [*pods("v1", 2), *pods("v2", 1)],
        )
        assert before_the_controller_saw_it.look() is None
        under_way = World(
            deployment("v1", revision=3, **self.MARKS),
            [revision("v1", 3, 2, was_current_before=True, **self.MARKS), revision("v2", 2, 1)],
            [*pods("v1", 2), *pods("v2", 1)],
        )
        assert under_way.look() is None

    def test_it_stays_none_when_somebody_removes_the_bad_revision(self) -> None:
        before = under_way()
        assert before.look() is not None
        world = World(
            deployment("v1", revision=3, **self.MARKS),
            [revision("v0", 0), revision("v1", 3, 3, was_current_before=True, **self.MARKS)],
            pods("v1", 3),
            memory=before.memory,
        )
        assert world.look() is None

    @pytest.mark.parametrize("again", ["v2", "v3"])
    def test_what_is_rolled_out_after_it_is_one(self, again: str) -> None:
        replica_sets = [
            revision("v1", 3, 2, was_current_before=True, **self.MARKS),
            revision("v2", 4 if again == "v2" else 2, 1, was_current_before=again == "v2"),
            revision("v3", 5, 1),
        ]
        world = World(
            deployment(again, revision=5, **self.MARKS),
            replica_sets if again == "v3" else replica_sets[:2],
            [*pods("v1", 2), *pods(again, 1)],
        )
        rollout = world.look()
        assert rollout is not None
        assert (rollout.canary.id, rollout.baseline) == (again, Revision("v1", "v1"))

    def test_going_back_to_the_restored_one_from_a_later_one_is_a_rollout(self) -> None:
        world = World(
            deployment("v1", revision=5, **self.MARKS),
            [
                revision("v1", 5, 1, was_current_before=True, **self.MARKS),
                revision("v2", 2),
                revision("v3", 4, 2, **self.MARKS),
            ],
            [*pods("v1", 1), *pods("v3", 2)],
        )
        rollout = world.look()
        assert rollout is not None
        assert rollout.baseline == Revision("v3", "v3")

    def test_somebody_else_going_back_to_what_is_known_to_be_good_is_no_rollout(self) -> None:
        world = World(
            deployment("v1", revision=3),
            [revision("v1", 3, 1, was_current_before=True), revision("v2", 2, 2)],
            [*pods("v1", 1), *pods("v2", 2)],
            reading=replace(READING, known_good=lambda _: ("v1",)),
        )
        assert world.look() is None

    def test_a_canary_that_was_found_good_is_still_shown(self) -> None:
        world = under_way()
        world.reading = replace(READING, known_good=lambda _: ("v2", "v1"))
        assert world.look() is not None


class TestStart:
    """v1 is rolled out again, long after it was made."""

    def world(self, *, current: str) -> World:
        again = current == "v1"
        return World(
            deployment(current, revision=3 if again else 2),
            [
                revision("v1", 3 if again else 1, 1 if again else 0, was_current_before=again),
                revision("v2", 2, 2 if again else 3),
            ],
            [*pods("v1", int(again), created_at=NOW - 20.0), *pods("v2", 2 if again else 3)],
        )

    def test_is_when_we_saw_it_become_current(self) -> None:
        before = self.world(current="v2")
        assert before.look() is None
        world = self.world(current="v1")
        world.memory, world.now = before.memory, NOW + 7.0
        rollout = world.look()
        assert rollout is not None
        assert rollout.started_at == NOW + 7.0
        world.now += 100.0
        assert (rollout := world.look()) is not None
        assert rollout.started_at == NOW + 7.0

    def test_is_its_first_pod_when_we_did_not_see_it(self) -> None:
        rollout = self.world(current="v1").look()
        assert rollout is not None
        assert rollout.started_at == NOW - 20.0

    def test_is_long_past_when_nothing_tells(self) -> None:
        world = self.world(current="v1")
        world.replica_sets[1] = revision("v2", 2)
        world.pods = pods("v1", 3)
        assert world.look() is None


@given(worlds(), st.permutations(range(12)))
def test_the_order_in_which_things_are_seen_does_not_matter(
    world: World, order: list[int]
) -> None:
    other = shuffled(world, order)
    assert (world.look(), world.memory) == (other.look(), other.memory)


@given(worlds())
def test_the_baseline_never_runs_what_the_canary_runs(world: World) -> None:
    if (rollout := world.look()) is not None and rollout.baseline is not None:
        template = {r.uid: r.template for r in world.replica_sets}
        assert template[rollout.baseline.id] != template[rollout.canary.id]


@given(worlds())
def test_a_second_look_at_the_same_world_says_the_same(world: World) -> None:
    assert world.look() == world.look()


@given(worlds())
def test_nothing_of_the_canary_is_missed_or_invented(world: World) -> None:
    if (rollout := world.look()) is not None:
        names = {pod.name for pod in world.pods if pod.replica_set == rollout.canary.id}
        assert {instance.id[1] for instance in rollout.canary_instances} == names
