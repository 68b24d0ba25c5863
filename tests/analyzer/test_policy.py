from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from analyzer.policy import Mode, Policy, lowered
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.watch import begin

ORDER = tuple(Mode)
ROLLOUT = Rollout(
    workload=Workload("test", "team", "Deployment", "shop"),
    canary=Revision("v2", "v2"),
    baseline=Revision("v1", "v1"),
    canary_instances=(),
    baseline_instances=(),
    id_labels=("pod",),
    started_at=0.0,
)


@given(st.sampled_from(Mode), st.none() | st.sampled_from(Mode) | st.text(max_size=9))
def test_a_workload_can_only_lower_the_mode(mode: Mode, asked: str | None) -> None:
    assert ORDER.index(lowered(mode, asked)) <= ORDER.index(mode)


@given(st.sampled_from(Mode), st.sampled_from(Mode))
def test_a_lower_mode_is_taken(mode: Mode, asked: Mode) -> None:
    lower = asked if ORDER.index(asked) < ORDER.index(mode) else mode
    assert lowered(mode, asked.value) is lower


def test_a_word_that_is_no_mode_counts_as_the_lowest() -> None:
    assert lowered(Mode.ENFORCE, "Enforce!") is Mode.OBSERVE


def test_a_watch_begins_in_the_lower_mode() -> None:
    policy = Policy("p", (), mode=Mode.ENFORCE)
    assert begin(ROLLOUT, policy, 0.0).mode is Mode.ENFORCE
    assert begin(replace(ROLLOUT, mode="approve"), policy, 0.0).mode is Mode.APPROVE
