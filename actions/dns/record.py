"""A DNS record set as a value: who answers to a name, how much of it each gets. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

IPV4_PARTS = 4
ALIAS = "Alias"
"""In the detail of a member without values, where the provider itself knows what it leads to."""


class Routing(StrEnum):
    """How a record chooses among its members."""

    PLAIN = "plain"
    """One list of values for everybody: a single member, whose id is ""."""
    WEIGHTED = "weighted"
    """Each member gets its weight's share of the answers."""
    FAILOVER = "failover"
    """The first member answers; the next one only while that one's health check fails."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of the things that a name can lead to.

    Attributes:
        id: set identifier or pool; "" in a plain record.
        values: addresses, or absolute names without the dot at the end; sorted.
        weight: its share, relative to the other members'; 1 where there are no weights.
        detail: what the provider keeps with it (a health check, an alias), in its own words; it is
            written back as it was.
    """

    id: str
    values: tuple[str, ...]
    weight: float = 1.0
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that a name answers for one type.

    Attributes:
        name: absolute, in lower case, without the dot at the end. type: A, AAAA or CNAME.
        ttl: seconds that resolvers may keep an answer.
        members: sorted by id; in their order of preference when the routing is failover.
        weight_unit: the smallest difference of weights that the provider knows.
    """

    name: str
    type: str
    ttl: int
    members: tuple[Member, ...]
    routing: Routing = Routing.PLAIN
    weight_unit: float = 1.0

    @property
    def answers(self) -> frozenset[str]:
        """The values that a resolver may be given now."""
        return frozenset(v for m in self.members if m.weight > 0 for v in m.values)

    def describe(self) -> str:
        """Say in one line what the name leads to."""
        if self.routing is Routing.PLAIN:
            led = ", ".join(self.members[0].values)
        elif self.routing is Routing.WEIGHTED:
            led = ", ".join(f"{m.id} {m.weight:g}" for m in self.members)
        else:
            led = ", then ".join(m.id for m in self.members)
        return f"{self.name} {self.type} → {led}"


def plain(name: str, type_: str, ttl: int, values: tuple[str, ...]) -> Record:
    """Return a plain record."""
    return Record(canonical(name), type_, ttl, (Member("", tuple(sorted(values))),))


def canonical(name: str) -> str:
    """Return a name in the form in which names are compared."""
    return name.rstrip(".").lower()


def fault(record: Record, zone: str) -> str | None:
    """Return why a record must not be changed by us, or None.

    Args:
        record: as it is, or as it would be.
        zone: the zone that the backend is allowed to change; "" when it cannot know.
    """
    return name_fault(record.name, record.type, zone) or _members_fault(record)


def name_fault(name: str, type_: str, zone: str) -> str | None:
    """Return why a name of this type must not be changed by us, whatever it leads to, or None."""
    name, zone = canonical(name), canonical(zone)
    if zone and name != zone and not name.endswith(f".{zone}"):
        return f"{name} is not in the zone {zone}, which is all that this backend may change"
    if zone and type_ == "CNAME" and name == zone:
        return (
            f"{name} is the zone's apex, and a CNAME cannot be there; use A and AAAA, or an alias"
        )
    if type_ not in {"A", "AAAA", "CNAME"}:
        return f"{name} is a {type_} record; only A, AAAA and CNAME can move between regions"
    return None


def _members_fault(record: Record) -> str | None:
    name = record.name
    if not record.members:
        return f"{name} {record.type} would lead to nothing"
    for member in record.members:
        if (
            record.routing is Routing.PLAIN
            and not member.values
            and ALIAS not in dict(member.detail)
        ):
            return f"{name} {record.type} would lead to nothing"
        for value in member.values:
            if not _fits(record.type, value):
                return f"{value} cannot be the value of the {record.type} record {name}"
    weights = [m.weight for m in record.members]
    if any(not isfinite(w) or w < 0 for w in weights):
        return f"{name} has a weight below 0"
    if sum(weights) <= 0:
        return f"the weights of {name} sum to 0, so nobody could say who gets the traffic"
    if record.type == "CNAME" and any(len(m.values) > 1 for m in record.members):
        return f"{name} is a CNAME and can lead to one name only"
    return None


def _fits(type_: str, value: str) -> bool:
    match type_:
        case "A":
            parts = value.split(".")
            return len(parts) == IPV4_PARTS and all(p.isdecimal() and int(p) < 256 for p in parts)  # noqa: PLR2004  a byte
        case "AAAA":
            return ":" in value
        case _:
            return bool(value) and ":" not in value


def record_to_json(record: Record) -> dict[str, Any]:
    """Return a record as plain JSON values."""
    return asdict(record)


def record_from_json(data: Mapping[str, Any]) -> Record:
    """Return the record that ``record_to_json`` wrote. Raises KeyError, TypeError or ValueError."""
    members = (
        Member(
            id=m["id"],
            values=tuple(m["values"]),
            weight=m["weight"],
            detail=tuple((key, value) for key, value in m["detail"]),
        )
        for m in data["members"]
    )
    return Record(
        name=data["name"],
        type=data["type"],
        ttl=data["ttl"],
        members=tuple(members),
        routing=Routing(data["routing"]),
        weight_unit=data["weight_unit"],
    )
