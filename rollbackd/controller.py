"""The tick: rollouts -> watches -> samples -> evidence -> judgement -> next phase -> journal.

All decisions are taken by pure functions of ``analyzer``; this file moves values between them, the
ports and the watches.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from actions.ports import Entry, Journal, newest
from analyzer.comparison import Comparison
from analyzer.distress import Facts, weigh
from analyzer.events import (
    Ended,
    Event,
    Judged,
    PutBack,
    Superseded,
)
from analyzer.evidence import Evidence, Measured
from analyzer.families.family import Armed
from analyzer.judge import judge, out_of_sight
from analyzer.policy import Policy
from analyzer.ports import RolloutSource
from analyzer.rollout import AFTER, Rollout, Side
from analyzer.roster import Roster
from analyzer.sample import Missing
from analyzer.traces.comparison import watch_of
from analyzer.watch import Phase, begin
from rollbackd.collect import Collector
from rollbackd.left_behind import MUST_END, LeftBehind, left_behind
from rollbackd.policy_record import policy_from_json, policy_to_json
from rollbackd.promotion import PromotionGuard
from rollbackd.records import (
    armed_from_json,
    armed_to_json,
    facts_to_json,
    roster_to_json,
)
from rollbackd.sight import sight
from rollbackd.signal_finder import SignalFinder
from rollbackd.telemetry import Telemetry
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.exemplars import ExemplarDesk, Question
from rollbackd.tracked import Policies, Tracked
from rollbackd.watches import KEEP_FINAL, Watches

log = structlog.get_logger()

ABSENT_LOOKS = 3
"""Looks in a row that must miss a rollout before it is gone: a cache may lag behind a change."""


class Controller:
    """Follows every rollout. For one thread, the tick's; others speak to ``watches``.

    Only the tick's thread touches the comparison; an event changes the watch, and the next tick
    brings the comparison in line with it.

    Args:
        sources: where rollouts come from.
        policies: the configured policies.
        collector: brings comparisons up to date.
        comparison: what is compared.
        journal: the record.
        telemetry: counts what happens.
        now: seconds since the epoch.
        finder: finds the signals of policies that ask for ready-made ones.
    """

    def __init__(  # noqa: PLR0913  # the parts it works with
        self,
        *,
        sources: Sequence[RolloutSource],
        policies: Policies,
        collector: Collector,
        comparison: Comparison,
        journal: Journal,
        telemetry: Telemetry,
        now: Callable[[], float],
        finder: SignalFinder | None = None,
    ) -> None:
        self._sources = sources
        self._finder = finder
        self._policies = policies
        self._collector = collector
        self._comparison = comparison
        self._journal = journal
        self._telemetry = telemetry
        self._now = now
        self._promotion = PromotionGuard(sources, collector.source, collector.settle_s)
        self.watches = Watches(journal, telemetry, now, self._promotion.remember)
        """What is followed, and what happens to it; any thread may call it."""
        self._traces: TraceDesk | None = None
        self._exemplars: ExemplarDesk | None = None
        self._unseen: dict[str, str] = {}
        """Watches whose rollout a source could not tell at this tick, and why."""

    # Start-up

    def consult(self, traces: TraceDesk) -> None:
        """Ask the desk for traces, before each tick, which operations there are."""
        self._traces = traces

    def exhibit(self, exemplars: ExemplarDesk) -> None:
        """Show exemplars of the metrics that accuse a canary."""
        self._exemplars = exemplars

    def restore(self) -> None:
        """Take up every watch that is not over, and show those that ended lately.

        Raises:
            Transient: the journal cannot be read.
        """
        ended: list[LeftBehind] = []
        for left in left_behind(self._journal):
            watch, watch_id = left.watch, left.watch_id
            if watch is None:
                self.watches.end_broken(watch_id)
                continue
            if watch.phase.final:
                self.watches.conclude(watch)
                roster = left.roster.data if left.roster is not None else None
                self._promotion.recall(watch, roster, left.policy)
                ended.append(left)
                continue
            policy = left.policy_by(self._policies)
            if policy is None:
                log.warning("watch dropped", watch=watch_id, reason="its policy is gone")
                continue
            known = self._policy_data(policy) == left.policy
            tracked = Tracked(watch, policy, standing=None, policy_recorded=known)
            self.watches.take_up(tracked)
            self.watches.guarded(watch_id, partial(self._resume, tracked, left))
        holding = [left for left in ended if self.watches.held(left.watch_id)]
        for left in {e.watch_id: e for e in (*holding, *ended[-KEEP_FINAL:])}.values():
            self._recall(left)

    def _recall(self, left: LeftBehind) -> None:
        """Show a watch that was over before: people may still decide about some of them."""
        watch = left.watch
        if watch is None:
            return
        known = self._policies.named(watch.policy)
        try:
            if left.policy is not None:
                known = policy_from_json(left.policy)
            if known is None:
                return
            tracked = Tracked(watch, known, policy_recorded=True)
            shown = left.refill(tracked)
        except (KeyError, TypeError, ValueError):
            log.exception("ended watch not readable, it is not shown", watch=watch.id)
            return
        if shown is not None:
            self.watches.recall(tracked, shown)

    def _resume(self, tracked: Tracked, left: LeftBehind) -> None:
        """Take up one watch. Raises whatever a damaged entry makes of it."""
        left.refill(tracked)
        if left.roster is not None:
            began = armed_from_json(left.armed.data) if left.armed is not None else {}
            self._compare(tracked, began)
        watch = tracked.watch
        log.info("watch resumed", watch=watch.id, phase=watch.phase.value)

    def _compare(self, tracked: Tracked, began: Mapping[str, Armed[Any]]) -> None:
        watch_id = tracked.watch.id
        self._comparison.join(watch_id, tracked.policy, tracked.id_labels, began)
        self._comparison.enrol(watch_id, tracked.roster)
        tracked.compared = True

    # The tick

    def tick(self) -> None:
        """Look at everything once. Trouble with one watch ends that watch, not the tick."""
        now = self._now()
        with self._telemetry.spans.ticking() as span:
            self._follow_rollouts(now)
            span.set_attribute("rollbackd.watches", len(self.watches))
            self._end_ungoverned()
            self._tend_comparison()
            if self._traces is not None:
                self._traces.tend(self._comparison.traces)
            with self._telemetry.tracer.start_as_current_span("collect"):
                broken = self._collector.collect(self._comparison.families, now)
            for family in broken:
                for member in family.members:
                    self.watches.end_broken(watch_of(member.watch_id))
            self._tend_comparison()
            evidence = self._comparison.evidence()
            for tracked in self.watches:
                watch_id = tracked.watch.id
                if not tracked.watch.phase.final:
                    found = evidence.get(watch_id, {})
                    self.watches.guarded(watch_id, partial(self._consider, tracked, found, now))
            self.watches.publish(now)

    def _tend_comparison(self) -> None:
        """Bring the comparison in line with the watches."""
        for tracked in self.watches:
            watch, watch_id = tracked.watch, tracked.watch.id
            if tracked.compared and watch.phase.final:
                self._comparison.leave(watch_id)
                tracked.compared = False
                if self._exemplars is not None:
                    self._exemplars.forget(watch_id)
            elif watch.was_reported and not watch.phase.final and not tracked.compared:
                self.watches.guarded(watch_id, partial(self._rejoin, tracked))
            elif tracked.compared and watch.phase is Phase.VERIFYING and not tracked.marked:
                self._comparison.mark(watch_id, watch.since)
                tracked.marked = True

    def _rejoin(self, tracked: Tracked) -> None:
        """Compare a watch again that had ended, with what its comparison began with."""
        kinds = frozenset({"armed"})
        armed = newest(self._journal.entries(watch_id=tracked.watch.id, kinds=kinds))
        self._compare(tracked, armed_from_json(armed.data) if armed is not None else {})
        tracked.marked = False

    def _follow_rollouts(self, now: float) -> None:
        """Start watches for new rollouts, end those of rollouts that are gone.

        While any source cannot tell its rollouts, nothing is taken for gone.
        """
        current, untold = sight(self._sources)
        self._telemetry.told_rollouts(untold is None)
        newest = {rollout.workload: rollout for rollout in current.values()}
        current |= self._promotion.rollouts(current, self.watches)
        followed = {tracked.watch.id for tracked in self.watches}
        unseen = followed - current.keys() if untold is not None else ()
        self._unseen = dict.fromkeys(unseen, str(untold))
        for rollout in current.values():
            self.watches.guarded(rollout.watch_id, partial(self._follow, rollout, now))
        for tracked in self.watches:
            watch_id = tracked.watch.id
            if watch_id in current or tracked.watch.phase.final:
                tracked.absent = 0
                if untold is None and watch_id not in current:
                    self.watches.guarded(watch_id, partial(self._keep_current, tracked, None))
                continue
            newer = newest.get(tracked.watch.workload)
            if newer is not None and newer.watch_id == watch_id.removesuffix(AFTER):
                newer = None  # the very rollout whose revision this watch guards
            if tracked.watch.phase is Phase.VERIFYING:
                if newer is not None and newer.canary.id == tracked.watch.canary.id:
                    back = PutBack(newer.canary, tracked.portrait.said_by("gitops"))
                    self._let(tracked, back)
                self.watches.guarded(watch_id, partial(self._follow_restored, tracked, now))
            elif untold is None:
                tracked.absent += 1
                if newer is None and tracked.absent < ABSENT_LOOKS:
                    continue
                event = Superseded(newer.canary) if newer else Ended("the rollout is gone")
                self._let(tracked, event)

    def _end_ungoverned(self) -> None:
        """End watches whose policy was deleted, but never in the middle of an action.

        One that is made anew at once, as tools do that replace objects, was not taken back.
        """
        for tracked in self.watches:
            if tracked.watch.phase.final or tracked.watch.phase in MUST_END:
                continue
            lapsed = self._policies.lapsed(tracked.policy.name)
            tracked.ungoverned = tracked.ungoverned + 1 if lapsed else 0
            if tracked.ungoverned >= ABSENT_LOOKS:
                event = Ended(f"its policy {tracked.policy.name} was deleted")
                self._let(tracked, event)

    def _let(self, tracked: Tracked, event: Event) -> None:
        """Let an event happen to a watch; the tick goes on, whatever comes of it."""
        watch_id = tracked.watch.id
        self.watches.guarded(watch_id, partial(self.watches.handle, watch_id, event))

    def _follow(self, rollout: Rollout, now: float) -> None:
        """Begin the watch of a rollout that is new, and take note of its instances."""
        watch_id = rollout.watch_id
        tracked = self.watches.find(watch_id)
        if tracked is None:
            ended = self.watches.has_ended(watch_id)
            policy = None if ended else self._policies.policy_for(rollout)
            if policy is not None and self._finder is not None and not rollout.guards_on:
                policy = self._finder.complete(policy, rollout, now)
            if policy is not None and rollout.after_promotion:
                policy = self._promotion.policy(rollout, policy, now)
            if policy is None:
                return
            tracked = Tracked(begin(rollout, policy, now), policy)
            self.watches.begin(tracked)
            mode = tracked.watch.mode.value
            log.info("watch began", watch=watch_id, policy=policy.name, mode=mode)
        if tracked.watch.phase.final:
            self._keep_current(tracked, rollout)
            return
        tracked.rollout = rollout
        tracked.id_labels = rollout.id_labels
        tracked.distress = tracked.distress.observe(rollout, now)
        if not tracked.policy_recorded:
            data = self._policy_data(tracked.policy)
            self._journal.append(Entry(now, watch_id, "policy", tracked.policy.name, data))
            tracked.policy_recorded = True
        if not tracked.compared:
            self._compare(tracked, {})
        if rollout.after_promotion:
            self._enrol(tracked, self._promotion.roster(tracked, rollout, now), now)
            return
        self._enrol(tracked, tracked.roster.observe(rollout, now, tracked.policy.warm_up_s), now)
        over = self._promotion.handed_over(tracked, rollout, now)
        if over is not None:
            self.watches.handle(watch_id, over)

    def _keep_current(self, tracked: Tracked, rollout: Rollout | None) -> None:
        """Take note whether what was only reported is still there: people may want it left."""
        if tracked.watch.phase is not Phase.REPORTED:
            return
        changed = (tracked.rollout is None) is not (rollout is None)
        tracked.rollout = rollout
        view = self.watches.view(tracked.watch.id)
        if changed or (view is not None and view.can_demand is not (rollout is not None)):
            self.watches.redraw(tracked.watch.id)

    def _follow_restored(self, tracked: Tracked, now: float) -> None:
        """Take note of the restored baseline's instances: after a rollback there is no rollout."""
        watch = tracked.watch
        if watch.baseline is None or not tracked.compared:
            return
        for source in self._sources:
            seen = source.instances(watch.workload, watch.baseline)
            if not isinstance(seen, Missing) and seen:
                tracked.distress = tracked.distress.restored(seen, now)
                roster, warm_up_s = tracked.roster, tracked.policy.warm_up_s
                after = roster.alone if watch.after_promotion else roster.restored
                restored = after(seen, now, warm_up_s)
                self._enrol(tracked, restored, now)

    def _enrol(self, tracked: Tracked, roster: Roster, now: float) -> None:
        """Write and use a roster that changed."""
        if roster is not tracked.roster:
            data = roster_to_json(roster) | {"id_labels": list(tracked.id_labels)}
            self._journal.append(Entry(now, tracked.watch.id, "roster", "", data))
            tracked.roster = roster
        if tracked.compared:
            self._comparison.enrol(tracked.watch.id, tracked.roster)

    def _consider(self, tracked: Tracked, evidence: Mapping[str, Evidence], now: float) -> None:
        """Judge one watch, or measure its recovery, and give again what was not answered."""
        watch_id = tracked.watch.id
        if self._exemplars is not None:
            asked = Question(watch_id, tracked.policy, tracked.roster, tracked.id_labels)
            evidence = self._exemplars.show(asked, evidence, now)
        tracked.look(evidence, self._comparison, now)
        self._note_armed(tracked)
        if tracked.watch.phase is Phase.VERIFYING:
            recovery = tracked.recovery(self._comparison, now, self._collector.tick_s)
            self.watches.handle(watch_id, recovery)
        else:
            for found in evidence.values():
                if isinstance(found, Missing):
                    self._telemetry.missed_signal(found.reason)
            warm = tracked.roster.warm(Side.CANARY, now) if tracked.rollout else None
            facts = weigh(tracked.distress, tracked.policy, warm)
            self._note_facts(tracked, facts)
            judgement = judge(tracked.policy, evidence, facts)
            if watch_id in self._unseen:
                judgement = out_of_sight(judgement, self._unseen[watch_id])
            self._telemetry.judged(judgement.verdict)
            self._telemetry.spans.looked(watch_id, evidence.values())
            measured = any(isinstance(e, Measured) and e.finding.tested for e in evidence.values())
            self.watches.handle(watch_id, Judged(judgement, measured))
        self.watches.remind(tracked)

    def _note_facts(self, tracked: Tracked, facts: Facts) -> None:
        """Write what the cluster says whenever it comes to another standing."""
        if facts.standing is not tracked.standing:
            entry = Entry(self._now(), tracked.watch.id, "facts", "", facts_to_json(facts))
            self._journal.append(entry)
            tracked.standing = facts.standing

    def _note_armed(self, tracked: Tracked) -> None:
        armed = self._comparison.armed(tracked.watch.id)
        if frozenset(armed) != tracked.armed:
            entry = Entry(self._now(), tracked.watch.id, "armed", "", armed_to_json(armed))
            self._journal.append(entry)
            tracked.armed = frozenset(armed)

    def _policy_data(self, policy: Policy) -> dict[str, Any]:
        """Return the policy and the grid, as plain JSON: what a replay needs to know."""
        grid = {"tick_s": self._collector.tick_s, "settle_s": self._collector.settle_s}
        return policy_to_json(policy) | grid
