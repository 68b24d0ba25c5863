"""ExternalDNS by annotations: Services or Ingresses, whose annotations it carries to its provider.

A plain record is one object, and its ``target`` annotation is what a move changes. A weighted record
is one object for each ``set-identifier``, and a move changes ``aws-weight``. The compare-and-set is
the API server's, and of one object: what would change two objects is refused, since a crash between
the two writes would leave a record that nobody planned. What others change in the other objects of a
weighted record is seen before the write and once more after it.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from actions.dns.authority import Authority
from actions.dns.external_dns import (
    DEFAULT_TTL_S,
    ClusterApi,
    Owners,
    require_whole_weights,
    undoing,
)
from actions.dns.ports import Propagation
from actions.dns.record import Member, Record, Routing, canonical, fault
from actions.ports import Conflict, Permanent

KNOWN_PREFIXES = ("external-dns.alpha.kubernetes.io", "external-dns.kubernetes.io")
"""Of annotations: ExternalDNS' default until 0.21, and since 0.22."""
OURS = "dns-controller"
"""What the annotation ``controller`` says of objects that ExternalDNS heeds."""
ATTEMPTS = 4
"""Writes tried when something else of the object changes under us; a load balancer's status does."""
_OTHER_ROUTING = (
    "aws-failover",
    "aws-region",
    "aws-geolocation-",
    "aws-geoproximity-",
    "aws-multi-value-answer",
)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s)")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

Json = dict[str, Any]


class Kind(StrEnum):
    """Kinds of objects whose annotations are read."""

    SERVICE = "Service"
    INGRESS = "Ingress"


_COLLECTIONS = {
    Kind.SERVICE: ("/api/v1", "services"),
    Kind.INGRESS: ("/apis/networking.k8s.io/v1", "ingresses"),
}


@dataclass(frozen=True, slots=True)
class Objects:
    """Which objects make up the records, and how ExternalDNS reads them.

    Attributes:
        kind, namespace: of all of them.
        prefix: of their annotations (ExternalDNS' --annotation-prefix).
        interval_s: how long ExternalDNS takes at most to see a change. It is waited for where
            nobody can be asked: what a load balancer answers is not known here.
    """

    kind: Kind
    namespace: str
    names: tuple[str, ...]
    prefix: str
    interval_s: float

    def path(self, name: str) -> str:
        """Return where the API server keeps one of them."""
        root, plural = _COLLECTIONS[self.kind]
        return f"{root}/namespaces/{quote(self.namespace)}/{plural}/{quote(name)}"

    def called(self, name: str) -> str:
        """Return what people call one of them."""
        return f"{self.kind} {self.namespace}/{name}"


class AnnotatedObjects:
    """Annotated objects; implements ``actions.dns.ports.DnsBackend`` and ``Owned``.

    Args:
        api: the cluster. objects: which ones.
        zone: that may be changed.
        authority: asks the servers that the world asks: they show when ExternalDNS has done it.
        owners: tells who applies an object from somewhere else.
        now: seconds on a clock that is never set.
    """

    def __init__(
        self,
        api: ClusterApi,
        objects: Objects,
        *,
        zone: str,
        authority: Authority,
        owners: Owners,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._objects = objects
        self._zone = zone
        self._authority = authority
        self._owners = owners
        self._prefix = objects.prefix
        self._now = now
        self._changed_at = now()  # an earlier process may have written just before it ended

    def read(self, name: str, type_: str) -> Record:
        """Return the record of all objects with this host name."""
        return self._read(canonical(name), type_)[0]

    def swap(self, expected: Record, new: Record) -> None:
        """Change the annotations of the one object that is concerned, if it is as compared."""
        for each in (expected, new):
            if why := fault(each, self._zone):
                raise Permanent(why)
        require_whole_weights(new)
        for attempt in range(1, ATTEMPTS + 1):
            record, found = self._read(new.name, new.type)
            if record != expected:
                raise Conflict(f"{new.name} {new.type} is not as planned; nothing was written")
            name = self._concerned(expected, new)
            if name is None:
                return
            try:
                self._api.patch(self._objects.path(name), self._operations(new, name, found[name]))
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
            else:
                self._changed_at = self._now()
                self._check_the_others(expected, new, name)
                return

    def _check_the_others(self, expected: Record, new: Record, name: str) -> None:
        """Take back what was just written when somebody changed another object of the record.

        No write can test two objects. Two people who each empty another region would leave
        nobody with traffic, so the later one to look gives way.
        """
        if len(new.members) == 1:
            return
        record, found = self._read(new.name, new.type)
        if record == new:
            return
        ours = next(m for m in new.members if _object_of(m) == name)
        if ours in record.members:
            self._api.patch(
                self._objects.path(name), self._operations(expected, name, found[name])
            )
        raise Conflict(
            f"another object of {new.name} changed meanwhile; our change was taken back"
        )

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server; where nobody can be asked, wait for ExternalDNS."""
        if all(m.values for m in record.members):
            return self._authority.ask(record)
        if self._now() - self._changed_at < self._objects.interval_s:
            return Propagation(stale=("ExternalDNS, until its interval has passed",))
        return Propagation(agreeing=("ExternalDNS (load balancers are not asked for)",))

    def undone_by(self, name: str, type_: str) -> str | None:
        """Say who applies an object of the record from somewhere else, or None."""
        _, found = self._read(canonical(name), type_)
        said = {
            self._objects.called(each): undoing(self._owners.facts_of(found[each]))
            for each in found
        }
        return "; ".join(f"{who}: {why}" for who, why in said.items() if why) or None

    def _concerned(self, expected: Record, new: Record) -> str | None:
        """Return the name of the object that a swap changes, or None when it changes nothing."""
        known = {_object_of(m): m for m in expected.members}
        if new.routing is not expected.routing or {_object_of(m) for m in new.members} != set(
            known
        ):
            raise Permanent(f"{new.name}: its members come and go with their objects only")
        odd = [m.id for m in new.members if m.detail != known[_object_of(m)].detail]
        if odd:
            raise Permanent(f"{new.name}: only targets and weights can be changed")
        changed = [m for m in new.members if m != known[_object_of(m)] or new.ttl != expected.ttl]
        if len(changed) > 1:
            raise Permanent(
                f"{new.name}: this would change {len(changed)} objects "
                f"({', '.join(self._objects.called(_object_of(m)) for m in changed)}), which "
                "cannot be done at once. Nothing was written. Give every region a weight above 0, "
                "or use one DNSEndpoint"
            )
        if new.routing is Routing.WEIGHTED and any(
            m.values != known[_object_of(m)].values for m in changed
        ):
            raise Permanent(f"{new.name}: only the weights of a weighted record can be changed")
        return _object_of(changed[0]) if changed else None

    def _operations(self, new: Record, name: str, found: Json) -> list[Json]:
        """Return the JSON patch of one object, which tests that it is the version that was read."""
        version = found["metadata"]["resourceVersion"]
        made: list[Json] = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
        for key, value in self._annotations(new, name, found).items():
            path = f"/metadata/annotations/{self._prefix}~1{key}"
            made.append({"op": "add", "path": path, "value": value})
        return made

    def _annotations(self, new: Record, name: str, found: Json) -> dict[str, str]:
        """Return what is written on one object."""
        (member,) = (m for m in new.members if _object_of(m) == name)
        now = self._own(found)
        written = {}
        if new.ttl != _ttl(now, self._objects.called(name)):
            written["ttl"] = str(new.ttl)
        if new.routing is Routing.WEIGHTED:
            return written | {"aws-weight": f"{member.weight:g}"}
        others = [t for t in _split(now.get("target", "")) if _type_of(t) != new.type]
        return written | {"target": ",".join([*others, *member.values])}

    def _read(self, name: str, type_: str) -> tuple[Record, dict[str, Json]]:
        """Return a record, and the objects that make it up, by their names."""
        found: dict[str, Json] = {}
        for each in self._objects.names:
            seen = self._api.get(self._objects.path(each))
            if seen is None:
                raise Permanent(f"there is no {self._objects.called(each)}")
            if name in self._hosts(seen, self._objects.called(each)):
                found[each] = seen
        if not found:
            which = ", ".join(map(self._objects.called, self._objects.names))
            raise Permanent(f"{which}: no hostname {name} there")
        record = self._record(name, type_, found)
        if why := fault(record, self._zone):
            raise Permanent(why)
        return record, found

    def _record(self, name: str, type_: str, found: dict[str, Json]) -> Record:
        owns = {each: self._own(seen) for each, seen in found.items()}
        for each, seen in found.items():
            self._require_simple(self._objects.called(each), seen, name)
        ttls = {_ttl(own, self._objects.called(each)) for each, own in owns.items()}
        if len(ttls) > 1:
            raise Permanent(
                f"{name} has objects with different TTLs ({sorted(ttls)}); make them equal"
            )
        weighted = any("set-identifier" in own for own in owns.values())
        if not weighted and len(owns) > 1:
            which = ", ".join(map(self._objects.called, owns))
            raise Permanent(f"{name} has several objects without a set-identifier: {which}")
        members = []
        for each, own in owns.items():
            who = self._objects.called(each)
            values = _targets(own, type_, who)
            if not weighted and not values:
                raise Permanent(
                    f"{who} has no target annotation: ExternalDNS tells the addresses of its load "
                    f"balancer, which cannot be moved. Set {self._prefix}/target"
                )
            weight = _weight(own, who) if weighted else 1.0
            detail = (("annotations", _kept(own)), ("object", each))
            members.append(Member(own.get("set-identifier", ""), values, weight, detail))
        members.sort(key=lambda m: m.id)
        if len({m.id for m in members}) < len(members):
            raise Permanent(f"{name} has two objects with the same set-identifier")
        routing = Routing.WEIGHTED if weighted else Routing.PLAIN
        return Record(name, type_, ttls.pop(), tuple(members), routing)

    def _own(self, found: Json) -> dict[str, str]:
        """Return the annotations that ExternalDNS reads, by their names without the prefix."""
        annotations = found["metadata"].get("annotations") or {}
        before = f"{self._prefix}/"
        return {k.removeprefix(before): v for k, v in annotations.items() if k.startswith(before)}

    def _hosts(self, found: Json, who: str) -> set[str]:
        """Return the host names that ExternalDNS finds in an object."""
        own = self._own(found)
        every = found["metadata"].get("annotations") or {}
        others = [p for p in KNOWN_PREFIXES if p != self._prefix]
        odd = next((p for p in others if any(k.startswith(f"{p}/") for k in every)), None)
        if not own and odd is not None:
            raise Permanent(
                f"{who} is annotated by {odd}/, and {self._prefix}/ is what is read; "
                "set annotation_prefix to what ExternalDNS uses"
            )
        said = _split(own.get("hostname", ""))
        spec = found.get("spec") or {}
        written = [str(rule.get("host") or "") for rule in spec.get("rules") or ()]
        written += [host for tls in spec.get("tls") or () for host in tls.get("hosts") or ()]
        if self._objects.kind is Kind.SERVICE:
            written = []
        match own.get("ingress-hostname-source", "").lower():
            case "annotation-only":
                written = []
            case "defined-hosts-only":
                said = []
            case _:
                pass
        return {canonical(host) for host in (*said, *written) if host}

    def _require_simple(self, who: str, found: Json, name: str) -> None:
        """Raise Permanent for an object that a move must leave alone."""
        own = self._own(found)
        if own.get("controller", OURS) != OURS:
            raise Permanent(f"{who} is not for ExternalDNS: controller is {own['controller']}")
        if others := sorted(self._hosts(found, who) - {name}):
            raise Permanent(
                f"{who} also stands for {others[0]}, which would move, too; "
                f"give {name} an object of its own"
            )
        if odd := next((k for k in own if k.startswith(_OTHER_ROUTING)), None):
            raise Permanent(f"{who} is routed by {odd}; only target and aws-weight can be moved")
        if ("set-identifier" in own) != ("aws-weight" in own):
            raise Permanent(f"{who} needs both set-identifier and aws-weight, or neither")


def _object_of(member: Member) -> str:
    return dict(member.detail)["object"]


def _kept(own: dict[str, str]) -> str:
    """Return what a move leaves as it is; when somebody changes it, the record is another one."""
    moved = {"target", "aws-weight", "ttl", "set-identifier"}
    return json.dumps({k: v for k, v in own.items() if k not in moved}, sort_keys=True)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _type_of(target: str) -> str:
    """Return the type of the record that ExternalDNS makes of a target."""
    try:
        return "A" if ip_address(target).version == 4 else "AAAA"  # noqa: PLR2004  IPv4
    except ValueError:
        return "CNAME"


def _targets(own: dict[str, str], type_: str, who: str) -> tuple[str, ...]:
    """Return the targets of one type; none when the load balancer's own addresses are told."""
    targets = _split(own.get("target", ""))
    types = {_type_of(target) for target in targets}
    if len(types) > 1 and "CNAME" in types:
        raise Permanent(f"{who} mixes names and addresses in its targets")
    if types and type_ not in types:
        raise Permanent(f"{who} has no {type_} target; it is {' and '.join(sorted(types))}")
    return tuple(sorted(canonical(target) for target in targets if _type_of(target) == type_))


def _weight(own: dict[str, str], who: str) -> float:
    text = own.get("aws-weight", "")
    if not text.isdecimal():
        raise Permanent(f"{who}: aws-weight {text!r} is no whole number")
    return float(text)


def _ttl(own: dict[str, str], who: str) -> int:
    """Return the TTL in seconds: a number, or a duration as Go writes it."""
    text = own.get("ttl", "").strip()
    if not text:
        return DEFAULT_TTL_S
    if text.isdecimal():
        ttl = int(text)
    elif _DURATION.sub("", text):
        ttl = 0
    else:
        ttl = int(sum(float(n) * _UNITS_S[unit] for n, unit in _DURATION.findall(text)))
    if ttl < 1:
        raise Permanent(f"{who}: ttl {text!r} is none, and ExternalDNS ignores it; mend it first")
    return ttl
