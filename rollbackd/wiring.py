"""The composition root: from settings to concrete sources, rollouts and actuators."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from actions import gitops_hold
from actions.apply import always
from actions.argo_abort import KIND as ARGO
from actions.argo_abort import ArgoAbort
from actions.by_kind import ByKind
from actions.canary_scale import KIND as CANARY_DEPLOYMENT
from actions.canary_scale import CanaryScale
from actions.gitops_hold import GitOpsHold, GitOpsOwners
from actions.kubernetes_rollback import KubernetesRollback
from actions.nginx_switch import Installation, NginxSwitch
from actions.ports import Actuator, SchemaGuard
from actions.schema_annotations import AnnotatedSchema
from actions.set_rollback import PLURALS, SetRollback
from actions.splitter_switch import SplitterSwitch
from actions.upstream_file import Servers
from analyzer.ports import MetricSource, RolloutSource
from analyzer.rollout import Workload
from analyzer.traces.operations import TraceSource
from rollbackd.cache_telemetry import Kept
from rollbackd.config.settings import (
    ActionSettings,
    Config,
    EndpointSettings,
    KubernetesRollbackSettings,
    KubernetesSettings,
    NginxSwitchSettings,
    PrometheusSettings,
    RecordedSettings,
    ScrapeSettings,
    SplitterSwitchSettings,
)
from rollbackd.holds import Pauses, Standings
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.notifiers.port import Notifier
from rollbackd.sources.http_access import BasicAuth, HttpAccess
from rollbackd.traces.fates import Fate

if TYPE_CHECKING:
    from rollbackd.policies.clerk import StatusApi
    from rollbackd.policies.source import PolicyResources
    from rollbackd.sources.prometheus import PrometheusSource
    from rollbackd.traces.exemplars import ExemplarDesk

EXEMPLARS_S = 3.0
"""The tick does not wait longer for exemplars: they are a courtesy."""
SLACK_S = 60.0
"""The scraper remembers this much more than the longest history that is asked for."""

LEFT_TO_FLAGGER = (
    "Flagger goes back by itself when its own analysis fails, and would misread what others change; "
    "stop it there, by hand or by a webhook of type rollback"
)
"""Why a plan for a Canary is refused."""

Permit = Callable[[], None]
"""Returns when this process may change the world now; raises Fenced otherwise."""

KnownGood = Callable[[Workload], tuple[str, ...]]
"""Returns the ids of a workload's revisions whose watch ended healthy, the newest first."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters that the configuration asks for.

    ``schemas``: who knows whether a database schema allows a way back. ``holdings``: what shows
    and what pauses the workloads that can be held. ``policies``: those of the cluster, and the
    connection by which their status is written.
    """

    source: MetricSource
    rollouts: tuple[RolloutSource, ...]
    actuators: Mapping[str, Actuator]
    schemas: tuple[SchemaGuard, ...] = ()
    holdings: tuple[Standings, Pauses] | None = None
    policies: "tuple[PolicyResources, StatusApi] | None" = None
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    traces: TraceSource | None = None
    exemplars: "ExemplarDesk | None" = None
    span_fates: Callable[[], Mapping[Fate, int]] = dict
    stack: ExitStack = field(default_factory=ExitStack)

    def caches(self) -> tuple[Kept, ...]:
        """Return the caches of the cluster; none when none is followed."""
        from rollbackd.rollouts.kubernetes import KubernetesRollouts  # noqa: PLC0415  only when used

        followed = (each for each in self.rollouts if isinstance(each, KubernetesRollouts))
        own = () if self.policies is None else self.policies[0].reflectors
        return (*(cache for each in followed for cache in each.reflectors), *own)

    def close(self) -> None:
        """Release everything."""
        self.stack.close()


def assemble(config: Config, known_good: KnownGood, permit: Permit = always) -> Parts:
    """Build and start every adapter.

    Args:
        config: validated settings.
        known_good: which revisions of a workload are good to go back to.
        permit: raises Fenced when this process may change nothing.

    Raises:
        ActionError, SecretError or ValueError: one cannot be built; those before it are closed.
    """
    with ExitStack() as stack:
        access = config.rollouts.kubernetes
        cluster = Connection(cluster_access(access), permit) if access is not None else None
        if cluster is not None:
            stack.callback(cluster.close)
        owners = None
        if cluster is not None and access is not None:
            owners = GitOpsOwners(cluster, access.argocd_namespace)
        actuators = {action.name: _actuator(action, cluster, owners) for action in config.actions}
        schemas: tuple[SchemaGuard, ...] = ()
        if cluster is not None and owners is not None:
            actuators[gitops_hold.NAME] = GitOpsHold(cluster, owners)
            schemas = (AnnotatedSchema(cluster),)
        source = metric_source(config)
        stack.callback(source.close)
        traces: TraceSource | None = None
        span_fates: Callable[[], Mapping[Fate, int]] = dict
        if config.traces is not None:
            from rollbackd.traces.wiring import TraceParts  # noqa: PLC0415  only when used

            parts = TraceParts.build(config.traces, http_access)
            stack.callback(parts.intake.close)
            parts.intake.start()
            source, traces = parts.beside(source), parts.counters
            span_fates = parts.fates
        exemplars = _exemplars(config)
        if exemplars is not None:
            stack.callback(exemplars.close)
        policies = _policy_resources(config, cluster)
        if policies is not None:
            stack.callback(policies[0].close)
        rollouts = _rollout_sources(config, cluster, known_good, policies)
        for each in rollouts:
            stack.callback(each.close)
        notifiers = _notifiers(config, cluster)
        holdings = _holdings(rollouts, cluster)
        return Parts(
            source,
            rollouts,
            actuators,
            schemas=schemas,
            holdings=holdings,
            policies=policies,
            notifiers=notifiers,
            traces=traces,
            exemplars=exemplars,
            span_fates=span_fates,
            stack=stack.pop_all(),
        )


def _exemplars(config: Config) -> "ExemplarDesk | None":
    """Return who looks for exemplars where a Prometheus may have some."""
    if not isinstance(config.source, PrometheusSettings):
        return None
    from rollbackd.sources.prometheus_session import QueryLimits  # noqa: PLC0415  only when used
    from rollbackd.traces.backends.server import Backend  # noqa: PLC0415
    from rollbackd.traces.exemplars import ExemplarDesk  # noqa: PLC0415

    limits = QueryLimits(timeout_s=EXEMPLARS_S, retries=0)
    backend = Backend(config.source.url, http_access(config.source), limits)
    link = config.traces.address if config.traces is not None else lambda _: ""
    return ExemplarDesk(backend, link)


def metric_source(config: Config) -> MetricSource:
    """Build the configured metric source, started where it works on its own."""
    match config.source:
        case PrometheusSettings() as settings:
            return prometheus_source(settings)
        case ScrapeSettings() as settings:
            return _scraper(settings, config)
        case RecordedSettings(files=files):
            from rollbackd.sources.recorded import RecordedSource  # noqa: PLC0415  only when used

            return RecordedSource(files)
        case _:
            assert_never(config.source)


def prometheus_source(settings: PrometheusSettings) -> "PrometheusSource":
    """Build a source that asks a Prometheus."""
    from rollbackd.sources.prometheus import PrometheusSource  # noqa: PLC0415  only when used
    from rollbackd.sources.prometheus_session import QueryLimits  # noqa: PLC0415

    limits = QueryLimits(timeout_s=settings.timeout_s, max_answer_bytes=settings.max_reply_bytes)
    return PrometheusSource(settings.url, access=http_access(settings), limits=limits)


def http_access(settings: EndpointSettings) -> HttpAccess:
    """Return how a configured server lets us in; tokens of the environment are read here."""
    headers = dict(settings.headers)
    token = settings.bearer_token
    if token is not None and token.file is None:
        headers["Authorization"] = f"Bearer {token.read()}"
    auth = settings.basic_auth
    return HttpAccess(
        headers=tuple(headers.items()),
        bearer_token_file=token.file if token is not None else None,
        basic_auth=BasicAuth(auth.username, auth.password.read()) if auth is not None else None,
        ca_file=settings.tls.ca_file,
        verify_tls=settings.tls.verified,
        cert_file=settings.tls.cert_file,
        key_file=settings.tls.key_file,
    )


def _scraper(settings: ScrapeSettings, config: Config) -> MetricSource:
    from rollbackd.sources.scrape import ScrapeSettings as Pace  # noqa: PLC0415  only when used
    from rollbackd.sources.scrape import ScrapeSource  # noqa: PLC0415
    from rollbackd.sources.targets import ScrapeJob, TargetGroup  # noqa: PLC0415

    longest = max(rule.policy.history_s for rule in config.policies)
    pace = Pace(
        interval_s=settings.interval_s,
        timeout_s=settings.timeout_s,
        max_page_bytes=settings.max_reply_bytes,
        retention_s=max(longest + SLACK_S, 600.0),
    )
    job = ScrapeJob(
        name="rollbackd",
        groups=tuple(TargetGroup((t.address,), t.labels) for t in settings.targets),
        files=(settings.targets_file,) if settings.targets_file is not None else (),
    )
    source = ScrapeSource([job], pace)
    source.start()
    return source


def _policy_resources(
    config: Config, cluster: Connection | None
) -> "tuple[PolicyResources, StatusApi] | None":
    """Return the policies of the cluster, followed, and who writes their status."""
    watched = config.rollouts.kubernetes
    if cluster is None or watched is None or watched.policy_resources is None:
        return None
    from rollbackd.config.manifests import Limits  # noqa: PLC0415  only when used
    from rollbackd.policies.source import PolicyResources  # noqa: PLC0415

    limits = Limits.of(config)
    policies = PolicyResources(cluster, watched.cluster, limits, namespaces=watched.namespaces)
    policies.start()
    return policies, cluster


def _rollout_sources(
    config: Config,
    cluster: Connection | None,
    known_good: KnownGood,
    policies: "tuple[PolicyResources, StatusApi] | None",
) -> tuple[RolloutSource, ...]:
    sources: list[RolloutSource] = []
    settings = config.rollouts
    if settings.kubernetes is not None and cluster is not None:
        from rollbackd.rollouts.derivation import Reading  # noqa: PLC0415  only when used
        from rollbackd.rollouts.kubernetes import KubernetesRollouts  # noqa: PLC0415

        watched = settings.kubernetes
        # a fast rolling update is complete long before its watch is over
        longest = max(rule.policy.horizon_s for rule in config.policies)
        reading = Reading(
            cluster=watched.cluster,
            id_labels=watched.id_labels,
            follow_for_s=max(watched.follow_for_s, longest + SLACK_S),
            known_good=known_good,
            longest_s=_longest(policies),
        )
        rollouts = KubernetesRollouts(
            cluster,
            reading,
            namespaces=watched.namespaces,
            selector=watched.label_selector or "",
            kinds=watched.kinds,
        )
        rollouts.start()
        sources.append(rollouts)
    if settings.static or settings.static_file is not None:
        from rollbackd.rollouts.static import StaticRollouts  # noqa: PLC0415  only when used

        sources.append(StaticRollouts(settings.static, file=settings.static_file, clock=time.time))
    return tuple(sources)


def _longest(
    policies: "tuple[PolicyResources, StatusApi] | None",
) -> Callable[[], Mapping[str, float]]:
    """Return what tells how long a complete rollout may still be watched by the cluster's policies."""
    if policies is None:
        return dict
    resources = policies[0]

    def longest() -> Mapping[str, float]:
        horizons = resources.longest_horizons_s()
        return {namespace: seconds + SLACK_S for namespace, seconds in horizons.items()}

    return longest


def _notifiers(config: Config, cluster: Connection | None) -> dict[str, Notifier]:
    """Return who tells of watches in the cluster itself, by name."""
    watched = config.rollouts.kubernetes
    if cluster is None or watched is None or not watched.events:
        return {}
    from rollbackd.notifiers.cluster_events import ClusterEvents  # noqa: PLC0415  only when used

    return {"kubernetes-events": ClusterEvents(cluster, watched.cluster)}


def _holdings(
    rollouts: tuple[RolloutSource, ...], cluster: Connection | None
) -> tuple[Standings, Pauses] | None:
    """Return how Deployments are held, also when no policy holds any: marks may be left."""
    if cluster is None:
        return None
    from actions.kubernetes_pause import KubernetesPause  # noqa: PLC0415  only when used
    from rollbackd.rollouts.kubernetes import KubernetesRollouts  # noqa: PLC0415

    followed = next(each for each in rollouts if isinstance(each, KubernetesRollouts))
    return followed, KubernetesPause(cluster)


def cluster_access(settings: KubernetesSettings) -> ClusterAccess:
    """Return which API server is meant, and as whom it is called."""
    return ClusterAccess(
        server=settings.server,
        kubeconfig=settings.kubeconfig,
        context=settings.context,
        in_cluster=settings.in_cluster,
    )


def _actuator(
    settings: ActionSettings, cluster: Connection | None, owners: GitOpsOwners | None
) -> Actuator:
    match settings:
        case KubernetesRollbackSettings(name=name):
            if cluster is None:
                raise ValueError(f"action {name} needs rollouts.kubernetes")
            return _rollback(settings, cluster, owners)
        case NginxSwitchSettings():
            return NginxSwitch(
                upstream_file=settings.upstream_file,
                upstream=settings.upstream,
                servers=_servers(settings),
                installation=Installation(
                    program=settings.nginx,
                    config=settings.config,
                    pid_file=settings.pid_file,
                    probe=settings.probe,
                ),
                name=settings.name,
            )
        case SplitterSwitchSettings(name=name, file=file):
            return SplitterSwitch(file=file, servers=_servers(settings), name=name)
        case _:
            assert_never(settings)


def _rollback(
    settings: KubernetesRollbackSettings, cluster: Connection, owners: GitOpsOwners | None
) -> Actuator:
    from rollbackd.rollouts.flagger import KIND as FLAGGER  # noqa: PLC0415  only when used

    name = settings.name
    sets = SetRollback(cluster, pods=cluster if settings.delete_stuck_pods else None, name=name)
    by_kind: dict[str, Actuator] = {
        "Deployment": KubernetesRollback(cluster, name=name, owners=owners),
        CANARY_DEPLOYMENT: CanaryScale(cluster, name=name),
        ARGO: ArgoAbort(cluster, name=name),
        **dict.fromkeys(PLURALS, sets),
    }
    return ByKind(by_kind, name, {FLAGGER: LEFT_TO_FLAGGER})


def _servers(settings: NginxSwitchSettings | SplitterSwitchSettings) -> Servers:
    return Servers(frozenset(settings.baseline_servers), frozenset(settings.canary_servers))
