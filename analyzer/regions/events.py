"""What can happen to a region (events), and what it asks to be done (commands)."""

from dataclasses import dataclass
from enum import StrEnum

from analyzer.events import ActFailed, Announce, Approved, AskApproval, PlanRefused, Rejected


class Standing(StrEnum):
    """What the evidence says of a region."""

    HEALTHY = "healthy"
    """Harm is excluded on every critical signal, against the other regions."""
    SICK = "sick"
    """Worse than the other regions, and worse than its own history."""
    SHARED = "shared incident"
    """Worse than its own history, and not than the others: moving traffic would not help."""
    DIFFERENT = "always worse"
    """Worse than the other regions, and not than its own history: nothing happened to it."""
    UNDECIDED = "undecided"
    BLIND = "blind"
    """It cannot be measured; nothing follows from that."""

    @property
    def takes_traffic(self) -> bool:
        """Whether traffic may be sent there, as far as its health goes."""
        return self in {Standing.HEALTHY, Standing.UNDECIDED}

    @property
    def accused(self) -> bool:
        """Whether the evidence speaks against it, for whatever reason."""
        return self in {Standing.SICK, Standing.SHARED, Standing.DIFFERENT}


class Direction(StrEnum):
    """Which way traffic moves."""

    AWAY = "fail over"
    BACK = "fail back"


@dataclass(frozen=True, slots=True)
class Assessed:
    """The evidence was judged once more.

    ``text`` holds the numbers; ``cause`` is what else speaks for sickness, such as a rollback in
    this region that did not help, or "".
    """

    standing: Standing
    text: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class MovePlanned:
    """A move passed all guards; it has so many stages."""

    direction: Direction
    plan_key: str
    text: str
    stages: int


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage took effect on every server; resolvers give old answers until ``drained_at``."""

    plan_key: str
    stage: int
    drained_at: float


@dataclass(frozen=True, slots=True)
class StageBlocked:
    """The next stage must not be carried out now, for these reasons."""

    plan_key: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """A person wants traffic moved."""

    direction: Direction
    by: str


@dataclass(frozen=True, slots=True)
class Released:
    """A person has looked at a region that needed one."""

    by: str


@dataclass(frozen=True, slots=True)
class Restored:
    """The records are again as they were before our move; we did not do that."""

    by: str


RegionWish = Ordered | Released
"""What a person may want of a region at any time, besides answering a plan."""

RegionEvent = (
    Assessed
    | MovePlanned
    | PlanRefused
    | Approved
    | Rejected
    | StageDone
    | StageBlocked
    | ActFailed
    | Ordered
    | Released
    | Restored
)


@dataclass(frozen=True, slots=True)
class PlanMove:
    """Ask the planner; answer with MovePlanned or PlanRefused."""

    direction: Direction


@dataclass(frozen=True, slots=True)
class Advance:
    """Carry out the plan up to this stage; answer with StageDone, StageBlocked or ActFailed."""

    plan_key: str
    stage: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Begin to weigh the evidence anew: what was seen until now is no longer the question."""


RegionCommand = PlanMove | Advance | Renew | AskApproval | Announce
