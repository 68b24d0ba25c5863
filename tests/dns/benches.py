"""A world for each DNS backend: a zone with one record that tests may change and disturb."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

from actions.dns.annotated import AnnotatedObjects, Kind, Objects
from actions.dns.authority import AuthoritativeServers, Nameserver
from actions.dns.cloud_dns import CloudDns
from actions.dns.cloudflare import Cloudflare
from actions.dns.external_dns import GROUP, ExternalDns
from actions.dns.octodns_bridge import OctoDns, provider_class
from actions.dns.ports import DnsBackend
from actions.dns.record import Member, Record, Routing
from actions.dns.rest import TokenSession
from actions.dns.rfc2136 import DynamicUpdate, Key
from actions.dns.route53 import Route53
from actions.gitops_hold import GitOpsOwners
from actions.ports import ActionError
from rollbackd.kubernetes.connection import Connection
from tests.dns.stub_clouds import (
    TROUBLES,
    StrictRoute53,
    StubCloudDns,
    StubCloudflare,
    StubProvider,
)
from tests.dns.stub_nameserver import StubNameserver
from tests.fakes.kube_api import FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import cluster
from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind, Knot, PowerDns

ZONE = "shop.test"
NAME = f"www.{ZONE}"
EU, US, AP = "192.0.2.1", "192.0.2.2", "192.0.2.3"
RECORDS = (f"www 60 A {EU}", f"www 60 A {US}")


@dataclass(frozen=True)
class Bench:
    """One backend and its world.

    ``interfere`` changes the record as somebody else. ``when_written`` has something done when the
    next write arrives; None where the provider compares nothing. ``trouble`` lets every call fail
    in passing.
    """

    backend: DnsBackend
    interfere: Callable[[], None]
    when_written: Callable[[Callable[[], None]], None] | None
    trouble: Callable[[], None]
    heal: Callable[[], None]


def changed(record: Record) -> Record:
    """Return the record as a failover would leave it: its first member gets less."""
    first, *others = record.members
    if record.routing is Routing.WEIGHTED:
        return replace(record, members=(replace(first, weight=first.weight / 2), *others))
    if record.routing is Routing.FAILOVER:
        return replace(record, members=tuple(reversed(record.members)))
    return replace(record, members=(replace(first, values=first.values[1:]),))


def _interfering(backend: DnsBackend) -> Callable[[], None]:
    """Return what changes the record through the same door as anybody else."""

    def interfere() -> None:
        now = backend.read(NAME, "A")
        last = now.members[-1]
        if now.routing is Routing.WEIGHTED:
            theirs: tuple[Member, ...] = (
                *now.members[:-1],
                replace(last, weight=last.weight + 1),
            )
        elif last.values:
            theirs = (*now.members[:-1], replace(last, values=(AP,)))
        else:
            theirs = tuple(reversed(now.members))
        backend.swap(now, replace(now, members=theirs))

    return interfere


@contextmanager
def bind(folder: Path) -> Iterator[Bench]:
    knot = Knot(folder / "knot", "knot", ZONE)
    powerdns = PowerDns(folder / "powerdns", ZONE)
    behind = [knot.server, powerdns.server]
    primary = Bind(folder / "bind", ZONE, RECORDS, behind)
    with primary:
        for secondary in (knot, powerdns):
            secondary.follow(primary.server)
        with knot, powerdns:
            yield _updated(primary, [primary.server, *behind])


@contextmanager
def powerdns(folder: Path) -> Iterator[Bench]:
    with PowerDns(folder / "powerdns", ZONE, RECORDS) as primary:
        yield _updated(primary, [primary.server])


def _updated(primary: Bind | PowerDns, servers: Sequence[Nameserver]) -> Bench:
    """Return the bench of a primary that takes dynamic updates."""
    backend = DynamicUpdate(
        zone=ZONE,
        primary=primary.server,
        key=Key(KEY_NAME, "hmac-sha256", lambda: KEY_SECRET),
        authority=AuthoritativeServers(ZONE, servers),
        timeout_s=5.0,
    )
    between = _Between(backend)
    return Bench(between, _interfering(backend), between.when_written, primary.stop, primary.start)


@contextmanager
def octodns(folder: Path) -> Iterator[Bench]:
    with Bind(folder / "bind", ZONE, RECORDS) as primary:
        backend = OctoDns(
            zone=ZONE,
            provider=provider_class("octodns_bind.Rfc2136Provider"),
            arguments={
                "host": primary.server.address,
                "port": primary.server.port,
                "timeout": 5,
                "key_name": KEY_NAME,
                "key_secret": lambda: KEY_SECRET,
                "key_algorithm": "hmac-sha256",
            },
            authority=AuthoritativeServers(ZONE, [primary.server]),
        )
        # octoDNS compares nothing: see the module
        yield Bench(backend, _interfering(backend), None, primary.stop, primary.start)


class _Between:
    """Lets somebody act after we compared and before the server does, where there is no proxy."""

    def __init__(self, backend: DynamicUpdate) -> None:
        self._backend = backend
        self._act: Callable[[], None] | None = None
        self.read, self.propagation = backend.read, backend.propagation

    def when_written(self, act: Callable[[], None]) -> None:
        self._act = act

    def swap(self, expected: Record, new: Record) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()
        self._backend.swap(expected, new)


class _BetweenPatches:
    """The same for the API server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._act: Callable[[], None] | None = None
        self.get = connection.get

    def when_written(self, act: Callable[[], None]) -> None:
        self._act = act

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._connection.patch(path, operations)


@contextmanager
def _disturbed(
    provider: StubProvider,
    make: Callable[[AuthoritativeServers], DnsBackend],
    hang_up: Callable[[], None],
) -> Iterator[Bench]:
    """Run a backend whose provider's name server answers what the provider holds."""
    with ExitStack() as stack:
        stack.enter_context(provider.http)
        stack.callback(hang_up)  # first: the server waits for its connections to end
        held: list[DnsBackend] = []

        def answers(name: str, type_: str) -> tuple[str, ...]:
            try:
                members = held[0].read(name, type_).members
            except ActionError:
                return ()
            return next(m.values for m in members if m.weight > 0)

        nameserver = stack.enter_context(StubNameserver(answers))
        backend = make(AuthoritativeServers(ZONE, [nameserver.server]))
        held.append(backend)

        def when_written(act: Callable[[], None]) -> None:
            provider.before_write = act

        def trouble() -> None:
            provider.trouble = TROUBLES["429"]

        def heal() -> None:
            provider.trouble = None

        yield Bench(backend, _interfering(backend), when_written, trouble, heal)


ROUTE53_SETS: dict[str, list[dict[str, Any]]] = {
    "simple": [{"TTL": 60, "ResourceRecords": [{"Value": EU}, {"Value": US}]}],
    "weighted": [
        {
            "TTL": 60,
            "SetIdentifier": "eu",
            "Weight": 100,
            "HealthCheckId": "11111111-1111-1111-1111-111111111111",
            "ResourceRecords": [{"Value": EU}],
        },
        {
            "TTL": 60,
            "SetIdentifier": "us",
            "Weight": 50,
            "ResourceRecords": [{"Value": US}],
        },
    ],
    "failover": [
        {
            "TTL": 60,
            "SetIdentifier": "eu",
            "Failover": "PRIMARY",
            "ResourceRecords": [{"Value": EU}],
        },
        {
            "TTL": 60,
            "SetIdentifier": "us",
            "Failover": "SECONDARY",
            "ResourceRecords": [{"Value": US}],
        },
    ],
}


def route53_client(url: str) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    return boto3.client(
        "route53",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5, connect_timeout=5),
    )


def route53(kind: str) -> Callable[[Path], Any]:
    @contextmanager
    def made(folder: Path) -> Iterator[Bench]:
        del folder
        moto = ThreadedMotoServer(port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        try:
            requests.post(f"{url}/moto-api/reset", timeout=30)
            client = route53_client(url)
            zone = client.create_hosted_zone(Name=ZONE, CallerReference="tests")
            zone_id = zone["HostedZone"]["Id"].rsplit("/", 1)[-1]
            sets = [{"Name": f"{NAME}.", "Type": "A", **each} for each in ROUTE53_SETS[kind]]
            client.change_resource_record_sets(
                HostedZoneId=zone_id,
                ChangeBatch={
                    "Changes": [{"Action": "CREATE", "ResourceRecordSet": s} for s in sets]
                },
            )
            provider = StrictRoute53(url)
            strict = route53_client(provider.http.url)
            with _disturbed(
                provider,
                lambda authority: Route53(zone_id=zone_id, client=strict, authority=authority),
                strict.close,
            ) as bench:
                yield bench
        finally:
            moto.stop()

    made.__name__ = f"route53_{kind}"
    return made


def cloud_dns(kind: str) -> Callable[[Path], Any]:
    plain = {"name": f"{NAME}.", "type": "A", "ttl": 60, "rrdatas": [EU, US]}
    items = [{"weight": 3.0, "rrdatas": [EU]}, {"weight": 1.0, "rrdatas": [US]}]
    weighted = {
        "name": f"{NAME}.",
        "type": "A",
        "ttl": 60,
        "rrdatas": [],
        "routingPolicy": {"wrr": {"items": items}},
    }

    @contextmanager
    def made(folder: Path) -> Iterator[Bench]:
        del folder
        provider = StubCloudDns(plain if kind == "plain" else weighted)
        with requests.Session() as session:
            session.trust_env = False
            with _disturbed(
                provider,
                lambda authority: CloudDns(
                    project="shop",
                    zone="main",
                    session=session,
                    authority=authority,
                    api=provider.http.url,
                    timeout_s=5,
                ),
                session.close,
            ) as bench:
                yield bench

    made.__name__ = f"cloud_dns_{kind}"
    return made


def cloudflare(kind: str) -> Callable[[Path], Any]:
    records = [
        {"id": f"r{i}", "name": NAME, "type": "A", "content": v, "ttl": 60, "proxied": False}
        for i, v in enumerate((EU, US))
    ]
    balancer = {
        "id": "b1",
        "name": NAME,
        "ttl": 30,
        "default_pools": ["eu", "us"],
        "steering_policy": "off" if kind == "failover" else "random",
        "random_steering": {"default_weight": 0.5, "pool_weights": {"eu": 1.0}},
    }

    @contextmanager
    def made(folder: Path) -> Iterator[Bench]:
        del folder
        provider = StubCloudflare(
            records if kind == "plain" else [], [] if kind == "plain" else [balancer]
        )
        with TokenSession(lambda: "token") as session:
            session.trust_env = False
            with _disturbed(
                provider,
                lambda authority: Cloudflare(
                    zone_id="z1",
                    session=session,
                    authority=authority,
                    api=provider.http.url,
                    timeout_s=5,
                ),
                session.close,
            ) as bench:
                yield replace(bench, when_written=None)  # it compares nothing: see the module

    made.__name__ = f"cloudflare_{kind}"
    return made


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "dnsendpoints.externaldns.k8s.io"},
    "spec": {
        "group": "externaldns.k8s.io",
        "names": {"kind": "DNSEndpoint", "plural": "dnsendpoints", "singular": "dnsendpoint"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


def external_dns(kind: str) -> Callable[[Path], Any]:
    def endpoint(id_: str, weight: int, *targets: str) -> dict[str, Any]:
        made = {"dnsName": NAME, "recordType": "A", "recordTTL": 60, "targets": list(targets)}
        if id_:
            made["setIdentifier"] = id_
            made["providerSpecific"] = [{"name": "aws/weight", "value": str(weight)}]
        return made

    endpoints = {
        "plain": [endpoint("", 0, EU, US)],
        "weighted": [endpoint("eu", 100, EU), endpoint("us", 50, US)],
    }

    @contextmanager
    def made(folder: Path) -> Iterator[Bench]:
        del folder
        with cluster() as (api, connection), ExitStack() as stack:
            api.create(CRD)
            api.create(
                {
                    "apiVersion": GROUP,
                    "kind": "DNSEndpoint",
                    "metadata": {"name": "shop", "namespace": "default"},
                    "spec": {
                        "endpoints": [
                            *endpoints[kind],
                            {"dnsName": f"mail.{ZONE}", "recordType": "A", "targets": [AP]},
                        ]
                    },
                }
            )

            def answers(name: str, type_: str) -> tuple[str, ...]:
                members = backend.read(name, type_).members
                return next(m.values for m in members if m.weight > 0)

            nameserver = stack.enter_context(StubNameserver(answers))
            between = _BetweenPatches(connection)
            backend = ExternalDns(
                between,
                namespace="default",
                name="shop",
                zone=ZONE,
                authority=AuthoritativeServers(ZONE, [nameserver.server]),
                owners=GitOpsOwners(connection),
            )
            yield _in_cluster(api, backend, between)

    made.__name__ = f"external_dns_{kind}"
    return made


def _in_cluster(
    api: FakeKubeApi,
    backend: DnsBackend,
    between: "_BetweenPatches",
    through: DnsBackend | None = None,
) -> Bench:
    """Return the bench of a backend whose records are objects of a cluster."""

    def trouble() -> None:
        api.add_fault(Fault(FaultAction.THROTTLE))

    theirs = _interfering(through or backend)
    return Bench(backend, theirs, between.when_written, trouble, api.clear_faults)


ANNOTATIONS = "external-dns.alpha.kubernetes.io"


def annotated(kind: str, name: str, **annotations: str) -> dict[str, Any]:
    """Return a Service or Ingress that ExternalDNS heeds; other hosts are not its business."""
    said = {f"{ANNOTATIONS}/{key.replace('_', '-')}": value for key, value in annotations.items()}
    said["example.com/note"] = "keep me"
    metadata = {"name": name, "namespace": "default", "annotations": said}
    if kind == Kind.SERVICE:
        spec: dict[str, Any] = {"type": "LoadBalancer", "ports": [{"port": 80}]}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}
    spec = {"rules": [{"host": NAME}]}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec,
    }  # fmt: skip


def by_annotations(kind: Kind, routing: str) -> Callable[[Path], Any]:
    hosts = {"hostname": NAME} if kind is Kind.SERVICE else {}
    weights = {"eu": 100, "us": 50}
    objects = [annotated(kind, "shop", ttl="60", target=f"{EU},{US}", **hosts)]
    if routing == "weighted":
        objects = [
            annotated(
                kind,
                f"shop-{region}",
                ttl="1m",
                target=address,
                set_identifier=region,
                aws_weight=str(weights[region]),
                **hosts,
            )
            for region, address in (("eu", EU), ("us", US))
        ]

    @contextmanager
    def made(folder: Path) -> Iterator[Bench]:
        del folder
        with cluster() as (api, connection), ExitStack() as stack:
            for each in objects:
                api.create(each)

            def answers(name: str, type_: str) -> tuple[str, ...]:
                members = backend.read(name, type_).members
                return next(m.values for m in members if m.weight > 0)

            nameserver = stack.enter_context(StubNameserver(answers))
            between = _BetweenPatches(connection)
            backend, theirs = (
                AnnotatedObjects(
                    through,
                    Objects(
                        kind,
                        "default",
                        tuple(each["metadata"]["name"] for each in objects),
                        ANNOTATIONS,
                        60.0,
                    ),
                    zone=ZONE,
                    authority=AuthoritativeServers(ZONE, [nameserver.server]),
                    owners=GitOpsOwners(connection),
                )
                for through in (between, connection)
            )
            yield _in_cluster(api, backend, between, theirs)

    made.__name__ = f"{kind.lower()}_{routing}"
    return made


BENCHES = [
    bind,
    powerdns,
    octodns,
    *(route53(kind) for kind in ("simple", "weighted", "failover")),
    *(cloud_dns(kind) for kind in ("plain", "weighted")),
    *(cloudflare(kind) for kind in ("plain", "weighted", "failover")),
    *(external_dns(kind) for kind in ("plain", "weighted")),
    by_annotations(Kind.SERVICE, "plain"),
    by_annotations(Kind.INGRESS, "plain"),
    by_annotations(Kind.INGRESS, "weighted"),
]
