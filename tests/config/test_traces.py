"""What may be written about traces, and what it becomes."""

from pathlib import Path
from typing import Any

import pytest

from analyzer.signal import ChangedCalls, Tier, TraceSignal
from rollbackd.config import load
from rollbackd.config.problems import ConfigError
from rollbackd.config.trace_settings import ReceiverSettings
from tests.config.files import minimal, write


def traced(**traces: Any) -> dict[str, Any]:  # noqa: ANN401  whatever a file may hold
    values = minimal()
    values["traces"] = traces
    values["policies"][0]["signals"].append({"name": "traces", "traces": {}})
    return values


def complaints(tmp_path: Path, values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, values))
    return str(caught.value)


def test_the_defaults_are_those_of_the_core(tmp_path: Path) -> None:
    config = load(write(tmp_path, traced(receiver={})))
    assert config.traces is not None
    assert config.traces.receiver == ReceiverSettings("127.0.0.1", 4318, 8 << 20)
    assert config.traces.labels["pod"] == ("k8s.pod.name",)
    assert config.policies[0].policy.signals[-1] == TraceSignal("traces")


def test_labels_add_to_the_built_in_ones_and_links_hold_the_trace(tmp_path: Path) -> None:
    link = "https://grafana.example/explore?trace={trace_id}"
    labels = {"pod": ["pod.uid", "k8s.pod.name"], "cell": ["cell"]}
    config = load(write(tmp_path, traced(receiver={}, labels=labels, link=link)))
    assert config.traces is not None
    assert config.traces.labels["pod"] == ("pod.uid", "k8s.pod.name")
    assert config.traces.labels["cell"] == ("cell",)
    assert config.traces.labels["namespace"]
    assert config.traces.address("abc") == "https://grafana.example/explore?trace=abc"


def test_an_alias_leads_to_a_service_in_one_step(tmp_path: Path) -> None:
    config = load(write(tmp_path, traced(receiver={}, aliases={"shop-canary": "shop"})))
    assert config.traces is not None
    assert config.traces.aliases == {"shop-canary": "shop"}
    for aliases in ({"a": "b", "b": "c"}, {"a": "a"}):
        said = complaints(tmp_path, traced(receiver={}, aliases=aliases))
        assert "traces.aliases" in said
        assert "is an alias and has aliases" in said


def test_jaegers_metrics_are_asked_for_unless_that_is_turned_off(tmp_path: Path) -> None:
    server = {"url": "http://jaeger:16686", "services": ["shop"]}
    for given, spm in (({}, True), ({"spm": False}, False)):
        config = load(write(tmp_path, traced(jaeger=server | given)))
        assert config.traces is not None
        assert config.traces.jaeger is not None
        assert config.traces.jaeger.spm is spm
    said = complaints(tmp_path, traced(jaeger=server | {"spm": "sometimes"}))
    assert "traces.jaeger.spm" in said


def test_a_signal_may_be_anything_that_a_ratio_may(tmp_path: Path) -> None:
    values = traced(receiver={})
    values["policies"][0]["signals"][-1] = {
        "name": "traces",
        "traces": {
            "services": ["shop"],
            "operations": 10,
            "growth": 3,
            "changed_calls": "harm",
        },
        "tier": "critical",
        "weight": 0.3,
        "margin": "+50%",
        "harm": 3,
        "floor": "1%",
        "harm_rate": "2%",
    }
    (*_, signal) = load(write(tmp_path, values)).policies[0].policy.signals
    assert signal == TraceSignal(
        "traces",
        services=("shop",),
        operations=10,
        tier=Tier.CRITICAL,
        weight=0.3,
        margin=1.5,
        harm=3.0,
        growth=3.0,
        changed_calls=ChangedCalls.HARM,
        floor=0.01,
        harm_rate=0.02,
    )


def test_secrets_of_backends_are_known_by_their_place(tmp_path: Path) -> None:
    jaeger = {"url": "http://jaeger:16686", "services": ["shop"], "bearer_token_env": "TOKEN"}
    config = load(write(tmp_path, traced(jaeger=jaeger)))
    assert list(config.secrets()) == ["traces.jaeger.bearer_token"]


@pytest.mark.parametrize(
    ("traces", "says"),
    [
        ({}, "exactly one of receiver, tempo, jaeger is needed"),
        (
            {"receiver": {}, "tempo": {"url": "http://tempo:3200", "services": ["shop"]}},
            "not receiver and tempo",
        ),
        ({"receiver": {"listen": "4318"}}, "is not host:port"),
        ({"receiver": {}, "link": "http://jaeger:16686/"}, "is no address of a trace"),
        ({"receiver": {}, "link": "http://me@jaeger/{trace_id}"}, "must not hold a user"),
        ({"tempo": {"url": "http://tempo:3200"}}, "services"),
        (
            {"tempo": {"url": "http://tempo:3200", "services": ["x"], "by": ["a", "b", "c"]}},
            "one or two attributes",
        ),
        (
            {"tempo": {"url": "http://tempo:3200", "services": ["x"], "by": ['a" || true']}},
            "cannot be an attribute",
        ),
        (
            {"jaeger": {"url": "http://u:p@jaeger", "services": ["x"]}},
            "must not hold a user or a password",
        ),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, traces: dict[str, Any], says: str) -> None:
    assert says in complaints(tmp_path, traced(**traces))


def test_a_signal_of_traces_needs_a_source_of_traces(tmp_path: Path) -> None:
    values = traced(receiver={})
    del values["traces"]
    assert "no source of traces is configured" in complaints(tmp_path, values)
