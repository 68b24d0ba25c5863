"""Amazon Route 53: simple, weighted and failover records.

A change batch is one transaction, and a DELETE must say exactly what is there: deleting the old
sets and creating the new ones in one batch is a compare-and-set of the whole record.
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from actions.dns.authority import Authority
from actions.dns.ports import Propagation, sensible
from actions.dns.record import ALIAS, Member, Record, Routing, canonical, fault
from actions.ports import ActionError, Conflict, Permanent, Transient

ALIAS_TTL_S = 60
"""Route 53 answers aliases to its own resources with this TTL."""
MAX_WEIGHT = 255
PAGE = "300"
_KEPT = ("HealthCheckId", "AliasTarget", "EvaluateTargetHealth")
_OTHER_ROUTING = (
    "Region",
    "GeoLocation",
    "MultiValueAnswer",
    "CidrRoutingConfig",
    "GeoProximityLocation",
)
_LATER = {
    "Throttling",
    "ThrottlingException",
    "PriorRequestNotComplete",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
}
RecordSet = dict[str, Any]


class Client(Protocol):
    """The calls of boto3's Route 53 client that are used."""

    def list_resource_record_sets(self, **request: object) -> dict[str, Any]:
        """Return record sets from a name on, in Route 53's order."""

    def change_resource_record_sets(self, **request: object) -> dict[str, Any]:
        """Carry out a batch of changes, all or none."""

    def get_hosted_zone(self, **request: object) -> dict[str, Any]:
        """Return what is known of a zone."""

    def close(self) -> None:
        """Release connections."""


class Route53:
    """One hosted zone; implements ``actions.dns.ports.DnsBackend``.

    Args:
        zone_id: of the hosted zone. client: boto3's, with its credentials and retries.
        authority: asks the servers that the world asks.
    """

    def __init__(self, *, zone_id: str, client: Client, authority: Authority) -> None:
        self._zone_id = zone_id
        self._client = client
        self._authority = authority
        self._zone: str | None = None

    def read(self, name: str, type_: str) -> Record:
        """Return the record of all sets of this name and type."""
        name = canonical(name)
        sets = self._sets(name, type_)
        if not sets:
            raise Permanent(f"the hosted zone {self._zone_id} has no {type_} record {name}")
        record = _parsed(name, type_, sets)
        self._require_ours(record)
        return record

    def swap(self, expected: Record, new: Record) -> None:
        """Delete exactly the old sets and create the new ones, in one transaction."""
        self._require_ours(expected)
        self._require_ours(new)
        if new.routing is Routing.WEIGHTED and any(
            m.weight != int(m.weight) or m.weight > MAX_WEIGHT for m in new.members
        ):
            raise Permanent(f"{new.name}: Route 53 knows whole weights from 0 to {MAX_WEIGHT}")
        old = self._sets(new.name, new.type)
        if not old or _parsed(new.name, new.type, old) != expected:
            raise Conflict(f"{new.name} {new.type} is no longer as planned; nothing was written")
        changes = [{"Action": "DELETE", "ResourceRecordSet": each} for each in old]
        changes += [{"Action": "CREATE", "ResourceRecordSet": each} for each in _written(new)]
        try:
            self._call(
                "change_resource_record_sets",
                ChangeBatch={"Comment": "rollbackd", "Changes": changes},
            )
        except _InvalidBatch as error:
            now = self._sets(new.name, new.type)
            if now != old:
                raise Conflict(f"{new.name} changed meanwhile; nothing was written") from error
            raise

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server; an alias's answers are Route 53's own, and not asked."""
        if any(not m.values for m in record.members):
            return Propagation(agreeing=("Route 53 (aliases are not asked for)",))
        return self._authority.ask(record)

    def _require_ours(self, record: Record) -> None:
        if self._zone is None:
            found = self._call("get_hosted_zone")
            with sensible("Route 53"):
                self._zone = str(found["HostedZone"]["Name"])
        if why := fault(record, self._zone):
            raise Permanent(why)

    def _sets(self, name: str, type_: str) -> list[RecordSet]:
        page = self._call(
            "list_resource_record_sets",
            StartRecordName=name,
            StartRecordType=type_,
            MaxItems=PAGE,
        )
        with sensible("Route 53"):
            found: list[RecordSet] = page["ResourceRecordSets"]
            return [s for s in found if canonical(s["Name"]) == name and s["Type"] == type_]

    def _call(self, operation: str, **request: object) -> dict[str, Any]:
        key = "Id" if operation == "get_hosted_zone" else "HostedZoneId"
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(
                **{key: self._zone_id}, **request
            )
        except ClientError as error:
            # its text may repeat the request, and the session's token with it
            raise _refusal(f"{operation} of zone {self._zone_id}", error) from None
        except NoCredentialsError as error:
            raise Permanent("Route 53: there are no AWS credentials here") from error
        except ResponseParserError as error:
            # its text holds the answer
            kind = type(error).__name__
            raise Transient(f"Route 53: no sensible answer ({kind})") from None
        except BotoCoreError as error:
            raise Transient(f"Route 53 does not answer ({type(error).__name__})") from error
        return answer


class _InvalidBatch(Permanent):
    """Route 53 refused a batch: something in it is stale, or was never valid."""


def _refusal(doing: str, error: ClientError) -> ActionError:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = str(error.response.get("Error", {}).get("Message", ""))
    if "Signature" in code or code == "RequestTimeTooSkewed":
        said = "(check the secret access key, and this machine's clock)"
    text = f"Route 53: {doing}: {code} {said}".rstrip()
    busy = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if code in _LATER or busy:
        return Transient(text)
    return _InvalidBatch(text) if code == "InvalidChangeBatch" else Permanent(text)


def _parsed(name: str, type_: str, sets: Sequence[RecordSet]) -> Record:
    """Return the sets as one record. Raises Permanent for what we do not change."""
    other = next((key for s in sets for key in _OTHER_ROUTING if key in s), None)
    if other is not None:
        raise Permanent(
            f"{name} is routed by {other}; only simple, weighted and failover records can be moved"
        )
    kinds = {"Weight" if "Weight" in s else "Failover" if "Failover" in s else "" for s in sets}
    if len(kinds) > 1:
        raise Permanent(f"{name} mixes weighted and other records")
    ttls = {int(s.get("TTL", ALIAS_TTL_S)) for s in sets}
    if len(ttls) > 1:
        raise Permanent(
            f"{name} has members with different TTLs ({sorted(ttls)}); make them equal"
        )
    kind = kinds.pop()
    routing = {"Weight": Routing.WEIGHTED, "Failover": Routing.FAILOVER}.get(kind, Routing.PLAIN)
    if routing is Routing.FAILOVER:
        ordered = sorted(sets, key=lambda s: str(s["Failover"]))  # PRIMARY before SECONDARY
    else:
        ordered = sorted(sets, key=lambda s: str(s.get("SetIdentifier", "")))
    members = tuple(_member(s) for s in ordered)
    return Record(name, type_, ttls.pop(), members, routing)


def _member(record_set: RecordSet) -> Member:
    values = (canonical(r["Value"]) for r in record_set.get("ResourceRecords", ()))
    detail = {key: record_set[key] for key in _KEPT if key in record_set}
    if "TTL" not in record_set:
        detail[ALIAS] = True
    return Member(
        id=str(record_set.get("SetIdentifier", "")),
        values=tuple(sorted(values)),
        weight=float(record_set.get("Weight", 1)),
        detail=tuple((k, json.dumps(v, sort_keys=True)) for k, v in sorted(detail.items())),
    )


def _written(record: Record) -> list[RecordSet]:
    """Return a record as Route 53's sets; the first member of a failover record is PRIMARY."""
    sets = []
    for place, member in enumerate(record.members):
        kept = {key: json.loads(value) for key, value in member.detail}
        made: RecordSet = {"Name": f"{record.name}.", "Type": record.type}
        if not kept.pop(ALIAS, False):
            ends = "." if record.type == "CNAME" else ""
            made["TTL"] = record.ttl
            made["ResourceRecords"] = [{"Value": f"{value}{ends}"} for value in member.values]
        if record.routing is not Routing.PLAIN:
            made["SetIdentifier"] = member.id
        if record.routing is Routing.WEIGHTED:
            made["Weight"] = int(member.weight)
        if record.routing is Routing.FAILOVER:
            made["Failover"] = "PRIMARY" if place == 0 else "SECONDARY"
        sets.append(made | kept)
    return sets
