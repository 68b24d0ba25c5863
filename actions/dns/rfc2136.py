"""Dynamic update (RFC 2136) signed by TSIG: BIND, Knot, PowerDNS and others.

The server itself compares: the update carries the old record set as a prerequisite, so reading,
comparing and writing are one atomic operation in it.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update

from actions.dns.authority import Authority, Nameserver
from actions.dns.ports import Propagation
from actions.dns.record import Record, Routing, canonical, fault, plain
from actions.ports import ActionError, Conflict, Permanent, Transient

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1")
_UNSIGNED_REFUSALS = {dns.rcode.NOTAUTH, dns.rcode.REFUSED}
_LENGTH_BYTES = 2
"""Before each message on a TCP connection."""
_STALE = {dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN}


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key, with one of ``ALGORITHMS``. ``secret`` reads the base64 text at every use, so that it may be replaced."""

    name: str
    algorithm: str
    secret: Callable[[], str]


class DynamicUpdate:
    """One zone of one primary server; implements ``actions.dns.ports.DnsBackend``.

    Args:
        zone: the zone that may be changed.
        primary: the server that takes updates.
        key: what they are signed with.
        authority: asks the servers that the world asks.
        timeout_s: for one exchange with the primary.
    """

    def __init__(
        self,
        *,
        zone: str,
        primary: Nameserver,
        key: Key,
        authority: Authority,
        timeout_s: float = 5.0,
    ) -> None:
        self._zone = canonical(zone)
        self._primary = primary
        self._key = key
        self._authority = authority
        self._timeout_s = timeout_s

    def read(self, name: str, type_: str) -> Record:
        """Ask the primary, with our key, so that a wrong one shows before anything is done."""
        name = canonical(name)
        question = dns.message.make_query(name, type_)
        question.flags &= ~dns.flags.RD
        answer = self._exchange(question, f"reading {name} {type_}")
        if not answer.flags & dns.flags.AA:
            raise Permanent(f"{self._primary.name} is not authoritative for {name}: not its zone")
        own = {
            dns.rdatatype.to_text(rrset.rdtype): rrset
            for rrset in answer.answer
            if canonical(str(rrset.name)) == name
        }
        if type_ not in own:
            instead = f"; it is a {next(iter(own))}" if own else ""
            raise Permanent(f"{self._primary.name} has no {type_} record {name}{instead}")
        values = tuple(canonical(rdata.to_text()) for rdata in own[type_])
        record = plain(name, type_, own[type_].ttl, values)
        if why := fault(record, self._zone):
            raise Permanent(why)
        return record

    def swap(self, expected: Record, new: Record) -> None:
        """Replace the record set, with the old one as the prerequisite of the update."""
        for record in (expected, new):
            if why := fault(record, self._zone):
                raise Permanent(why)
            if record.routing is not Routing.PLAIN:
                raise Permanent(f"{record.name}: dynamic update knows plain records only")
        update = dns.update.UpdateMessage(self._zone)
        name = f"{new.name}."
        update.present(name, new.type, *_values(expected))
        update.replace(name, new.ttl, new.type, *_values(new))
        self._exchange(update, f"changing {new.name} {new.type}")

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server."""
        return self._authority.ask(record)

    def _exchange(self, message: dns.message.Message, doing: str) -> dns.message.Message:
        """Sign, send over TCP and check the answer. Raises the error that the answer stands for."""
        doing = f"{doing} at {self._primary.name}"
        try:
            keyring = dns.tsigkeyring.from_text({self._key.name: self._key.secret()})
            algorithm = dns.name.from_text(self._key.algorithm)
            message.use_tsig(keyring, keyname=self._key.name, algorithm=algorithm)
        except (dns.exception.DNSException, ValueError):
            # the library's own error may quote the secret
            raise Permanent(
                f"{doing}: the secret of TSIG key {self._key.name} is no base64"
            ) from None
        try:
            wire = _answered(self._primary, message.to_wire(), self._timeout_s)
            answer = self._signed(message, wire, doing)
        except (dns.exception.DNSException, OSError) as error:
            raise self._trouble(doing, error) from error
        code = answer.rcode()
        asked_in_vain = code == dns.rcode.NXDOMAIN and message.opcode() == dns.opcode.QUERY
        if code != dns.rcode.NOERROR and not asked_in_vain:
            raise _refusal(doing, code)
        return answer

    def _signed(
        self, question: dns.message.Message, wire: bytes, doing: str
    ) -> dns.message.Message:
        """Return an answer whose signature is right.

        A refusal without a signature is how PowerDNS says that it does not take ours; any other
        answer without one is not believed.
        """
        answer = dns.message.from_wire(wire, keyring=False)
        if not question.is_response(answer):
            raise dns.exception.FormError
        if not answer.had_tsig and answer.rcode() in _UNSIGNED_REFUSALS:
            name = dns.rcode.to_text(answer.rcode())
            raise Permanent(
                f"{doing}: the server does not take our signature ({name}): the TSIG key "
                f"{self._key.name} is not known there, its secret or algorithm is another, or the "
                "clocks differ. Nothing was changed"
            )
        return dns.message.from_wire(wire, keyring=question.keyring, request_mac=question.mac)

    def _trouble(self, doing: str, error: Exception) -> ActionError:
        """Return the error that a failed exchange stands for."""
        key = self._key.name
        match error:
            case dns.tsig.PeerBadTime():
                return Permanent(
                    f"{doing}: the clocks differ too much for TSIG (BADTIME); nothing was changed. "
                    "Set this machine's clock, or the server's"
                )
            case dns.tsig.PeerBadKey():
                return Permanent(f"{doing}: the server does not know the TSIG key {key} (BADKEY)")
            case dns.tsig.PeerBadSignature():
                return Permanent(f"{doing}: the secret of TSIG key {key} is wrong (BADSIG)")
            case TimeoutError():
                return Transient(f"{doing}: no answer within {self._timeout_s:g} s")
            case OSError():
                return Transient(f"{doing}: {error.strerror or 'the connection broke'}")
            case _:
                return Transient(f"{doing}: no sensible answer ({type(error).__name__})")


def _answered(server: Nameserver, wire: bytes, timeout_s: float) -> bytes:
    """Send one message over TCP and return the answer. Raises OSError."""
    deadline = time.monotonic() + timeout_s
    where = (server.address, server.port)
    with socket.create_connection(where, timeout=timeout_s) as connection:
        connection.sendall(len(wire).to_bytes(_LENGTH_BYTES, "big") + wire)
        length = _read(connection, _LENGTH_BYTES, deadline)
        return _read(connection, int.from_bytes(length, "big"), deadline)


def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
    got = b""
    while len(got) < count:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(count - len(got))
        if not part:
            raise ConnectionResetError
        got += part
    return got


def _values(record: Record) -> list[str]:
    """Return the values as a zone file writes them."""
    ends = "." if record.type == "CNAME" else ""
    return [f"{value}{ends}" for value in record.members[0].values]


def _refusal(doing: str, code: dns.rcode.Rcode) -> ActionError:
    name = dns.rcode.to_text(code)
    if code in _STALE:
        return Conflict(
            f"{doing}: the record is no longer as planned ({name}); nothing was written"
        )
    match code:
        case dns.rcode.NOTAUTH:
            return Permanent(
                f"{doing}: the server is not in charge of this zone, or the key (NOTAUTH)"
            )
        case dns.rcode.NOTZONE:
            return Permanent(f"{doing}: the name is not in the zone (NOTZONE)")
        case dns.rcode.REFUSED:
            return Permanent(f"{doing}: this key is not allowed to do that (REFUSED)")
        case dns.rcode.SERVFAIL:
            return Transient(f"{doing}: the server failed (SERVFAIL)")
        case _:
            return Permanent(f"{doing}: refused ({name})")
