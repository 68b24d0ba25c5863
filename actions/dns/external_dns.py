"""ExternalDNS: a ``DNSEndpoint`` object, which ExternalDNS then carries to its own provider.

The compare-and-set is the API server's: the patch tests the object's ``resourceVersion``.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from actions.dns.authority import Authority
from actions.dns.ports import Propagation
from actions.dns.record import Member, Record, Routing, canonical, fault
from actions.facts import Owned
from actions.ports import Conflict, Permanent

GROUP = "externaldns.k8s.io/v1alpha1"
WEIGHT = "aws/weight"
"""The name under which ExternalDNS carries weights, for the providers that have them."""
DEFAULT_TTL_S = 300
"""What providers use when an endpoint sets no TTL."""
MAX_WEIGHT = 255
"""Of Route 53, which is where ExternalDNS has weights."""

Json = dict[str, Any]


class ClusterApi(Protocol):
    """The calls to the API server that are needed, in raw JSON. All raise ActionErrors."""

    def get(self, path: str) -> Json | None:
        """Return one object, or None when there is no such object."""

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Apply a JSON patch; raise Conflict when a ``test`` in it fails."""


class Owners(Protocol):
    """Who applies objects from somewhere else: ``actions.gitops_hold.GitOpsOwners``."""

    def facts_of(self, found: Json) -> tuple[Owned, ...]:
        """Return each owner of an object, and whether it applies by itself."""


def undoing(facts: Sequence[Owned]) -> str | None:
    """Return which owners would put back a change, or may; None when none would."""
    said = []
    for fact in facts:
        if fact.syncs:
            said.append(f"{fact.owner} would put it back: {fact.why}")
        elif fact.syncs is None:
            said.append(
                f"{fact.owner} may put it back; whether it would is not known ({fact.why})"
            )
    return "; ".join(said) or None


def require_whole_weights(record: Record) -> None:
    """Raise Permanent when a record has a weight that ExternalDNS could not carry out."""
    weights = [m.weight for m in record.members] if record.routing is Routing.WEIGHTED else []
    if any(w != int(w) or w > MAX_WEIGHT for w in weights):
        raise Permanent(f"{record.name}: ExternalDNS knows whole weights from 0 to {MAX_WEIGHT}")


class ExternalDns:
    """One ``DNSEndpoint``; implements ``actions.dns.ports.DnsBackend`` and ``Owned``.

    Args:
        api: the cluster. namespace, name: of the object.
        zone: that may be changed.
        authority: asks the servers that the world asks: they show when ExternalDNS has done it.
        owners: tells who applies the object from somewhere else.
    """

    def __init__(
        self,
        api: ClusterApi,
        *,
        namespace: str,
        name: str,
        zone: str,
        authority: Authority,
        owners: Owners,
    ) -> None:
        self._api = api
        self._zone = zone
        self._owners = owners
        self._who = f"DNSEndpoint {namespace}/{name}"
        self._path = f"/apis/{GROUP}/namespaces/{quote(namespace)}/dnsendpoints/{quote(name)}"
        self._authority = authority

    def read(self, name: str, type_: str) -> Record:
        """Return the record of all endpoints of this name and type."""
        return self._read(canonical(name), type_)[0]

    def swap(self, expected: Record, new: Record) -> None:
        """Replace the endpoints of the record, if the object is the one that was compared."""
        for each in (expected, new):
            if why := fault(each, self._zone):
                raise Permanent(why)
        require_whole_weights(new)
        record, found = self._read(new.name, new.type)
        if record != expected:
            raise Conflict(f"{new.name} {new.type} is no longer as planned; nothing was written")
        others = [e for e in found["spec"]["endpoints"] if not _is(e, new.name, new.type)]
        self._api.patch(
            self._path,
            [
                {
                    "op": "test",
                    "path": "/metadata/resourceVersion",
                    "value": found["metadata"]["resourceVersion"],
                },
                {"op": "replace", "path": "/spec/endpoints", "value": others + _written(new)},
            ],
        )

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server."""
        return self._authority.ask(record)

    def undone_by(self, name: str, type_: str) -> str | None:
        """Say who applies the object from somewhere else and would put it back, or None."""
        _, found = self._read(canonical(name), type_)
        return undoing(self._owners.facts_of(found))

    def _read(self, name: str, type_: str) -> tuple[Record, Json]:
        found = self._api.get(self._path)
        if found is None:
            raise Permanent(f"there is no {self._who}")
        endpoints = [e for e in found["spec"].get("endpoints", ()) if _is(e, name, type_)]
        if not endpoints:
            raise Permanent(f"{self._who} has no {type_} record {name}")
        record = _parsed(name, type_, endpoints)
        if why := fault(record, self._zone):
            raise Permanent(why)
        return record, found


def _is(endpoint: Json, name: str, type_: str) -> bool:
    return canonical(endpoint["dnsName"]) == name and endpoint["recordType"] == type_


def _parsed(name: str, type_: str, endpoints: list[Json]) -> Record:
    ttls = {int(e.get("recordTTL") or DEFAULT_TTL_S) for e in endpoints}
    if len(ttls) > 1:
        raise Permanent(
            f"{name} has endpoints with different TTLs ({sorted(ttls)}); make them equal"
        )
    weights = [_weight(e) for e in endpoints]
    members = tuple(
        sorted(
            (_member(e, w) for e, w in zip(endpoints, weights, strict=True)), key=lambda m: m.id
        )
    )
    if all(w is not None for w in weights):
        return Record(name, type_, ttls.pop(), members, Routing.WEIGHTED)
    if len(endpoints) > 1 or members[0].id:
        raise Permanent(f"{name}: only plain endpoints and such with {WEIGHT} can be moved")
    return Record(name, type_, ttls.pop(), members)


def _weight(endpoint: Json) -> float | None:
    for item in endpoint.get("providerSpecific", ()):
        if item["name"] == WEIGHT:
            try:
                return float(item["value"])
            except ValueError as error:
                raise Permanent(f"{endpoint['dnsName']}: {WEIGHT} is no number") from error
    return None


def _member(endpoint: Json, weight: float | None) -> Member:
    return Member(
        id=str(endpoint.get("setIdentifier", "")),
        values=tuple(sorted(canonical(t) for t in endpoint["targets"])),
        weight=1.0 if weight is None else weight,
        detail=(("endpoint", json.dumps(_kept(endpoint), sort_keys=True)),),
    )


def _kept(endpoint: Json) -> Json:
    """Return what a move leaves as it is: everything but targets and weight."""
    others = [item for item in endpoint.get("providerSpecific", ()) if item["name"] != WEIGHT]
    kept = {key: value for key, value in endpoint.items() if key != "targets"}
    return kept | {"providerSpecific": others}


def _written(record: Record) -> list[Json]:
    made = []
    for member in record.members:
        endpoint = json.loads(dict(member.detail)["endpoint"])
        endpoint["targets"] = list(member.values)
        if record.routing is Routing.WEIGHTED:
            endpoint["providerSpecific"].append({"name": WEIGHT, "value": f"{member.weight:g}"})
        made.append(endpoint)
    return made
