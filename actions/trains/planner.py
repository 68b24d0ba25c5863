"""The plan of a release: one step, which names the train, the region and the release. Pure."""

from dataclasses import dataclass

from actions.plan import Plan, Step, checksum, keyed
from analyzer.rollout import Revision, Workload

KIND = "Train"


@dataclass(frozen=True, slots=True)
class Bound:
    """What is released where, by which train.

    Attributes:
        train: its name. number: of the train among those of that name.
        region: the one to release. release: what tells it from others, such as a commit.
    """

    train: str
    number: int
    region: str
    release: str

    @property
    def mark(self) -> str:
        """The same for every try to release this region in this train, and for no other."""
        return f"rollbackd-{checksum([self.train, self.number, self.region, self.release])}"


def journal_id(train: str) -> str:
    """Return the id under which the journal keeps what happens to a train."""
    return f"train/{train}"


def plan_release(bound: Bound, step: Step, attempt: int) -> Plan:
    """Return the plan that lets a release into its next region.

    Args:
        bound: what is released where.
        step: of the region's lever.
        attempt: counts the plans of this train; each is approved by itself.
    """
    return keyed(
        Plan(
            watch_id=journal_id(bound.train),
            workload=Workload("", "train", KIND, bound.train),
            bad=Revision("", ""),
            good=Revision(bound.release, bound.release),
            steps=(step,),
            attempt=1000 * bound.number + attempt,
        )
    )
