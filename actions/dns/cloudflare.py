"""Cloudflare: plain records and the pools of a load balancer.

Cloudflare's API has no compare-and-set. The record is read and compared immediately before the
write, so a change by somebody else within that moment (one round trip) is overwritten; the
original record is in the journal. Everywhere else in this package, but for the bridge to octoDNS, the
provider compares.
"""

import json
from typing import Any
from urllib.parse import quote

from actions.dns.authority import Authority
from actions.dns.ports import Propagation
from actions.dns.record import Member, Record, Routing, canonical, fault
from actions.dns.rest import Session, call
from actions.ports import Conflict, Permanent

API = "https://api.cloudflare.com/client/v4"
AUTOMATIC_TTL = 1
AUTOMATIC_TTL_S = 300
BALANCER_TTL_S = 30
"""Cloudflare's default for a load balancer that sets none."""
WEIGHT_UNIT = 0.01
PER_PAGE = 100

Json = dict[str, Any]


class Cloudflare:
    """One zone; implements ``actions.dns.ports.DnsBackend``.

    Args:
        zone_id: of the zone. session: sends the API token with every request.
        authority: asks the servers that the world asks.
        api: base address. timeout_s: for one call.
    """

    def __init__(
        self,
        *,
        zone_id: str,
        session: Session,
        authority: Authority,
        api: str = API,
        timeout_s: float = 10.0,
    ) -> None:
        self._url = f"{api}/zones/{quote(zone_id)}"
        self._session = session
        self._authority = authority
        self._timeout_s = timeout_s
        self._zone: str | None = None

    def read(self, name: str, type_: str) -> Record:
        """Return the load balancer of this name, or else its plain record."""
        name = canonical(name)
        record, _ = self._found(name, type_)
        if why := fault(record, self._zone_name()):
            raise Permanent(why)
        return record

    def swap(self, expected: Record, new: Record) -> None:
        """Compare, then write at once; see the module for what this cannot promise."""
        for record in (expected, new):
            if why := fault(record, self._zone_name()):
                raise Permanent(why)
        record, raw = self._found(new.name, new.type)
        if record != expected:
            raise Conflict(f"{new.name} {new.type} is no longer as planned; nothing was written")
        if new.routing is Routing.PLAIN:
            self._write_plain(new, raw)
        else:
            self._call("PATCH", f"/load_balancers/{raw[0]['id']}", _balancer(new, raw[0]))

    def propagation(self, record: Record) -> Propagation:
        """Ask the servers; what Cloudflare answers for (proxied, balanced) only it can tell."""
        hidden = record.routing is not Routing.PLAIN or _is_proxied(record.members[0])
        if not hidden:
            return self._authority.ask(record)
        now, _ = self._found(record.name, record.type)
        where = ("Cloudflare's API",)
        return Propagation(agreeing=where) if now == record else Propagation(stale=where)

    def _write_plain(self, new: Record, raw: list[Json]) -> None:
        """Delete and create in one batch, which Cloudflare carries out whole or not at all."""
        keep = json.loads(dict(new.members[0].detail)["record"])
        posts = [
            {**keep, "name": new.name, "type": new.type, "content": value}
            for value in new.members[0].values
        ]
        deletes = [{"id": each["id"]} for each in raw]
        self._call("POST", "/dns_records/batch", {"deletes": deletes, "posts": posts})

    def _found(self, name: str, type_: str) -> tuple[Record, list[Json]]:
        balancers = self._call("GET", "/load_balancers")["result"]
        for balancer in balancers:
            if canonical(balancer["name"]) == name:
                return _balanced(name, type_, balancer), [balancer]
        query = f"?name={quote(name)}&per_page={PER_PAGE}"
        records = self._call("GET", f"/dns_records{query}")["result"]
        raw = [r for r in records if canonical(r["name"]) == name and r["type"] == type_]
        if not raw:
            others = sorted({str(r["type"]) for r in records})
            instead = f"; it is a {others[0]}" if others else ""
            raise Permanent(f"the zone has no {type_} record {name}{instead}")
        return _plain(name, type_, raw), raw

    def _zone_name(self) -> str:
        if self._zone is None:
            self._zone = str(self._call("GET", "")["result"]["name"])
        return self._zone

    def _call(self, method: str, path: str, body: object = None) -> Json:
        url = f"{self._url}{path}"
        return call(self._session, method, url, body=body, timeout_s=self._timeout_s)


def _plain(name: str, type_: str, raw: list[Json]) -> Record:
    kept = {
        json.dumps({"ttl": r["ttl"], "proxied": bool(r.get("proxied"))}, sort_keys=True)
        for r in raw
    }
    if len(kept) > 1:
        raise Permanent(f"{name} has values with different TTLs or proxying; make them equal")
    shared = kept.pop()
    ttl = json.loads(shared)["ttl"]
    values = tuple(sorted(canonical(r["content"]) for r in raw))
    member = Member("", values, detail=(("record", shared),))
    return Record(name, type_, AUTOMATIC_TTL_S if ttl == AUTOMATIC_TTL else int(ttl), (member,))


def _is_proxied(member: Member) -> bool:
    return bool(json.loads(dict(member.detail)["record"])["proxied"])


def _balanced(name: str, type_: str, balancer: Json) -> Record:
    """Return a load balancer as a record of its pools."""
    pools: list[str] = balancer["default_pools"]
    ttl = int(balancer.get("ttl") or BALANCER_TTL_S)
    if balancer.get("steering_policy") in {"off", ""}:
        return Record(name, type_, ttl, tuple(Member(p, ()) for p in pools), Routing.FAILOVER)
    if balancer.get("steering_policy") != "random":
        policy = balancer.get("steering_policy")
        raise Permanent(f"{name} steers by {policy}; only off (failover) and random can be moved")
    steering = balancer.get("random_steering") or {}
    weights, usual = steering.get("pool_weights") or {}, steering.get("default_weight", 1)
    members = tuple(Member(p, (), float(weights.get(p, usual))) for p in sorted(pools))
    return Record(name, type_, ttl, members, Routing.WEIGHTED, WEIGHT_UNIT)


def _balancer(record: Record, old: Json) -> Json:
    """Return what is to be patched in a load balancer."""
    if record.routing is Routing.FAILOVER:
        return {"default_pools": [m.id for m in record.members]}
    steering = old.get("random_steering") or {}
    return {
        "random_steering": {**steering, "pool_weights": {m.id: m.weight for m in record.members}}
    }
