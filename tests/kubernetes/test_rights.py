"""Which rights are needed, asked for and told; and a start without them."""

from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from structlog.testing import capture_logs

from actions.ports import Transient
from rollbackd.cli import main
from rollbackd.config import load
from rollbackd.config.settings import Config
from rollbackd.daemon import Daemon
from rollbackd.kubernetes.access_review import AccessReview, missing
from rollbackd.kubernetes.rights import Need, Right, needs
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import cluster

WRITING = {"create", "update", "patch", "delete", "deletecollection"}


def config(folder: Path, mode: str = "observe", **parts: Any) -> Config:  # noqa: ANN401 - YAML
    values = minimal() | parts
    values["policies"][0] |= {"mode": mode, "actions": ["rollback"]}
    return load(write(folder, values))


def rights(config: Config) -> set[str]:
    return {str(need.right) for need in needs(config)}


def test_observing_needs_no_right_that_writes(tmp_path: Path) -> None:
    found = needs(config(tmp_path))
    assert found
    assert not {need.right.verb for need in found} & WRITING
    # only what tells whether the old revision fits may be missing: then that is not known
    spare = {need.right.resource for need in found if not need.essential}
    assert spare == {"horizontalpodautoscalers", "resourcequotas"}


@pytest.mark.parametrize("mode", ["approve", "enforce"])
def test_acting_needs_to_patch_workloads_and_nothing_else(tmp_path: Path, mode: str) -> None:
    more = rights(config(tmp_path, mode)) - rights(config(tmp_path))
    kinds = ("deployments", "statefulsets", "daemonsets")
    assert more == {f"patch {kind}.apps in all namespaces" for kind in kinds}
    acting = [need for need in needs(config(tmp_path, mode)) if need.right.verb in WRITING]
    assert not any(need.essential for need in acting)


def test_rights_are_for_the_namespaces_that_are_followed(tmp_path: Path) -> None:
    followed = config(tmp_path, rollouts={"kubernetes": {"namespaces": ["shop", "pay"]}})
    assert {need.right.namespace for need in needs(followed)} == {"shop", "pay"}


def test_a_kubernetes_lease_needs_rights_where_it_is(tmp_path: Path) -> None:
    shared: dict[str, Any] = {
        "journal": {"dsn_env": "DSN"},
        "leadership": {"lease_namespace": "watch"},
    }
    more = rights(config(tmp_path, **shared)) - rights(config(tmp_path))
    assert more == {
        "get leases.coordination.k8s.io/rollbackd in namespace watch",
        "create leases.coordination.k8s.io in namespace watch",
        "patch leases.coordination.k8s.io/rollbackd in namespace watch",
    }
    assert rights(config(tmp_path, journal={"dsn_env": "DSN"})) == rights(config(tmp_path))


def test_letting_people_in_takes_two_reviews(tmp_path: Path) -> None:
    more = rights(config(tmp_path, http={"kubernetes": {}})) - rights(config(tmp_path))
    assert more == {
        "create tokenreviews.authentication.k8s.io in all namespaces",
        "create subjectaccessreviews.authorization.k8s.io in all namespaces",
    }


def test_without_a_cluster_nothing_is_needed(tmp_path: Path) -> None:
    static = {"rollouts": {"static_file": "rollouts.json"}, "actions": []}
    values = minimal() | static
    assert needs(load(write(tmp_path, values))) == ()


def test_the_server_says_which_are_missing(tmp_path: Path) -> None:
    wanted = needs(config(tmp_path, "enforce"))
    with cluster() as (api, connection):
        assert missing(connection, wanted) == ()
        api.set_access(Access(denied=frozenset({"watch pods", "patch deployments"})))
        assert {str(need.right) for need in missing(connection, wanted)} == {
            "watch pods in all namespaces",
            "patch deployments.apps in all namespaces",
        }
        asked = [r for r in api.requests() if "selfsubjectaccessreviews" in r.path]
        assert len(asked) == 2 * len(wanted)


def test_a_subresource_is_asked_for_as_such() -> None:
    status = Need(Right("patch", "argoproj.io", "rollouts/status", ""), "acting", essential=False)
    with cluster() as (api, connection):
        assert missing(connection, (status,)) == ()
        review = api.requests()[-1].body
        assert isinstance(review, dict)
        asked = review["spec"]["resourceAttributes"]
        assert (asked["resource"], asked["subresource"]) == ("rollouts", "status")
        api.set_access(Access(denied=frozenset({"patch rollouts/status"})))
        assert missing(connection, (status,)) == (status,)


READ = Need(Right("watch", "", "pods", ""), "following rollouts", essential=True)
ACT = Need(Right("patch", "apps", "deployments", ""), "rolling back", essential=False)


def test_what_is_missing_is_told_once_and_its_grant_too() -> None:
    counted: list[tuple[int, int]] = []
    with cluster() as (api, connection), capture_logs() as logs:
        review = AccessReview(connection, (READ, ACT), lambda *n: counted.append(n))
        api.set_access(Access(denied=frozenset({"watch pods", "patch deployments"})))
        review.look()
        review.look()
        assert review.unready() == (
            "following rollouts needs the right to watch pods in all namespaces"
        )
        api.add_fault(Fault(FaultAction.ERROR, path="selfsubjectaccessreviews", count=1))
        review.look()  # no answer: what was known stays
        assert "watch pods" in review.unready()
        api.set_access(Access())
        review.look()
        assert review.unready() == ""
    told = [(e["log_level"], e["event"], e.get("needed_for")) for e in logs]
    assert told == [
        ("error", "right missing", "following rollouts"),
        ("warning", "right missing", "rolling back"),
        ("warning", "rights not reviewed", None),
        ("info", "right granted", "following rollouts"),
        ("info", "right granted", "rolling back"),
    ]
    assert counted == [(1, 1), (1, 1), (0, 0)]


def test_a_server_that_is_away_is_transient() -> None:
    with cluster() as (api, connection):
        api.add_fault(Fault(FaultAction.DROP_BEFORE))
        with pytest.raises(Transient):
            missing(connection, (READ,))


def daemon_config(folder: Path, api: FakeKubeApi, mode: str) -> Config:
    return config(
        folder,
        mode,
        tick="1s",
        http={"listen": f"127.0.0.1:{free_port()}"},
        source={"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
        rollouts={"kubernetes": {"server": api.url}},
    )


def test_a_start_without_an_essential_right_is_not_ready_and_says_which(tmp_path: Path) -> None:
    with FakeKubeApi() as api:
        api.set_access(Access(denied=frozenset({"watch pods", "patch deployments"})))
        with Daemon(daemon_config(tmp_path, api, "enforce")) as daemon:

            def readiness(_: FakeKubeApi) -> str:
                text = requests.get(f"http://127.0.0.1:{daemon.port}/readyz", timeout=5).text
                return text if "right to" in text else ""

            told = api.wait_until(readiness, seconds=30)
            assert told == "following rollouts needs the right to watch pods in all namespaces\n"
            page = requests.get(f"http://127.0.0.1:{daemon.port}/metrics", timeout=5).text
            assert 'rollbackd_rights_missing{use="watch"} 1.0' in page
            assert 'rollbackd_rights_missing{use="act"} 1.0' in page


def test_observing_runs_where_no_write_is_allowed(tmp_path: Path) -> None:
    denied = frozenset(f"{verb} {kind}" for verb in WRITING for kind in
                       ("deployments", "replicasets", "pods", "leases", "events"))  # fmt: skip
    with FakeKubeApi() as api:
        api.set_access(Access(denied=denied))
        with Daemon(daemon_config(tmp_path, api, "observe")) as daemon:

            def is_ready(_: FakeKubeApi) -> bool:
                url = f"http://127.0.0.1:{daemon.port}/readyz"
                return requests.get(url, timeout=5).status_code == 200

            api.wait_until(is_ready, seconds=30)
        reviews = "selfsubjectaccessreviews"
        assert {r.method for r in api.requests() if reviews not in r.path} == {"GET"}


def test_validate_tells_the_rights_when_asked(tmp_path: Path) -> None:
    with FakeKubeApi() as api:
        file = daemon_config(tmp_path, api, "enforce").file
        command = ["validate", str(file), "--cluster"]
        fine = CliRunner().invoke(main, command)
        assert fine.exit_code == 0, fine.output
        assert "granted  patch deployments.apps in all namespaces, for rolling back" in fine.output
        api.set_access(Access(denied=frozenset({"patch deployments"})))
        lacking = CliRunner().invoke(main, command)
        assert lacking.exit_code == 1
        assert "missing  patch deployments.apps in all namespaces" in lacking.output
        assert f"1 of {len(needs(load(file)))} rights are missing" in lacking.output
    away = CliRunner().invoke(main, command)
    assert away.exit_code == 1
    assert "the cluster cannot be asked" in away.output


def test_owners_are_asked_for_where_a_policy_that_acts_holds_them(tmp_path: Path) -> None:
    values = minimal()
    values["guards"] = {"gitops": "hold"}
    values["policies"][0] |= {"mode": "enforce", "actions": ["rollback"]}
    held = {need.right for need in needs(load(write(tmp_path, values))) if "." in need.right.group}
    assert {right.verb for right in held} == {"get", "patch"}
    assert {right.resource for right in held} == {"applications", "kustomizations", "helmreleases"}
    values["policies"][0]["mode"] = "observe"
    observing = needs(load(write(tmp_path, values)))
    assert not {need.right.verb for need in observing} & WRITING


def test_policies_of_the_cluster_need_to_be_read_and_their_status_written(tmp_path: Path) -> None:
    reading: dict[str, Any] = {"rollouts": {"kubernetes": {"policy_resources": {}}}}
    more = set(needs(config(tmp_path, **reading))) - set(needs(config(tmp_path)))
    assert {(str(need.right), need.essential) for need in more} == {
        ("list rollbackpolicies.rollbackd.io in all namespaces", True),
        ("watch rollbackpolicies.rollbackd.io in all namespaces", True),
        ("patch rollbackpolicies/status.rollbackd.io in all namespaces", False),
    }


def test_what_such_policies_may_do_decides_about_the_rights_to_act(tmp_path: Path) -> None:
    acting: dict[str, Any] = {
        "rollouts": {"kubernetes": {"policy_resources": {"mode": "approve"}}}
    }
    more = rights(config(tmp_path, **acting)) - rights(config(tmp_path))
    kinds = ("deployments", "statefulsets", "daemonsets")
    assert {f"patch {kind}.apps in all namespaces" for kind in kinds} <= more
    assert not {right for right in more if "applications" in right}
    held = rights(config(tmp_path, **acting, guards={"gitops": "hold"}))
    assert "patch applications.argoproj.io in all namespaces" in held
    only = {"policy_resources": {"mode": "approve", "actions": ["switch"]}}
    switch = {"name": "switch", "nginx-switch": {"upstream_file": "u", "upstream": "shop"}}
    others: dict[str, Any] = {
        "rollouts": {"kubernetes": only},
        "actions": [{"name": "rollback", "kubernetes-rollback": {}}, switch],
    }
    assert not {right for right in rights(config(tmp_path, **others)) if "patch deploy" in right}
