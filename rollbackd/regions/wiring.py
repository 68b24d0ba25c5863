"""From the settings of ``regions`` to a keeper with its sources, backends and applier."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from actions.apply import Applier
from actions.dns.ports import DnsBackend
from actions.dns.switch import NAME, DnsSwitch
from actions.gitops_hold import GitOpsOwners
from actions.guards.guard import OwnerRule
from actions.ports import Journal, Permanent
from actions.regions.guards import Capacity
from analyzer.sample import Absence, Missing
from rollbackd.collect import Collector
from rollbackd.config.region_settings import (
    CloudDnsSettings,
    CloudflareSettings,
    DnsSettings,
    ExternalDnsSettings,
    MemberSettings,
    OctoDnsSettings,
    RegionsSettings,
    Rfc2136Settings,
    Route53Settings,
)
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.config.settings import Config
from rollbackd.kubernetes.connection import Connection
from rollbackd.regions.assessor import Assessor
from rollbackd.regions.causes import causes_of
from rollbackd.regions.keeper import RegionKeeper
from rollbackd.regions.mover import KeptRecord, Mover, Routes
from rollbackd.regions.source import RegionalSource
from rollbackd.telemetry import Telemetry
from rollbackd.views import WatchView
from rollbackd.wiring import cluster_access, prometheus_source

if TYPE_CHECKING:
    from actions.dns.authority import Authority
    from actions.dns.rest import Session
    from actions.dns.route53 import Client
    from rollbackd.sources.prometheus import PrometheusSource


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the daemon lends to regions.

    Attributes:
        pause: waits so many seconds, and tells whether to go on.
        permit: raises Fenced when another process leads.
        views: what is watched now.
    """

    journal: Journal
    telemetry: Telemetry
    now: Callable[[], float]
    pause: Callable[[float], bool]
    permit: Callable[[], None]
    views: Callable[[], tuple[WatchView, ...]]


def region_keeper(
    config: Config, settings: RegionsSettings, around: Surroundings, stack: ExitStack
) -> RegionKeeper:
    """Build the keeper of the configured regions; ``stack`` closes what it needs, but not itself.

    Raises:
        ActionError, SecretError or ValueError: a part cannot be built.
    """
    sources = {m.name: prometheus_source(m.prometheus) for m in settings.members}
    source = RegionalSource(sources)
    stack.callback(source.close)
    backends = dns_backends(config, settings, stack)
    names = [member.name for member in settings.members]
    assessor = Assessor(
        names,
        settings.compare,
        settings.id_labels,
        source,
        Collector(source, config.tick_s, config.settle_s, around.telemetry),
        around.now,
    )
    mover = Mover(
        backends=backends,
        routes=routes_of(settings),
        capacities=lambda: _capacities(settings.members, sources, around.now()),
        applier=Applier(
            {NAME: DnsSwitch(backends)},
            around.journal,
            around.now,
            around.pause,
            permit=around.permit,
        ),
        journal=around.journal,
        now=around.now,
        refuse_owned=config.guards.gitops is not OwnerRule.WARN,
    )
    clusters = {member.name: member.clusters for member in settings.members}
    return RegionKeeper(
        names=names,
        policy=settings.moves,
        assessor=assessor,
        mover=mover,
        journal=around.journal,
        causes=lambda: causes_of(around.views(), clusters),
        now=around.now,
    )


def routes_of(settings: RegionsSettings) -> Routes:
    """Return what is moved, and how."""
    records = (KeptRecord(r.dns, r.name, r.type, r.endpoints) for r in settings.records)
    return Routes(tuple(records), settings.steps, settings.limits)


def dns_backends(
    config: Config, settings: RegionsSettings, stack: ExitStack
) -> Mapping[str, DnsBackend]:
    """Build every DNS backend; libraries of providers that are not used are not loaded."""
    return {each.name: _backend(config, each, stack) for each in settings.dns}


def _backend(config: Config, settings: DnsSettings, stack: ExitStack) -> DnsBackend:
    from actions.dns.authority import AuthoritativeServers, Nameserver  # noqa: PLC0415  when used

    provider = settings.provider
    servers = [Nameserver(f"{host}:{port}", host, port) for host, port in settings.nameservers]
    authority = AuthoritativeServers(provider.zone, servers)
    match provider:
        case Rfc2136Settings():
            from actions.dns.rfc2136 import DynamicUpdate, Key  # noqa: PLC0415  when used

            host, port = provider.server
            return DynamicUpdate(
                zone=provider.zone,
                primary=Nameserver(f"{host}:{port}", host, port),
                key=Key(provider.key_name, provider.algorithm, _reader(provider.key)),
                authority=authority,
                timeout_s=provider.timeout_s,
            )
        case Route53Settings():
            from actions.dns.route53 import Route53  # noqa: PLC0415  boto3 takes a second

            client = _aws(provider)
            stack.callback(client.close)
            return Route53(zone_id=provider.zone_id, client=client, authority=authority)
        case CloudDnsSettings():
            from actions.dns.cloud_dns import CloudDns  # noqa: PLC0415  when used

            return CloudDns(
                project=provider.project,
                zone=provider.managed_zone,
                session=_google(provider),
                authority=authority,
                timeout_s=provider.timeout_s,
            )
        case CloudflareSettings():
            from actions.dns.cloudflare import Cloudflare  # noqa: PLC0415  when used
            from actions.dns.rest import TokenSession  # noqa: PLC0415

            session = TokenSession(_reader(provider.token))
            stack.callback(session.close)
            return Cloudflare(
                zone_id=provider.zone_id,
                session=session,
                authority=authority,
                timeout_s=provider.timeout_s,
            )
        case ExternalDnsSettings():
            access = config.rollouts.kubernetes
            if access is None:
                raise ValueError(f"regions.dns {settings.name} needs rollouts.kubernetes")
            cluster = Connection(cluster_access(access))
            stack.callback(cluster.close)
            owners = GitOpsOwners(cluster, access.argocd_namespace)
            return _external_dns(provider, cluster, owners, authority)
        case OctoDnsSettings():
            return _octodns(settings.name, provider, authority)
        case _:
            assert_never(provider)


def _external_dns(
    settings: ExternalDnsSettings,
    cluster: Connection,
    owners: GitOpsOwners,
    authority: "Authority",
) -> DnsBackend:
    from actions.dns.annotated import AnnotatedObjects, Kind, Objects  # noqa: PLC0415  when used
    from actions.dns.external_dns import ExternalDns  # noqa: PLC0415

    if settings.resource == "dnsendpoints":
        return ExternalDns(
            cluster,
            namespace=settings.namespace,
            name=settings.objects[0],
            zone=settings.zone,
            authority=authority,
            owners=owners,
        )
    kind = Kind.SERVICE if settings.resource == "services" else Kind.INGRESS
    return AnnotatedObjects(
        cluster,
        Objects(
            kind,
            settings.namespace,
            settings.objects,
            settings.annotation_prefix,
            settings.interval_s,
        ),
        zone=settings.zone,
        authority=authority,
        owners=owners,
    )


def _octodns(name: str, settings: OctoDnsSettings, authority: "Authority") -> DnsBackend:
    try:
        from actions.dns.octodns_bridge import OctoDns, provider_class  # noqa: PLC0415  when used
    except ImportError as error:
        raise ValueError(f"regions.dns {name} needs: pip install 'rollbackd[octodns]'") from error
    return OctoDns(
        zone=settings.zone,
        provider=provider_class(settings.provider),
        arguments={
            key: _reader(value) if isinstance(value, Secret) else value
            for key, value in settings.arguments.items()
        },
        authority=authority,
        max_records=settings.max_records,
    )


def _reader(secret: Secret) -> Callable[[], str]:
    """Return what reads a secret at every use; that it is not there is for a person to mend."""

    def read() -> str:
        try:
            return secret.read()
        except SecretError as error:
            raise Permanent(str(error)) from error

    return read


def _aws(settings: Route53Settings) -> "Client":
    import boto3  # noqa: PLC0415  boto3 takes a second
    from botocore.config import Config as AwsConfig  # noqa: PLC0415

    # Route 53 is one service for the world; the region only chooses where requests are signed for
    client: Client = boto3.client(
        "route53",
        region_name="us-east-1",
        endpoint_url=settings.endpoint,
        config=AwsConfig(
            connect_timeout=settings.timeout_s,
            read_timeout=settings.timeout_s,
            retries={"total_max_attempts": 1},  # the applier tries again, with what it knows
        ),
    )
    return client


def _google(settings: CloudDnsSettings) -> "Session":
    import google.auth  # noqa: PLC0415  when used
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

    scopes = ["https://www.googleapis.com/auth/ndev.clouddns.readwrite"]
    try:
        if settings.credentials_file is not None:
            file = str(settings.credentials_file)
            credentials, _ = google.auth.load_credentials_from_file(  # type: ignore[no-untyped-call]
                file, scopes=scopes
            )
        else:
            credentials, _ = google.auth.default(scopes=scopes)
    except (GoogleAuthError, OSError) as error:
        kind = type(error).__name__
        raise ValueError(f"Cloud DNS: there are no usable credentials ({kind})") from error
    session: Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return session


def _capacities(
    members: tuple[MemberSettings, ...], sources: "Mapping[str, PrometheusSource]", now: float
) -> dict[str, Capacity]:
    """Ask every region what it carries and could carry."""
    nothing = Missing(Absence.NO_SERIES, "no PromQL for it is configured")
    found = {}
    for member in members:
        source = sources[member.name]
        load = nothing if member.load is None else source.value(member.load, now)
        limit = nothing if member.capacity is None else source.value(member.capacity, now)
        found[member.name] = Capacity(load, limit, member.assume_capacity)
    return found
