"""Everything that can be wrong with a configuration, and what is said about it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollbackd.config import ConfigError, load, load_static_rollouts
from tests.config.files import minimal, write

Change = Callable[[dict[str, Any]], object]


def problems(file: Path) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(file)
    return {p.path: f"{p.what} → {p.hint}" for p in caught.value.problems}


def signal(values: dict[str, Any], i: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = values["policies"][0]["signals"][i]
    return found


def policy(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = values["policies"][0]
    return found


def prometheus(**keys: object) -> Change:
    return lambda v: v["source"]["prometheus"].update(keys)


def static(**keys: object) -> Change:
    rollout = {
        "name": "shop",
        "baseline": {"label": "v1", "instances": ["a", "b"]},
        "canary": {"label": "v2", "instances": ["c"]},
    }
    return lambda v: v["rollouts"].update(static=[{**rollout, **keys}])


P, S0, S1 = "policies[0]", "policies[0].signals[0]", "policies[0].signals[1]"
FREEZE = {"name": "x", "cron": "0 18 * * fri", "lasts": "1h"}
NGINX = {"upstream_file": "u", "upstream": "shop"}

WRONG: list[tuple[Change, str, str]] = [
    # the top of the file
    (lambda v: v.update(tick="0s"), "tick", "must be longer than 0s"),
    (lambda v: v.update(tick=10), "tick", "the duration 10 has no unit → write 10s"),
    (lambda v: v.update(settle="-1s"), "settle", "cannot be negative"),
    (lambda v: v.update(tik="1s"), "tik", 'unknown key → did you mean "tick"?'),
    (lambda v: v.update(alpha=0.1), "alpha", "unknown key → it belongs under policies[]"),
    (lambda v: v.update(guards={"freezes": [{**FREEZE, "timezon": "UTC"}]}),
     "guards.freezes[0].timezon", 'unknown key → did you mean "timezone"?'),
    (lambda v: v.update(zzz=1), "zzz", "unknown key → known here: tick, settle, journal"),
    (lambda v: v.pop("source"), "source", "is missing → Where samples come from"),
    (lambda v: v.pop("policies"), "policies", "is missing"),
    (lambda v: v.update(policies=[]), "policies", "must not be empty"),
    (lambda v: v.update(policies={}), "policies", "expected a list, got a mapping of keys"),
    (lambda v: v.update(source="x"), "source", 'expected a mapping of keys, got "x"'),
    (lambda v: v.update(journal={"url": "mysql://h/d"}), "journal.url", "mysql is not supported"),
    (lambda v: v.update(journal={"url": "a.db"}), "journal.url", '"a.db" is not a URL'),
    (lambda v: v.update(journal={"url": "sqlite://"}), "journal.url", "sqlite is not supported"),
    (lambda v: v.update(journal={"url": "sqlite:///"}), "journal.url", "names no file"),
    (lambda v: v.update(journal={"url": "sqlite:///:memory:"}), "journal.url", "names no file"),
    (lambda v: v.update(journal={"url": "postgresql://u:pw@h/d"}), "journal.url",
     "postgresql is not supported here → write sqlite:///path/to/file, or use dsn_env or dsn_file"),
    (lambda v: v.update(journal={"url": "sqlite:///a.db", "dsn_env": "A"}), "journal.dsn_env",
     "there is url, too → keep one place for the journal"),
    (lambda v: v.update(journal={"dsn_file": "a", "dsn_env": "A"}), "journal.dsn_env",
     "there is dsn_file, too"),
    # several replicas
    (lambda v: v.update(leadership={"lease_namespace": "watch"}), "leadership",
     "an SQLite journal has one writer, so there is one replica and nothing to elect → give"),
    (lambda v: v.update(leadership={"renew_by": "15s"}, journal={"dsn_env": "A"}),
     "leadership.renew_by", "renew_by is not less than duration"),
    (lambda v: v.update(leadership={"retry": "11s"}, journal={"dsn_env": "A"}),
     "leadership.retry", "retry is not less than renew_by"),
    (lambda v: v.update(leadership={"lease_namespace": "watch"}, journal={"dsn_env": "A"},
                        rollouts={"static_file": "r.json"}, actions=[]),
     "leadership.lease_namespace", "no cluster is configured"),
    (lambda v: v.update(http={"listen": "localhost"}), "http.listen", "is not host:port"),
    (lambda v: v.update(http={"listen": "h:99999"}), "http.listen", "99999 is not a port"),
    (lambda v: v.update(http={"listen": 9469}), "http.listen", "expected text, got the number"),
    (lambda v: v.update(http={"token_file": "a", "token_env": "B"}), "http.token_env", "keep one"),
    # the source
    (lambda v: v.update(source={}), "source", "exactly one of prometheus, scrape, recorded"),
    (lambda v: v["source"].update(recorded={"files": ["a"]}), "source",
     "exactly one of prometheus, scrape, recorded is needed, not prometheus and recorded"),
    (lambda v: v.update(source={"scrape": None}), "source", "write scrape: {} for its defaults"),
    (lambda v: v.update(source={"scrape": {}}), "source.scrape", "there is nothing to scrape"),
    (lambda v: v.update(source={"scrape": {"targets": [{"address": "a"}]}}),
     "source.scrape.targets[0].address", "is not host:port"),
    (lambda v: v.update(source={"recorded": {"files": []}}), "source.recorded.files",
     "must not be empty"),
    (prometheus(url="prometheus:9090"), "source.prometheus.url", "is not a base URL"),
    (prometheus(url="http://u:p@h"), "source.prometheus.url", "must not hold a user"),
    (prometheus(url=""), "source.prometheus.url", "must not be empty"),
    (prometheus(timout="1s"), "source.prometheus.timout", 'did you mean "timeout"?'),
    (prometheus(timeout="0s"), "source.prometheus.timeout", "longer than 0s"),
    (prometheus(max_reply="64"), "source.prometheus.max_reply", "has no unit"),
    (prometheus(headers={"Authorization": "x"}), "source.prometheus.headers",
     "the file must not hold credentials"),
    (prometheus(headers={"a": "b\nc"}), "source.prometheus.headers", "cannot be an HTTP header"),
    (prometheus(headers={"X-Id": 5}), "source.prometheus.headers.X-Id", "put it in quotes"),
    (prometheus(bearer_token="x"), "source.prometheus.bearer_token", "did you mean"),
    (prometheus(bearer_token_file="x", bearer_token_env="Y"),
     "source.prometheus.bearer_token_env", "keep one of the two"),
    (prometheus(bearer_token_env="Y", basic_auth={"username": "u", "password_env": "P"}),
     "source.prometheus.basic_auth", "there is a bearer token, too"),
    (prometheus(basic_auth={"username": "u"}), "source.prometheus.basic_auth.password_env",
     "exactly one of password_file and password_env"),
    (prometheus(basic_auth={"username": "u", "password": "p"}),
     "source.prometheus.basic_auth.password", "did you mean"),
    (prometheus(tls={"cert_file": "c"}), "source.prometheus.tls.key_file", "only work together"),
    (prometheus(tls={"insecure_skip_verify": "yes"}),
     "source.prometheus.tls.insecure_skip_verify", "expected true or false"),
    # rollouts
    (lambda v: v.update(rollouts={}), "rollouts", "at least one of kubernetes, static, static_file"),
    (lambda v: v.update(rollouts={"kubernetes": None}), "rollouts", "at least one of"),
    (lambda v: v["rollouts"].update(kubernetes={"context": "a", "server": "http://b"}),
     "rollouts.kubernetes.server", "there is context, too"),
    (lambda v: v["rollouts"].update(kubernetes={"kubeconfig": "a", "in_cluster": True}),
     "rollouts.kubernetes.in_cluster", "there is kubeconfig, too"),
    (lambda v: v["rollouts"].update(kubernetes={"id_labels": ["a", "b", "c"]}),
     "rollouts.kubernetes.id_labels", "at most 2 are possible"),
    (lambda v: v["rollouts"].update(kubernetes={"kinds": ["Canary", "DaemonSet"]}),
     "rollouts.kubernetes.kinds", "Canary is there without Deployment"),
    (lambda v: v["rollouts"].update(kubernetes={"kinds": ["Job"]}),
     "rollouts.kubernetes.kinds[0]", "Deployment"),
    (lambda v: v["rollouts"].update(kubernetes={"id_labels": ["a-b"]}),
     "rollouts.kubernetes.id_labels[0]", "cannot be a metric label"),
    (static(name="a b"), "rollouts.static[0].name", "cannot be a name"),
    (static(baseline={"label": "v1", "instances": []}), "rollouts.static[0].baseline",
     "the baseline has no instances"),
    (static(canary={"label": "v1", "instances": ["c"]}), "rollouts.static[0].canary",
     'both groups are labelled "v1"'),
    (static(canary={"label": "v2", "instances": ["b"]}), "rollouts.static[0].canary",
     '"b" is in both groups'),
    (lambda v: (static()(v), v["rollouts"]["static"].append(v["rollouts"]["static"][0])),
     "rollouts.static[1].name", "default/shop is there already, at [0]"),
    # actions
    (lambda v: v["actions"][0].update({"nginx-switch": NGINX}), "actions[0]",
     "exactly one of kubernetes-rollback, nginx-switch, splitter-switch is needed, not"),
    (lambda v: v["actions"].append({"name": "rollback", "kubernetes-rollback": {}}),
     "actions[1].name", 'another action, actions[0], is called "rollback", too'),
    (lambda v: v.update(actions=[{"name": "a", "nginx_switch": NGINX}]),
     "actions[0].nginx_switch", 'did you mean "nginx-switch"?'),
    (lambda v: v.update(actions=[{"name": "a", "nginx-switch": {"upstream": "s"}}]),
     "actions[0].nginx-switch.upstream_file", "is missing"),
    (lambda v: v.update(actions=[{"name": "a", "nginx-switch": {
        **NGINX, "baseline_servers": ["x"], "canary_servers": ["x"]}}]),
     "actions[0].nginx-switch.canary_servers", '"x" is in both groups'),
    (lambda v: (v.update(rollouts={}), static()(v)), "actions[0].kubernetes-rollback",
     "no cluster is configured"),
    # policies
    (lambda v: v["policies"].append(v["policies"][0]), "policies[1].name",
     'another policy, policies[0], is called "default", too'),
    (lambda v: policy(v).update(mode="enforc"), f"{P}.mode", 'did you mean "enforce"?'),
    (lambda v: policy(v).update(mode="enforce"), f"{P}.mode",
     "mode enforce needs at least one action → add actions: [...] (known: rollback)"),
    (lambda v: policy(v).update(actions=["rolback"]), f"{P}.actions[0]",
     'no action is called "rolback" → did you mean "rollback"?'),
    (lambda v: policy(v).update(actions=["rollback", "rollback"]), f"{P}.actions[1]",
     "is there already"),
    (lambda v: policy(v).update(alpha=0), f"{P}.alpha", "must be more than 0, and is 0"),
    (lambda v: policy(v).update(alpha=0.51), f"{P}.alpha", "must be at most 0.5, and is 0.51"),
    (lambda v: policy(v).update(alpha=float("nan")), f"{P}.alpha", "expected a finite number"),
    (lambda v: policy(v).update(alpha="1%"), f"{P}.alpha", "expected a number"),
    (lambda v: policy(v).update(horizon="1m"), f"{P}.horizon",
     "the watch would end after 1m, before min_observation (2m)"),
    (lambda v: policy(v).update(when_missing="rollback"), f"{P}.when_missing",
     '"rollback" is not one of hold, ignore, page'),
    (lambda v: policy(v).update(recovery="0s"), f"{P}.recovery", "longer than 0s"),
    (lambda v: policy(v).update(signals=[]), f"{P}.signals", "must not be empty"),
    (lambda v: policy(v).update(match={"namespace": ["a"]}), f"{P}.match.namespace",
     'did you mean "namespaces"?'),
    (lambda v: policy(v).update(match={"labels": {"v": 1.1}}), f"{P}.match.labels.v",
     "expected text, got the number 1.1 → put it in quotes"),
    # signals
    (lambda v: signal(v).update(name="latency"), f"{S1}.name",
     'another signal, signals[0], is called "latency", too'),
    (lambda v: signal(v).pop("ratio"), S0, "exactly one of ratio, histogram, interval, level, gauge, leak, rate, traffic"),
    (lambda v: signal(v).update(histogram={"buckets": "b"}), S0, "not ratio and histogram"),
    (lambda v: signal(v)["ratio"].update(bad="rate(x[5m])"), f"{S0}.ratio.bad",
     "is a function call, not a selector"),
    (lambda v: signal(v)["ratio"].update(total="x{"), f"{S0}.ratio.total", "is not PromQL"),
    (lambda v: signal(v)["ratio"].pop("bad"), f"{S0}.ratio.bad", "is missing"),
    (lambda v: signal(v, 1)["histogram"].update(buckets='b{le="1"}'), f"{S1}.histogram.buckets",
     "picks single buckets"),
    (lambda v: signal(v).update(margin=1), f"{S0}.margin", "must be more than 1, and is 1"),
    (lambda v: signal(v).update(margin="-10%"), f"{S0}.margin", "must be more than 1"),
    (lambda v: signal(v).update(margin="25%"), f"{S0}.margin", 'write "+25%"'),
    (lambda v: signal(v).update(margin=1.5, harm=1.4), f"{S0}.harm",
     "harm 1.4 is less than the margin 1.5"),
    (lambda v: signal(v).update(margin=3), f"{S0}.harm", "harm 2 (its default) is less than"),
    (lambda v: signal(v, 1).update(margin=1.3), f"{S1}.harm", "harm 1.25 (its default) is less"),
    (lambda v: signal(v).update(floor="1%"), f"{S0}.harm_rate", "at least floor 0.01"),
    (lambda v: signal(v).update(floor=2), f"{S0}.floor", "write 2% if you mean per cent"),
    (lambda v: signal(v, 1).update(floor="1%"), f"{S1}.floor", "only ratios, intervals and traces have this"),
    (lambda v: signal(v).update(weight=-1), f"{S0}.weight", "must be at least 0, and is -1"),
    (lambda v: signal(v).update(weight=True), f"{S0}.weight", "expected a number, got true"),
    (lambda v: [signal(v, i).update(weight=0) for i in (0, 1)], f"{P}.signals",
     "the weights of all signals that may act are 0"),
    (lambda v: [policy(v).update(mode="enforce", actions=["rollback"]),
                *(signal(v, i).update(tier="info") for i in (0, 1))], f"{P}.mode",
     "every signal is info: nothing could ever act"),
    (lambda v: signal(v).update(tier="crit"), f"{S0}.tier", '"crit" is not one of'),
    (lambda v: v["policies"].append(17), "policies[1]", "expected a mapping of keys, got the"),
]  # fmt: skip

CONSEQUENCES = {
    # a misspelt or missing key leaves something else without what it needs
    "actions[0].nginx_switch": {"actions[0]"},
    "rollouts": {"actions[0].kubernetes-rollback"},
    "source.prometheus.basic_auth.password": {"source.prometheus.basic_auth.password_env"},
}


@pytest.mark.parametrize(("change", "path", "says"), WRONG, ids=[f"{p}:{s}" for _, p, s in WRONG])
def test_what_is_wrong_is_said_at_its_key_and_only_there(
    tmp_path: Path, change: Change, path: str, says: str
) -> None:
    values = minimal()
    change(values)
    found = problems(write(tmp_path, values))
    assert says in found[path]
    others = set(found) - {path}
    assert others == CONSEQUENCES.get(path, set()) & others


def test_all_problems_come_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """\
tick: 10
source:
  prometheus: {url: "http://p", timout: 3s}
rollouts: {kubernetes: {}}
policies:
  - name: a
    mode: enforce
    signals:
      - name: errors
        margin: 0.5
        ratio:
          total: x
          bad: rate(y[5m])
  - name: a
    signals: []
tick: 3s
"""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert [(p.line, p.path) for p in caught.value.problems] == [
        (3, "source.prometheus.timout"),
        (7, "policies[0].mode"),
        (10, "policies[0].signals[0].margin"),
        (13, "policies[0].signals[0].ratio.bad"),
        (14, "policies[1].name"),
        (15, "policies[1].signals"),
        (16, "tick"),
    ]
    assert "rollbackd.yaml: line 10: policies[0].signals[0].margin: must be" in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "17\n", "null\n"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="expected keys such as source: and policies:"):
        load(write(tmp_path, text))


def test_keys_that_are_not_text_are_refused(tmp_path: Path) -> None:
    values = minimal()
    top: dict[object, Any] = values  # type: ignore[assignment]
    top[5] = "x"
    values["policies"][0]["match"] = {"labels": {1: "x"}}
    found = problems(write(tmp_path, values))
    assert set(found) == {"[5]", "policies[0].match.labels[1]"}


def test_static_rollouts_have_a_file_of_their_own(tmp_path: Path) -> None:
    group = "baseline: {label: v1, instances: [a]}, canary: {label: v2, instances: []}"
    file = write(tmp_path, f"- {{name: shop, {group}}}\n- {{name: cart, {group}}}\n")
    assert [r.name for r in load_static_rollouts(file)] == ["shop", "cart"]
    file = write(
        tmp_path, f"- {{name: shop, {group}}}\n- {{name: shop, tick: 1s, {group}}}\n- 5\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_static_rollouts(file)
    assert [(p.line, p.path) for p in caught.value.problems] == [
        (2, "[1].name"),
        (2, "[1].tick"),
        (3, "[2]"),
    ]
    with pytest.raises(ConfigError, match="expected a list"):
        load_static_rollouts(write(tmp_path, "static: []\n"))
