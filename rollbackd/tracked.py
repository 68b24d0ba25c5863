"""What the controller keeps of each watch, and where it gets policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from analyzer.comparison import Comparison
from analyzer.distress import Distress, Standing
from analyzer.events import RecoveryMeasured
from analyzer.evidence import Evidence
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

    def look(self, evidence: Mapping[str, Evidence], comparison: Comparison, now: float) -> None:
        """Take one more look at every signal into the portrait."""
        watch_id = self.watch.id
        recent = {n: comparison.recent_values(watch_id, n) for n in evidence}
        newest = [t for n in evidence if (t := comparison.newest(watch_id, n)) is not None]
        self.portrait.look(max(newest, default=now), evidence, recent)

    def recovery(self, comparison: Comparison, now: float, tick_s: float) -> RecoveryMeasured:
        """Return what is known of the recovery since the action."""
        last_call = now - self.watch.since >= self.policy.recovery_s - tick_s
        recovered, text = comparison.recovery(self.watch.id, last_call=last_call)
        if recovered is None and not self.armed:
            since, lasting_s = self.watch.since, self.policy.persistence_s
            recovered, text = self.distress.recovered(since, lasting_s)
        return RecoveryMeasured(recovered, text)
