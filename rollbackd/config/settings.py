"""The configuration as the daemon sees it: frozen values, validated, all times in seconds.

File names are absolute, or relative to the working directory; those of the YAML file were
relative to that file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

from actions.canary_scale import KIND as CANARY_DEPLOYMENT
from actions.guards.settings import GuardSettings
from actions.hold_settings import HoldSettings
from analyzer.policy import NOT_WATCHED, Mode, Policy
from analyzer.rollout import Rollout
from rollbackd.config.notifiers import NotifierSettings
from rollbackd.config.region_settings import RegionsSettings
from rollbackd.config.secrets import Secret
from rollbackd.notifiers.links import NO_LINKS, Links

if TYPE_CHECKING:
    from rollbackd.config.trace_settings import TraceSettings
    from rollbackd.config.train_settings import TrainSettings


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Where the journal is kept.

    Attributes:
        url: of an SQLite file, with its absolute path; "" when it is in PostgreSQL.
        dsn: where the address of the PostgreSQL database is, which holds a password.
    """

    url: str = ""
    dsn: Secret | None = None

    def address(self) -> str:
        """Return what the store is opened with; not for messages. Raises SecretError."""
        return self.url if self.dsn is None else self.dsn.read()

    def __str__(self) -> str:
        """Say where it is, without what is secret."""
        return self.url if self.dsn is None else f"PostgreSQL, with the address in {self.dsn}"


@dataclass(frozen=True, slots=True)
class LeadershipSettings:
    """How replicas find out which of them acts.

    Attributes:
        namespace, name: of the Kubernetes Lease; no namespace: a row in the journal's database.
        duration_s: others wait this long for a sign of life before they take over.
        renew_by_s: a leader that could not renew for so long stops acting; less than duration_s.
        retry_s: between two tries to renew, or to take over.
        address: URL of this replica's HTTP server, by which the others reach it, or "".
    """

    namespace: str | None = None
    name: str = "rollbackd"
    duration_s: float = 15.0
    renew_by_s: float = 10.0
    retry_s: float = 2.0
    address: str = ""


Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """A proxy in front of us that signs people in (OIDC) and says who they are in headers.

    Attributes:
        user_header: holds the user's id. groups_header: their groups, separated by commas, or "".
        networks: where the proxy's requests come from. From elsewhere the headers mean nothing:
            anybody could write them.
    """

    user_header: str
    groups_header: str
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class ClusterLogin:
    """People sign in with tokens of the cluster that rollouts come from.

    Attributes:
        verb, resource: of the right that it takes to decide, asked for in the workload's namespace
            and for its name; ``resource`` is ``plural.group``, and need not exist.
        audiences: whom tokens must be made for; empty = the API server.
    """

    verb: str = "decide"
    resource: str = "rollouts.rollbackd.io"
    audiences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the daemon answers: the API, ``/metrics``, ``/healthz``, ``/readyz``.

    ``token`` is what those who decide about a plan must send; None = nobody decides over HTTP.
    ``proxy`` signs people in and says who they are; ``login`` lets people in who have a token of the
    cluster. With neither, only the token lets people decide.
    """

    host: str
    port: int
    token: Secret | None = None
    proxy: TrustedProxy | None = None
    login: ClusterLogin | None = None

    @property
    def proxies(self) -> tuple[TrustedProxy, ...]:
        """The proxies whose word about people counts."""
        return () if self.proxy is None else (self.proxy,)

    @property
    def url(self) -> str:
        """The address for clients on this machine, without a slash at its end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read only
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user's name and password for HTTP basic authentication."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a server is verified and how we show who we are; files are PEM, read at connection."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """A server to ask over HTTP.

    Attributes:
        url: its base address, without a slash at its end.
        timeout_s: how long one query may take.
        max_reply_bytes: a longer answer is cut off and counts as missing.
    """

    url: str
    timeout_s: float
    max_reply_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)
    bearer_token: Secret | None = None
    basic_auth: BasicAuth | None = None
    tls: TlsSettings = TlsSettings()

    def secrets(self) -> dict[str, Secret]:
        """Return its secrets by key."""
        found = {}
        if self.bearer_token is not None:
            found["bearer_token"] = self.bearer_token
        if self.basic_auth is not None:
            found["basic_auth.password"] = self.basic_auth.password
        return found


@dataclass(frozen=True, slots=True)
class PrometheusSettings(EndpointSettings):
    """A Prometheus, Thanos, Mimir or VictoriaMetrics to ask; without ``/api/v1``."""


@dataclass(frozen=True, slots=True)
class Target:
    """One ``host:port`` whose ``/metrics`` is scraped; its labels are added to every series."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """The built-in scraper.

    Attributes:
        targets: scraped always. targets_file: more targets in Prometheus' ``file_sd`` format,
            re-read when the file changes.
        max_reply_bytes: a longer page is not read to its end and counts as missing.
    """

    interval_s: float
    timeout_s: float
    max_reply_bytes: int
    targets: tuple[Target, ...] = ()
    targets_file: Path | None = None


@dataclass(frozen=True, slots=True)
class RecordedSettings:
    """Recorded data in OpenMetrics text, for replays."""

    files: tuple[Path, ...]


SourceSettings = PrometheusSettings | ScrapeSettings | RecordedSettings


@dataclass(frozen=True, slots=True)
class PolicyResourcesSettings:
    """How far policies go that are read from the cluster, whatever they say themselves.

    Attributes:
        mode: the furthest. actions: those they may use, by name; None = every rollback in the
            cluster, which stays in the workload's namespace.
    """

    mode: Mode = Mode.OBSERVE
    actions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """A cluster whose workloads are watched.

    Attributes:
        cluster: its name in watch ids and messages.
        in_cluster: use the pod's service account; None = when there is one and nothing else said.
        server: address of an API server without authentication (``kubectl proxy``, tests).
        namespaces: only these; empty = all.
        label_selector: only workloads with these labels, in Kubernetes' syntax.
        kinds: only these kinds of workloads.
        events: an Event is written on the workload for each change of a watch.
        follow_for_s: a complete rollout is still watched this long.
        id_labels: metric labels that hold the namespace and the pod's name, in this order; a
            single one holds the pod's name.
        argocd_namespace: where Argo CD's Applications are.
        policy_resources: RollbackPolicy resources are read, and count so much; None = they are not.
    """

    cluster: str
    follow_for_s: float
    id_labels: tuple[str, ...]
    context: str | None = None
    kubeconfig: Path | None = None
    in_cluster: bool | None = None
    server: str | None = None
    namespaces: tuple[str, ...] = ()
    label_selector: str | None = None
    kinds: tuple[str, ...] = ("Deployment", "StatefulSet", "DaemonSet")
    events: bool = False
    argocd_namespace: str = "argocd"
    policy_resources: PolicyResourcesSettings | None = None


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """The instances that run one version; ``label`` is the version's name."""

    label: str
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StaticRollout:
    """Two named groups of instances; without canary instances nothing is being rolled out.

    ``id_label`` is the metric label that holds an instance's name.
    """

    name: str
    namespace: str
    cluster: str
    id_label: str
    baseline: InstanceGroup
    canary: InstanceGroup
    policy: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutsSettings:
    """Where rollouts come from; at least one of the three is there.

    ``static_file`` holds more static rollouts and is re-read when it changes.
    """

    kubernetes: KubernetesSettings | None = None
    static: tuple[StaticRollout, ...] = ()
    static_file: Path | None = None


@dataclass(frozen=True, slots=True)
class KubernetesRollbackSettings:
    """Rolls a workload back, in the cluster that ``rollouts.kubernetes`` names.

    ``delete_stuck_pods``: pods that keep a StatefulSet from going back may be deleted.
    """

    name: str
    delete_stuck_pods: bool = False


@dataclass(frozen=True, slots=True)
class NginxSwitchSettings:
    """Writes an NGINX upstream with the baseline's servers only, tests it and reloads.

    Attributes:
        upstream_file: the file with the ``upstream`` block, which rollbackd owns.
        upstream: the block's name. nginx: the program. config: its main file, None = its own.
        pid_file: of the master, None = as its configuration says.
        probe: an address that must answer after the reload, or None.
        baseline_servers, canary_servers: what follows ``server`` in the block; empty = the ids of
            the rollout's instances.
    """

    name: str
    upstream_file: Path
    upstream: str
    nginx: str
    config: Path | None = None
    pid_file: Path | None = None
    probe: str | None = None
    baseline_servers: tuple[str, ...] = ()
    canary_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitterSwitchSettings:
    """Switches the built-in traffic splitter by the file it reads; servers as with NGINX."""

    name: str
    file: Path
    baseline_servers: tuple[str, ...] = ()
    canary_servers: tuple[str, ...] = ()


ActionSettings = KubernetesRollbackSettings | NginxSwitchSettings | SplitterSwitchSettings


@dataclass(frozen=True, slots=True)
class Match:
    """Which rollouts a policy is for; every part that is not empty must fit.

    ``namespaces`` and ``names`` may hold shell patterns (``shop-*``); labels must be equal.
    ``kinds``: of workloads; a canary Deployment beside a stable one is a Deployment, too.
    """

    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()

    def fits(self, rollout: Rollout) -> bool:
        """Say whether the policy is for this rollout."""
        workload = rollout.workload
        return (
            _any_fits(self.namespaces, workload.namespace)
            and _any_fits(self.names, workload.name)
            and all(rollout.labels.get(key) == value for key, value in self.labels.items())
            and (not self.kinds or _PLAIN_KINDS.get(workload.kind, workload.kind) in self.kinds)
        )


_PLAIN_KINDS = {CANARY_DEPLOYMENT: "Deployment"}
"""Kinds of our own, and what people call them in a policy."""


def _any_fits(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Deciders:
    """Who may decide about a rollout by a message's buttons.

    Attributes:
        users: ids, names or addresses as the messenger knows them. groups: ids of user groups.
        four_eyes: the author of a change does not decide about it.
    """

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    four_eyes: bool = False


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A policy, the rollouts it is for, who may decide about them, and the guards of its plans.

    ``hold``: when its rolling updates are held back to be judged; None when they are not.
    """

    policy: Policy
    match: Match = Match()
    deciders: Deciders = Deciders()
    guards: GuardSettings = field(default_factory=GuardSettings)
    hold: HoldSettings | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a user can set.

    Attributes:
        file: where it was read. tick_s: how often everything is looked at.
        settle_s: samples younger than this are not looked at yet.
        policies: in the file's order; names are unique.
        leadership: used when the journal may have several replicas, in PostgreSQL that is.
        guards: those of all policies.
    """

    file: Path
    tick_s: float
    settle_s: float
    journal: JournalSettings
    http: HttpSettings
    source: SourceSettings
    rollouts: RolloutsSettings
    actions: tuple[ActionSettings, ...]
    policies: tuple[PolicyRule, ...]
    traces: "TraceSettings | None" = None
    notifiers: tuple[NotifierSettings, ...] = ()
    links: Links = NO_LINKS
    regions: RegionsSettings | None = None
    trains: tuple["TrainSettings", ...] = ()
    leadership: LeadershipSettings = LeadershipSettings()
    guards: GuardSettings = field(default_factory=GuardSettings)

    @property
    def rollbacks(self) -> tuple[str, ...]:
        """Names of the actions that roll back in the cluster."""
        return tuple(a.name for a in self.actions if isinstance(a, KubernetesRollbackSettings))

    @property
    def resource_actions(self) -> tuple[str, ...]:
        """Names of the actions that policies of the cluster may use."""
        cluster = self.rollouts.kubernetes
        if cluster is None or cluster.policy_resources is None:
            return ()
        named = cluster.policy_resources.actions
        return self.rollbacks if named is None else named

    def policy_for(self, rollout: Rollout) -> Policy | None:
        """Return the policy of a rollout, or None when nobody asked to watch it.

        The policy that the workload names itself wins; else the first that matches, in the
        file's order. A workload that names a policy which does not exist gets none: another
        one could do more than its owner wants. One that says so is left alone altogether.
        """
        if rollout.mode == NOT_WATCHED:
            return None
        if rollout.policy is not None:
            return self.named(rollout.policy)
        return next((rule.policy for rule in self.policies if rule.match.fits(rollout)), None)

    def named(self, name: str) -> Policy | None:
        """Return the policy of this name, or None when there is none."""
        return next((r.policy for r in self.policies if r.policy.name == name), None)

    def lapsed(self, name: str) -> bool:
        """Tell whether there is no policy of this name."""
        return self.named(name) is None

    def deciders(self, name: str) -> Deciders:
        """Return who may decide under the policy of this name; nobody when there is none."""
        found = (r.deciders for r in self.policies if r.policy.name == name)
        return next(found, Deciders())

    def secrets(self) -> dict[str, Secret]:
        """Return every secret by the key path it is configured at."""
        found = {}
        if self.journal.dsn is not None:
            found["journal.dsn"] = self.journal.dsn
        if self.http.token is not None:
            found["http.token"] = self.http.token
        for notifier in self.notifiers:
            for what, secret in notifier.secrets().items():
                found[f"notifiers.{notifier.name}.{what}"] = secret
        if self.regions is not None:
            found |= self.regions.secrets()
        for train in self.trains:
            found |= {f"trains.{train.name}.{key}": s for key, s in train.secrets().items()}
        asked: dict[str, EndpointSettings] = {}
        if isinstance(self.source, PrometheusSettings):
            asked["source.prometheus"] = self.source
        if self.traces is not None:
            asked |= {f"traces.{name}": end for name, end in self.traces.endpoints().items()}
        for where, endpoint in asked.items():
            found |= {f"{where}.{key}": value for key, value in endpoint.secrets().items()}
        return found
