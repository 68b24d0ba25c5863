"""Dynamic update against a real BIND: bad keys, bad clocks, bad zones, servers that are away."""

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import dns.message
import pytest

from actions.dns.authority import AuthoritativeServers, Nameserver
from actions.dns.record import plain
from actions.dns.rfc2136 import DynamicUpdate, Key
from actions.ports import Permanent, Transient
from actions.regions.limits import Limits
from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind
from tests.servers.nginx import free_port

pytestmark = pytest.mark.servers
ZONE, NAME = "shop.test", "www.shop.test"
GOOD = Key(KEY_NAME, "hmac-sha256", lambda: KEY_SECRET)
OLD = plain(NAME, "A", 60, ("192.0.2.1",))
NEW = plain(NAME, "A", 60, ("192.0.2.2",))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    records = [
        "www 60 A 192.0.2.1",
        "alias CNAME www",
        "day 86400 A 192.0.2.1",
        "zero 0 A 192.0.2.1",
    ]
    with Bind(tmp_path_factory.mktemp("bind"), ZONE, records) as running:
        yield running


def backend(server: Bind, key: Key = GOOD, zone: str = ZONE) -> DynamicUpdate:
    authority = AuthoritativeServers(ZONE, [server.server])
    return DynamicUpdate(zone=zone, primary=server.server, key=key, authority=authority)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (replace(GOOD, name="unknown"), "BADKEY"),
        (replace(GOOD, secret=lambda: "QUFBQUFBQUFBQUFBQUFBQQ=="), "BADSIG"),
        (replace(GOOD, secret=lambda: "this is no base64!"), "no base64"),
    ],
)
def test_a_wrong_key_is_told_before_anything_is_done(server: Bind, key: Key, says: str) -> None:
    with pytest.raises(Permanent, match=says) as read:
        backend(server, key).read(NAME, "A")
    with pytest.raises(Permanent, match=says) as swap:
        backend(server, key).swap(OLD, NEW)
    for error in (read.value, swap.value):
        assert key.secret() not in str(error)
        assert key.secret() not in repr(error.__cause__)
    assert server.ask(NAME, "A") == {"192.0.2.1"}


def test_a_key_without_the_right_is_refused(server: Bind) -> None:
    with pytest.raises(Permanent, match="REFUSED"):
        backend(server, replace(GOOD, name="powerless")).swap(OLD, NEW)
    assert server.ask(NAME, "A") == {"192.0.2.1"}


def test_a_clock_that_is_ten_minutes_off_is_told(
    server: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SimpleNamespace(time=lambda: time.time() - 600)
    monkeypatch.setattr(dns.message, "time", slow)
    with pytest.raises(Permanent, match=r"BADTIME.*nothing was changed"):
        backend(server).swap(OLD, NEW)
    monkeypatch.undo()
    assert server.ask(NAME, "A") == {"192.0.2.1"}


def test_a_zone_that_the_server_does_not_have_is_refused(server: Bind) -> None:
    with pytest.raises(Permanent, match=r"REFUSED|not authoritative"):
        backend(server, zone="other.test").read("www.other.test", "A")
    old, new = (replace(r, name="www.other.test") for r in (OLD, NEW))
    with pytest.raises(Permanent, match="NOTAUTH"):
        backend(server, zone="other.test").swap(old, new)


def test_names_that_lead_elsewhere_are_refused(server: Bind) -> None:
    with pytest.raises(Permanent, match="it is a CNAME"):
        backend(server).read("alias.shop.test", "A")
    with pytest.raises(Permanent, match="apex"):
        backend(server).swap(
            plain(ZONE, "CNAME", 60, ("a.test",)), plain(ZONE, "CNAME", 60, ("b.test",))
        )
    with pytest.raises(Permanent, match="only A, AAAA and CNAME"):
        backend(server).read(ZONE, "NS")


@pytest.mark.parametrize(("name", "ttl"), [("day", 86400), ("zero", 0)])
def test_what_resolvers_keep_is_known_before(server: Bind, name: str, ttl: int) -> None:
    record = backend(server).read(f"{name}.{ZONE}", "A")
    assert record.ttl == ttl
    assert Limits().drain_s(record) == max(ttl, 30)


def test_nobody_there_passes_and_silence_passes(server: Bind) -> None:
    away = Nameserver("away", "127.0.0.1", free_port())
    authority = AuthoritativeServers(ZONE, [server.server, away])
    absent = DynamicUpdate(zone=ZONE, primary=away, key=GOOD, authority=authority, timeout_s=2)
    with pytest.raises(Transient):
        absent.read(NAME, "A")
    spread = authority.ask(OLD)
    assert (spread.agreeing, spread.stale, spread.silent) == (("bind",), (), ("away",))
    assert spread.complete
    assert not authority.ask(NEW).complete
