"""Conducts release trains: looks at every region, writes what follows, pulls the next lever.

``tick`` is called by one thread; plans and releases are carried out by one worker, which answers
with events. A transition is written before its commands are given, and a step before it is
performed, so a process that dies anywhere leaves a train that the next one takes up.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any, assert_never

import structlog

from actions.apply import Applier, Done, Failed
from actions.plan import Plan, plan_from_json, plan_to_json
from actions.ports import ActionError, Entry, Journal, Permanent, Transient
from actions.trains.lever import Lever
from actions.trains.planner import Bound, journal_id, plan_release
from analyzer.events import ActFailed, Announce, AskApproval, PlanRefused
from analyzer.policy import Mode
from analyzer.sample import Missing
from analyzer.trains.events import (
    Departed,
    Looked,
    NotBegun,
    NotTakenBack,
    PlanRelease,
    Release,
    Released,
    ReleasePlanned,
    Seen,
    Sight,
    TakeBack,
    TakenBack,
    TrainCommand,
    TrainEvent,
)
from analyzer.trains.life import Stop, Train, TrainPhase, step, waiting
from analyzer.trains.policy import TrainPolicy
from rollbackd.errands import Errands
from rollbackd.timelines import Timeline, continued, recalled
from rollbackd.trains.portrait import KIND as VIEW_KIND
from rollbackd.trains.portrait import Glance, portray, view_id
from rollbackd.trains.station import Station, newest, release_of, rollouts, seen_of
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json
from rollbackd.withdrawals import State

log = structlog.get_logger()

KIND = "train"
"""Kind of the journal's entries that hold a train's state."""
PLAN = "train-plan"
"""Kind of those that hold the plan of a release: no rollback, and no guard's business."""
AT_ONCE = 8

Views = Sequence[WatchView] | Missing
Levers = Callable[[str, frozenset[str]], Lever]
"""Returns the lever of a region, given the keys of steps that were begun before."""


@dataclass(frozen=True, slots=True)
class Line:
    """One configured train.

    Attributes:
        route: regions in order. policy: how it travels. stations: by region.
        lever: makes the lever of a region after the first.
    """

    name: str
    route: tuple[str, ...]
    policy: TrainPolicy
    stations: Mapping[str, Station]
    lever: Levers

    def page(self, region: str, watch_id: str) -> str:
        """Return the address of the page of a watch in one of the regions; "" when it left."""
        station = self.stations.get(region)
        return "" if station is None else station.page(watch_id)


class Conductor:
    """Keeps the state of all trains. ``tick`` by one thread, ``handle`` by any.

    Args:
        lines: the configured trains. journal: the record. now: seconds since the epoch.
        applier: makes what carries out the plan of a release, with this lever.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        journal: Journal,
        applier: Callable[[str, Lever], Applier],
        now: Callable[[], float],
    ) -> None:
        self._lines = {line.name: line for line in lines}
        self._journal = journal
        self._applier = applier
        self._now = now
        self._lock = threading.RLock()
        self._trains: dict[str, Train] = {}
        self._seen: dict[str, tuple[Seen, ...]] = {}
        self._timelines: dict[str, Timeline] = {}
        self._errands: Errands[TrainEvent] = Errands("train", self.handle, self._broken)
        self._asking = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="station")
        self._untold: dict[str, str] = {}

    def restore(self) -> None:
        """Take up every train where an earlier process left it. Raises Transient.

        A train that is new here is written at once: what began before that is none of it.
        """
        known = self._journal.latest(KIND)
        for name, line in self._lines.items():
            entry = known.get(journal_id(name))
            train = None if entry is None else train_from_json(entry.data)
            route = tuple(stop.region for stop in train.stops) if train is not None else ()
            if train is None or (train.phase.over and route != line.route):
                train = waiting(name, line.route, self._now())
                self._journal.append(self._entry_of(train))
            elif route != line.route:
                log.error("route changed while a train is on it", train=name, route=line.route)
            self._trains[name] = train
            id_ = view_id(name, train.number)
            self._timelines[name] = recalled(self._journal, id_, VIEW_KIND)
            log.info("train resumed", train=name, phase=train.phase.value)

    def views(self) -> tuple[WatchView, ...]:
        """Return what people are shown of every train, in the configured order."""
        with self._lock:
            return tuple(self._portrait(train) for train in self._trains.values())

    def _portrait(self, train: Train) -> WatchView:
        line = self._lines[train.name]
        seen = self._seen.get(train.name, ())
        return portray(train, line.policy, Glance(seen, line.page), self._timelines[train.name])

    def trains(self) -> tuple[Train, ...]:
        """Return how every train stands, in the configured order."""
        with self._lock:
            return tuple(self._trains.values())

    def tick(self) -> None:
        """Look at every region of every train and let that happen to it."""
        for name, line in self._lines.items():
            try:
                self._look(name, line)
            except Transient as error:
                log.warning("journal not writable, trying again", train=name, error=str(error))

    def handle(self, name: str, event: TrainEvent) -> bool:
        """Let an event happen to a train; return whether that changed anything.

        Raises:
            Transient: the journal could not be written; the train stays as it was.
            KeyError: there is no such train.
        """
        with self._lock:
            before = self._trains[name]
            after, commands = step(before, event, self._lines[name].policy, self._now())
            if after != before:
                self._record(before, after, commands)
            self._trains[name] = after
            if after.phase is not before.phase:
                log.info(
                    "train phase entered",
                    train=name,
                    phase=after.phase.value,
                    before=before.phase.value,
                    note=after.note,
                )
            for command in commands:
                self._give(after, command)
            return after != before or bool(commands)

    def decided(self, name: str, number: int, event: TrainEvent) -> bool:
        """Let a person's decision happen to the train with this number, as ``handle``."""
        with self._lock:
            return self._trains[name].number == number and self.handle(name, event)

    def _entry_of(self, train: Train) -> Entry:
        data = train_to_json(train)
        return Entry(self._now(), journal_id(train.name), KIND, train.plan_key, data)

    def _record(self, before: Train, after: Train, commands: Sequence[TrainCommand]) -> None:
        """Write a train's state, and what people are told of it, in one transaction."""
        name = after.name
        timeline = self._timelines[name] if after.number == before.number else ()
        repeated = f"{after.phase.value}: {after.note}"
        texts = [c.text.removeprefix(f"{name}: ") for c in commands if isinstance(c, Announce)]
        said = [text for text in texts if text not in {repeated, after.note}]
        if after.number != before.number:
            self._seen.pop(name, None)
        line, now = self._lines[name], self._now()
        timeline = continued(timeline, before, after, now, said)
        glance = Glance(self._seen.get(name, ()), line.page)
        shown = portray(after, line.policy, glance, timeline)
        view = Entry(now, shown.id, VIEW_KIND, after.plan_key, view_to_json(shown))
        self._journal.append(self._entry_of(after), view)
        self._timelines[name] = timeline

    def _look(self, name: str, line: Line) -> None:
        views = self._asked(line)
        train = self._trains[name]
        if train.phase is TrainPhase.STOPPED and (key := train.plan_key):
            # whatever carried the plan out has answered by the time that the worker comes to this
            lost = ActFailed(key, "nothing carries it out any more", conflict=False)
            self._errands.submit(name, lambda: lost)
        if train.phase.over:
            departed = self._departed(train, line, views)
            if departed is None:
                return
            self.handle(name, departed)
            train = self._trains[name]
        seen = tuple(seen_of(s, train.release, views[s.region]) for s in train.stops)
        with self._lock:
            self._seen[name] = seen
        self.handle(name, Looked(seen))

    def _asked(self, line: Line) -> dict[str, Views]:
        """Ask every region's daemon side by side."""
        asked = {
            region: self._asking.submit(station.watches)
            for region, station in line.stations.items()
        }
        return {region: answer.result() for region, answer in asked.items()}

    def _departed(self, train: Train, line: Line, views: Mapping[str, Views]) -> Departed | None:
        """Return that a new release began in the first region, once every region can be seen."""
        first = views[line.route[0]]
        begun = None if isinstance(first, Missing) else newest(first)
        if begun is None or begun.started_at <= train.begun_at:
            return None
        unseen = [region for region in line.route if isinstance(views[region], Missing)]
        if unseen:
            why = f"{begun.id} waits until {', '.join(unseen)} can be seen"
            if self._untold.get(train.name) != why:
                self._untold[train.name] = why
                log.warning("train not departed", train=train.name, why=why)
            return None
        before = []
        for region in line.route:
            found = views[region]
            over = () if isinstance(found, Missing) else (v.id for v in found if v.final)
            before.append(tuple(id_ for id_ in over if id_ != begun.id))
        says = tuple(sorted(begun.annotations.items()))
        return Departed(release_of(begun), begun.id, begun.started_at, tuple(before), says)

    def _give(self, train: Train, command: TrainCommand) -> None:
        name = train.name
        match command:
            case Announce(text=text, urgent=urgent):
                log.log(30 if urgent else 20, "announced", train=name, text=text)
            case AskApproval(plan_key=key):
                log.warning("approval needed", train=name, plan=key, text=train.note)
            case PlanRelease():
                self._errands.submit(name, lambda: self._planned(name, command.place))
            case Release():
                self._errands.submit(name, lambda: self._released(name, command))
            case TakeBack():
                self._errands.submit(name, lambda: self._taken_back(name, command.place))
            case _:
                assert_never(command)

    def _planned(self, name: str, place: int) -> TrainEvent:
        """Plan the release of a region; nothing is planned where the release is already."""
        train, line = self._trains[name], self._lines[name]
        stop = train.stops[place]
        views = line.stations[stop.region].watches()
        seen = seen_of(stop, train.release, views)
        match seen.sight:
            case Sight.UNSEEN:
                return PlanRefused((f"{stop.region} cannot be seen ({seen.text})",))
            case Sight.FAILED | Sight.OVERTAKEN:
                return PlanRefused((f"{stop.region} had {train.release} before: {seen.text}",))
            case Sight.NOT_YET:
                pass
            case _:
                return ReleasePlanned("", f"{stop.region} was released already, not by us")
        under_way = [] if isinstance(views, Missing) else rollouts(views)
        if busy := [view for view in under_way if not view.final]:
            what = release_of(busy[0])
            return PlanRefused((f"{stop.region} is busy with another release ({what})",))
        bound = Bound(train.name, train.number, stop.region, train.release)
        if line.policy.mode is Mode.OBSERVE:
            return ReleasePlanned(bound.mark, f"release {stop.region}")
        try:
            wanted = line.lever(stop.region, frozenset()).draft(bound)
        except Permanent as error:
            return PlanRefused((str(error),))
        plan = plan_release(bound, wanted, train.plans + 1)
        data = plan_to_json(plan) | {"place": place}
        self._journal.append(Entry(self._now(), plan.watch_id, PLAN, plan.key, data))
        return ReleasePlanned(plan.key, plan.describe())

    def _released(self, name: str, command: Release) -> TrainEvent | None:
        """Carry a plan out, or finish what an earlier process began of it."""
        key = command.plan_key
        entry = self._entry(name, key)
        if entry is None:
            return ActFailed(key, "the journal does not hold the plan any more", conflict=False)
        plan = plan_from_json(entry.data)
        begun = self._begun(plan)
        if not begun and not command.clear:
            return NotBegun(key)
        region = str(plan.steps[0].target["region"])
        lever = self._lines[name].lever(region, begun)
        try:
            outcome = self._applier(plan.steps[0].actuator, lever).carry_out(plan)
        except Permanent as error:
            outcome = Failed(str(error))
        match outcome:
            case None:
                return None
            case Failed(reason=reason, conflict=conflict):
                return ActFailed(key, reason, conflict)
            case Done():
                return Released(key)

    def _taken_back(self, name: str, place: int) -> TrainEvent | None:
        train, line = self._trains[name], self._lines[name]
        stop = train.stops[place]
        try:
            found = line.stations[stop.region].take_back(stop.watch_id, f"train {name}")
        except Transient:
            raise
        except ActionError as error:
            return NotTakenBack(place, str(error))
        match found.state:
            case State.DONE:
                return TakenBack(place, found.text)
            case State.UNDER_WAY:
                return None
            case _:
                return NotTakenBack(place, f"{found.state.value}: {found.text}")

    def _entry(self, name: str, plan_key: str) -> Entry | None:
        entries = self._journal.entries(watch_id=journal_id(name), kinds=frozenset({PLAN}))
        return next((entry for entry in entries if entry.key == plan_key), None)

    def _begun(self, plan: Plan) -> frozenset[str]:
        """Return the keys of steps that an earlier try began."""
        kinds = frozenset({"step-started"})
        entries = self._journal.entries(watch_id=plan.watch_id, kinds=kinds)
        return frozenset(entry.key for entry in entries) & {s.key for s in plan.steps}

    def _broken(self, name: str, error: Exception) -> TrainEvent:
        """Return what an error of our own means: people are called."""
        train = self._trains[name]
        why = f"internal error: {type(error).__name__}"
        match train.phase:
            case TrainPhase.RELEASING:
                return ActFailed(train.plan_key, why, conflict=False)
            case TrainPhase.TAKING_BACK:
                left = train.to_take_back
                return NotTakenBack(left[-1] if left else 0, why)
            case _:
                return PlanRefused((why,))

    def settle(self) -> None:
        """Wait until no plan or release is in hand."""
        self._errands.settle()

    def close(self) -> None:
        """Take no more jobs and wait for the one in hand, which was asked to stop."""
        self._errands.close()
        self._asking.shutdown(wait=True, cancel_futures=True)


def train_to_json(train: Train) -> dict[str, Any]:
    """Return a train as plain JSON values."""
    return asdict(train) | {"phase": train.phase.value}


def train_from_json(data: Mapping[str, Any]) -> Train:
    """Return the train that ``train_to_json`` wrote. Raises KeyError, TypeError, ValueError."""
    known = {f.name for f in fields(Train)}
    values = {key: value for key, value in data.items() if key in known}
    values["phase"] = TrainPhase(values["phase"])
    values["stops"] = tuple(_stop_from_json(stop) for stop in values["stops"])
    values["says"] = tuple((str(key), str(text)) for key, text in values.get("says", ()))
    return Train(**values)


def _stop_from_json(data: Mapping[str, Any]) -> Stop:
    known = {f.name for f in fields(Stop)}
    values = {key: value for key, value in data.items() if key in known}
    return Stop(**{**values, "before": tuple(values["before"])})
