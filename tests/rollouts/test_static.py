from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Absence, Missing
from rollbackd.config.settings import InstanceGroup, StaticRollout
from rollbackd.rollouts.static import StaticRollouts

BLUE, GREEN = InstanceGroup("blue", ("a:1", "a:2")), InstanceGroup("green", ("b:1",))

SHOP = StaticRollout(
    name="shop",
    namespace="default",
    cluster="home",
    id_label="instance",
    baseline=BLUE,
    canary=GREEN,
    policy="strict",
    labels={"team": "web"},
)

FILE = """
- name: shop
  baseline: {label: blue, instances: ["a:1"]}
  canary: {label: green, instances: [%s]}
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def seen(source: StaticRollouts) -> list[Rollout]:
    found = source.rollouts()
    assert not isinstance(found, Missing), found
    return list(found)


def test_two_groups_are_a_rollout() -> None:
    source = StaticRollouts([SHOP], clock=Clock())
    assert seen(source) == [
        Rollout(
            workload=Workload("home", "default", "Static", "shop"),
            canary=Revision("green", "green"),
            baseline=Revision("blue", "blue"),
            canary_instances=(Instance(("b:1",), started_at=1000.0),),
            baseline_instances=(Instance(("a:1",)), Instance(("a:2",))),
            id_labels=("instance",),
            started_at=1000.0,
            policy="strict",
            labels={"team": "web"},
        )
    ]
    source.close()


def test_without_canary_instances_there_is_none() -> None:
    assert seen(StaticRollouts([replace(SHOP, canary=InstanceGroup("green", ()))])) == []


def test_a_rollout_starts_when_its_canary_is_first_seen(tmp_path: Path) -> None:
    file, clock = tmp_path / "rollouts.yaml", Clock()
    source = StaticRollouts(file=file, clock=clock)
    file.write_text(FILE % "")
    assert seen(source) == []
    clock.now = 2000.0
    file.write_text(FILE % '"b:1"')
    assert seen(source)[0].started_at == 2000.0
    clock.now = 3000.0
    file.write_text(FILE % '"b:1", "b:2"')
    (rollout,) = seen(source)
    assert rollout.started_at == 2000.0
    assert [i.started_at for i in rollout.canary_instances] == [2000.0, 3000.0]


def test_what_went_and_came_back_is_new(tmp_path: Path) -> None:
    file, clock = tmp_path / "rollouts.yaml", Clock()
    source = StaticRollouts(file=file, clock=clock)
    for now, instances in ((1.0, '"b:1"'), (2.0, ""), (3.0, '"b:1"')):
        clock.now = now
        file.write_text(FILE % instances)
        found = seen(source)
        assert [rollout.started_at for rollout in found] == ([now] if instances else [])


def test_a_bad_file_changes_nothing_and_is_complained_about(tmp_path: Path) -> None:
    file = tmp_path / "rollouts.yaml"
    file.write_text(FILE % '"b:1"')
    source = StaticRollouts([replace(SHOP, name="given")], file=file, clock=Clock())
    good = seen(source)
    assert [rollout.workload.name for rollout in good] == ["given", "shop"]
    file.write_text(FILE % '"a:1"')
    assert seen(source) == good
    assert "both groups" in str(source.problem)
    file.unlink()
    assert seen(source) == good
    assert "No such file" in str(source.problem)
    file.write_text(FILE % "")
    assert [rollout.workload.name for rollout in seen(source)] == ["given"]
    assert source.problem is None


def test_a_file_that_came_back_unchanged_is_good_again(tmp_path: Path) -> None:
    file = tmp_path / "rollouts.yaml"
    file.write_text(FILE % '"b:1"')
    source = StaticRollouts(file=file, clock=Clock())
    good = seen(source)
    file.rename(tmp_path / "away")
    assert seen(source) == good
    (tmp_path / "away").rename(file)
    assert (seen(source), source.problem) == (good, None)


@pytest.mark.parametrize("content", ["{", None], ids=["nonsense", "no file"])
def test_a_file_that_was_never_good_is_not_an_empty_one(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "rollouts.yaml"
    if content is not None:
        file.write_text(content)
    found = StaticRollouts([SHOP], file=file).rollouts()
    assert isinstance(found, Missing)
    assert found.reason is Absence.INVALID
    assert "rollouts.yaml" in found.detail
