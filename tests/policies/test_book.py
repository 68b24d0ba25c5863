"""Which policy counts for which rollout, whatever happens to the policies of the cluster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actions.guards.guard import Strength
from actions.guards.settings import GuardSettings
from analyzer.policy import Mode
from analyzer.sample import Absence, Missing
from rollbackd.config.custom_resource import definition
from rollbackd.config.manifests import Limits
from rollbackd.config.models.policy_resource import API_VERSION, KIND, PLURAL
from rollbackd.config.settings import Config, Deciders
from rollbackd.policies.book import PolicyBook
from rollbackd.policies.source import PolicyResources
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import cluster
from tests.policies.shelf import (
    ANYTHING,
    PATIENCE_S,
    QUICK,
    Shelf,
    configuration,
    policy,
    rollout,
    shelf,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


@pytest.fixture
def stand(config: Config) -> Iterator[Shelf]:
    with shelf(config) as made:
        yield made


# Who comes first


def test_a_policy_counts_for_its_namespace_before_those_of_the_file(stand: Shelf) -> None:
    assert stand.chosen() == "default"
    stand.put(policy())
    assert stand.chosen() == "shop/checkout"
    assert stand.chosen(namespace="pay") == "default"
    assert stand.chosen(kind="Static") == "default"
    assert [rule.policy.name for rule in stand.book.rules()] == ["shop/checkout", "default"]


def test_it_counts_for_what_it_matches(stand: Shelf) -> None:
    stand.put(policy(match={"names": ["check*"], "kinds": ["Deployment"], "labels": {"a": "b"}}))
    assert stand.chosen(labels={"a": "b"}) == "shop/checkout"
    assert stand.chosen("search", labels={"a": "b"}) == "default"
    assert stand.chosen(labels={"a": "c"}) == "default"
    assert stand.chosen(kind="StatefulSet", labels={"a": "b"}) == "default"


def test_of_several_the_highest_priority_counts_then_the_oldest(stand: Shelf) -> None:
    stand.put(policy("old"))
    stand.api.skip_time(5.0)
    stand.put(policy("a-new"))
    assert stand.chosen() == "shop/old"
    stand.change({"priority": 1}, "a-new")
    assert stand.chosen() == "shop/a-new"


def test_a_workload_asks_by_name_in_its_namespace_first(stand: Shelf) -> None:
    stand.put(policy("default", match={"names": ["other"]}))
    stand.put(policy("second"))
    assert stand.chosen() == "shop/second"
    assert stand.chosen(policy="default") == "shop/default"
    assert stand.chosen(namespace="pay", policy="default") == "default"
    assert stand.chosen(policy="nowhere") is None
    assert stand.chosen(namespace="pay", policy="second") is None
    assert stand.chosen(mode="off") is None


def test_who_decides_and_what_guards_follow_its_name(stand: Shelf) -> None:
    stand.put(
        policy(deciders={"users": ["U1"]}, guards={"namespace_budget": 1}, mode="enforce",
               actions=["rollback"], hold={})
    )  # fmt: skip
    assert stand.book.deciders("shop/checkout") == Deciders(users=("U1",))
    assert stand.book.deciders("shop/other") == Deciders()
    assert stand.book.guards["shop/checkout"].namespace_budget == 1
    assert stand.book.guards["default"] == GuardSettings()
    assert stand.book.guards.get("other") is None
    assert set(stand.book.guards) == {"shop/checkout", "default"}
    assert list(stand.book.holds) == ["shop/checkout"]
    assert "default" not in stand.book.holds
    stand.change({"hold": None})
    assert len(stand.book.holds) == 0


def test_a_policy_that_cannot_be_read_lets_nobody_act_alone(stand: Shelf) -> None:
    """Its guards may have been stricter than those of all."""
    unread = stand.book.guards["shop/checkout"]
    assert replace(unread, freezes=()) == GuardSettings()
    (freeze,) = unread.freezes
    assert freeze.strength is Strength.ASK
    assert freeze.name == "policy shop/checkout cannot be read"
    assert freeze.ends_at(100.0) is not None


# What is wrong


BROKEN: dict[str, Any] = {
    "signals": [{"name": "errors", "ratio": {"total": "rate(x[1m])", "bad": "y"}}]
}


def test_the_last_valid_version_stays_in_force(stand: Shelf) -> None:
    stand.put(policy(alpha=0.02))
    with capture_logs() as logs:
        stand.change({**BROKEN, "match": {"names": ["other"]}})
    found = stand.book.policy_for(rollout())
    assert found is not None
    assert (found.name, found.alpha) == ("shop/checkout", 0.02)
    assert not stand.book.lapsed("shop/checkout")
    (told,) = (e for e in logs if e["event"] == "policy invalid")
    assert "spec.signals[0].ratio.total" in told["problems"]
    stand.change({"signals": policy()["spec"]["signals"], "alpha": 0.03})
    assert stand.chosen() == "default", "it means another one now"
    assert stand.chosen("other") == "shop/checkout"


def test_one_that_never_was_valid_leaves_what_it_means_unwatched(stand: Shelf) -> None:
    """The file's policy could do more than its owner wants."""
    stand.put(policy(**BROKEN, match={"names": ["checkout"]}))
    assert stand.chosen() is None
    assert stand.chosen("search") == "default"
    assert stand.chosen("search", policy="checkout") is None
    stand.put(policy("good", priority=5))
    assert stand.chosen() == "shop/good", "a valid one comes before it"


@pytest.mark.parametrize(
    "spec", [None, 3, {"match": 3}, {"signals": {"x": [[None]]}}, {"hold": []}],
    ids=["null", "number", "match", "signals", "hold"],
)  # fmt: skip
def test_nothing_that_it_holds_stops_the_others(config: Config, spec: object) -> None:
    with shelf(config, ANYTHING) as stand:
        stand.put({**policy("odd", "pay"), "spec": spec})
        stand.put(policy())
        assert stand.chosen() == "shop/checkout"
        found = {each.name: each for each in stand.all()}
        assert found["odd"].trouble
        assert found["odd"].read is None


# What cannot be seen


def test_nothing_is_chosen_before_the_policies_were_seen(config: Config) -> None:
    with cluster() as (api, connection):
        api.create(definition())
        api.set_access(Access(denied=frozenset({f"list {PLURAL}"})))
        resources = PolicyResources(connection, "default", Limits.of(config), pace=QUICK)
        book = PolicyBook(config, resources)
        resources.start()
        try:

            def said(_: FakeKubeApi) -> bool:
                found = resources.all()
                return isinstance(found, Missing) and found.reason is Absence.UNAUTHORISED

            api.wait_until(said, seconds=PATIENCE_S)
            assert book.policy_for(rollout()) is None
            assert not book.lapsed("shop/checkout")
            other = rollout(kind="Static")
            assert book.policy_for(other) is not None, "what is in no cluster does not wait"
            api.set_access(Access())
            api.wait_until(lambda _: book.policy_for(rollout()) is not None, seconds=PATIENCE_S)
        finally:
            resources.close()


def test_a_server_that_is_away_takes_no_policy_back(stand: Shelf) -> None:
    stand.put(policy())
    stand.api.add_fault(Fault(FaultAction.ERROR, path=PLURAL))
    stand.api.end_watches()
    stand.api.wait_until(
        lambda api: any(r.path.endswith(PLURAL) and r.status == 500 for r in api.requests()),
        seconds=PATIENCE_S,
    )
    assert stand.chosen() == "shop/checkout"
    assert not stand.book.lapsed("shop/checkout")


def test_without_the_definition_the_files_policies_count_and_none_is_gone(config: Config) -> None:
    with shelf(config, None) as stand:
        assert stand.chosen() == "default"
        assert not stand.book.lapsed("shop/checkout"), "it may come back with its definition"


def test_only_a_policy_that_is_known_to_be_deleted_has_lapsed(
    stand: Shelf, config: Config
) -> None:
    stand.put(policy())
    assert not stand.book.lapsed("shop/checkout")
    assert stand.book.lapsed("shop/other")
    stand.delete()
    assert stand.book.lapsed("shop/checkout")
    assert stand.chosen() == "default"
    assert not stand.book.lapsed("default")
    assert stand.book.lapsed("other")
    assert PolicyBook(config).lapsed("shop/checkout"), "none are read any more"


def test_what_was_remembered_of_a_deleted_policy_is_forgotten(stand: Shelf) -> None:
    stand.put(policy())
    stand.delete()
    stand.resources.forget_deleted()
    assert stand.resources._reader._known == {}
    stand.put(policy(**BROKEN))
    assert stand.chosen() is None, "one of the same name made anew has no earlier version"


def test_a_long_horizon_keeps_complete_rollouts_in_sight(stand: Shelf) -> None:
    assert stand.resources.longest_horizons_s() == {}
    stand.put(policy(horizon="6h"))
    stand.put(policy("short", horizon="10m"))
    stand.put(policy(namespace="pay", horizon="30m"))
    assert stand.resources.longest_horizons_s() == {"shop": 6 * 3600.0, "pay": 1800.0}


def test_a_status_write_is_no_new_version(stand: Shelf) -> None:
    stand.put(policy(mode="enforce", actions=["rollback"]))
    before = stand.stored()
    stand.api.patch(API_VERSION, KIND, "checkout", {"status": {"mode": "x"}, "spec": {"alpha": 0.3}},
                    "shop", subresource="status")  # fmt: skip
    after = stand.stored()
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]
    assert after["status"] == {"mode": "x"}
    found = stand.book.policy_for(rollout())
    assert found is not None
    assert found.mode is Mode.ENFORCE
