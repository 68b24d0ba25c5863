"""What the controller keeps of each watch, and where it gets policies."""

from dataclasses import dataclass, field
from typing import Protocol

from analyzer.distress import Distress, Standing
from analyzer.policy import Policy
from analyzer.rollout import Rollout
from analyzer.roster import Roster
from analyzer.watch import Watch
from rollbackd.portrait import Portrait


class Policies(Protocol):
    """The policies, of the file and of the cluster."""

    def policy_for(self, rollout: Rollout) -> Policy | None:
        """Return the policy of a rollout, or None when nobody wants it watched."""

    def named(self, name: str) -> Policy | None:
        """Return a policy of the file by name, or None when there is none."""

    def lapsed(self, name: str) -> bool:
        """Tell whether a policy is known to be gone; of one of the cluster that may be unknown."""


@dataclass(slots=True)
class Tracked:
    """One watch with everything that is kept beside it.

    ``rollout`` is None after a restart until its source reports it again; ``distress`` is then
    seen anew, which can only delay; ``standing`` is what the journal says of it, None when that was
    another process; ``armed`` names the
    signals whose beginning is in the journal; ``absent`` counts the looks that did not see it, and
    ``ungoverned`` those at which its policy was gone;
    ``compared`` and ``marked`` tell what the comparison knows of it; ``policy_recorded``: whether the
    journal holds the policy in force; ``unshowable`` is set when an error of our own keeps its
    portrait from being drawn.
    """

    watch: Watch
    policy: Policy
    rollout: Rollout | None = None
    roster: Roster = field(default_factory=Roster)
    distress: Distress = field(default_factory=Distress)
    standing: Standing | None = Standing.QUIET
    portrait: Portrait = field(default_factory=Portrait)
    armed: frozenset[str] = frozenset()
    compared: bool = False
    marked: bool = False
    unshowable: bool = False
    absent: int = 0
    ungoverned: int = 0
    policy_recorded: bool = False
    id_labels: tuple[str, ...] = ()
