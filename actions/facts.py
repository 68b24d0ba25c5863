"""What actuators saw of the world that is for guards to judge: plain values, no opinions. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PausedByHand:
    """Somebody paused the workload, so that a change would have no effect."""

    what: str


@dataclass(frozen=True, slots=True)
class NewerRevision:
    """The workload is no longer asked to run the canary: another change is on its way."""

    what: str
    canary: str


@dataclass(frozen=True, slots=True)
class CannotStart:
    """Instances of the revision to go back to exist and cannot start, for this reason."""

    revision: str
    instances: int
    reason: str


@dataclass(frozen=True, slots=True)
class Undersized:
    """After the rollback there would be fewer instances than an autoscaler asks for at least."""

    what: str
    instances: int
    least: int
    by: str


@dataclass(frozen=True, slots=True)
class QuotaShort:
    """A quota has no room for the revision to go back to.

    Attributes:
        quota: its name. resource: such as ``pods`` or ``requests.cpu``.
        needed, room: in the resource's base unit (pods, cores, bytes).
        instances: how many would have to fit into the room.
    """

    quota: str
    resource: str
    needed: float
    room: float
    instances: int


@dataclass(frozen=True, slots=True)
class SchemaBound:
    """The canary migrated a database schema, and what that says about going back.

    ``certain``: it is known that the baseline does not work with the new schema; else it could not
    be told whether it does.
    """

    text: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Owned:
    """Somebody applies the workload from somewhere else, such as an Argo CD Application.

    ``syncs``: whether it does so by itself and would put the canary back; None when that cannot
    be told. ``why``: the reason for either, for people.
    """

    owner: str
    syncs: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read, and why: no evidence for anything."""

    what: str
    why: str


Fact = (
    PausedByHand
    | NewerRevision
    | CannotStart
    | Undersized
    | QuotaShort
    | SchemaBound
    | Owned
    | Unread
)
