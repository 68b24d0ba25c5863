"""Which records a region's traffic goes through while it is moved away and back. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from actions.dns.record import Member, Record, Routing

Endpoints = Mapping[str, tuple[str, ...]]
"""For each region, what stands for it in one record: values of a plain one, ids of members."""


class NoWay(ValueError):
    """The record cannot be moved as asked; says why."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How one record changes, stage by stage; the last one is where the move ends."""

    before: Record
    stages: tuple[Record, ...]

    @property
    def after(self) -> Record:
        """The record when the move is over."""
        return self.stages[-1] if self.stages else self.before


def away(
    record: Record,
    endpoints: Endpoints,
    region: str,
    receivers: Sequence[str],
    shares: Sequence[float],
) -> Shift:
    """Return the stages in which a region gives up its traffic.

    Args:
        record: as it is.
        endpoints: of every region in this record.
        region: the region to leave.
        receivers: regions that may take over, in order of preference.
        shares: for each stage, the share of its weight that it has given up; rising to 1.

    Raises:
        NoWay: nothing leads to the region now, or nobody could take over.
    """
    ours = set(endpoints[region])
    _require_known(record, endpoints)
    if record.routing is Routing.WEIGHTED:
        lighter = tuple(_lighter(record, ours, endpoints, receivers, s) for s in shares)
        return Shift(record, _distinct(record, lighter))
    if record.routing is Routing.FAILOVER:
        return Shift(record, (_demoted(record, ours),))
    return Shift(record, (_without(record, ours, endpoints, receivers),))


def back(left: Record, origin: Record, shares: Sequence[float]) -> Shift:
    """Return the stages in which a region gets back what it had.

    Args:
        left: the record as our move away left it.
        origin: as it was before.
        shares: of the move away; they are walked in reverse.
    """
    weighted = origin.routing is Routing.WEIGHTED
    kept = [s for s in sorted(shares, reverse=True) if 0 < s < 1] if weighted else []
    stages = tuple(_between(left, origin, 1 - s) for s in kept)
    return Shift(left, _distinct(left, (*stages, origin)))


def loads(record: Record, endpoints: Endpoints) -> dict[str, float]:
    """Return the share of the answers that lead to each region."""
    of = {part: region for region, parts in endpoints.items() for part in parts}
    found = dict.fromkeys(endpoints, 0.0)
    if record.routing is Routing.FAILOVER:
        found[of[record.members[0].id]] = 1.0
        return found
    parts = (
        [(v, 1.0) for v in record.members[0].values]
        if record.routing is Routing.PLAIN
        else [(m.id, m.weight) for m in record.members]
    )
    total = sum(weight for _, weight in parts)
    for part, weight in parts:
        found[of[part]] += weight / total
    return found


def _require_known(record: Record, endpoints: Endpoints) -> None:
    known = {part for parts in endpoints.values() for part in parts}
    plain = record.routing is Routing.PLAIN
    parts = record.members[0].values if plain else tuple(m.id for m in record.members)
    if foreign := sorted(set(parts) - known):
        raise NoWay(f"{record.name} also leads to {foreign[0]}, which belongs to no region")


def _without(
    record: Record, ours: set[str], endpoints: Endpoints, receivers: Sequence[str]
) -> Record:
    (member,) = record.members
    if not ours & set(member.values):
        raise NoWay(f"{record.name} does not lead there now: {record.describe()}")
    left = tuple(v for v in member.values if v not in ours)
    others = [endpoints[r] for r in receivers if endpoints.get(r)]
    if not left and not others:
        raise NoWay(f"no region could take over {record.name}")
    return replace(record, members=(replace(member, values=left or tuple(sorted(others[0]))),))


def _lighter(
    record: Record, ours: set[str], endpoints: Endpoints, receivers: Sequence[str], share: float
) -> Record:
    """Return the record with a share of the region's weight given up."""
    had = sum(m.weight for m in record.members if m.id in ours)
    if had <= 0:
        raise NoWay(f"{record.name} does not lead there now: {record.describe()}")
    members = [
        replace(m, weight=_rounded(m.weight * (1 - share), record)) if m.id in ours else m
        for m in record.members
    ]
    if sum(m.weight for m in record.members if m.id not in ours) <= 0:
        # a stand-by with weight 0 takes over what is given up, or nothing would
        standby = {part for r in receivers[:1] for part in endpoints.get(r, ())}
        gained = had - sum(m.weight for m in members if m.id in ours)
        if not standby & {m.id for m in members}:
            raise NoWay(f"no region could take over {record.name}")
        first = next(m.id for m in members if m.id in standby)
        members = [replace(m, weight=gained) if m.id == first else m for m in members]
    return replace(record, members=tuple(members))


def _demoted(record: Record, ours: set[str]) -> Record:
    if record.members[0].id not in ours:
        raise NoWay(f"{record.name} does not lead there now: {record.describe()}")
    rest = tuple(m for m in record.members if m.id not in ours)
    if not rest:
        raise NoWay(f"no region could take over {record.name}")
    return replace(record, members=rest + tuple(m for m in record.members if m.id in ours))


def _between(left: Record, origin: Record, share: float) -> Record:
    """Return the record with a share of the way back done."""
    was = {m.id: m.weight for m in left.members}

    def moved(member: Member) -> Member:
        start = was.get(member.id, member.weight)
        return replace(member, weight=_rounded(start + (member.weight - start) * share, origin))

    return replace(origin, members=tuple(moved(m) for m in origin.members))


def _rounded(weight: float, record: Record) -> float:
    unit = record.weight_unit
    return round(round(weight / unit) * unit, 6)


def _distinct(before: Record, stages: Sequence[Record]) -> tuple[Record, ...]:
    """Return the stages without those that change nothing, such as 50 % of a weight of 1."""
    kept: list[Record] = []
    for stage in stages:
        if stage != (kept[-1] if kept else before):
            kept.append(stage)
    return tuple(kept)
