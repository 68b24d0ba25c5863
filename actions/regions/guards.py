"""Pure reasons not to move a region's traffic, each with its own sentence for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actions.dns.record import Record
from actions.regions.limits import Limits
from actions.regions.shift import Endpoints, Shift, loads
from analyzer.regions.events import Direction, Standing
from analyzer.regions.life import Region
from analyzer.sample import Missing
from analyzer.wording import duration


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a region carries now and what it could, in the same unit; or why that is not known.

    ``assumed``: its owner says that it can carry everything; then nothing is measured.
    """

    load: float | Missing
    limit: float | Missing
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """One record of a move: where it is, how it changes, and what stands for which region."""

    backend: str
    shift: Shift
    endpoints: Endpoints


@dataclass(frozen=True, slots=True)
class MoveSituation:
    """Everything a guard may look at.

    Attributes:
        names: the records that the region's traffic comes through.
        found: the same records as they are now.
        capacity: by region.
        past: when the moves of any region began, seconds since the epoch.
        now: seconds since the epoch.
        undone: who would put back what a move changes, each with its reason.
    """

    region: Region
    direction: Direction
    others: Sequence[Region]
    names: Sequence[Name]
    found: Sequence[Record]
    capacity: Mapping[str, Capacity]
    limits: Limits
    past: Sequence[float]
    now: float
    undone: Sequence[str] = ()

    @property
    def receivers(self) -> Sequence[Region]:
        """The other regions that get traffic when the move is over."""
        got: set[str] = set()
        for name in self.names:
            after = loads(name.shift.after, name.endpoints)
            got |= {region for region, part in after.items() if part > 0}
        return [region for region in self.others if region.name in got]


Guard = Callable[[MoveSituation], str | None]
"""Returns why the move must not be carried out, or None."""


def one_at_a_time(situation: MoveSituation) -> str | None:
    """Refuse while another region is moving, or is away."""
    for other in situation.others:
        if other.phase.moving:
            return f"{other.name} is {other.phase.value}; one region at a time"
        if other.away and situation.direction is Direction.AWAY:
            return f"{other.name} was moved away already; one region at a time"
    return None


def into_health(situation: MoveSituation) -> str | None:
    """Refuse to send traffic into a region that is degraded or cannot be measured."""
    if situation.direction is Direction.BACK:
        return None
    unfit = [r for r in situation.receivers if not r.standing.takes_traffic]
    return "; ".join(f"{r.name} is {r.standing.value}" for r in unfit) or None


def into_proven_health(situation: MoveSituation) -> str | None:
    """Refuse to bring traffic back to a region that is not healthy, unless a person wants it."""
    region = situation.region
    if situation.direction is Direction.AWAY or region.ordered_by:
        return None
    if region.standing is not Standing.HEALTHY:
        return f"{region.name} is {region.standing.value}"
    return None


def enough_stay(situation: MoveSituation) -> str | None:
    """Refuse to go below the least number of healthy regions."""
    if situation.direction is Direction.BACK:
        return None
    left = [r for r in situation.receivers if r.standing.takes_traffic and not r.away]
    if len(left) < situation.limits.min_healthy:
        wanted = situation.limits.min_healthy
        return f"only {len(left)} healthy regions would have traffic, and {wanted} must"
    return None


def into_capacity(situation: MoveSituation) -> str | None:
    """Refuse to send more into a region than it can carry, or when that is not known."""
    if situation.direction is Direction.BACK:
        return None
    total = sum(c.load for c in situation.capacity.values() if not isinstance(c.load, Missing))
    reasons = []
    for region in situation.receivers:
        capacity = situation.capacity[region.name]
        if capacity.assumed:
            continue
        unknown = [r for r, c in situation.capacity.items() if isinstance(c.load, Missing)]
        if unknown or isinstance(capacity.limit, Missing):
            why = (
                capacity.limit if isinstance(capacity.limit, Missing) else f"load of {unknown[0]}"
            )
            reasons.append(f"what {region.name} could carry is not known ({why})")
            continue
        part = max(loads(n.shift.after, n.endpoints)[region.name] for n in situation.names)
        if (load := part * total) > capacity.limit:
            reasons.append(
                f"{region.name} would carry {load:.4g}, and at most {capacity.limit:.4g} fit"
            )
    return "; ".join(reasons) or None


def within_budget(situation: MoveSituation) -> str | None:
    """Refuse more moves than people allowed: traffic that goes to and fro helps nobody."""
    if situation.region.ordered_by or situation.region.relapsed:
        return None
    limits = situation.limits
    recent = [at for at in situation.past if at > situation.now - limits.moves_within_s]
    if len(recent) >= limits.max_moves:
        return (
            f"{len(recent)} moves within {duration(limits.moves_within_s)} are all that is allowed"
        )
    return None


def record_is_ours(situation: MoveSituation) -> str | None:
    """Refuse to bring back what somebody changed since, and to move what is not as planned."""
    for name, found in zip(situation.names, situation.found, strict=True):
        if found != name.shift.before:
            return (
                f"somebody changed {found.name} since: it is {found.describe()}, "
                f"and was {name.shift.before.describe()}"
            )
    return None


def resolvers_follow(situation: MoveSituation) -> str | None:
    """Refuse a TTL so long that the move would not help in time."""
    for found in situation.found:
        if found.ttl > situation.limits.max_ttl_s:
            return (
                f"resolvers keep {found.name} for {duration(found.ttl)}, longer than the "
                f"{duration(situation.limits.max_ttl_s)} of max_ttl; lower its TTL first"
            )
    return None


def nobody_puts_it_back(situation: MoveSituation) -> str | None:
    """Refuse to change what a GitOps owner would put back by itself, from under our feet."""
    return "; ".join(situation.undone) or None


def changes_something(situation: MoveSituation) -> str | None:
    """Refuse a move that would change no record."""
    if any(name.shift.stages for name in situation.names):
        return None
    return f"there is nothing to change: no record of {situation.region.name} would be different"


GUARDS: tuple[Guard, ...] = (
    changes_something,
    record_is_ours,
    one_at_a_time,
    into_health,
    into_proven_health,
    enough_stay,
    into_capacity,
    resolvers_follow,
    nobody_puts_it_back,
    within_budget,
)
STAGE_GUARDS: tuple[Guard, ...] = (
    one_at_a_time,
    into_health,
    enough_stay,
    into_capacity,
    nobody_puts_it_back,
)
"""Asked again before every further stage: the world may have changed since the plan was made."""


def refusals(situation: MoveSituation, guards: Sequence[Guard] = GUARDS) -> tuple[str, ...]:
    """Return the reasons of all guards that object."""
    return tuple(why for guard in guards if (why := guard(situation)) is not None)
