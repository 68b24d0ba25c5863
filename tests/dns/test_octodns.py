"""The bridge to octoDNS: exactly one change, nothing on hearsay, no secret told."""

import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import yaml
from octodns.provider.base import BaseProvider
from octodns.provider.plan import Plan
from octodns.record import Record as ZoneRecord
from octodns.zone import Zone

from actions.dns.authority import AuthoritativeServers
from actions.dns.octodns_bridge import OctoDns, provider_class
from actions.dns.record import Record, plain
from actions.ports import Conflict, Permanent, Transient
from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind

ZONE, NAME = "shop.test", "www.shop.test"
EU, US = "192.0.2.1", "192.0.2.2"
SECRET = "sesame/Öffne=dich+"
NOBODY = AuthoritativeServers(ZONE, [])
Json = dict[str, Any]


@dataclass
class Shelf:
    """What a provider holds. ``troubles`` are raised, one for each reading; None for none."""

    records: dict[tuple[str, str], Json] = field(
        default_factory=lambda: {
            ("www", "A"): {"ttl": 60, "values": [EU, US]},
            ("alias", "CNAME"): {"ttl": 60, "value": "www.shop.test."},
            ("mail", "A"): {"ttl": 60, "values": [EU]},
        }
    )
    written: list[str] = field(default_factory=list)
    acts: list[Callable[[], None]] = field(default_factory=list)
    write: Callable[[], None] = lambda: None


class Memory(BaseProvider):  # type: ignore[misc]
    """A provider of octoDNS' own make, whose zone is in memory."""

    SUPPORTS = frozenset({"A", "AAAA", "CNAME", "NS"})
    SUPPORTS_GEO = False
    SUPPORTS_ROOT_NS = True

    def __init__(self, id: str, shelf: Shelf, token: str, **options: object) -> None:  # noqa: A002
        self.log = logging.getLogger(f"Memory[{id}]")
        self.log.debug("token=%s", token)
        super().__init__(id, **options)
        self._shelf = shelf

    @property
    def SUPPORTS_DYNAMIC(self) -> bool:  # noqa: N802  octoDNS' name
        return True

    def populate(self, zone: Zone, target: bool = False, lenient: bool = False) -> bool:
        del target
        if self._shelf.acts:
            self._shelf.acts.pop(0)()
        for (name, type_), data in self._shelf.records.items():
            made = ZoneRecord.new(
                zone, name, {**data, "type": type_}, source=self, lenient=lenient
            )
            zone.add_record(made, lenient=lenient)
        return True

    def _apply(self, plan: Plan) -> None:
        self._shelf.write()
        for change in plan.changes:
            new = change.new
            self._shelf.written.append(new.name)
            self._shelf.records[new.name, new._type] = dict(new.data)


class Low(Memory):
    """A provider that keeps no TTL below 300 s."""

    def _process_desired_zone(self, desired: Zone) -> Zone:
        for record in desired.records:
            if record.ttl < 300:
                high = record.copy()
                high.ttl = 300
                desired.add_record(high, replace=True)
        return super()._process_desired_zone(desired)


class Greedy(Memory):
    """A provider that would always mend something else, too."""

    def _extra_changes(self, existing: Zone, desired: Zone, changes: list[Any]) -> list[Any]:
        del existing
        taken = [change.record.name for change in changes]
        others = [r for r in desired.records if r.name not in taken]
        return [type(changes[0])(r, r) for r in others]


def bridge(shelf: Shelf, kind: type[Memory] = Memory, **options: object) -> OctoDns:
    max_records = int(str(options.pop("max_records", 100)))
    arguments = {"shelf": shelf, "token": lambda: SECRET, **options}
    return OctoDns(
        zone=ZONE, provider=kind, arguments=arguments, authority=NOBODY, max_records=max_records
    )


def moved(record: Record) -> Record:
    (member,) = record.members
    return replace(record, members=(replace(member, values=(US,)),))


def test_exactly_one_change_is_applied() -> None:
    for kind in (Memory, Greedy):
        shelf = Shelf()
        old = bridge(shelf, kind).read(NAME, "A")
        bridge(shelf, kind).swap(old, moved(old))
        assert shelf.written == ["www"]
        assert bridge(shelf, kind).read(NAME, "A") == moved(old)
        assert shelf.records["mail", "A"]["values"] == [EU]


def test_a_name_leads_to_another_name() -> None:
    shelf = Shelf()
    old = bridge(shelf).read("alias.shop.test", "CNAME")
    assert old.members[0].values == ("www.shop.test",)
    new = replace(old, members=(replace(old.members[0], values=("lb.elsewhere.test",)),))
    bridge(shelf).swap(old, new)
    assert shelf.records["alias", "CNAME"]["value"] == "lb.elsewhere.test."


def test_what_octodns_keeps_with_a_record_stays_and_is_compared() -> None:
    shelf = Shelf()
    shelf.records["www", "A"]["octodns"] = {"healthcheck": {"host": "shop"}}
    old = bridge(shelf).read(NAME, "A")
    bridge(shelf).swap(old, moved(old))
    assert shelf.records["www", "A"]["octodns"] == {"healthcheck": {"host": "shop"}}
    shelf.records["www", "A"]["octodns"] = {}
    with pytest.raises(Conflict):
        bridge(shelf).swap(moved(old), old)


def test_a_change_before_the_second_reading_is_a_conflict() -> None:
    shelf = Shelf()
    old = bridge(shelf).read(NAME, "A")

    def meddle() -> None:
        shelf.records["www", "A"] = {"ttl": 60, "values": ["192.0.2.9"]}

    shelf.acts = [lambda: None, meddle]
    with pytest.raises(Conflict):
        bridge(shelf).swap(old, moved(old))

    def take_away() -> None:
        shelf.records.pop(("www", "A"))

    shelf.records["www", "A"] = {"ttl": 60, "values": [EU, US]}
    shelf.acts = [lambda: None, take_away]
    with pytest.raises(Conflict, match="no longer there"):
        bridge(shelf).swap(old, moved(old))
    assert shelf.written == []


def test_what_others_change_beside_it_is_not_put_back() -> None:
    shelf = Shelf()
    old = bridge(shelf).read(NAME, "A")

    def meddle() -> None:
        shelf.records["mail", "A"] = {"ttl": 60, "values": [US]}

    shelf.acts = [lambda: None, meddle]
    bridge(shelf).swap(old, moved(old))
    assert shelf.written == ["www"]
    assert shelf.records["mail", "A"]["values"] == [US]


DYNAMIC = {
    "ttl": 60,
    "values": [EU],
    "dynamic": {
        "pools": {"eu": {"values": [{"value": EU}]}},
        "rules": [{"pool": "eu"}],
    },
}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (DYNAMIC, "routed by dynamic"),
        ({"ttl": 60, "values": [EU], "geo": {"NA-US": [US]}}, "routed by geo"),
    ],
)
def test_what_would_be_lost_is_refused(data: Json, says: str) -> None:
    shelf = Shelf()
    shelf.records["www", "A"] = data
    with pytest.raises(Permanent, match=says):
        bridge(shelf).read(NAME, "A")


def test_what_cannot_be_done_is_said_and_not_done() -> None:
    shelf = Shelf()
    old = bridge(shelf).read(NAME, "A")
    with pytest.raises(Permanent, match="max_records is 2"):
        bridge(shelf, max_records=2).read(NAME, "A")
    with pytest.raises(Permanent, match="it is a A"):
        bridge(shelf).read(NAME, "AAAA")
    with pytest.raises(Permanent, match="TTL 300 s"):
        bridge(shelf, Low).swap(old, moved(old))
    with pytest.raises(Permanent, match="told not to apply"):
        bridge(shelf, apply_disabled=True).swap(old, moved(old))
    with pytest.raises(Permanent, match="cannot be made"):
        bridge(shelf, nonsense=1).read(NAME, "A")
    assert shelf.written == []


def _answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for token {SECRET}", response=response)


class FooClientUnauthorized(Exception):
    pass


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (_answered(401), Permanent),
        (_answered(403), Permanent),
        (FooClientUnauthorized(f"Unauthorized: {SECRET}"), Permanent),
        (_answered(429), Transient),
        (_answered(500), Transient),
        (
            requests.ConnectTimeout(f"https://dns.test/?key={quote(SECRET)}"),
            Transient,
        ),
        (TimeoutError(), Transient),
        (KeyError(SECRET), Transient),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_troubles_are_named_by_the_reaction_and_tell_no_secret(
    trouble: Exception, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shelf = Shelf()
    old = bridge(shelf).read(NAME, "A")

    def fail() -> None:
        raise trouble

    shelf.acts = [fail]
    with pytest.raises(kind) as reading:
        bridge(shelf).read(NAME, "A")
    shelf.write = fail
    with pytest.raises(kind) as writing:
        bridge(shelf).swap(old, moved(old))
    for error in (reading, writing):
        told = "".join(traceback.format_exception(error.value))
        assert type(trouble).__name__ in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__
        for secret in (SECRET, quote(SECRET)):
            assert secret not in told
    assert SECRET not in caplog.text


def _on_files(name: str, folder: Path, **options: object) -> OctoDns:
    arguments = {"directory": str(folder), **options}
    return OctoDns(zone=ZONE, provider=provider_class(name), arguments=arguments, authority=NOBODY)


def test_a_provider_that_writes_zones_whole_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / f"{ZONE}."
    file.write_text(
        f"$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n"
        f"ns A 127.0.0.1\nwww A {EU}\nmail A {EU}\n"
    )
    before = file.read_text()
    whole = _on_files("octodns_bind.ZoneFileProvider", tmp_path)
    with pytest.raises(Permanent, match="in which single records can be changed"):
        whole.read(NAME, "A")
    old, new = (plain(NAME, "A", 60, (value,)) for value in (EU, US))
    with pytest.raises(Permanent, match="in which single records can be changed"):
        whole.swap(old, new)
    assert file.read_text() == before


def test_octodns_own_files_keep_all_but_one_record(tmp_path: Path) -> None:
    file = tmp_path / f"{ZONE}.yaml"
    others = {"alias": {"ttl": 300, "type": "CNAME", "value": f"{NAME}."}}
    www = {"ttl": 60, "type": "A", "values": [EU, US]}
    file.write_text(yaml.safe_dump(others | {"www": www}))
    files = _on_files("octodns.provider.yaml.YamlProvider", tmp_path, escaped_semicolons=False)
    old = files.read(NAME, "A")
    files.swap(old, moved(old))
    assert files.read(NAME, "A") == moved(old)
    after = yaml.safe_load(file.read_text())
    assert after == others | {"www": {"ttl": 60, "type": "A", "value": US}}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("octodns_nowhere.NowhereProvider", "is not installed here"),
        ("octodns_bind.NoProvider", "has no NoProvider"),
        ("octodns_bind.AxfrSource", "no provider that can write"),
    ],
)
def test_a_class_that_will_not_do_is_told_at_the_start(path: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        provider_class(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with Bind(tmp_path_factory.mktemp("bind"), ZONE, [f"www 60 A {EU}"]) as running:
        yield running


@pytest.mark.servers
@pytest.mark.parametrize(
    ("name", "secret"), [("unknown", KEY_SECRET), (KEY_NAME, "QUFBQUFBQUFBQUFBQUFBQQ==")]
)
def test_a_wrong_key_is_told_and_nothing_changed(server: Bind, name: str, secret: str) -> None:
    real = OctoDns(
        zone=ZONE,
        provider=provider_class("octodns_bind.Rfc2136Provider"),
        arguments={
            "host": server.server.address,
            "port": server.server.port,
            "key_name": name,
            "key_secret": lambda: secret,
        },
        authority=NOBODY,
    )
    with pytest.raises(Permanent, match="credentials do not allow this") as told:
        real.read(NAME, "A")
    assert secret not in str(told.value)
    assert server.ask(NAME, "A") == {EU}
