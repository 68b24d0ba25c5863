"""Google Cloud DNS over REST: plain records and weighted (wrr) routing policies.

A change lists exact deletions and additions and is carried out whole; a deletion that is not
exactly what is there makes it fail with 412.
"""

import json
from typing import Any
from urllib.parse import quote

from google.auth.exceptions import GoogleAuthError

from actions.dns.authority import Authority
from actions.dns.ports import Propagation, sensible
from actions.dns.record import Member, Record, Routing, canonical, fault
from actions.dns.rest import Session, call
from actions.ports import Conflict, Permanent

API = "https://dns.googleapis.com"
WEIGHT_UNIT = 0.01

RecordSet = dict[str, Any]


class CloudDns:
    """One managed zone; implements ``actions.dns.ports.DnsBackend``.

    Args:
        project: Google Cloud project. zone: the managed zone's name (not its DNS name).
        session: google-auth's, which brings the credentials.
        authority: asks the servers that the world asks.
        api: base address. timeout_s: for one call.
    """

    def __init__(
        self,
        *,
        project: str,
        zone: str,
        session: Session,
        authority: Authority,
        api: str = API,
        timeout_s: float = 10.0,
    ) -> None:
        self._url = f"{api}/dns/v1/projects/{quote(project)}/managedZones/{quote(zone)}"
        self._session = session
        self._authority = authority
        self._timeout_s = timeout_s
        self._dns_name: str | None = None

    def read(self, name: str, type_: str) -> Record:
        """Return the record set of this name and type."""
        name = canonical(name)
        found = self._set(name, type_)
        if found is None:
            raise Permanent(f"the managed zone has no {type_} record {name}")
        record = _parsed(found)
        self._require_ours(record)
        return record

    def swap(self, expected: Record, new: Record) -> None:
        """Delete exactly the old set and add the new one, in one change."""
        self._require_ours(expected)
        self._require_ours(new)
        old = self._set(new.name, new.type)
        if old is None or _parsed(old) != expected:
            raise Conflict(f"{new.name} {new.type} is no longer as planned; nothing was written")
        change = {"deletions": [old], "additions": [_written(new, old)]}
        self._call("POST", "/changes", change)

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server; health-checked targets have no values to ask for."""
        if any(not m.values for m in record.members):
            return Propagation(agreeing=("Cloud DNS (health-checked targets are not asked for)",))
        return self._authority.ask(record)

    def _require_ours(self, record: Record) -> None:
        if self._dns_name is None:
            found = self._call("GET", "")
            with sensible("Cloud DNS"):
                self._dns_name = str(found["dnsName"])
        if why := fault(record, self._dns_name):
            raise Permanent(why)

    def _set(self, name: str, type_: str) -> RecordSet | None:
        answer = self._call("GET", f"/rrsets?name={quote(name)}.&type={quote(type_)}")
        with sensible("Cloud DNS"):
            sets = answer["rrsets"]
            return next(
                (s for s in sets if canonical(s["name"]) == name and s["type"] == type_), None
            )

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return call(
            self._session,
            method,
            f"{self._url}{path}",
            body=body,
            timeout_s=self._timeout_s,
            trouble=(GoogleAuthError,),
        )


def _parsed(found: RecordSet) -> Record:
    with sensible("Cloud DNS"):
        return _record(found)


def _record(found: RecordSet) -> Record:
    name, ttl = canonical(found["name"]), int(found.get("ttl", 0))
    policy = found.get("routingPolicy")
    match policy:
        case None:
            members: tuple[Member, ...] = (Member("", _values(found.get("rrdatas", ()))),)
            return Record(name, found["type"], ttl, members)
        case {"wrr": {"items": list(items)}}:
            members = tuple(
                Member(
                    id=",".join(_values(item.get("rrdatas", ()))) or f"item {place}",
                    values=_values(item.get("rrdatas", ())),
                    weight=float(item["weight"]),
                    detail=_rest(item, {"rrdatas", "weight", "kind", "signatureRrdatas"}),
                )
                for place, item in enumerate(items)
            )
            return Record(name, found["type"], ttl, members, Routing.WEIGHTED, WEIGHT_UNIT)
        case _:
            kind = next(iter(k for k in policy if k not in {"kind", "healthCheck"}), "unknown")
            raise Permanent(
                f"{name} is routed by {kind}; only plain records and wrr policies can be moved"
            )


def _values(rrdatas: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(canonical(value) for value in rrdatas))


def _rest(item: RecordSet, known: set[str]) -> tuple[tuple[str, str], ...]:
    """Return what else is in an item, such as health-checked targets."""
    return tuple(
        (key, json.dumps(value, sort_keys=True))
        for key, value in sorted(item.items())
        if key not in known
    )


def _written(record: Record, old: RecordSet) -> RecordSet:
    made: RecordSet = {"name": f"{record.name}.", "type": record.type, "ttl": record.ttl}
    ends = "." if record.type == "CNAME" else ""
    if record.routing is Routing.PLAIN:
        return made | {"rrdatas": [f"{value}{ends}" for value in record.members[0].values]}
    items = [
        {
            "weight": member.weight,
            **({"rrdatas": [f"{v}{ends}" for v in member.values]} if member.values else {}),
            **{key: json.loads(value) for key, value in member.detail},
        }
        for member in record.members
    ]
    policy = dict(old["routingPolicy"])
    policy["wrr"] = {**policy["wrr"], "items": items}
    return made | {"routingPolicy": policy}
