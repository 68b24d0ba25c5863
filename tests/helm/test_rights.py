"""The rights that the chart grants are exactly the calls that the daemon's code makes.

The rendered configuration is wired up as the daemon does it, against the fake API server, and a
rollout goes through everything that its policy allows. The server's log is what was called.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.argo_abort import KIND as ARGO
from actions.dns.annotated import Kind
from actions.dns.external_dns import GROUP
from actions.dns.ports import Owned
from actions.flagger_abort import KIND as FLAGGER
from actions.plan import Plan, keyed
from actions.service_switch import KIND as SERVICE
from analyzer.policy import Mode
from analyzer.rollout import Rollout
from analyzer.sample import Missing
from rollbackd.config import Config, load
from rollbackd.config.custom_resource import definition
from rollbackd.config.region_settings import ExternalDnsSettings, RecordSettings
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.rights import Need, needs
from rollbackd.leadership.kubernetes import KubernetesLease
from rollbackd.leadership.lease import Lease
from rollbackd.notifiers.port import Memo
from rollbackd.policies.clerk import StatusClerk
from rollbackd.regions.wiring import dns_backends
from rollbackd.telemetry import Telemetry
from rollbackd.views import TimelineItem
from rollbackd.web.cluster_login import ClusterLogin
from rollbackd.wiring import Parts, assemble, cluster_access
from tests.cli import sample_views
from tests.dns import benches
from tests.fakes.kube_api import Access, FakeKubeApi, User
from tests.helm.golden_files import options
from tests.helm.helm_program import Helm, Manifest
from tests.kubernetes import argo, blue_green, flagger, sets
from tests.kubernetes.gitops import TRACKING, argo_application, helm_release, kustomization
from tests.kubernetes.shop import manifest
from tests.policies.shelf import policy

pytestmark = pytest.mark.servers

REVISIONS = {
    "Deployment": "replicasets",
    "StatefulSet": "controllerrevisions",
    "DaemonSet": "controllerrevisions",
    "Rollout": "replicasets",
    "Canary": "replicasets",
    "Service": "replicasets",
}
PLURALS = {FLAGGER: "canaries"}
NEVER_READY = {"fake.rollbackd.dev/ready-after": "never"}
ANN = "token-of-ann"
SECOND = 2
"""The revision that is released, by its number."""


@dataclass(frozen=True, order=True)
class Right:
    """A verb on the objects of a kind, in a namespace; "" stands for all of the cluster."""

    verb: str
    group: str
    resource: str
    namespace: str

    def covers(self, call: "Right") -> bool:
        what = (self.verb, self.group, self.resource) == (call.verb, call.group, call.resource)
        return what and self.namespace in {"", call.namespace}


def granted(manifests: list[Manifest]) -> set[Right]:
    """Return the rights that are bound to the daemon's service account."""
    account = next(m for m in manifests if m["kind"] == "ServiceAccount")["metadata"]
    subject = {"kind": "ServiceAccount", "name": account["name"], "namespace": "watch"}
    scopes = {"ClusterRole": "ClusterRoleBinding", "Role": "RoleBinding"}

    def is_bound(role: Manifest) -> bool:
        metadata, kind = role["metadata"], role["kind"]
        bindings = [m for m in manifests if m["kind"] == scopes[kind]]
        return any(
            b["roleRef"]["name"] == metadata["name"]
            and b["metadata"].get("namespace") == metadata.get("namespace")
            and b["subjects"] == [subject]
            for b in bindings
        )

    return {
        Right(verb, group, resource, role["metadata"].get("namespace", ""))
        for role in manifests
        if role["kind"] in scopes and is_bound(role)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def called(api: FakeKubeApi) -> set[Right]:
    """Return the rights that the requests so far would have needed."""
    found = set()
    for request in api.requests():
        parts = request.path.strip("/").split("/")
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        namespace = ""
        if rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        found.add(Right(request.verb, group, "/".join(rest[::2]), namespace))
    return found


def configured(manifests: list[Manifest], api: FakeKubeApi, folder: Path) -> Config:
    """Load the rendered configuration, with the fake as its cluster and without secrets."""
    (config_map,) = (m for m in manifests if m["kind"] == "ConfigMap")
    values = yaml.safe_load(config_map["data"]["rollbackd.yaml"])
    values["rollouts"]["kubernetes"]["server"] = api.url
    for secret in ("bearer_token_file", "basic_auth"):
        values["source"]["prometheus"].pop(secret, None)
    file = folder / "rollbackd.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load(file)


@contextmanager
def running(config: Config) -> Iterator[Parts]:
    parts = assemble(config, lambda _: ())
    try:
        yield parts
    finally:
        parts.close()


def rollouts(parts: Parts) -> list[Rollout]:
    (source,) = parts.rollouts
    seen = source.rollouts()
    return [] if isinstance(seen, Missing) else list(seen)


OWNERS_RESOURCES = {"applications", "kustomizations", "helmreleases"}
OWNERS = (argo_application(), kustomization(), helm_release())


def mark(metadata: dict[str, Any]) -> None:
    """Let every kind of GitOps owner apply the Deployment of this metadata."""
    namespace = metadata["namespace"]
    metadata["annotations"] = {TRACKING: f"shop:apps/Deployment:{namespace}/checkout"}
    for owner in OWNERS:
        metadata["labels"] |= owner.marks.get("labels", {})


def release(
    api: FakeKubeApi,
    namespaces: tuple[str, ...],
    kinds: tuple[str, ...],
    *,
    stuck: bool,
    is_owned: bool,
) -> None:
    """Deploy checkout in each namespace and as each kind, and then its next version.

    When ``stuck``, no pod of a StatefulSet's next version becomes ready.
    """
    for node in sets.NODES:
        api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    others = {ARGO, FLAGGER, SERVICE}.intersection(kinds)
    kinds = tuple(kind for kind in kinds if kind not in {ARGO, FLAGGER, SERVICE})
    for namespace in namespaces:
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        begin_others(api, namespace, others)
        for kind in kinds:
            first = version(1, kind)
            first["metadata"] |= {"namespace": namespace, "labels": {"team": "shop"}}
            if is_owned and kind == "Deployment":
                mark(first["metadata"])
            api.create(first)
    for namespace in namespaces:
        for kind in kinds:
            settle(api, namespace, kind)
            change = version(2, kind)["spec"]
            if stuck and kind == "StatefulSet":
                change["template"]["metadata"]["annotations"] = NEVER_READY
            api.patch("apps/v1", kind, "checkout", {"spec": change}, namespace)
    for namespace in namespaces:
        for kind in kinds:
            if not (stuck and kind == "StatefulSet"):
                settle(api, namespace, kind)


def begin_others(api: FakeKubeApi, namespace: str, kinds: set[str]) -> None:
    """Let kinds that do not roll out by a template of their own be under way."""
    if ARGO in kinds:
        argo.begin(api, argo.manifest("checkout", namespace, {"team": "shop"}))
    if FLAGGER in kinds:
        flagger.begin(api, namespace)
    if SERVICE in kinds:
        blue_green.create(api, namespace)
        blue_green.switch(api, "green", namespace)


def version(number: int, kind: str) -> Manifest:
    """Return one version of checkout as a workload of a kind."""
    if kind == "Deployment":
        return manifest(f"shop:{number}", name="checkout")
    made = sets.manifest(kind, f"shop:{number}")
    # Each kind has pods of its own.
    labels = {"app": f"checkout-{kind.lower()}"}
    made["metadata"] |= {"name": "checkout", "labels": labels}
    made["spec"]["selector"] = {"matchLabels": labels}
    made["spec"]["template"]["metadata"]["labels"] = labels
    return made


def settle(api: FakeKubeApi, namespace: str, kind: str) -> None:
    """Wait until a rollout is over: no more reports of progress that a write could meet."""
    names = ("replicas", "updatedReplicas", "availableReplicas")
    if kind == "DaemonSet":
        names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")

    def is_settled(api: FakeKubeApi) -> bool:
        found = api.get("apps/v1", kind, "checkout", namespace)
        status = found.get("status", {})
        counts = {status.get(name) for name in names}
        is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(is_seen and counts == {3})

    api.wait_until(is_settled, what=f"{kind} {namespace}/checkout settled")


def act(parts: Parts, config: Config, rollout: Rollout) -> None:
    """Do what the action desk does for a degraded canary, as far as the policy's mode goes."""
    policy = config.policy_for(rollout)
    assert policy is not None
    assert rollout.baseline is not None
    for schema in parts.schemas if policy.actuators else ():
        schema.facts(rollout)
    for name in policy.actuators:
        actuator = parts.actuators[name]
        steps = actuator.propose(rollout).steps
        plan = Plan(rollout.watch_id, rollout.workload, rollout.canary, rollout.baseline, steps)
        for step in keyed(plan).steps if policy.mode is not Mode.OBSERVE else ():
            actuator.inspect(step)
            actuator.perform(step)
            actuator.inspect(step)


def tell(parts: Parts, rollout: Rollout) -> None:
    """Tell the notifiers of a change, as the daemon's pumps do."""
    change = TimelineItem(rollout.started_at, "phase", "observing: comparing")
    view = replace(sample_views.healthy(), id=rollout.watch_id, timeline=(change,))
    for notifier in parts.notifiers.values():
        notifier.tell(view, Memo({}, lambda _: None))


def write_status(api: FakeKubeApi, parts: Parts, namespaces: tuple[str, ...]) -> None:
    """Write a policy in each namespace, and let the clerk write its status as the daemon does."""
    if parts.policies is None:
        return
    resources, status_api = parts.policies
    for namespace in namespaces:
        api.create(policy(namespace=namespace))

    def is_read(_: FakeKubeApi) -> bool:
        found = resources.all()
        return not isinstance(found, Missing) and len(found) == len(namespaces)

    api.wait_until(is_read, what="every policy seen")
    telemetry = Telemetry(version="test", environ={})
    StatusClerk(resources, tuple, status_api, telemetry, time.time).tend()
    telemetry.close()


def calls(manifests: list[Manifest], namespaces: tuple[str, ...], folder: Path) -> set[Right]:
    """Return what the daemon calls for a bad release in each namespace."""
    with FakeKubeApi() as api:
        allowed = User("ann", may=frozenset({"decide rollouts.rollbackd.io shop"}))
        api.set_access(Access(people={ANN: allowed}))
        for owner in OWNERS:
            owner.create(api)
        config = configured(manifests, api, folder)
        watched = config.rollouts.kubernetes
        assert watched is not None
        kinds = watched.kinds
        followed = {"pods", *(REVISIONS[kind] for kind in kinds)}
        followed |= {PLURALS.get(kind, f"{kind.lower()}s") for kind in kinds}
        if watched.policy_resources is not None:
            followed.add("rollbackpolicies")
            api.create(definition())
        stuck = any(getattr(action, "delete_stuck_pods", False) for action in config.actions)
        if FLAGGER in kinds:
            flagger.install(api)
        if ARGO in kinds:
            argo.install(api)
        with running(config) as parts:
            is_owned = any("gitops" in m["metadata"]["name"] for m in manifests)
            release(api, namespaces, kinds, stuck=stuck, is_owned=is_owned)

            def is_followed(api: FakeKubeApi) -> bool:
                watched = {right.resource for right in called(api) if right.verb == "watch"}
                seen = sorted(rollout.ordinal for rollout in rollouts(parts))
                switched = [1] * (SERVICE in kinds)
                each = [*switched, *[SECOND] * len(set(kinds) - {SERVICE})]
                return watched == followed and seen == sorted(each * len(namespaces))

            api.wait_until(is_followed, what="every release seen")
            for rollout in rollouts(parts):
                act(parts, config, rollout)
                tell(parts, rollout)
            write_status(api, parts, namespaces)
        elect(api, config)
        let_in(config)
        move_traffic(api, config)
        return called(api)


def elect(api: FakeKubeApi, config: Config) -> None:
    """Take and renew the lease, as the leader of several replicas does."""
    home, cluster = config.leadership.namespace, config.rollouts.kubernetes
    if home is None or cluster is None:
        return
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    connection = Connection(cluster_access(cluster))
    store = KubernetesLease(connection, home, config.leadership.name, lambda: 0.0)
    seen = store.read()
    for holder in ("one", "other"):
        seen = store.write(Lease(holder, 15.0, 0), seen)
    connection.close()


def let_in(config: Config) -> None:
    """Let somebody with a token of the cluster decide."""
    cluster = config.rollouts.kubernetes
    if config.http.login is None or cluster is None:
        return
    connection = Connection(cluster_access(cluster))
    person = ClusterLogin(connection, config.http.login).person(ANN, "http")
    assert person is not None
    assert person.may_decide is not None
    assert person.may_decide("shop", "checkout")
    connection.close()


def move_traffic(api: FakeKubeApi, config: Config) -> None:
    """Give another address to every record that ExternalDNS carries out."""
    if config.regions is None:
        return
    api.create(benches.CRD)
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}})
    with ExitStack() as stack:
        backends = dns_backends(config, config.regions, stack)
        for dns in config.regions.dns:
            assert isinstance(dns.provider, ExternalDnsSettings)
            wanted = [r for r in config.regions.records if r.dns == dns.name]
            for each in carried_out(dns.provider, wanted):
                api.create(each)
            for record in wanted:
                backend = backends[dns.name]
                seen = backend.read(record.name, record.type)
                assert isinstance(backend, Owned)
                assert backend.undone_by(record.name, record.type) is None
                moved = tuple(replace(m, values=("192.0.2.2",)) for m in seen.members)
                backend.swap(seen, replace(seen, members=moved))


def carried_out(
    settings: ExternalDnsSettings, records: Sequence[RecordSettings]
) -> Iterator[Manifest]:
    """Yield the objects of a backend, each leading its record to one address."""
    if settings.resource == "dnsendpoints":
        common = {"recordTTL": 60, "targets": ["192.0.2.1"]}
        endpoints = [{"dnsName": r.name, "recordType": r.type, **common} for r in records]
        yield {
            "apiVersion": GROUP,
            "kind": "DNSEndpoint",
            "metadata": {"name": settings.objects[0], "namespace": settings.namespace},
            "spec": {"endpoints": endpoints},
        }
        return
    kind = Kind.SERVICE if settings.resource == "services" else Kind.INGRESS
    for name, record in zip(settings.objects, records, strict=True):
        made = benches.annotated(kind, name, hostname=record.name, target="192.0.2.1")
        made["metadata"]["namespace"] = settings.namespace
        yield made | {"spec": {}}


CASES = {
    "defaults": ("shop",),
    "observe-only": ("shop",),
    "enforce-namespaced": ("shop", "pay"),
    "approve-cluster": ("shop", "pay"),
    "everything": ("shop",),
    "replicas": ("shop",),
    "gitops-hold": ("shop",),
    "blue-green": ("shop",),
    "people": ("shop",),
    "regions": ("shop",),
}
"""Where checkout is released, for each case."""


@pytest.mark.parametrize("case", CASES)
def test_every_right_is_used_and_every_call_is_granted(
    case: str, helm4: Helm, tmp_path: Path
) -> None:
    manifests = helm4.manifests(*options(case))
    rights, made = granted(manifests), calls(manifests, CASES[case], tmp_path)
    refused = {call for call in made if not any(right.covers(call) for right in rights)}
    unused = {right for right in rights if not any(right.covers(call) for call in made)}
    assert not refused
    assert not unused


def _right(need: Need) -> Right:
    right = need.right
    return Right(right.verb, right.group, right.resource, right.namespace)


def test_the_lease_is_the_only_one_that_may_be_changed(helm4: Helm, tmp_path: Path) -> None:
    manifests = helm4.manifests(*options("replicas"))
    with FakeKubeApi() as api:
        wanted = needs(configured(manifests, api, tmp_path))
    named = {(n.right.verb, n.right.name) for n in wanted if n.right.resource == "leases"}
    rules = [r for m in manifests if m["kind"] == "Role" for r in m["rules"]]
    bound = {(v, n) for r in rules for v in r["verbs"] for n in r.get("resourceNames", [""])}
    assert named == bound == {("create", ""), ("get", "rollbackd"), ("patch", "rollbackd")}


def test_only_the_named_objects_of_external_dns_may_be_changed(
    helm4: Helm, tmp_path: Path
) -> None:
    manifests = helm4.manifests(*options("regions"))
    with FakeKubeApi() as api:
        wanted = needs(configured(manifests, api, tmp_path))
    named = {(n.right.verb, n.right.resource, n.right.name) for n in wanted if n.right.name}
    rules = [
        rule
        for m in manifests
        if m["kind"] == "Role" and m["metadata"]["namespace"] == "edge"
        for rule in m["rules"]
    ]
    bound = {(v, r["resources"][0], *r["resourceNames"]) for r in rules for v in r["verbs"]}
    objects = {("dnsendpoints", "www"), ("services", "shop"), ("ingresses", "pay")}
    assert named == bound == {(verb, *each) for verb in ("get", "patch") for each in objects}


@pytest.mark.parametrize("case", CASES)
def test_the_daemon_asks_for_exactly_what_the_chart_grants(
    case: str, helm4: Helm, tmp_path: Path
) -> None:
    manifests = helm4.manifests(*options(case))
    with FakeKubeApi() as api:
        wanted = needs(configured(manifests, api, tmp_path))
    rights = granted(manifests)
    asked = {_right(need): need.essential for need in wanted}
    ungranted = {right for right in asked if right not in rights}
    assert not {right for right in ungranted if asked[right]}
    unasked = {right for right in rights if not any(wide.covers(right) for wide in asked)}
    # Which GitOps owners there may be is a matter of the chart, not of the daemon's configuration.
    unasked = {right for right in unasked if right.resource not in OWNERS_RESOURCES}
    assert not unasked
    # rights to act may be granted in fewer namespaces than are followed
    acting = {(right.verb, right.resource) for right in ungranted}
    assert acting <= {(right.verb, right.resource) for right in rights}


def test_observing_grants_no_verb_that_writes(helm4: Helm) -> None:
    for case in ("defaults", "observe-only"):
        verbs = {right.verb for right in granted(helm4.manifests(*options(case)))}
        assert verbs <= {"get", "list", "watch"}


def writing(helm4: Helm, case: str) -> set[Right]:
    rights = granted(helm4.manifests(*options(case)))
    return {right for right in rights if right.verb not in {"get", "list", "watch"}}


def test_acting_grants_one_verb_that_writes(helm4: Helm) -> None:
    plurals = ("deployments", "statefulsets", "daemonsets")
    patches = {Right("patch", "apps", plural, "shop") for plural in plurals}
    patches.add(Right("patch", "flagger.app", "canaries", "shop"))
    assert writing(helm4, "enforce-namespaced") == patches


def test_deleting_stuck_pods_must_be_asked_for(helm4: Helm) -> None:
    delete = Right("delete", "", "pods", "")
    assert delete in writing(helm4, "everything")
    assert delete not in writing(helm4, "approve-cluster")


def test_owners_are_only_read_unless_a_policy_holds_them(helm4: Helm) -> None:
    held = options("gitops-hold")
    for extra, verbs in (
        (("--set", "config.guards.gitops=warn"), {"get"}),
        ((), {"get", "patch"}),
    ):
        rights = granted(helm4.manifests(*held, *extra))
        owners = {r for r in rights if "." in r.group}
        assert {right.verb for right in owners} == verbs
        assert {right.resource for right in owners} == {
            "applications", "kustomizations", "helmreleases",
        }  # fmt: skip
        assert {right.namespace for right in owners} == {""}


def test_what_follows_no_cluster_has_no_rights(helm4: Helm) -> None:
    assert granted(helm4.manifests(*options("static-scrape"))) == set()
