"""The tick: rollouts -> watches -> samples -> evidence -> judgement -> next phase -> journal.

All decisions are taken by pure functions of ``analyzer``; this file moves values between them, the
ports and the journal. Order matters in one place: a transition is written before its commands are
given, so that a crash at any instruction leaves a journal from which the same commands follow.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from actions.ports import Entry, Journal, Transient, newest
from analyzer.comparison import Comparison
from analyzer.distress import Facts, weigh
from analyzer.events import (
    Act,
    Announce,
    AskApproval,
    Command,
    Ended,
    Event,
    Judged,
    MakePlan,
    Planned,
    PlanRefused,
    PutBack,
    Superseded,
)
from analyzer.evidence import Evidence, Measured
from analyzer.families.family import Armed
from analyzer.judge import judge, out_of_sight
from analyzer.policy import Policy
from analyzer.ports import RolloutSource
from analyzer.rollout import AFTER, Rollout, Side, Workload
from analyzer.roster import Roster
from analyzer.sample import Missing
from analyzer.traces.comparison import watch_of
from analyzer.watch import Phase, Watch, begin, resume, step
from rollbackd.collect import Collector
from rollbackd.desk import ActionDesk
from rollbackd.gallery import Gallery
from rollbackd.known_good import KnownGood
from rollbackd.left_behind import MUST_END, LeftBehind, left_behind
from rollbackd.policy_record import policy_from_json, policy_to_json
from rollbackd.portrait import Portrait
from rollbackd.promotion import PromotionGuard
from rollbackd.records import (
    armed_from_json,
    armed_to_json,
    facts_to_json,
    roster_from_json,
    roster_to_json,
    watch_to_json,
)
from rollbackd.sight import sight
from rollbackd.signal_finder import SignalFinder
from rollbackd.telemetry import Telemetry
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.exemplars import ExemplarDesk, Question
from rollbackd.tracked import Policies, Tracked
from rollbackd.views import WatchView
from rollbackd.views_json import view_from_json

log = structlog.get_logger()

ABSENT_LOOKS = 3
"""Looks in a row that must miss a rollout before it is gone: a cache may lag behind a change."""
KEEP_FINAL = 200
"""Ended watches that stay visible, newest first; the journal has them all."""


class Controller:
    """Follows every rollout. ``tick`` is called by one thread, ``handle`` by any.

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
        self._traces: TraceDesk | None = None
        self._exemplars: ExemplarDesk | None = None
        self._desk: ActionDesk | None = None
        self._gallery = Gallery(journal, telemetry, now)
        self._tracked: dict[str, Tracked] = {}
        self._ended: set[str] = set()
        self._good = KnownGood()
        self._lock = threading.RLock()
        self._unseen: dict[str, str] = {}
        """Watches whose rollout a source could not tell at this tick, and why."""

    # Start-up

    def employ(self, desk: ActionDesk) -> None:
        """Connect the desk, which needs ``handle`` to answer to."""
        self._desk = desk

    def show_held(self, held: Callable[[str], tuple[str, ...]]) -> None:
        """Ask this, whenever a watch is shown, what is held for it; it must answer at once."""
        self._gallery.held = held

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
                self._telemetry.faulted()
                self._ended.add(watch_id)
                continue
            if watch.phase.final:
                self._conclude(watch)
                roster = left.roster.data if left.roster is not None else None
                self._promotion.recall(watch, roster, left.policy)
                ended.append(left)
                continue
            policy = left.policy_by(self._policies)
            if policy is None:
                log.warning("watch dropped", watch=watch_id, reason="its policy is gone")
                continue
            known = self._policy_data(policy) == left.policy
            tracked = self._tracked[watch_id] = Tracked(
                watch, policy, standing=None, policy_recorded=known
            )
            self._guarded(watch_id, partial(self._resume, tracked, left))
        holding = [left for left in ended if self._gallery.held(left.watch_id)]
        for left in {e.watch_id: e for e in (*holding, *ended[-KEEP_FINAL:])}.values():
            self._recall(left)

    def _recall(self, left: LeftBehind) -> None:
        """Show a watch that was over before: people may still decide about some of them."""
        watch = left.watch
        if watch is None or left.view is None:
            return
        known = self._policies.named(watch.policy)
        try:
            if left.policy is not None:
                known = policy_from_json(left.policy)
            if known is None:
                return
            tracked = Tracked(watch, known, policy_recorded=True)
            shown = view_from_json(left.view.data)
            tracked.portrait = Portrait.from_view(shown)
            if left.roster is not None:
                tracked.roster = roster_from_json(left.roster.data)
                tracked.id_labels = tuple(left.roster.data["id_labels"])
            if left.armed is not None:
                tracked.armed = frozenset(left.armed.data["signals"])
        except (KeyError, TypeError, ValueError):
            log.exception("ended watch not readable, it is not shown", watch=watch.id)
            return
        self._tracked[watch.id] = tracked
        self._gallery.hang(watch.id, replace(shown, held=self._gallery.held(watch.id)))

    def _resume(self, tracked: Tracked, left: LeftBehind) -> None:
        """Take up one watch. Raises whatever a damaged entry makes of it."""
        watch = tracked.watch
        if left.view is not None:
            tracked.portrait = Portrait.from_view(view_from_json(left.view.data))
        if left.roster is not None:
            tracked.roster = roster_from_json(left.roster.data)
            began = armed_from_json(left.armed.data) if left.armed is not None else {}
            tracked.armed = frozenset(began)
            tracked.id_labels = tuple(left.roster.data["id_labels"])
            self._compare(tracked, began)
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
            span.set_attribute("rollbackd.watches", len(self._tracked))
            self._end_ungoverned()
            self._tend_comparison()
            if self._traces is not None:
                self._traces.tend(self._comparison.traces)
            with self._telemetry.tracer.start_as_current_span("collect"):
                broken = self._collector.collect(self._comparison.families, now)
            for family in broken:
                for member in family.members:
                    self._end_broken(watch_of(member.watch_id))
            self._tend_comparison()
            evidence = self._comparison.evidence()
            for watch_id, tracked in list(self._tracked.items()):
                if not tracked.watch.phase.final:
                    found = evidence.get(watch_id, {})
                    self._guarded(watch_id, partial(self._consider, watch_id, found, now))
            self._publish(now)

    def _tend_comparison(self) -> None:
        """Bring the comparison in line with the watches."""
        for watch_id, tracked in self._tracked.items():
            watch = tracked.watch
            if tracked.compared and watch.phase.final:
                self._comparison.leave(watch_id)
                tracked.compared = False
                if self._exemplars is not None:
                    self._exemplars.forget(watch_id)
            elif watch.was_reported and not watch.phase.final and not tracked.compared:
                self._guarded(watch_id, partial(self._rejoin, tracked))
            elif tracked.compared and watch.phase is Phase.VERIFYING and not tracked.marked:
                self._comparison.mark(watch_id, watch.since)
                tracked.marked = True

    def _rejoin(self, tracked: Tracked) -> None:
        """Compare a watch again that had ended, with what its comparison began with."""
        kinds = frozenset({"armed"})
        armed = newest(self._journal.entries(watch_id=tracked.watch.id, kinds=kinds))
        self._compare(tracked, armed_from_json(armed.data) if armed is not None else {})
        tracked.marked = False

    def _guarded(self, watch_id: str, work: Callable[[], None]) -> None:
        """Run one watch's work; an error of our own ends that watch in "needs a human"."""
        try:
            work()
        except Transient as error:
            self._telemetry.journal_failed()
            log.warning("journal not writable, trying again", watch=watch_id, error=str(error))
        except Exception:
            log.exception("watch broke", watch=watch_id)
            self._end_broken(watch_id)

    def _end_broken(self, watch_id: str) -> None:
        """End a watch that an error of our own broke; one that could not begin never does."""
        self._telemetry.faulted()
        self._ended.add(watch_id)
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is None or tracked.watch.phase.final:
                return
            note = "an internal error ended this watch; see the daemon's log"
            over = replace(tracked.watch, phase=Phase.NEEDS_HUMAN, note=note, since=self._now())
            try:
                self._commit(tracked, over)
            except Exception:
                log.exception("end of watch not recorded", watch=watch_id)
                tracked.watch = over

    def _follow_rollouts(self, now: float) -> None:
        """Start watches for new rollouts, end those of rollouts that are gone.

        While any source cannot tell its rollouts, nothing is taken for gone.
        """
        current, untold = sight(self._sources)
        self._telemetry.told_rollouts(untold is None)
        newest = {rollout.workload: rollout for rollout in current.values()}
        current |= self._promotion.rollouts(current, self._tracked, self._ended)
        unseen = self._tracked.keys() - current.keys() if untold is not None else ()
        self._unseen = dict.fromkeys(unseen, str(untold))
        for rollout in current.values():
            self._guarded(rollout.watch_id, partial(self._follow, rollout, now))
        for watch_id, tracked in list(self._tracked.items()):
            if watch_id in current or tracked.watch.phase.final:
                tracked.absent = 0
                if untold is None and watch_id not in current:
                    self._guarded(watch_id, partial(self._keep_current, tracked, None))
                continue
            newer = newest.get(tracked.watch.workload)
            if newer is not None and newer.watch_id == watch_id.removesuffix(AFTER):
                newer = None  # the very rollout whose revision this watch guards
            if tracked.watch.phase is Phase.VERIFYING:
                if newer is not None and newer.canary.id == tracked.watch.canary.id:
                    back = PutBack(newer.canary, tracked.portrait.said_by("gitops"))
                    self._guarded(watch_id, partial(self.handle, watch_id, back))
                self._guarded(watch_id, partial(self._follow_restored, tracked, now))
            elif untold is None:
                tracked.absent += 1
                if newer is None and tracked.absent < ABSENT_LOOKS:
                    continue
                event = Superseded(newer.canary) if newer else Ended("the rollout is gone")
                self._guarded(watch_id, partial(self.handle, watch_id, event))

    def _end_ungoverned(self) -> None:
        """End watches whose policy was deleted, but never in the middle of an action.

        One that is made anew at once, as tools do that replace objects, was not taken back.
        """
        for watch_id, tracked in list(self._tracked.items()):
            if tracked.watch.phase.final or tracked.watch.phase in MUST_END:
                continue
            lapsed = self._policies.lapsed(tracked.policy.name)
            tracked.ungoverned = tracked.ungoverned + 1 if lapsed else 0
            if tracked.ungoverned >= ABSENT_LOOKS:
                event = Ended(f"its policy {tracked.policy.name} was deleted")
                self._guarded(watch_id, partial(self.handle, watch_id, event))

    def _follow(self, rollout: Rollout, now: float) -> None:
        """Begin the watch of a rollout that is new, and take note of its instances."""
        watch_id = rollout.watch_id
        tracked = self._tracked.get(watch_id)
        if tracked is None:
            policy = None if watch_id in self._ended else self._policies.policy_for(rollout)
            if policy is not None and self._finder is not None and not rollout.guards_on:
                policy = self._finder.complete(policy, rollout, now)
            if policy is not None and rollout.after_promotion:
                policy = self._promotion.policy(rollout, policy, now)
            if policy is None:
                return
            tracked = Tracked(begin(rollout, policy, now), policy)
            view, _ = self._gallery.write(tracked.watch, tracked)
            with self._lock:  # people may decide about it as soon as the journal has it
                self._tracked[watch_id] = tracked
                self._gallery.hang(watch_id, view)
            self._telemetry.entered(Phase.WARMING)
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
            self.handle(watch_id, over)

    def _keep_current(self, tracked: Tracked, rollout: Rollout | None) -> None:
        """Take note whether what was only reported is still there: people may want it left."""
        if tracked.watch.phase is not Phase.REPORTED:
            return
        changed = (tracked.rollout is None) is not (rollout is None)
        tracked.rollout = rollout
        view = self._gallery.of(tracked.watch.id)
        if changed or (view is not None and view.can_demand is not (rollout is not None)):
            self.redraw(tracked.watch.id)

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

    def _consider(self, watch_id: str, evidence: Mapping[str, Evidence], now: float) -> None:
        """Judge one watch, or measure its recovery, and give again what was not answered."""
        tracked = self._tracked[watch_id]
        if self._exemplars is not None:
            asked = Question(watch_id, tracked.policy, tracked.roster, tracked.id_labels)
            evidence = self._exemplars.show(asked, evidence, now)
        tracked.look(evidence, self._comparison, now)
        self._note_armed(tracked)
        if tracked.watch.phase is Phase.VERIFYING:
            recovery = tracked.recovery(self._comparison, now, self._collector.tick_s)
            self.handle(watch_id, recovery)
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
            self.handle(watch_id, Judged(judgement, measured))
        with self._lock:  # an answer that comes meanwhile would be asked for again
            if tracked.watch.phase is not Phase.AWAITING_APPROVAL:
                for command in resume(tracked.watch):
                    self._give(tracked, command)

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

    # Events and their consequences

    def handle(self, watch_id: str, event: Event) -> None:
        """Let an event happen to a watch: step, write, then give the commands.

        Raises:
            Transient: the journal could not be written; the watch stays as it was.
        """
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is None:
                return
            watch, commands = step(tracked.watch, event, tracked.policy, self._now())
            if isinstance(event, Planned | PlanRefused) and watch is not tracked.watch:
                tracked.portrait.checks = event.checks
            if isinstance(event, Planned) and watch.plan_key == event.plan_key:
                tracked.portrait.plan = f"{event.text} (plan {event.plan_key})"
            if not self._commit(tracked, watch):
                return
            for command in commands:
                self._give(tracked, command)

    def _commit(self, tracked: Tracked, watch: Watch) -> bool:
        """Make a step's outcome real; return whether there was anything but a newer judgement."""
        old = tracked.watch
        if watch_to_json(watch) == watch_to_json(old):
            tracked.watch = watch
            return False
        at, timeline = self._now(), list(tracked.portrait.timeline)
        if watch.phase is not old.phase:
            tracked.portrait.note(at, "phase", f"{watch.phase.value}: {watch.note}")
        try:
            view, seq = self._gallery.write(watch, tracked)
        except Exception:
            tracked.portrait.timeline = timeline  # it did not happen
            raise
        tracked.watch = watch
        if watch.phase is not old.phase:
            self._telemetry.entered(watch.phase)
            known = tracked.portrait.evidence.values()
            span = self._telemetry.spans.decided(old.phase, watch, seq, known)
            self._telemetry.concluded(watch.phase, at - watch.started_at, span)
            log.info(
                "phase entered",
                watch=watch.id,
                phase=watch.phase.value,
                before=old.phase.value,
                note=watch.note,
            )
        if watch.phase.final:
            self._conclude(watch)
            self._promotion.remember(watch, tracked.roster, tracked.policy)
        self._gallery.hang(watch.id, view)
        return True

    def _give(self, tracked: Tracked, command: Command) -> None:
        """Carry out one command of a watch."""
        watch, desk = tracked.watch, self._desk
        match command:
            case Announce(text=text, urgent=urgent):
                log.log(30 if urgent else 20, "announced", watch=watch.id, text=text)
            case MakePlan():
                if desk is not None and tracked.rollout is not None:
                    desk.plan(watch.id, tracked.policy, tracked.rollout, watch.attempts + 1)
            case Act(plan_key=key):
                if desk is not None:
                    desk.act(watch.id, tracked.policy, key)
            case AskApproval(plan_key=key):
                log.warning("approval needed", watch=watch.id, plan=key, text=watch.note)

    def _policy_data(self, policy: Policy) -> dict[str, Any]:
        """Return the policy and the grid, as plain JSON: what a replay needs to know."""
        grid = {"tick_s": self._collector.tick_s, "settle_s": self._collector.settle_s}
        return policy_to_json(policy) | grid

    def _conclude(self, watch: Watch) -> None:
        """Remember that a rollout is over, and whether its revision is good to go back to."""
        self._ended.add(watch.id)
        self._good.note(watch)

    # What others read

    def known_good(self, workload: Workload) -> tuple[str, ...]:
        """Return the revisions whose watch ended healthy and that were not left since."""
        return self._good.of(workload)

    def _publish(self, now: float) -> None:
        with self._lock:
            over = [t for t in self._tracked.values() if t.watch.phase.final and not t.compared]
            over.sort(key=lambda t: (not self._gallery.held(t.watch.id), -t.watch.since))
            for tracked in over[KEEP_FINAL:]:
                del self._tracked[tracked.watch.id]
                self._telemetry.spans.forget(tracked.watch.id)
            kept = list(self._tracked.values())
            self._telemetry.watching(Counter(t.watch.phase for t in kept))
            self._gallery.renew(kept, now)
        for tracked in kept:
            if tracked.unshowable and not tracked.watch.phase.final:
                self._end_broken(tracked.watch.id)

    def followed(self) -> tuple[Watch, ...]:
        """Return every watch that is followed, and those that ended lately."""
        with self._lock:
            return tuple(tracked.watch for tracked in self._tracked.values())

    def remark(self, watch_id: str, text: str, *, urgent: bool) -> None:
        """Put a remark into a watch's time line, and tell people."""
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is not None:
                tracked.portrait.note(self._now(), "hold", text)
        log.log(30 if urgent else 20, "announced", watch=watch_id, text=text)
        self.redraw(watch_id)

    def redraw(self, watch_id: str) -> None:
        """Show a watch anew, also one that is over, and write down what is shown."""
        with self._lock:
            tracked = self._tracked.get(watch_id)
            if tracked is not None:
                self._gallery.redraw(tracked)

    def views(self) -> tuple[WatchView, ...]:
        """Return the newest snapshot of every watch."""
        return self._gallery.all()
