"""What can happen to a release train (events), and what it asks to be done (commands)."""

from dataclasses import dataclass
from enum import StrEnum

from analyzer.events import ActFailed, Announce, Approved, AskApproval, PlanRefused, Rejected


class Sight(StrEnum):
    """What is seen of the train's release in one region."""

    NOT_YET = "not seen yet"
    """Nothing of this release began there."""
    JUDGING = "being judged"
    HEALTHY = "healthy"
    FAILED = "failed"
    """It was found worse there, or a person wants it left."""
    UNDECIDED = "ended without a verdict"
    OVERTAKEN = "overtaken"
    """Something else is rolled out there by now."""
    UNSEEN = "unseen"
    """The region's daemon cannot be asked, or does not know the watch any more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One region at one look; ``watch_id`` is "" before there is a watch; ``text`` is for people."""

    sight: Sight
    watch_id: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Departed:
    """A release began in the first region.

    Attributes:
        release: what tells it from other releases, in every region.
        watch_id: of the watch that follows it in the first region. at: when that began.
        before: for each region, the watches that were over then: they say nothing of this train.
        says: what the rollout says of itself, such as its author, by key.
    """

    release: str
    watch_id: str
    at: float
    before: tuple[tuple[str, ...], ...]
    says: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """Every region was looked at, in the order of the route."""

    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class ReleasePlanned:
    """How the next region would be released; ``plan_key`` "" when it was released already."""

    plan_key: str
    text: str


@dataclass(frozen=True, slots=True)
class Released:
    """The plan was carried out: the release begins in the next region."""

    plan_key: str


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The plan was not begun, because a region on the way is no longer seen healthy."""

    plan_key: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A region is back at what it ran before this release."""

    place: int
    text: str


@dataclass(frozen=True, slots=True)
class NotTakenBack:
    """A region refused to go back, or could not."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Halted:
    """A person stops the train for good."""

    by: str


@dataclass(frozen=True, slots=True)
class Continued:
    """A person has looked at a train that needed one, and lets it go on.

    Where a region ended without a verdict, the person vouches for it.
    """

    by: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """A person wants every region that has the release to go back, whatever was found there."""

    by: str


TrainWish = Halted | Continued | Recalled
"""What a person may want of a train at any time, besides answering a plan."""

TrainEvent = (
    Departed
    | Looked
    | ReleasePlanned
    | PlanRefused
    | Approved
    | Rejected
    | Released
    | NotBegun
    | ActFailed
    | TakenBack
    | NotTakenBack
    | TrainWish
)


@dataclass(frozen=True, slots=True)
class PlanRelease:
    """Ask how the region at this place is released; answer with ReleasePlanned or PlanRefused."""

    place: int


@dataclass(frozen=True, slots=True)
class Release:
    """Carry out the plan; answer with Released, NotBegun or ActFailed.

    ``clear``: every region before it was just seen healthy. When it was not, a plan that was begun
    is finished, and one that was not is not begun.
    """

    plan_key: str
    clear: bool


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Have the region at this place go back; answer with TakenBack or NotTakenBack."""

    place: int


TrainCommand = PlanRelease | Release | TakeBack | AskApproval | Announce
