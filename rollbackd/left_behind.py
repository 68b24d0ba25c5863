"""What an earlier process left in the journal of each watch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from actions.ports import Entry, Journal
from analyzer.policy import Policy
from analyzer.watch import Phase, Watch
from rollbackd.policy_record import policy_from_json
from rollbackd.portrait import Portrait
from rollbackd.records import roster_from_json, watch_from_json
from rollbackd.signal_finder import resumed
from rollbackd.tracked import Policies, Tracked
from rollbackd.views import WatchView
from rollbackd.views_json import view_from_json

log = structlog.get_logger(__name__)

MUST_END = frozenset({Phase.ACTING, Phase.VERIFYING})
"""What was begun is finished even when nobody watches such rollouts any more."""


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The newest entries of one watch; ``watch`` is None when it cannot be read."""

    watch_id: str
    watch: Watch | None
    policy: Mapping[str, Any] | None
    view: Entry | None
    roster: Entry | None
    armed: Entry | None

    def policy_by(self, policies: Policies) -> Policy | None:
        """Return the policy that the watch goes on by, None when nothing tells it any more."""
        if self.watch is None:
            return None
        named = policies.named(self.watch.policy)
        guards = self.watch.after_promotion
        policy = None
        if named is not None:
            policy = resumed(named, self.policy, after_promotion=guards)
        goes_on = self.watch.phase in MUST_END or not policies.lapsed(self.watch.policy)
        if policy is None and goes_on and self.policy is not None:
            policy = policy_from_json(self.policy)
        return policy

    def refill(self, tracked: Tracked) -> WatchView | None:
        """Put what the journal knows of the watch beside it again; return what was shown of it.

        Raises:
            KeyError, TypeError, ValueError: an entry is damaged.
        """
        shown = None
        if self.view is not None:
            shown = view_from_json(self.view.data)
            tracked.portrait = Portrait.from_view(shown)
        if self.roster is not None:
            tracked.roster = roster_from_json(self.roster.data)
            tracked.id_labels = tuple(self.roster.data["id_labels"])
        if self.armed is not None:
            tracked.armed = frozenset(self.armed.data["signals"])
        return shown


def left_behind(journal: Journal) -> Iterator[LeftBehind]:
    """Yield what is left of each watch, in the order in which they happened.

    The last good revision is the best to go back to, so the order matters.

    Raises:
        Transient: the journal cannot be read.
    """
    rosters, armed = journal.latest("roster"), journal.latest("armed")
    views, policies = journal.latest("view"), journal.latest("policy")
    newest = journal.latest("watch")
    for watch_id, entry in sorted(newest.items(), key=lambda item: item[1].seq):
        try:
            watch = watch_from_json(entry.data)
        except (KeyError, TypeError, ValueError):
            log.exception("watch not readable, it is left alone", watch=watch_id)
            watch = None
        policy = policies[watch_id].data if watch_id in policies else None
        beside = [found.get(watch_id) for found in (views, rosters, armed)]
        yield LeftBehind(watch_id, watch, policy, *beside)
