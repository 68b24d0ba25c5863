"""Dynamic update against a real BIND and a real PowerDNS: bad keys, bad clocks, bad zones, servers that are away."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import dns.message
import dns.rcode
import pytest

from actions.dns.authority import AuthoritativeServers, Nameserver
from actions.dns.record import plain
from actions.dns.rfc2136 import DynamicUpdate, Key
from actions.ports import Permanent, Transient
from actions.regions.limits import Limits
from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind, NameServer, PowerDns
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


def backend(server: NameServer, key: Key = GOOD, zone: str = ZONE) -> DynamicUpdate:
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


@pytest.fixture(scope="module")
def powerdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    folder = tmp_path_factory.mktemp("powerdns")
    with PowerDns(folder, ZONE, ["www 60 A 192.0.2.1"]) as running:
        yield running


@pytest.mark.parametrize(
    "key",
    [
        replace(GOOD, name="unknown"),
        replace(GOOD, secret=lambda: "QUFBQUFBQUFBQUFBQUFBQQ=="),
        replace(GOOD, algorithm="hmac-sha512"),
    ],
    ids=["unknown", "another secret", "another algorithm"],
)
def test_a_server_that_does_not_sign_its_refusals_is_understood(
    powerdns: PowerDns, key: Key
) -> None:
    with pytest.raises(Permanent, match="does not take our signature") as read:
        backend(powerdns, key).read(NAME, "A")
    with pytest.raises(Permanent, match="does not take our signature") as swap:
        backend(powerdns, key).swap(OLD, NEW)
    for error in (read.value, swap.value):
        assert key.name in str(error)
        assert key.secret() not in str(error)
    assert powerdns.ask(NAME, "A") == {"192.0.2.1"}


def test_a_key_without_the_right_changes_nothing_at_powerdns(powerdns: PowerDns) -> None:
    with pytest.raises(Permanent, match="REFUSED"):
        backend(powerdns, replace(GOOD, name="powerless")).swap(OLD, NEW)
    assert powerdns.ask(NAME, "A") == {"192.0.2.1"}


def test_a_clock_that_is_off_is_named_as_a_cause(
    powerdns: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SimpleNamespace(time=lambda: time.time() - 600)
    monkeypatch.setattr(dns.message, "time", slow)
    with pytest.raises(Permanent, match=r"clocks differ|BADTIME"):
        backend(powerdns).swap(OLD, NEW)
    monkeypatch.undo()
    assert powerdns.ask(NAME, "A") == {"192.0.2.1"}


def _unsigned(wire: bytes) -> bytes:
    answer = dns.message.make_response(dns.message.from_wire(wire, keyring=False))
    return answer.to_wire()


def _of_another_question(wire: bytes) -> bytes:
    refused = dns.message.make_response(dns.message.from_wire(wire, keyring=False))
    refused.set_rcode(dns.rcode.REFUSED)
    refused.id = (refused.id + 1) % 0x10000
    return refused.to_wire()


@pytest.mark.parametrize(
    "answer", [_unsigned, _of_another_question, lambda _: b"\0\0", lambda _: b""]
)
def test_an_answer_that_cannot_be_believed_is_none(answer: Callable[[bytes], bytes]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = Nameserver("odd", "127.0.0.1", listener.getsockname()[1])

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                wire = connection.recv(65536)[2:]
                reply = answer(wire)
                if reply:
                    connection.sendall(len(reply).to_bytes(2, "big") + reply)

        thread = threading.Thread(target=serve)
        thread.start()
        odd = DynamicUpdate(
            zone=ZONE, primary=where, key=GOOD, authority=AuthoritativeServers(ZONE, [where])
        )
        with pytest.raises(Transient):
            odd.swap(OLD, NEW)
        thread.join()


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
