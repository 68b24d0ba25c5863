"""What a good file becomes."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analyzer.policy import Mode, Policy
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.signal import (
    Direction,
    GaugeSignal,
    HistogramSignal,
    IntervalSignal,
    LeakSignal,
    LevelSignal,
    Matcher,
    RateSignal,
    RatioSignal,
    Reading,
    Selector,
    Tier,
    TrafficSignal,
)
from rollbackd.config import load
from rollbackd.config.models import json_schema
from rollbackd.config.notes import notes
from rollbackd.config.problems import ConfigError
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.config.settings import (
    HttpSettings,
    KubernetesSettings,
    NginxSwitchSettings,
    PrometheusSettings,
    ScrapeSettings,
    Target,
)
from tests.config.files import minimal, write

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("rollbackd-*.yaml")), ids=lambda f: f.name)
def test_every_example_is_valid(file: Path) -> None:
    config = load(file)
    assert config.policies
    elsewhere = ("no program", "environment variable")
    assert not [note for note in notes(config) if not any(text in note for text in elsewhere)]


def test_there_are_examples() -> None:
    assert len(list(EXAMPLES.glob("rollbackd-*.yaml"))) >= 2


def test_defaults_are_those_of_the_core(tmp_path: Path) -> None:
    config = load(write(tmp_path, minimal()))
    (rule,) = config.policies
    errors = RatioSignal("errors", Selector("all_total"), Selector("bad_total"))
    latency = HistogramSignal("latency", Selector("latency_bucket"))
    assert rule.policy == Policy("default", (errors, latency))
    assert rule.policy.mode is Mode.OBSERVE
    assert (config.tick_s, config.settle_s) == (10.0, 5.0)
    assert config.http == HttpSettings("127.0.0.1", 9469)
    assert config.journal.address() == f"sqlite:///{tmp_path}/rollbackd.db"
    assert (config.leadership.namespace, config.leadership.duration_s) == (None, 15.0)
    assert config.source == PrometheusSettings("http://prometheus:9090", 10.0, 64 * 2**20)
    assert config.rollouts.kubernetes == KubernetesSettings("default", 600.0, ("namespace", "pod"))
    assert config.secrets() == {}


def test_series_without_counters_are_levels_and_intervals(tmp_path: Path) -> None:
    values = minimal()
    values["policies"][0]["signals"] = [
        {"name": "queue", "level": {"values": "queue_length", "unit": "jobs"}},
        {"name": "availability", "level": {"values": "up_pct", "reading": "good percent"}},
        {
            "name": "failures",
            "interval": {"bad": "failed_sum", "total": "calls", "total_reading": "rate"},
        },
    ]
    (rule,) = load(write(tmp_path, values)).policies
    assert rule.policy.signals == (
        LevelSignal("queue", Selector("queue_length"), unit="jobs"),
        LevelSignal("availability", Selector("up_pct"), Reading.GOOD_PERCENT),
        IntervalSignal(
            "failures", Selector("failed_sum"), Selector("calls"), total_reading=Reading.RATE
        ),
    )


def test_routes_are_named_by_a_label_and_the_mix_can_be_let_be(tmp_path: Path) -> None:
    values = minimal()
    policy = values["policies"][0]
    policy["signals"] = [
        {"name": "errors", "ratio": {"total": "all", "bad": "failed", "route": "handler"}}
    ]
    (rule,) = load(write(tmp_path, values)).policies
    assert rule.policy.signals == (
        RatioSignal("errors", Selector("all"), Selector("failed"), route="handler"),
    )
    assert rule.policy.request_mix
    policy["request_mix"] = False
    (rule,) = load(write(tmp_path, values)).policies
    assert not rule.policy.request_mix
    policy["signals"][0]["ratio"]["route"] = "not a label"
    with pytest.raises(ConfigError, match="route"):
        load(write(tmp_path, values))


def test_gauges_leaks_rates_and_traffic(tmp_path: Path) -> None:
    values = minimal()
    values["policies"][0]["signals"] = [
        {"name": "cpu", "gauge": {"values": "cpu_seconds_total", "counter": True, "per": "all"}},
        {"name": "memory", "leak": {"values": "rss", "settle": "2m", "limit": 512, "unit": "MB"}},
        {"name": "orders", "rate": {"events": "orders_total", "direction": "lower is worse"}},
        {"name": "retries", "rate": {"events": "retries", "per": "all", "floor": 0.01}},
        {"name": "split", "traffic": {"requests": "all", "share": "5%"}},
        {"name": "p99", "level": {"values": 'seconds{quantile="0.99"}', "unit": "s"}},
    ]
    (rule,) = load(write(tmp_path, values)).policies
    summary = Selector("seconds", (Matcher("quantile", "=", "0.99"),))
    assert rule.policy.signals == (
        GaugeSignal("cpu", Selector("cpu_seconds_total"), counter=True, per=Selector("all")),
        LeakSignal("memory", Selector("rss"), settle_s=120.0, limit=512.0, unit="MB"),
        RateSignal("orders", Selector("orders_total"), direction=Direction.LOWER),
        RateSignal(
            "retries",
            Selector("retries"),
            Selector("all"),
            unit="each",
            floor=0.01,
            tier=Tier.CRITICAL,
        ),
        TrafficSignal("split", Selector("all"), share=0.05),
        LevelSignal("p99", summary, unit="s", tier=Tier.SUPPORTING),
    )


def test_everything_can_be_set(tmp_path: Path) -> None:
    values = minimal()
    values["source"] = {
        "scrape": {
            "interval": "500ms",
            "targets": [{"address": "127.0.0.1:9001", "labels": {"zone": "a"}}],
            "targets_file": "t.yaml",
        }
    }
    values["http"] = {"listen": "[::1]:80", "token_env": "TOKEN"}
    values["actions"].append(
        {
            "name": "switch",
            "nginx-switch": {
                "upstream_file": "/etc/u.conf",
                "upstream": "shop",
                "config": "n.conf",
                "canary_servers": ["unix:/run/c.sock"],
            },
        }
    )
    policy = values["policies"][0]
    policy |= {
        "mode": "enforce",
        "alpha": 0.05,
        "cool_down": "1h30m",
        "actions": ["switch", "rollback"],
    }
    policy["signals"][0] |= {
        "tier": "supporting",
        "weight": 2,
        "margin": "+50%",
        "harm": 3,
        "floor": 0,
        "id_labels": ["pod"],
    }
    config = load(write(tmp_path, values))
    assert config.source == ScrapeSettings(
        0.5, 1.0, 16 * 2**20, (Target("127.0.0.1:9001", {"zone": "a"}),), tmp_path / "t.yaml"
    )
    assert config.http == HttpSettings("::1", 80, Secret(env="TOKEN"))
    assert config.http.url == "http://[::1]:80"
    assert config.actions[1] == NginxSwitchSettings(
        "switch",
        Path("/etc/u.conf"),
        "shop",
        "nginx",
        tmp_path / "n.conf",
        canary_servers=("unix:/run/c.sock",),
    )
    found = config.policies[0].policy
    assert (found.mode, found.alpha, found.cool_down_s) == (Mode.ENFORCE, 0.05, 5400.0)
    assert found.actuators == ("switch", "rollback")
    assert found.signals[0] == RatioSignal(
        "errors",
        Selector("all_total"),
        Selector("bad_total"),
        tier=Tier.SUPPORTING,
        weight=2.0,
        margin=1.5,
        harm=3.0,
        floor=0.0,
        id_labels=("pod",),
    )


def test_the_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(write(tmp_path, minimal()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.tick_s = 1.0  # type: ignore[misc]


def rollout(
    namespace: str = "shop", name: str = "checkout", policy: str | None = None, **labels: str
) -> Rollout:
    workload = Workload("default", namespace, "Deployment", name)
    revision = Revision("u", "v2")
    return Rollout(workload, revision, None, (), (), ("pod",), 0.0, policy=policy, labels=labels)


@pytest.mark.parametrize(
    ("wanted", "policy"),
    [
        (rollout(), "checkout"),
        (rollout(name="checkout-v2"), "checkout"),
        (rollout(name="search"), "shops"),
        (rollout(namespace="shop-eu", name="checkout"), "shops"),
        (rollout(namespace="batch"), None),
        (rollout(namespace="batch", team="b", tier="x"), "teams"),
        (rollout(namespace="batch", team="b"), None),
        (rollout(policy="teams"), "teams"),
        (rollout(policy="gone"), None),
    ],
)
def test_the_workloads_own_choice_then_the_first_match(
    tmp_path: Path, wanted: Rollout, policy: str | None
) -> None:
    values = minimal()
    base: dict[str, Any] = values["policies"][0]
    values["policies"] = [
        base | {"name": "checkout", "match": {"namespaces": ["shop"], "names": ["checkout*"]}},
        base | {"name": "shops", "match": {"namespaces": ["shop", "shop-*"]}},
        base | {"name": "teams", "match": {"labels": {"team": "b", "tier": "x"}}},
    ]
    config = load(write(tmp_path, values))
    found = config.policy_for(wanted)
    assert (found and found.name) == policy
    assert config.named(policy or "gone") == found


def test_a_workload_that_wants_to_be_left_alone_has_no_policy(tmp_path: Path) -> None:
    config = load(write(tmp_path, minimal()))
    watched = rollout()
    assert config.policy_for(watched) is not None
    assert config.policy_for(replace(watched, mode="observe")) is not None
    assert config.policy_for(replace(watched, mode="off")) is None


def test_secrets_are_named_in_the_file_and_read_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = minimal()
    values["source"]["prometheus"] |= {
        "basic_auth": {"username": "u", "password_file": "secrets/password"}
    }
    values["http"] = {"token_env": "ROLLBACKD_TEST_TOKEN"}
    config = load(write(tmp_path, values))
    monkeypatch.delenv("ROLLBACKD_TEST_TOKEN", raising=False)
    assert list(notes(config)) == [
        "http.token: the environment variable ROLLBACKD_TEST_TOKEN is not set",
        f"source.prometheus.basic_auth.password: the file {tmp_path / 'secrets' / 'password'} cannot be read: No such file or directory",
    ]
    password = tmp_path / "secrets" / "password"
    password.parent.mkdir()
    password.write_text("  hunter2\n")
    monkeypatch.setenv("ROLLBACKD_TEST_TOKEN", "t")
    assert {k: s.read() for k, s in config.secrets().items()} == {
        "http.token": "t",
        "source.prometheus.basic_auth.password": "hunter2",
    }
    password.write_text("hunter3")  # replaced while the daemon runs
    assert config.secrets()["source.prometheus.basic_auth.password"].read() == "hunter3"
    for content in (b"", b"\n", b"\xff\xfe"):
        password.write_bytes(content)
        with pytest.raises(SecretError):
            config.secrets()["source.prometheus.basic_auth.password"].read()
    assert "hunter" not in repr(config)


def test_what_is_allowed_and_odd_is_noted(tmp_path: Path) -> None:
    values = minimal()
    values["source"] = {"scrape": {"targets": [{"address": "a:1"}]}}
    values["rollouts"]["static"] = [
        {
            "name": "shop",
            "baseline": {"label": "v1", "instances": ["a:1"]},
            "canary": {"label": "v2", "instances": ["a:2"]},
        }
    ]
    values["rollouts"]["static_file"] = "static.yaml"
    (tmp_path / "static.yaml").write_text("- {name: x}\n")
    values["actions"][0] = {
        "name": "switch",
        "nginx-switch": {"upstream_file": "u", "upstream": "s", "nginx": "/no/nginx"},
    }
    first = values["policies"][0] | {"blind_after": "15s"}
    first["signals"] = [{"name": "l", "histogram": {"buckets": "latency"}}]
    values["policies"] = [first, values["policies"][0] | {"name": "second"}]
    found = "\n".join(notes(load(write(tmp_path, values))))
    for expected in (
        'rollout "shop": a:2 is not among the targets',
        "static.yaml: line 1: [0].baseline: is missing",
        "there is no program /no/nginx",
        'policy "default" matches everything',
        "blind_after is less than two ticks",
        "latency does not end in _bucket",
    ):
        assert expected in found


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    undescribed = [
        f"{name}.{key}"
        for name, model in [("", schema), *schema["$defs"].items()]
        for key, field in model.get("properties", {}).items()
        if not field.get("description")
    ]
    assert undescribed == []
    policy = schema["$defs"]["PolicyModel"]["properties"]
    assert policy["warm_up"]["default"] == "1m"
    assert policy["warm_up"]["type"] == "string"
    assert "nginx-switch" in schema["$defs"]["ActionModel"]["properties"]


def test_the_journals_address_is_a_secret(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://u:pw@h/d\n")
    shared = {"journal": {"dsn_file": "dsn"}, "leadership": {"lease_namespace": "watch"}}
    config = load(write(tmp_path, minimal() | shared))
    assert config.journal.address() == "postgresql://u:pw@h/d"
    assert str(config.journal) == f"PostgreSQL, with the address in the file {tmp_path}/dsn"
    assert config.secrets()["journal.dsn"].file == tmp_path / "dsn"
    assert config.leadership.namespace == "watch"
    assert "pw" not in repr(config)


@pytest.mark.parametrize("signals", [{"signals": "auto"}, {}])
def test_signals_are_found_later_when_none_are_listed(
    tmp_path: Path, signals: dict[str, Any]
) -> None:
    values = minimal()
    del values["policies"][0]["signals"]
    values["policies"][0] |= signals
    (rule,) = load(write(tmp_path, values)).policies
    assert rule.policy.discovers
    assert rule.policy.signals == ()
