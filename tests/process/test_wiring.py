"""Each setting reaches its adapter; what cannot be built leaves nothing running."""

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions.argo_abort import ArgoAbort
from actions.by_kind import ByKind
from actions.canary_scale import CanaryScale
from actions.flagger_abort import FlaggerAbort
from actions.kubernetes_rollback import KubernetesRollback
from actions.nginx_switch import NginxMaster, NginxSwitch
from actions.ports import Actuator
from actions.service_switch import ServiceSwitch
from actions.set_rollback import SetRollback
from actions.splitter_switch import SplitterSwitch
from actions.upstream_file import Servers
from analyzer.rollout import Workload
from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Selector
from rollbackd.config import load
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import Config
from rollbackd.kubernetes.connection import Connection
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from rollbackd.rollouts.static import StaticRollouts
from rollbackd.sources.prometheus import PrometheusSource
from rollbackd.sources.scrape import ScrapeSource
from rollbackd.wiring import SLACK_S, Parts, assemble
from tests.config.files import minimal, write
from tests.sources.stub_server import Answer, StubServer

QUERY, GRID = Query(Selector("up"), ("instance",)), Grid(1000.0, 10.0, 2)
EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
STATIC = {
    "name": "shop",
    "baseline": {"label": "v1", "instances": ["a:1"]},
    "canary": {"label": "v2", "instances": ["b:1"]},
}


def good(workload: Workload) -> tuple[str, ...]:
    return (f"good of {workload}",)


def config(folder: Path, **parts: object) -> Config:
    """Return a configuration with parts replaced; without Kubernetes where none is given."""
    static = {"rollouts": {"static": [STATIC]}, "actions": []}
    return load(write(folder, minimal() | static | parts))


@contextmanager
def assembled(folder: Path, **parts: object) -> Iterator[Parts]:
    made = assemble(config(folder, **parts), good)
    yield made
    made.close()


@contextmanager
def prometheus(folder: Path, **settings: object) -> Iterator[tuple[StubServer, Parts]]:
    with StubServer(lambda _: Answer(EMPTY)) as server:
        source = {"prometheus": {"url": f"{server.url}/prom", **settings}}
        with assembled(folder, source=source) as parts:
            yield server, parts


# Sources


def test_prometheus_is_asked_at_its_address_with_the_headers(tmp_path: Path) -> None:
    with prometheus(tmp_path, headers={"X-Scope-OrgID": "team-a"}) as (server, parts):
        parts.source.fetch([QUERY], GRID)
        (request,) = server.requests
        assert request.path.startswith("/prom/api/v1/query_range")
        assert request.headers["X-Scope-OrgID"] == "team-a"
        assert "Authorization" not in request.headers


def test_a_token_file_is_read_for_each_query(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    with prometheus(tmp_path, bearer_token_file="token") as (server, parts):
        parts.source.fetch([QUERY], GRID)
        token.write_text("two\n")
        parts.source.fetch([QUERY], GRID)
        sent = [request.headers["Authorization"] for request in server.requests]
        assert sent == ["Bearer one", "Bearer two"]


def test_a_token_of_the_environment_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROM_TOKEN", "from-env")
    with prometheus(tmp_path, bearer_token_env="PROM_TOKEN") as (server, parts):
        parts.source.fetch([QUERY], GRID)
        assert server.requests[0].headers["Authorization"] == "Bearer from-env"


def test_basic_authentication_is_sent(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p")
    basic = {"username": "u", "password_file": "password"}
    with prometheus(tmp_path, basic_auth=basic) as (server, parts):
        parts.source.fetch([QUERY], GRID)
        expected = f"Basic {b64encode(b'u:p').decode()}"
        assert server.requests[0].headers["Authorization"] == expected


def test_the_limits_of_an_answer_hold(tmp_path: Path) -> None:
    with prometheus(tmp_path, max_reply="1KiB", timeout="7s") as (server, parts):
        server.answer = lambda _: Answer(EMPTY + b" " * 2000)
        (reply,) = parts.source.fetch([QUERY], GRID)
        assert isinstance(reply, Missing)
        assert reply.reason is Absence.TOO_LARGE
        assert isinstance(parts.source, PrometheusSource)
        assert parts.source._limits.timeout_s == 7.0


def test_tls_settings_are_used(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    tls = {"ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "key.pem"}
    url = "https://prometheus:9090"
    with assembled(tmp_path, source={"prometheus": {"url": url, "tls": tls}}) as parts:
        assert isinstance(parts.source, PrometheusSource)
        session = parts.source._client._session
        assert session.verify == str(tmp_path / "ca.pem")
        assert session.cert == (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    insecure = {"url": url, "tls": {"insecure_skip_verify": True}}
    with assembled(tmp_path, source={"prometheus": insecure}) as parts:
        assert isinstance(parts.source, PrometheusSource)
        assert parts.source._client._session.verify is False


def test_a_secret_that_is_not_there_is_told(tmp_path: Path) -> None:
    source = {"prometheus": {"url": "http://prom:9090", "bearer_token_env": "NOBODY_SET_THIS"}}
    with pytest.raises(SecretError, match="NOBODY_SET_THIS"):
        assemble(config(tmp_path, source=source), good)


def test_the_scraper_scrapes_what_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text('[{"targets": ["127.0.0.1:1"], "labels": {"x": "y"}}]')
    with StubServer(lambda _: Answer(b"up_total 1\n")) as server:
        target = {"address": f"127.0.0.1:{server.port}", "labels": {"pod": "p1"}}
        scrape = {
            "interval": "3s", "timeout": "2s", "max_reply": "1MiB",
            "targets": [target], "targets_file": "targets.json",
        }  # fmt: skip
        with assembled(tmp_path, source={"scrape": scrape}) as parts:
            assert isinstance(parts.source, ScrapeSource)
            pace = parts.source._settings
            assert (pace.interval_s, pace.timeout_s, pace.max_page_bytes) == (3.0, 2.0, 1 << 20)
            (policy,) = config(tmp_path).policies
            assert pace.retention_s == policy.policy.history_s + SLACK_S
            assert parts.source._thread is not None
            (job,) = parts.source._jobs
            assert job._job.files == (tmp_path / "targets.json",)
            assert [g.labels for g in job._job.groups] == [{"pod": "p1"}]


def test_recorded_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "recorded.om").write_text('up{instance="a:1"} 1 1000\n# EOF\n')
    with assembled(tmp_path, source={"recorded": {"files": ["recorded.om"]}}) as parts:
        (reply,) = parts.source.fetch([QUERY], GRID)
        assert isinstance(reply, Series)
        assert reply.keys == (("a:1",),)


# Rollouts


def test_a_cluster_is_followed_as_it_is_told_to(tmp_path: Path) -> None:
    watched = {
        "server": "http://127.0.0.1:1", "cluster": "prod", "namespaces": ["a", "b"],
        "label_selector": "team=shop", "follow_for": "3h", "id_labels": ["ns", "name"],
    }  # fmt: skip
    with assembled(tmp_path, rollouts={"kubernetes": watched}) as parts:
        (rollouts,) = parts.rollouts
        assert isinstance(rollouts, KubernetesRollouts)
        reading = rollouts._reading
        assert (reading.cluster, reading.id_labels) == ("prod", ("ns", "name"))
        assert reading.follow_for_s == 3 * 3600.0
        workload = Workload("prod", "a", "Deployment", "shop")
        assert reading.known_good(workload) == ("good of a/shop",)
        paths = [reflector.path for reflector in rollouts.reflectors]
        assert [p for p in paths if "/namespaces/a/" in p] != []
        assert len(paths) == 12
        workloads = (*rollouts._deployments, *rollouts._sets)
        queries = {reflector._query.get("labelSelector") for reflector in workloads}
        assert queries == {"team=shop"}
        assert all(reflector._thread.is_alive() for reflector in rollouts.reflectors)


def test_a_rollout_is_followed_for_as_long_as_any_policy_looks(tmp_path: Path) -> None:
    watched = {"server": "http://127.0.0.1:1", "follow_for": "1s"}
    with assembled(tmp_path, rollouts={"kubernetes": watched}) as parts:
        (rollouts,) = parts.rollouts
        assert isinstance(rollouts, KubernetesRollouts)
        longest = config(tmp_path).policies[0].policy.horizon_s
        assert rollouts._reading.follow_for_s == longest + SLACK_S


def test_static_rollouts_come_from_the_configuration_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "more.json").write_text("[]")
    given = {"static": [STATIC], "static_file": "more.json"}
    with assembled(tmp_path, rollouts=given) as parts:
        (rollouts,) = parts.rollouts
        assert isinstance(rollouts, StaticRollouts)
        assert rollouts._file == tmp_path / "more.json"
        seen = rollouts.rollouts()
        assert not isinstance(seen, Missing)
        assert [rollout.canary.label for rollout in seen] == ["v2"]


def test_a_cluster_and_static_groups_work_side_by_side(tmp_path: Path) -> None:
    both = {"kubernetes": {"server": "http://127.0.0.1:1"}, "static": [STATIC]}
    with assembled(tmp_path, rollouts=both) as parts:
        assert [type(r) for r in parts.rollouts] == [KubernetesRollouts, StaticRollouts]


# Actions


def actuators(folder: Path, *actions: dict[str, Any], **parts: object) -> dict[str, Actuator]:
    with assembled(folder, actions=list(actions), **parts) as made:
        return dict(made.actuators)


def test_a_rollback_speaks_to_the_cluster_that_is_watched(tmp_path: Path) -> None:
    found = actuators(
        tmp_path,
        {"name": "back", "kubernetes-rollback": {}},
        rollouts={"kubernetes": {"server": "http://127.0.0.1:1"}},
    )
    back = found["back"]
    assert isinstance(back, ByKind)
    kinds = {
        "Deployment",
        "CanaryDeployment",
        "StatefulSet",
        "DaemonSet",
        "Rollout",
        "Service",
        "Canary",
    }
    assert set(back._actuators) == kinds
    for one in back._actuators.values():
        known = (
            KubernetesRollback
            | CanaryScale
            | SetRollback
            | ArgoAbort
            | ServiceSwitch
            | FlaggerAbort
        )
        assert isinstance(one, known)
        assert one._name == "back"
        assert isinstance(one._api, Connection)
        assert one._api._access.server == "http://127.0.0.1:1"


@pytest.mark.parametrize("allowed", [False, True])
def test_stuck_pods_are_deleted_only_where_it_is_allowed(tmp_path: Path, allowed: bool) -> None:
    found = actuators(
        tmp_path,
        {"name": "back", "kubernetes-rollback": {"delete_stuck_pods": allowed}},
        rollouts={"kubernetes": {"server": "http://127.0.0.1:1"}},
    )
    back = found["back"]
    assert isinstance(back, ByKind)
    sets = back._actuators["StatefulSet"]
    assert isinstance(sets, SetRollback)
    assert (sets._deletion is not None) is allowed


@pytest.mark.parametrize("wanted", [False, True])
def test_events_are_written_where_they_are_asked_for(tmp_path: Path, wanted: bool) -> None:
    watched = {"server": "http://127.0.0.1:1", "events": wanted}
    with assembled(tmp_path, rollouts={"kubernetes": watched}) as parts:
        assert list(parts.notifiers) == ["kubernetes-events"] * wanted


def test_kinds_that_are_not_named_are_not_followed(tmp_path: Path) -> None:
    watched = {"server": "http://127.0.0.1:1", "kinds": ["Deployment"]}
    with assembled(tmp_path, rollouts={"kubernetes": watched}) as parts:
        (rollouts,) = parts.rollouts
        assert isinstance(rollouts, KubernetesRollouts)
        paths = {reflector.path.rpartition("/")[2] for reflector in rollouts.reflectors}
        assert paths == {"deployments", "replicasets", "pods"}


def test_an_nginx_switch_gets_all_its_settings(tmp_path: Path) -> None:
    switch = {
        "upstream_file": "upstream.conf", "upstream": "shop", "nginx": "/usr/sbin/nginx",
        "config": "nginx.conf", "pid_file": "nginx.pid", "probe": "http://127.0.0.1:8080/health",
        "baseline_servers": ["10.0.0.1:80"], "canary_servers": ["10.0.0.2:80"],
    }  # fmt: skip
    made = actuators(tmp_path, {"name": "switch", "nginx-switch": switch})["switch"]
    assert isinstance(made, NginxSwitch)
    assert made._name == "switch"
    assert made._file.path == tmp_path / "upstream.conf"
    assert made._servers.baseline == {"10.0.0.1:80"}
    assert made._servers.canary == {"10.0.0.2:80"}
    assert isinstance(made._proxy, NginxMaster)
    installation = made._proxy._installation
    assert installation.program == "/usr/sbin/nginx"
    assert installation.config == tmp_path / "nginx.conf"
    assert installation.pid_file == tmp_path / "nginx.pid"
    assert installation.probe == "http://127.0.0.1:8080/health"


def test_a_splitter_switch_gets_all_its_settings(tmp_path: Path) -> None:
    switch = {"file": "weights.json", "baseline_servers": ["a:1"], "canary_servers": ["b:1"]}
    made = actuators(tmp_path, {"name": "switch", "splitter-switch": switch})["switch"]
    assert isinstance(made, SplitterSwitch)
    assert made._file.path == tmp_path / "weights.json"
    assert made._servers == Servers(frozenset({"a:1"}), frozenset({"b:1"}))


# Trouble


def test_what_cannot_be_built_leaves_nothing_running(tmp_path: Path) -> None:
    """The scraper runs already when the cluster's settings turn out to contradict each other."""
    scrape = {"interval": "1s", "targets": [{"address": "127.0.0.1:1"}]}
    good_one = config(
        tmp_path,
        source={"scrape": scrape},
        rollouts={"kubernetes": {"server": "http://127.0.0.1:1"}},
    )
    watched = good_one.rollouts.kubernetes
    assert watched is not None
    bad = replace(watched, id_labels=("too", "many", "labels"))
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="id_labels"):
        assemble(replace(good_one, rollouts=replace(good_one.rollouts, kubernetes=bad)), good)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread
