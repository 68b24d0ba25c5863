"""Guards revisions that took over: finds what they can be compared with, and follows them.

The guard is a watch of its own, which begins when the rollout is complete and its watch ended with
nothing against it. What is decided is told by ``analyzer.after_promotion``; here are the questions
to the sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from analyzer.after_promotion import (
    APART_S,
    guarding,
    hands_over,
    is_over,
    left_out,
    past_roster,
    times_before,
)
from analyzer.events import Ended
from analyzer.policy import Policy
from analyzer.ports import MetricSource, RolloutSource
from analyzer.rollout import AFTER, Instance, Revision, Rollout, Workload
from analyzer.roster import Roster
from analyzer.sample import Missing
from analyzer.signal import PastSignal
from analyzer.watch import Phase, Watch, begin
from analyzer.wording import duration
from rollbackd.own_past import slow_bounds
from rollbackd.policy_record import policy_from_json
from rollbackd.records import roster_from_json
from rollbackd.tracked import Tracked
from rollbackd.watches import Watches

log = structlog.get_logger(__name__)

KEPT = 200
"""Ended watches of rollouts that may still become complete."""


@dataclass(frozen=True, slots=True)
class Over:
    """What is left of a rollout's watch: how it ended, what it compared, by what it was judged."""

    watch: Watch
    roster: Roster
    policy: Policy


class PromotionGuard:
    """Tells which revisions are to be guarded. For one thread, the tick's.

    Args:
        sources: where rollouts come from. history: where samples come from.
        settle_s: samples younger than this are not looked at.
    """

    def __init__(
        self, sources: Sequence[RolloutSource], history: MetricSource, settle_s: float
    ) -> None:
        self._sources = sources
        self._history = history
        self._settle_s = settle_s
        self._over: dict[str, Over] = {}
        self._without_past: set[str] = set()

    # What is remembered

    def remember(self, watch: Watch, roster: Roster, policy: Policy) -> None:
        """Take note of a watch that ended, if its revision is to be guarded."""
        if hands_over(watch, policy):
            self._over.pop(watch.id, None)
            self._over[watch.id] = Over(watch, roster, policy)
            for watch_id in list(self._over)[:-KEPT]:
                del self._over[watch_id]

    def recall(
        self, watch: Watch, roster: Mapping[str, Any] | None, policy: Mapping[str, Any] | None
    ) -> None:
        """Take note of a watch that ended in an earlier process, from its journal entries.

        What is not readable is not guarded: nothing else depends on it.
        """
        # most entries are of watches that nobody guards: only the others are read
        if roster is None or policy is None or not policy.get("after_promotion_s"):
            return
        try:
            self.remember(watch, roster_from_json(roster), policy_from_json(policy))
        except (KeyError, TypeError, ValueError):
            log.exception("end of a watch not readable, it is not guarded", watch=watch.id)

    def handed_over(self, tracked: Tracked, rollout: Rollout, now: float) -> Ended | None:
        """Return the end of a complete rollout's watch that has nothing left to compare."""
        if not rollout.complete or not is_over(tracked.watch, tracked.policy, tracked.roster, now):
            return None
        lasts = duration(tracked.policy.after_promotion_s)
        return Ended(
            "the canary took over before it could be judged: nothing is left to compare it with; "
            f"guarded by its workload's own past for {lasts}"
        )

    # What is followed

    def rollouts(
        self,
        current: Mapping[str, Rollout],
        watches: Watches,
    ) -> dict[str, Rollout]:
        """Return what is guarded now and what is to be, by the id of its watch.

        Args:
            current: the rollouts that are seen.
            watches: what is followed, and was.
        """
        newest = {rollout.workload: rollout.canary for rollout in current.values()}
        found: dict[str, Rollout] = {}
        for each in watches:
            watch = each.watch
            # a switch is told of by its source for as long as it stands
            if watch.id.endswith(AFTER) and not watch.phase.final:
                if watch.phase is Phase.VERIFYING or watch.baseline is None:
                    continue
                if newest.get(watch.workload, watch.canary).id == watch.canary.id:
                    self._add(found, _guarded(each))
        for watch_id, rollout in current.items():
            guard_id = f"{watch_id}{AFTER}"
            is_known = watches.find(guard_id) is not None or watches.has_ended(guard_id)
            if rollout.complete and watch_id in self._over and not is_known:
                self._add(found, replace(rollout, after_promotion=True, baseline_instances=()))
        return found

    def _add(self, found: dict[str, Rollout], rollout: Rollout) -> None:
        running = self._running(rollout.workload, rollout.canary)
        if running:
            found[rollout.watch_id] = replace(rollout, canary_instances=running)

    def _running(self, workload: Workload, revision: Revision) -> tuple[Instance, ...]:
        """Return a revision's instances; none while a source cannot tell them."""
        for source in self._sources:
            seen = source.instances(workload, revision)
            if not isinstance(seen, Missing) and seen:
                return tuple(seen)
        return ()

    def roster(self, tracked: Tracked, rollout: Rollout, now: float) -> Roster:
        """Return a guard's roster after one more look at what runs."""
        warm_up_s, known = tracked.policy.warm_up_s, tracked.roster
        over = self._before(rollout, tracked.policy, now)
        if not known.stays and over is not None:
            known = past_roster(over.roster, _earlier(tracked.policy), warm_up_s)
        return known.alone(rollout.canary_instances, now, warm_up_s)

    # What it can be compared with

    def policy(self, rollout: Rollout, usual: Policy, now: float) -> Policy | None:
        """Return the policy that a revision is guarded by, None while or when there is none.

        The same clock time of another day is better than the time before the rollout, where the
        revision before ran then and the source still has it.

        Args:
            rollout: whose revision it is.
            usual: the policy of the rollout, its signals known.
            now: seconds since the epoch.
        """
        main = rollout.watch_id.removesuffix(AFTER)
        over = self._before(rollout, usual, now)
        if over is None or main in self._without_past:
            return None
        began = min(rollout.started_at, over.watch.started_at)
        for earlier_s in times_before(began, now, over.policy):
            past = past_roster(over.roster, earlier_s, over.policy.warm_up_s)
            ran = [s.id for s in past.stays if s.since <= now]
            until = now - self._settle_s - earlier_s
            bounds = slow_bounds(self._history, over.policy, rollout.id_labels, ran, until)
            if isinstance(bounds, Missing):
                log.warning("own past not known", watch=rollout.watch_id, reason=str(bounds))
                return None  # asked again with the next look
            found = guarding(over.policy, earlier_s, bounds) if bounds is not None else None
            if found is not None:
                skipped = list(left_out(over.policy, found))
                log.info("own past found", watch=main, earlier_s=earlier_s, left_out=skipped)
                return found
        self._without_past.add(main)
        log.warning("revision not guarded", watch=main, reason="no past to compare with")
        return None

    def _before(self, rollout: Rollout, usual: Policy, now: float) -> Over | None:
        """Return what is known of the time before; of a switch, its source still tells it."""
        if not rollout.apart:
            return self._over.get(rollout.watch_id.removesuffix(AFTER))
        lasts = usual.after_promotion_s or APART_S
        policy = replace(usual, after_promotion_s=lasts)
        roster = Roster().observe(rollout, now, policy.warm_up_s)
        return Over(begin(rollout, policy, rollout.started_at), roster, policy)


def _guarded(tracked: Tracked) -> Rollout:
    """Return the rollout that a guard stands for, whether or not its source still reports it."""
    watch, last = tracked.watch, tracked.rollout
    if last is not None:
        return last
    return Rollout(
        watch.workload,
        watch.canary,
        watch.baseline,
        (),
        (),
        tracked.id_labels,
        watch.started_at,
        ordinal=_ordinal(watch),
        complete=True,
        annotations=watch.annotations,
        after_promotion=True,
    )


def _ordinal(watch: Watch) -> int:
    """Return the ordinal of the rollout as its watch's id tells it."""
    tail = watch.id.rpartition("@")[2].removesuffix(AFTER).removeprefix(watch.canary.label)
    number = tail.removeprefix(".")
    return int(number) if number.isdecimal() else 0


def _earlier(policy: Policy) -> float:
    past = (signal.earlier_s for signal in policy.signals if isinstance(signal, PastSignal))
    return next(past, 0.0)
