"""Asks a zone's authoritative servers what they answer, as resolvers would."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from actions.dns.ports import Propagation
from actions.dns.record import Record, Routing, canonical
from actions.ports import Transient

ASK_TIMEOUT_S = 2.0
"""For one question to one server."""
AT_ONCE = 8
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Nameserver:
    """Where an authoritative server answers. ``name`` is what people call it."""

    name: str
    address: str
    port: int = DNS_PORT


class Authority(Protocol):
    """Who knows what the world is being told."""

    def ask(self, record: Record) -> Propagation:
        """Compare what every authoritative server answers with the record. Raises Transient."""


class AuthoritativeServers:
    """The authoritative servers of one zone.

    Args:
        zone: whose NS records name the servers.
        servers: the servers to ask instead, when the zone's own cannot be reached from here.
    """

    def __init__(self, zone: str, servers: Sequence[Nameserver] = ()) -> None:
        self._zone = zone
        self._servers = tuple(servers)

    def ask(self, record: Record) -> Propagation:
        """Ask all servers at once; raise Transient when the zone's servers cannot be found."""
        servers = self._servers or _servers_of(self._zone)
        with ThreadPoolExecutor(min(AT_ONCE, len(servers))) as pool:
            answers = list(pool.map(lambda s: _asked(s, record), servers))
        found = list(zip(servers, answers, strict=True))
        return Propagation(
            agreeing=tuple(s.name for s, values in found if values and _agrees(values, record)),
            stale=tuple(
                s.name for s, values in found if values is not None and not _agrees(values, record)
            ),
            silent=tuple(s.name for s, values in found if values is None),
        )


def _agrees(values: frozenset[str], record: Record) -> bool:
    """Tell whether an answer is one that the record can give.

    A weighted or failover record answers with one of its members, so a stage of a move can look
    like the stage before; once a member has weight 0 it must be gone.
    """
    if record.routing is Routing.PLAIN:
        return values == record.answers
    return bool(values) and values <= record.answers


def _asked(server: Nameserver, record: Record) -> frozenset[str] | None:
    """Return what a server answers, or None when it does not answer."""
    question = dns.message.make_query(record.name, record.type)
    question.flags &= ~dns.flags.RD
    try:
        answer, _ = dns.query.udp_with_fallback(
            question, server.address, timeout=ASK_TIMEOUT_S, port=server.port
        )
    except (dns.exception.DNSException, OSError, EOFError):
        return None
    if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return None
    return values_in(answer, record.type)


def values_in(answer: dns.message.Message, type_: str) -> frozenset[str]:
    """Return the values of one type in an answer."""
    wanted = dns.rdatatype.from_text(type_)
    return frozenset(
        canonical(rdata.to_text())
        for rrset in answer.answer
        if rrset.rdtype == wanted
        for rdata in rrset
    )


def _servers_of(zone: str) -> tuple[Nameserver, ...]:
    """Return a zone's servers by its NS records, each with every address."""
    resolver = dns.resolver.Resolver()
    resolver.lifetime = ASK_TIMEOUT_S * 2
    found: list[Nameserver] = []
    try:
        names = sorted(canonical(str(ns.target)) for ns in resolver.resolve(zone, "NS"))
        for name in names:
            addresses = resolver.resolve_name(name, lifetime=ASK_TIMEOUT_S * 2).addresses()
            found += [Nameserver(name, str(address)) for address in addresses]
    except (dns.exception.DNSException, OSError) as error:
        kind = type(error).__name__
        raise Transient(f"the servers of the zone {zone} cannot be found ({kind})") from error
    if not found:
        raise Transient(f"the servers of the zone {zone} have no addresses")
    return tuple(found)
