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

from actions.ports import Entry, Journal, Transient
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
    RecoveryMeasured,
    Superseded,
)
from analyzer.evidence import Evidence, Measured
from analyzer.family import Armed
from analyzer.judge import judge, out_of_sight
from analyzer.policy import Policy
from analyzer.ports import RolloutSource
from analyzer.rollout import Rollout, Side, Workload
from analyzer.roster import Roster
from analyzer.sample import Missing
from analyzer.traces.comparison import watch_of
from analyzer.watch import Phase, Watch, begin, resume, step
from rollbackd.collect import Collector
from rollbackd.desk import ActionDesk
from rollbackd.known_good import KnownGood
from rollbackd.policy_record import policy_from_json, policy_to_json
from rollbackd.portrait import Portrait
from rollbackd.records import (
    armed_from_json,
    armed_to_json,
    facts_to_json,
    roster_from_json,
    roster_to_json,
    watch_from_json,
    watch_to_json,
)
from rollbackd.sight import sight
from rollbackd.signal_finder import SignalFinder, resumed
from rollbackd.telemetry import Telemetry
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.exemplars import ExemplarDesk, Question
from rollbackd.tracked import Policies, Tracked
from rollbackd.views import WatchView
from rollbackd.views_json import view_from_json, view_to_json

log = structlog.get_logger()

ABSENT_LOOKS = 3
"""Looks in a row that must miss a rollout before it is gone: a cache may lag behind a change."""
_MUST_END = frozenset({Phase.ACTING, Phase.VERIFYING})
"""What was begun is finished even when nobody watches such rollouts any more."""
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
        self._traces: TraceDesk | None = None
        self._exemplars: ExemplarDesk | None = None
        self._desk: ActionDesk | None = None
        self._held: Callable[[str], tuple[str, ...]] = lambda _watch_id: ()
        self._tracked: dict[str, Tracked] = {}
        self._ended: set[str] = set()
        self._good = KnownGood()
        self._lock = threading.RLock()
        self._views: dict[str, WatchView] = {}
        self._unseen: dict[str, str] = {}
        """Watches whose rollout a source could not tell at this tick, and why."""

    # Start-up

    def employ(self, desk: ActionDesk) -> None:
        """Connect the desk, which needs ``handle`` to answer to."""
        self._desk = desk

    def show_held(self, held: Callable[[str], tuple[str, ...]]) -> None:
        """Ask this, whenever a watch is shown, what is held for it; it must answer at once."""
        self._held = held

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
        rosters, armed = self._journal.latest("roster"), self._journal.latest("armed")
        views, policies = self._journal.latest("view"), self._journal.latest("policy")
        newest = self._journal.latest("watch")
        ended: list[Watch] = []
        # in the order in which they happened: the last good revision is the best to go back to
        for watch_id, entry in sorted(newest.items(), key=lambda item: item[1].seq):
            try:
                watch = watch_from_json(entry.data)
            except (KeyError, TypeError, ValueError):
                log.exception("watch not readable, it is left alone", watch=watch_id)
                self._telemetry.faulted()
                self._ended.add(watch_id)
                continue
            if watch.phase.final:
                self._conclude(watch)
                ended.append(watch)
                continue
            recorded = policies[watch_id].data if watch_id in policies else None
            named = self._policies.named(watch.policy)
            policy = None if named is None else resumed(named, recorded)
            goes_on = watch.phase in _MUST_END or not self._policies.lapsed(watch.policy)
            if policy is None and goes_on and recorded is not None:
                policy = policy_from_json(recorded)
            if policy is None:
                log.warning("watch dropped", watch=watch_id, reason="its policy is gone")
                continue
            known = self._policy_data(policy) == recorded
            tracked = self._tracked[watch_id] = Tracked(
                watch, policy, standing=None, policy_recorded=known
            )
            beside = [found.get(watch_id) for found in (views, rosters, armed)]
            self._guarded(watch_id, partial(self._resume, tracked, *beside))
        holding = [watch for watch in ended if self._held(watch.id)]
        for watch in {w.id: w for w in (*holding, *ended[-KEEP_FINAL:])}.values():
            beside = [found.get(watch.id) for found in (views, policies, rosters, armed)]
            self._recall(watch, *beside)

    def _recall(
        self,
        watch: Watch,
        view: Entry | None,
        policy: Entry | None,
        roster: Entry | None,
        armed: Entry | None,
    ) -> None:
        """Show a watch that was over before: people may still decide about some of them."""
        known = self._policies.named(watch.policy)
        try:
            if policy is not None:
                known = policy_from_json(policy.data)
            if known is None or view is None:
                return
            tracked = Tracked(watch, known, policy_recorded=True)
            shown = view_from_json(view.data)
            tracked.portrait = Portrait.from_view(shown)
            if roster is not None:
                tracked.roster = roster_from_json(roster.data)
                tracked.id_labels = tuple(roster.data["id_labels"])
            if armed is not None:
                tracked.armed = frozenset(armed.data["signals"])
        except (KeyError, TypeError, ValueError):
            log.exception("ended watch not readable, it is not shown", watch=watch.id)
            return
        self._tracked[watch.id] = tracked
        self._views = self._views | {watch.id: replace(shown, held=self._held(watch.id))}

    def _resume(
        self, tracked: Tracked, view: Entry | None, roster: Entry | None, armed: Entry | None
    ) -> None:
        """Take up one watch. Raises whatever a damaged entry makes of it."""
        watch = tracked.watch
        if view is not None:
            tracked.portrait = Portrait.from_view(view_from_json(view.data))
        if roster is not None:
            tracked.roster = roster_from_json(roster.data)
            began = armed_from_json(armed.data) if armed is not None else {}
            tracked.armed = frozenset(began)
            tracked.id_labels = tuple(roster.data["id_labels"])
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
        newest: Entry | None = None
        kinds = frozenset({"armed"})
        for entry in self._journal.entries(watch_id=tracked.watch.id, kinds=kinds):
            newest = entry
        self._compare(tracked, armed_from_json(newest.data) if newest is not None else {})
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
        unseen = self._tracked.keys() - current.keys() if untold is not None else ()
        self._unseen = dict.fromkeys(unseen, str(untold))
        for rollout in current.values():
            self._guarded(rollout.watch_id, partial(self._follow, rollout, now))
        newest = {rollout.workload: rollout for rollout in current.values()}
        for watch_id, tracked in list(self._tracked.items()):
            if watch_id in current or tracked.watch.phase.final:
                tracked.absent = 0
                if untold is None and watch_id not in current:
                    self._guarded(watch_id, partial(self._keep_current, tracked, None))
                continue
            newer = newest.get(tracked.watch.workload)
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
            if tracked.watch.phase.final or tracked.watch.phase in _MUST_END:
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
            if policy is not None and self._finder is not None:
                policy = self._finder.complete(policy, rollout, now)
            if policy is None:
                return
            tracked = Tracked(begin(rollout, policy, now), policy)
            view, _ = self._journal_watch(tracked.watch, tracked)
            with self._lock:  # people may decide about it as soon as the journal has it
                self._tracked[watch_id] = tracked
                if view is not None:
                    self._views = self._views | {watch_id: view}
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
        self._enrol(tracked, tracked.roster.observe(rollout, now, tracked.policy.warm_up_s), now)

    def _keep_current(self, tracked: Tracked, rollout: Rollout | None) -> None:
        """Take note whether what was only reported is still there: people may want it left."""
        if tracked.watch.phase is not Phase.REPORTED:
            return
        changed = (tracked.rollout is None) is not (rollout is None)
        tracked.rollout = rollout
        view = self._views.get(tracked.watch.id)
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
                restored = tracked.roster.restored(seen, now, tracked.policy.warm_up_s)
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
        recent = {n: self._comparison.recent_values(watch_id, n) for n in evidence}
        newest = [t for n in evidence if (t := self._comparison.newest(watch_id, n)) is not None]
        tracked.portrait.look(max(newest, default=now), evidence, recent)
        self._note_armed(tracked)
        if tracked.watch.phase is Phase.VERIFYING:
            self._verify(tracked, now)
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

    def _verify(self, tracked: Tracked, now: float) -> None:
        waited = now - tracked.watch.since
        last_call = waited >= tracked.policy.recovery_s - self._collector.tick_s
        recovered, text = self._comparison.recovery(tracked.watch.id, last_call=last_call)
        if recovered is None and not tracked.armed:
            since, lasting_s = tracked.watch.since, tracked.policy.persistence_s
            recovered, text = tracked.distress.recovered(since, lasting_s)
        self.handle(tracked.watch.id, RecoveryMeasured(recovered, text))

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
            view, seq = self._journal_watch(watch, tracked)
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
        if view is not None:
            self._views = self._views | {watch.id: view}
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

    def _journal_watch(self, watch: Watch, tracked: Tracked) -> tuple[WatchView | None, int]:
        """Write a watch and what people see of it, in one transaction.

        Returns:
            What people see, and the number of the last entry.
        """
        now = self._now()
        entries = [Entry(now, watch.id, "watch", watch.plan_key, watch_to_json(watch))]
        view = self._draw(watch, tracked, now)
        if view is not None:
            entries.append(Entry(now, watch.id, "view", watch.plan_key, view_to_json(view)))
        return view, self._journal.append(*entries)

    def _draw(self, watch: Watch, tracked: Tracked, now: float) -> WatchView | None:
        """Return what people see of a watch, or None when an error of our own prevents it."""
        if tracked.unshowable:
            return None
        try:
            can_demand = watch.phase is Phase.REPORTED and tracked.rollout is not None
            seen = self._views.get(watch.id)
            if watch.phase.final and seen is not None and seen.final:
                view = replace(seen, timeline=tuple(tracked.portrait.timeline))
            else:
                view = tracked.portrait.view(watch, tracked.policy, now)
            return replace(view, held=self._held(watch.id), can_demand=can_demand)
        except Exception:
            log.exception("watch cannot be shown", watch=watch.id)
            tracked.unshowable = True
            return None

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
            over.sort(key=lambda t: (not self._held(t.watch.id), -t.watch.since))
            for tracked in over[KEEP_FINAL:]:
                del self._tracked[tracked.watch.id]
                self._telemetry.spans.forget(tracked.watch.id)
            kept = list(self._tracked.values())
            self._telemetry.watching(Counter(t.watch.phase for t in kept))
            drawn = ((t.watch.id, self._current_view(t, now)) for t in kept)
            self._views = {watch_id: view for watch_id, view in drawn if view is not None}
        for tracked in kept:
            if tracked.unshowable and not tracked.watch.phase.final:
                self._end_broken(tracked.watch.id)

    def _current_view(self, tracked: Tracked, now: float) -> WatchView | None:
        """Return what is to be seen now; nothing about a watch changes after its end."""
        seen = self._views.get(tracked.watch.id)
        over = tracked.unshowable or (seen is not None and seen.final)
        return seen if over else self._draw(tracked.watch, tracked, now)

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
            if tracked is None:
                return
            try:
                view, _ = self._journal_watch(tracked.watch, tracked)
            except Transient as error:
                self._telemetry.journal_failed()
                log.warning("watch not written as it is shown", watch=watch_id, error=str(error))
                view = self._draw(tracked.watch, tracked, self._now())
            if view is not None:
                self._views = self._views | {watch_id: view}

    def views(self) -> tuple[WatchView, ...]:
        """Return the newest snapshot of every watch."""
        return tuple(self._views.values())
