"""Which revisions of a workload are good to go back to, as ended watches tell."""

from dataclasses import dataclass, field

from analyzer.rollout import Workload
from analyzer.watch import Phase, Watch

MOST = 5
"""Good revisions remembered for each workload."""
_SAYS_SOMETHING = frozenset({Phase.HEALTHY, Phase.ROLLED_BACK, Phase.REPORTED, Phase.NEEDS_HUMAN})
"""Ends that change what is known of a revision; being superseded, say, does not."""


@dataclass(slots=True)
class KnownGood:
    """Revisions whose watch ended healthy and that were not left since, the newest first."""

    _of: dict[Workload, tuple[str, ...]] = field(default_factory=dict)

    def note(self, watch: Watch) -> None:
        """Take note of a watch that ended; in the order in which they ended."""
        good = self.of(watch.workload)
        if watch.phase in _SAYS_SOMETHING:
            good = tuple(id_ for id_ in good if id_ != watch.canary.id)
        if watch.phase is Phase.HEALTHY:
            good = (watch.canary.id, *good)
        self._of[watch.workload] = good[:MOST]

    def of(self, workload: Workload) -> tuple[str, ...]:
        """Return the ids of a workload's good revisions."""
        return self._of.get(workload, ())
