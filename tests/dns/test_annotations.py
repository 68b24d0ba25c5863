"""ExternalDNS by annotations: what is read of them, what is refused, and who else may write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actions.dns.annotated import AnnotatedObjects, Kind, Objects
from actions.dns.authority import AuthoritativeServers
from actions.dns.external_dns import GROUP, ClusterApi, ExternalDns
from actions.dns.record import Record, Routing
from actions.gitops_hold import GitOpsOwners
from actions.ports import Conflict, Permanent
from rollbackd.kubernetes.connection import Connection
from tests.dns.benches import ANNOTATIONS, CRD, EU, NAME, US, ZONE, annotated
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes.gitops import TRACKING, argo_application
from tests.kubernetes.shop import cluster

Json = dict[str, Any]
NOBODY = AuthoritativeServers(ZONE, [])
PLAIN = {"hostname": NAME, "target": EU}
WEIGHTED = {"hostname": NAME, "set_identifier": "eu", "aws_weight": "100"}


@pytest.fixture
def world() -> Iterator[tuple[FakeKubeApi, Connection]]:
    with cluster() as made:
        yield made


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def backend(
    api: ClusterApi,
    *names: str,
    kind: Kind = Kind.SERVICE,
    prefix: str = ANNOTATIONS,
    now: Clock | None = None,
) -> AnnotatedObjects:
    objects = Objects(kind, "default", names or ("shop",), prefix, 60.0)
    owners = GitOpsOwners(api)
    return AnnotatedObjects(
        api, objects, zone=ZONE, authority=NOBODY, owners=owners, now=now or Clock()
    )


def annotations(api: FakeKubeApi, name: str = "shop", kind: Kind = Kind.SERVICE) -> Json:
    version = "v1" if kind is Kind.SERVICE else "networking.k8s.io/v1"
    found: Json = api.get(version, kind, name, "default")["metadata"]["annotations"]
    return found


def members(record: Record, **weights: float) -> Record:
    changed = tuple(replace(m, weight=weights.get(m.id, m.weight)) for m in record.members)
    return replace(record, members=changed)


def regions(api: FakeKubeApi, **weights: str) -> None:
    for region, weight in weights.items():
        said = {"set_identifier": region, "aws_weight": weight, "ttl": "60"}
        api.create(annotated(Kind.INGRESS, region, **said))


def test_only_what_is_moved_is_written(world: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = world
    said = {"hostname": f" {NAME}. ", "target": f"2001:db8::1, {EU},{US}", "ttl": "90s"}
    api.create(annotated(Kind.SERVICE, "shop", alias="false", **said))
    before = annotations(api)
    records = {type_: backend(connection).read(NAME, type_) for type_ in ("A", "AAAA")}
    assert (records["A"].ttl, records["A"].members[0].values) == (90, (EU, US))
    assert records["AAAA"].members[0].values == ("2001:db8::1",)
    old = records["A"]
    backend(connection).swap(old, replace(old, members=(replace(old.members[0], values=(US,)),)))
    assert annotations(api) == before | {f"{ANNOTATIONS}/target": f"2001:db8::1,{US}"}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"hostname": NAME}, "no target annotation"),
        ({"hostname": f"www.elsewhere.test,{NAME}", "target": EU}, "also stands for"),
        ({"hostname": NAME, "target": f"{EU},lb.shop.test"}, "mixes names and addresses"),
        ({"hostname": NAME, "target": "lb.shop.test"}, "no A target; it is CNAME"),
        ({"hostname": NAME, "target": "2001:db8::1"}, "no A target; it is AAAA"),
        ({**PLAIN, "ttl": "0"}, "ttl '0' is none"),
        ({**PLAIN, "ttl": "soon"}, "ttl 'soon' is none"),
        ({**PLAIN, "controller": "other"}, "not for ExternalDNS"),
        ({**PLAIN, "set_identifier": "eu"}, "both set-identifier and aws-weight"),
        ({**PLAIN, "aws_weight": "1"}, "both set-identifier and aws-weight"),
        ({**WEIGHTED, "aws_weight": "-1"}, "no whole number"),
        ({**WEIGHTED, "aws_weight": "1.5"}, "no whole number"),
        ({**WEIGHTED, "aws_weight": "0"}, "sum to 0"),
        ({**WEIGHTED, "aws_region": "eu-central-1"}, "routed by aws-region"),
        ({**WEIGHTED, "aws_failover": "PRIMARY"}, "routed by aws-failover"),
        ({"hostname": "other.shop.test", "target": EU}, "no hostname www.shop.test"),
    ],
)
def test_what_cannot_be_moved_is_refused_in_words(
    world: tuple[FakeKubeApi, Connection], said: dict[str, str], says: str
) -> None:
    api, connection = world
    api.create(annotated(Kind.SERVICE, "shop", **said))
    with pytest.raises(Permanent, match=says):
        backend(connection).read(NAME, "A")


def test_a_cname_at_the_apex_and_other_zones_are_refused(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    api.create(annotated(Kind.SERVICE, "apex", hostname=ZONE, target="lb.elsewhere.test"))
    with pytest.raises(Permanent, match="apex"):
        backend(connection, "apex").read(ZONE, "CNAME")
    api.create(annotated(Kind.SERVICE, "other", hostname="www.elsewhere.test", target=EU))
    with pytest.raises(Permanent, match="not in the zone"):
        backend(connection, "other").read("www.elsewhere.test", "A")


def test_a_newer_external_dns_reads_another_prefix(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    api.create(annotated(Kind.SERVICE, "shop", **PLAIN))
    newer = "external-dns.kubernetes.io"
    with pytest.raises(Permanent, match="set annotation_prefix"):
        backend(connection, prefix=newer).read(NAME, "A")
    said = {f"{newer}/hostname": NAME, f"{newer}/target": US}
    api.patch("v1", "Service", "shop", {"metadata": {"annotations": said}}, "default")
    assert backend(connection, prefix=newer).read(NAME, "A").answers == {US}
    assert backend(connection).read(NAME, "A").answers == {EU}


def test_several_objects_need_set_identifiers_of_their_own(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    for name in ("one", "two"):
        api.create(annotated(Kind.SERVICE, name, **PLAIN))
    with pytest.raises(Permanent, match="several objects without"):
        backend(connection, "one", "two").read(NAME, "A")
    for name in ("three", "four"):
        api.create(annotated(Kind.SERVICE, name, **WEIGHTED))
    with pytest.raises(Permanent, match="the same set-identifier"):
        backend(connection, "three", "four").read(NAME, "A")
    with pytest.raises(Permanent, match="there is no Service default/five"):
        backend(connection, "five").read(NAME, "A")


def test_what_would_take_two_writes_is_not_begun(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    regions(api, eu="100", us="0")
    weighted = backend(connection, "eu", "us", kind=Kind.INGRESS)
    old = weighted.read(NAME, "A")
    assert old.routing is Routing.WEIGHTED
    with pytest.raises(Permanent, match=r"2 objects.*Nothing was written"):
        weighted.swap(old, members(old, eu=0, us=100))
    with pytest.raises(Permanent, match="whole weights from 0 to 255"):
        weighted.swap(old, members(old, us=256))
    with pytest.raises(Permanent, match="sum to 0"):
        weighted.swap(old, members(old, eu=0))
    assert weighted.read(NAME, "A") == old


def test_load_balancers_own_addresses_are_waited_for(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    regions(api, eu="100", us="50")
    clock = Clock()
    weighted = backend(connection, "eu", "us", kind=Kind.INGRESS, now=clock)
    old = weighted.read(NAME, "A")
    assert all(not m.values for m in old.members)
    new = members(old, eu=0)
    clock.at = 1000.0
    weighted.swap(old, new)
    assert not weighted.propagation(new).complete
    clock.at += 59
    assert not weighted.propagation(new).complete
    clock.at += 1
    assert weighted.propagation(new).complete


class Disturbed:
    """A cluster in which something happens just before a write."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.acts: list[Any] = []
        self.get = connection.get

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        if self.acts:
            self.acts.pop(0)()
        return self._connection.patch(path, operations)


def test_two_who_each_empty_another_region_do_not_empty_both(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    regions(api, eu="100", us="100")
    disturbed = Disturbed(connection)
    ours = backend(disturbed, "eu", "us", kind=Kind.INGRESS)
    theirs = backend(connection, "eu", "us", kind=Kind.INGRESS)
    old = ours.read(NAME, "A")
    disturbed.acts = [lambda: theirs.swap(old, members(old, us=50))]
    with pytest.raises(Conflict, match="taken back"):
        ours.swap(old, members(old, eu=0))
    assert [m.weight for m in ours.read(NAME, "A").members] == [100, 50]


def test_a_load_balancers_reports_do_not_stand_in_the_way(
    world: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = world
    api.create(annotated(Kind.SERVICE, "shop", target=f"{EU},{US}", hostname=NAME))
    disturbed = Disturbed(connection)
    ours = backend(disturbed)
    old = ours.read(NAME, "A")
    new = replace(old, members=(replace(old.members[0], values=(US,)),))

    def touch(value: str) -> None:
        labels = {"metadata": {"labels": {"seen": value}}}
        api.patch("v1", "Service", "shop", labels, "default")

    disturbed.acts = [lambda: touch("once"), lambda: touch("twice")]
    ours.swap(old, new)
    assert ours.read(NAME, "A") == new
    disturbed.acts = [lambda n=n: touch(str(n)) for n in range(10)]
    with pytest.raises(Conflict):
        ours.swap(new, old)
    disturbed.acts = []
    assert ours.read(NAME, "A") == new


def owned(made: Json) -> Json:
    group = made["apiVersion"].rpartition("/")[0]
    metadata = made["metadata"]
    tracked = f"shop:{group}/{made['kind']}:default/{metadata['name']}"
    metadata.setdefault("annotations", {})[TRACKING] = tracked
    return made


def endpoint() -> Json:
    return {
        "apiVersion": GROUP,
        "kind": "DNSEndpoint",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"endpoints": [{"dnsName": NAME, "recordType": "A", "targets": [EU]}]},
    }


@pytest.mark.parametrize("kind", ["Service", "DNSEndpoint"])
def test_who_would_put_it_back_is_named(world: tuple[FakeKubeApi, Connection], kind: str) -> None:
    api, connection = world
    owner = argo_application()
    owner.create(api)
    owners = GitOpsOwners(connection)
    if kind == "DNSEndpoint":
        api.create(CRD)
        api.create(owned(endpoint()))
        asked: AnnotatedObjects | ExternalDns = ExternalDns(
            connection,
            namespace="default",
            name="shop",
            zone=ZONE,
            authority=NOBODY,
            owners=owners,
        )
    else:
        api.create(owned(annotated(Kind.SERVICE, "shop", **PLAIN)))
        asked = backend(connection)
    said = asked.undone_by(NAME, "A")
    assert said is not None
    assert "Argo CD Application argocd/shop would put it back" in said
