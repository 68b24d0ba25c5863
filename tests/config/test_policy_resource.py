"""RollbackPolicies: what they say, what is wrong with them, and that they only ever go as far as allowed."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from actions.guards.guard import OwnerRule, Strength
from actions.guards.settings import GuardSettings
from actions.hold_settings import HoldSettings
from analyzer.policy import Mode
from analyzer.rollout import Revision, Rollout, Workload
from rollbackd.cli import main
from rollbackd.config import ConfigError, load
from rollbackd.config.cross_checks import Offer
from rollbackd.config.freezes import SpanFreeze
from rollbackd.config.manifests import (
    Limits,
    PolicyInvalid,
    is_manifest,
    load_manifests,
    match_of,
    read_policy,
)
from tests.config.files import minimal, write

ERRORS = {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}}


def manifest(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - YAML
    return {
        "apiVersion": "rollbackd.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "u", "labels": {}},
        "spec": {"signals": [deepcopy(ERRORS)], **spec},
    }


def limits(folder: Path, allowed: dict[str, Any], **parts: Any) -> Limits:  # noqa: ANN401 - YAML
    values = minimal() | {"rollouts": {"kubernetes": {"policy_resources": allowed}}} | parts
    return Limits.of(load(write(folder, values)))


def problems(found: dict[str, Any], within: Limits | None = None) -> dict[str, str]:
    with pytest.raises(PolicyInvalid) as caught:
        read_policy(found, within or Limits())
    return {".".join(map(str, f.location)): f"{f.what} → {f.hint}" for f in caught.value.faults}


def test_it_says_what_a_policy_of_the_file_says(tmp_path: Path) -> None:
    values = minimal()
    values["policies"][0] |= {"mode": "approve", "actions": ["rollback"], "horizon": "2h"}
    (of_file,) = load(write(tmp_path, values)).policies
    spec = {key: value for key, value in values["policies"][0].items() if key != "name"}
    read = read_policy(manifest(**spec), Limits())
    assert read.rule.policy.name == "shop/checkout"
    assert (read.asked, read.priority) == (Mode.APPROVE, 0)
    for part in ("signals", "mode", "alpha", "horizon_s", "actuators", "cool_down_s", "facts"):
        assert getattr(read.rule.policy, part) == getattr(of_file.policy, part)


def test_without_signals_they_are_found() -> None:
    found = manifest()
    del found["spec"]["signals"]
    assert read_policy(found, Limits()).rule.policy.discovers
    assert read_policy({**found, "spec": {}}, Limits()).rule.policy.mode is Mode.OBSERVE


def rollout(namespace: str, name: str, kind: str = "Deployment", **labels: str) -> Rollout:
    workload = Workload("default", namespace, kind, name)
    canary = Revision("u", "v2")
    return Rollout(workload, canary, None, (), (), ("pod",), 0.0, labels=labels)


def test_it_is_for_workloads_of_its_namespace() -> None:
    match = {"names": ["check*"], "labels": {"tier": "web"}, "kinds": ["Deployment"]}
    found = read_policy(manifest(match=match), Limits()).rule.match
    assert found.fits(rollout("shop", "checkout", tier="web"))
    assert found.fits(rollout("shop", "checkout", "CanaryDeployment", tier="web"))
    assert not found.fits(rollout("pay", "checkout", tier="web"))
    assert not found.fits(rollout("shop", "search", tier="web"))
    assert not found.fits(rollout("shop", "checkout", "StatefulSet", tier="web"))
    assert not found.fits(rollout("shop", "checkout"))


def test_everything_that_is_wrong_is_said_at_once_with_its_key() -> None:
    found = manifest(horizn="1h", alpha=2, actions=["rolback"], mode="enforce", match={"names": 1})
    found["spec"]["signals"] += [
        {"name": "latency", "histogram": {"buckets": "rate(x[5m])"}, "floor": "0.2%"},
        {"name": "errors"},
    ]
    offered = read_limits()
    said = problems(found, offered)
    assert set(said) == {
        "spec.horizn",
        "spec.alpha",
        "spec.actions.0",
        "spec.match.names",
        "spec.signals.1.histogram.buckets",
        "spec.signals.1.floor",
        "spec.signals.2",
        "spec.signals.2.name",
    }
    assert said["spec.horizn"] == 'unknown key → did you mean "horizon"?'
    assert said["spec.actions.0"] == 'no action is called "rolback" → did you mean "rollback"?'
    assert "a function call" in said["spec.signals.1.histogram.buckets"]
    with pytest.raises(PolicyInvalid, match=r'spec.horizn: unknown key \(did you mean "horizon"'):
        read_policy(found, offered)


def read_limits() -> Limits:

    return Limits(offer=Offer(("rollback",), frozenset({"rollback"}), traces=False))


@pytest.mark.parametrize(
    ("spec", "key", "said"),
    [
        ({"horizon": "1m"}, "spec.horizon", "before min_observation"),
        ({"mode": "enforce"}, "spec.mode", "mode enforce needs at least one action"),
        ({"hold": {}, "mode": "enforce"}, "spec.hold", "could not be rolled back"),
        ({"hold": {}, "actions": ["rollback"]}, "spec.hold", "mode observe changes nothing"),
        ({"name": "x"}, "spec.name", "unknown key"),
        ({"match": {"namespaces": ["pay"]}}, "spec.match.namespaces", "unknown key"),
        ({"priority": 10_000}, "spec.priority", "must be at most 1000"),
        ({"signals": [{"name": "t", "traces": {}}]}, "spec.signals.0.traces", "no source of traces"),
        ({"guards": {"freezes": [{"name": "x", "cron": "* *", "lasts": "1h"}]}},
         "spec.guards.freezes.0.cron", "five fields"),
        ({"guards": {"freezes": [{"name": "x", "timezone": "Mars/X"}]}},
         "spec.guards.freezes.0.timezone", "no time zone"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(spec: dict[str, Any], key: str, said: str) -> None:
    assert said in problems(manifest(**spec), read_limits())[key]


@pytest.mark.parametrize("spec", [None, "x", [], 3])
def test_what_is_no_policy_at_all_is_refused_and_breaks_nothing(spec: object) -> None:
    assert problems({**manifest(), "spec": spec})
    assert problems({"kind": "RollbackPolicy"})


# What the configuration allows


@pytest.mark.parametrize(
    ("allowed", "asked", "mode"),
    [
        ({}, "enforce", Mode.OBSERVE),
        ({"mode": "approve"}, "enforce", Mode.APPROVE),
        ({"mode": "approve"}, "observe", Mode.OBSERVE),
        ({"mode": "enforce"}, "enforce", Mode.ENFORCE),
    ],
)
def test_it_goes_no_further_than_the_configuration_allows(
    tmp_path: Path, allowed: dict[str, Any], asked: str, mode: Mode
) -> None:
    found = manifest(mode=asked, actions=["rollback"])
    read = read_policy(found, limits(tmp_path, allowed))
    assert read.rule.policy.mode is mode
    assert read.asked is Mode(asked)


def test_it_holds_nothing_where_it_may_only_observe(tmp_path: Path) -> None:
    found = manifest(mode="enforce", actions=["rollback"], hold={"pods": 2})
    assert read_policy(found, limits(tmp_path, {})).rule.hold is None
    acting = limits(tmp_path, {"mode": "approve"})
    assert read_policy(found, acting).rule.hold == HoldSettings(pods=2)


def test_it_uses_the_actions_that_are_allowed(tmp_path: Path) -> None:
    nginx = {"upstream_file": "u", "upstream": "shop"}
    actions = [
        {"name": "rollback", "kubernetes-rollback": {}},
        {"name": "n", "nginx-switch": nginx},
    ]
    found = manifest(mode="enforce", actions=["n"])
    by_default = limits(tmp_path, {"mode": "enforce"}, actions=actions)
    assert "no action is called" in problems(found, by_default)["spec.actions.0"]
    named = limits(tmp_path, {"mode": "enforce", "actions": ["n"]}, actions=actions)
    assert read_policy(found, named).rule.policy.actuators == ("n",)


def test_a_configuration_that_allows_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for allowed, key in (
        ({"actions": ["x"]}, "actions[0]"),
        ({"mode": "enforce", "actions": []}, "mode"),
    ):
        with pytest.raises(ConfigError) as caught:
            limits(tmp_path, allowed)
        paths = [problem.path for problem in caught.value.problems]
        assert paths == [f"rollouts.kubernetes.policy_resources.{key}"]


FREEZES = [SpanFreeze(name, Strength.REFUSE, 0.0, 1.0) for name in ("a", "b")]
SETTINGS = st.builds(
    GuardSettings,
    namespace_budget=st.integers(1, 9),
    cluster_budget=st.integers(1, 9),
    budget_window_s=st.floats(1, 9),
    incident_workloads=st.integers(1, 9),
    incident_window_s=st.floats(1, 9),
    freezes=st.lists(st.sampled_from(FREEZES), unique=True).map(tuple),
    capacity=st.sampled_from(Strength),
    schema=st.sampled_from(Strength),
    returned=st.sampled_from(Strength),
    gitops=st.sampled_from(OwnerRule),
)
ORDER = list(Strength)


@given(SETTINGS, SETTINGS)
def test_no_guard_becomes_weaker(base: GuardSettings, own: GuardSettings) -> None:
    made = base.tightened(own)
    assert made.namespace_budget <= base.namespace_budget
    assert made.cluster_budget <= base.cluster_budget
    assert made.budget_window_s >= base.budget_window_s
    assert made.incident_workloads <= base.incident_workloads
    assert made.incident_window_s >= base.incident_window_s
    assert set(made.freezes) == {*base.freezes, *own.freezes}
    for part in ("capacity", "schema", "returned"):
        index = ORDER.index(getattr(made, part))
        assert index == max(ORDER.index(getattr(each, part)) for each in (base, own))
    assert made.gitops in {base.gitops, OwnerRule.REFUSE}
    assert base.tightened(base) == base


def test_its_guards_are_those_of_all_unless_stricter(tmp_path: Path) -> None:
    base = {"namespace_budget": 2, "gitops": "hold", "capacity": "ask"}
    within = limits(tmp_path, {"mode": "enforce"}, guards=base)
    loose = {"namespace_budget": 9, "capacity": "warn", "gitops": "warn", "schema": "warn"}
    found = manifest(mode="enforce", actions=["rollback"], guards=loose)
    read = read_policy(found, within).rule
    assert read.guards == GuardSettings(
        namespace_budget=2, capacity=Strength.ASK, gitops=OwnerRule.HOLD
    )
    assert read.policy.actuators == ("gitops-hold", "rollback")


def test_the_workloads_of_a_policy_that_is_wrong_are_told_where_they_can_be() -> None:
    found = match_of(manifest(match={"names": ["a"]}, horizon=3), "shop")
    assert found is not None
    assert found.fits(rollout("shop", "a"))
    assert not found.fits(rollout("shop", "b"))
    assert match_of(manifest(match={"names": 3}), "shop") is None
    assert match_of({"spec": 3}, "shop") is not None


# In files


def test_manifests_are_told_from_configurations(tmp_path: Path) -> None:
    assert not is_manifest(write(tmp_path, minimal()))
    assert is_manifest(write(tmp_path, manifest()))


def test_a_file_of_several_objects_is_checked_with_its_lines(tmp_path: Path) -> None:
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    fine = yaml.safe_dump_all([other, None, manifest(), manifest()])
    found = load_manifests(write(tmp_path, fine), Limits())
    assert len(found.policies) == len(("checkout", "checkout"))
    assert found.others == ("Namespace",)
    text = "kind: x\n---\n" + yaml.safe_dump(manifest(horizon=3), sort_keys=False)
    with pytest.raises(ConfigError) as caught:
        load_manifests(write(tmp_path, text), Limits())
    lines = {problem.path: problem.line for problem in caught.value.problems}
    assert lines["spec.horizon"] == text[: text.index("horizon")].count("\n") + 1
    assert lines[""] == 1


def test_a_file_without_any_is_no_success(tmp_path: Path) -> None:
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    with pytest.raises(ConfigError, match="there is no RollbackPolicy in it"):
        load_manifests(write(tmp_path, other), Limits())


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    return done.exit_code, done.output


def test_validate_takes_a_manifest(tmp_path: Path) -> None:
    file = write(
        tmp_path, manifest(mode="enforce", actions=["rolback"], match={"kinds": ["Rollout"]})
    )
    code, said = run("validate", file)
    assert code == 0
    assert "policy shop/checkout, for namespace shop, kind Rollout" in said
    assert "the names of actions are checked, too" in said
    other = tmp_path / "other"
    other.mkdir()
    config = write(other, minimal())
    code, said = run("validate", file, "--against", config)
    assert code == 2
    assert "spec.actions[0]" in said
    file = write(tmp_path, manifest(mode="enforce", actions=["rollback"]))
    values = minimal() | {"rollouts": {"kubernetes": {"policy_resources": {"mode": "approve"}}}}
    code, said = run("validate", file, "--against", write(other, values))
    assert code == 0
    assert "it asks for mode enforce" in said
    assert run("validate", file, "--cluster")[0] == 2
    assert run("validate", config, "--against", config)[0] == 2


def test_the_definition_can_be_printed() -> None:
    code, said = run("schema", "--crd")
    assert code == 0
    assert yaml.safe_load(said)["metadata"]["name"] == "rollbackpolicies.rollbackd.io"
