import json
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from rollbackd.config import load
from rollbackd.config.custom_resource import definition
from rollbackd.config.settings import Config
from tests.helm.golden_files import CASES, golden_file, options
from tests.helm.helm_program import CHART, Helm, Manifest

pytestmark = pytest.mark.servers

ROOT = CHART.parents[1]
KUBERNETES = ("1.30", "1.34", "1.37")
EVERY_KIND = ("defaults", "enforce-namespaced", "everything")
"""Cases that hold every kind of object between them; the rest would only take time."""

OPERATORS_KINDS = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute"}
"""Custom resources, of which kubernetes-validate knows nothing."""

WITH_FILES = ("--set", "grafanaDashboards.enabled=true,prometheusRule.enabled=true")


def only(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (m for m in manifests if m["kind"] == kind)
    return found


def pod_specs(manifests: list[Manifest]) -> list[dict[str, Any]]:
    """Return the specs of all pods: the Deployment's and the one of ``helm test``."""
    pod = only(manifests, "Pod")["spec"]
    return [only(manifests, "Deployment")["spec"]["template"]["spec"], pod]


def config_of(manifests: list[Manifest], folder: Path) -> Config:
    """Load the rendered configuration as the daemon does."""
    file = folder / "rollbackd.yaml"
    file.write_text(only(manifests, "ConfigMap")["data"][file.name], encoding="utf-8")
    return load(file)


def test_lint_has_nothing_to_say(any_helm: Helm) -> None:
    said = any_helm.lint()
    assert "1 chart(s) linted, 0 chart(s) failed" in said
    assert "WARNING" not in said


@pytest.mark.parametrize("case", CASES)
def test_both_helms_render_what_is_committed(any_helm: Helm, case: str) -> None:
    committed = list(yaml.safe_load_all(golden_file(case).read_text(encoding="utf-8")))
    assert any_helm.manifests(*options(case)) == committed, "python -m tests.helm.golden_files"


@pytest.mark.parametrize("case", EVERY_KIND)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(version: str, case: str, helm4: Helm) -> None:
    for manifest in helm4.manifests(*options(case), *WITH_FILES):
        if manifest["kind"] not in OPERATORS_KINDS:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_the_daemon_accepts_the_configuration(case: str, helm4: Helm, tmp_path: Path) -> None:
    config = config_of(helm4.manifests(*options(case)), tmp_path)
    if case == "replicas":
        assert str(config.journal.dsn) == "the file /etc/rollbackd/secrets/journal-dsn/url"
        assert (config.leadership.namespace, config.leadership.name) == ("watch", "rollbackd")
    else:
        assert config.journal.url == "sqlite:////var/lib/rollbackd/rollbackd.db"


@pytest.mark.parametrize("case", CASES)
def test_pods_are_restricted(case: str, helm4: Helm) -> None:
    for spec in pod_specs(helm4.manifests(*options(case))):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_another_configuration_rolls_the_pod(helm4: Helm) -> None:
    def annotations(*more: str) -> dict[str, str]:
        found = only(helm4.manifests(*more), "Deployment")["spec"]["template"]["metadata"]
        return dict(found["annotations"])

    assert annotations() == annotations("--set", "service.type=NodePort")
    assert annotations() != annotations("--set", "config.tick=20s")


def test_secrets_are_mounted_as_files_and_named_in_the_configuration(
    helm4: Helm, tmp_path: Path
) -> None:
    manifests = helm4.manifests(*options("everything"))
    secrets = config_of(manifests, tmp_path).secrets()
    token, password = "/etc/rollbackd/secrets/decision-token", "/etc/rollbackd/secrets"
    assert {key: str(secret.file) for key, secret in secrets.items()} == {
        "http.token": f"{token}/bearer",
        "source.prometheus.basic_auth.password": f"{password}/prometheus-password/password",
    }
    (spec, _) = pod_specs(manifests)
    mounted = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert {str(Path(str(secret.file)).parent) for secret in secrets.values()} <= mounted
    named = {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
    assert named == {"decisions", "thanos"}
    assert not any(m["kind"] == "Secret" for m in manifests)


def test_the_pod_has_a_way_to_the_api_only_when_it_follows_a_cluster(helm4: Helm) -> None:
    for case, wanted in (("defaults", True), ("static-scrape", False)):
        daemon, tester = pod_specs(helm4.manifests(*options(case)))
        assert daemon["automountServiceAccountToken"] is wanted
        assert tester["automountServiceAccountToken"] is False


def test_dashboards_and_rules_are_the_committed_ones(any_helm: Helm) -> None:
    manifests = any_helm.manifests(*WITH_FILES)
    shipped = {
        name: json.loads(content)
        for m in manifests
        if m["kind"] == "ConfigMap" and "grafana_dashboard" in m["metadata"]["labels"]
        for name, content in m["data"].items()
    }
    committed = (ROOT / "dashboards" / "json").glob("*.json")
    assert shipped == {p.name: json.loads(p.read_text(encoding="utf-8")) for p in committed}
    rules = yaml.safe_load((ROOT / "dashboards/rules/rollbackd.yaml").read_text(encoding="utf-8"))
    assert only(manifests, "PrometheusRule")["spec"] == rules


def test_alerts_link_to_their_runbooks_once_it_is_known_where_these_are(helm4: Helm) -> None:
    url = "prometheusRule.runbookUrl=https://wiki.example.com/runbooks/"
    rules = only(helm4.manifests(*WITH_FILES, "--set", url), "PrometheusRule")
    alerts = [r for g in rules["spec"]["groups"] for r in g["rules"] if "alert" in r]
    for alert in alerts:
        page = alert["annotations"]["runbook_url"].removeprefix("https://wiki.example.com/")
        assert (ROOT / "docs" / page).is_file()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("config.tick=", "config.tick"),
        ("config.polices=[]", "polices"),
        ("config.policies[0].mode=force", "mode"),
        ("config.http.listen=0.0.0.0:1", "http"),
        ("config.journal.url=sqlite:///other.db", "journal"),
        ("replicaCount=0", "replicaCount"),
        ("config.leadership.retry=1s", "leadership"),
        ("image.digest=latest", "digest"),
        ("persistence.accessModes[0]=ReadWriteMany", "accessModes"),
        ("http.port=80", "port"),
    ],
)
def test_values_that_cannot_work_are_refused(any_helm: Helm, values: str, said: str) -> None:
    # Helm 3 writes config.tick, Helm 4 /config/tick
    assert said in any_helm.refusal("--set", values).replace("/", ".")


@pytest.mark.parametrize(
    ("case", "values", "said"),
    [
        ("enforce-namespaced", "persistence.enabled=false", "policies may act (checkout)"),
        ("enforce-namespaced", "rbac.actionNamespaces={web}", "web is not among"),
        ("static-scrape", "secrets.prometheusBearerToken.name=x", "which is not there"),
        ("defaults", "secrets.prometheusPassword.name=x", "basic_auth.username"),
        ("defaults", "replicaCount=2", "replicaCount is 2, but the journal is an SQLite file"),
        ("replicas", "podDisruptionBudget.maxUnavailable=2", "must be less than replicaCount"),
        ("replicas", "serviceMonitor.enabled=true", "would be scraped twice"),
    ],
)
def test_contradictions_are_refused_with_a_sentence(
    any_helm: Helm, case: str, values: str, said: str
) -> None:
    assert said in any_helm.refusal(*options(case), "--set", values)


@pytest.mark.parametrize(
    ("case", "kind", "selected"),
    [("everything", "ServiceMonitor", "Service"), ("replicas", "PodMonitor", "Deployment")],
)
def test_monitors_select_what_serves_metrics_and_nothing_else(
    case: str, kind: str, selected: str, helm4: Helm
) -> None:
    manifests = helm4.manifests(*options(case))
    spec = only(manifests, kind)["spec"]
    wanted = spec["selector"]["matchLabels"]
    found = only(manifests, selected)
    template = found["spec"].get("template", found)
    assert wanted.items() <= template["metadata"]["labels"].items()
    tester = only(manifests, "Pod")["metadata"]["labels"]
    assert kind == "ServiceMonitor" or not wanted.items() <= tester.items()
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    ports = template["spec"].get("ports") or template["spec"]["containers"][0]["ports"]
    assert endpoint["port"] in {port["name"] for port in ports}
    assert endpoint["path"] == "/metrics"


def test_egress_is_open_for_what_is_configured_only(helm4: Helm) -> None:
    def ports(case: str) -> set[int]:
        enabled = ("--set", "networkPolicy.enabled=true")
        rules = only(helm4.manifests(*options(case), *enabled), "NetworkPolicy")["spec"]["egress"]
        return {port["port"] for rule in rules for port in rule["ports"]}

    assert ports("defaults") == {53, 443, 6443, 9090}
    assert ports("enforce-namespaced") == {53, 443, 6443}
    assert ports("static-scrape") == {53}
    assert ports("everything") == {53, 443, 6443, 10902, 4318}


def test_replicas_share_no_volume_and_roll_pod_by_pod(helm4: Helm) -> None:
    manifests = helm4.manifests(*options("replicas"))
    spec = only(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["type"] == "RollingUpdate"
    assert {v["name"] for v in spec["template"]["spec"]["volumes"]} == {
        "config", "tmp", "journal-dsn", "decision-token",
    }  # fmt: skip
    assert not any(m["kind"] == "PersistentVolumeClaim" for m in manifests)


def test_without_postgresql_one_pod_stops_before_the_next_starts(helm4: Helm) -> None:
    spec = only(helm4.manifests(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_definition_comes_with_what_reads_it(any_helm: Helm) -> None:
    def definitions(*extra: str) -> list[Manifest]:
        found = any_helm.manifests(*extra)
        return [m for m in found if m["kind"] == "CustomResourceDefinition"]

    reading = ("--set-json", "config.rollouts.kubernetes.policy_resources={}")
    assert definitions() == []
    (made,) = definitions(*reading)
    for version in KUBERNETES:
        kubernetes_validate.validate(made, version, strict=True)
    assert made["spec"] == definition()["spec"]
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert made["metadata"]["labels"]["app.kubernetes.io/name"] == "rollbackd"
    (taken,) = definitions(*reading, "--set", "crds.keep=false")
    assert "annotations" not in taken["metadata"]
    assert definitions(*reading, "--set", "crds.create=false") == []
