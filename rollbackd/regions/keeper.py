"""Follows every region: evidence and answers in, state written, commands given.

``tick`` is called by one thread and never waits for DNS: plans and stages are carried out by one
worker thread, one region's job after the other, and answer with events. As with watches, a
transition is written before its commands are given.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from math import isfinite
from typing import Any, Protocol, assert_never

import structlog

from actions.ports import Entry, Journal, Transient
from actions.regions.planner import watch_id
from analyzer.events import ActFailed, Announce, AskApproval, PlanRefused
from analyzer.regions.events import (
    Advance,
    Assessed,
    PlanMove,
    RegionCommand,
    RegionEvent,
    Renew,
    Standing,
)
from analyzer.regions.life import Region, RegionPhase, step
from analyzer.regions.policy import RegionPolicy
from rollbackd.errands import Errands
from rollbackd.regions.mover import Mover
from rollbackd.regions.portrait import KIND as VIEW_KIND
from rollbackd.regions.portrait import portray
from rollbackd.timelines import Timeline, continued, recalled
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json

log = structlog.get_logger()

KIND = "region"
"""Kind of the journal's entries that hold a region's state."""
_OF_THE_MOMENT = {"standing": "blind", "text": "not measured yet"}
"""What every assessment changes and no restart needs."""

Causes = Callable[[], Mapping[str, str]]
"""What else speaks against a region, by its name."""


class Evidence(Protocol):
    """Who judges regions; ``Assessor`` in the daemon."""

    def assess(self) -> Mapping[str, Assessed]:
        """Return how every region stands now."""

    def renew(self, region: str) -> None:
        """Begin to compare a region anew, with the next assessment."""


class RegionKeeper:
    """Keeps the state of all regions. ``tick`` by one thread, ``handle`` by any.

    Args:
        names: of the regions. policy: how they are moved.
        assessor: judges them. mover: moves them. journal: the record.
        causes: what else speaks against a region.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        policy: RegionPolicy,
        assessor: Evidence,
        mover: Mover,
        journal: Journal,
        causes: Causes,
        now: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._assessor = assessor
        self._mover = mover
        self._journal = journal
        self._causes = causes
        self._now = now
        self._lock = threading.RLock()
        self._regions = {name: Region(name, since=now()) for name in names}
        self._renewals: set[str] = set()
        self._timelines: dict[str, Timeline] = dict.fromkeys(names, ())
        self._errands: Errands[RegionEvent] = Errands("region", self.handle, self._broken)

    def restore(self) -> None:
        """Take up every region where an earlier process left it. Raises Transient."""
        for id_, entry in self._journal.latest(KIND).items():
            region = region_from_json(entry.data)
            if region.name in self._regions and id_ == watch_id(region.name):
                self._regions[region.name] = region
                self._timelines[region.name] = recalled(self._journal, _episode(region), VIEW_KIND)
                log.info("region resumed", region=region.name, phase=region.phase.value)

    def regions(self) -> tuple[Region, ...]:
        """Return how every region stands, in the configured order."""
        with self._lock:
            return tuple(self._regions.values())

    def views(self) -> tuple[WatchView, ...]:
        """Return what people are shown of every region, in the configured order."""
        with self._lock:
            return tuple(self._portrait(region) for region in self._regions.values())

    def _portrait(self, region: Region) -> WatchView:
        timeline = self._timelines[region.name]
        return portray(region, self._others(region.name), self._policy.mode, timeline)

    def _others(self, name: str) -> tuple[Region, ...]:
        return tuple(r for r in self._regions.values() if r.name != name)

    def tick(self) -> None:
        """Judge every region and let that happen to it."""
        with self._lock:
            renewals, self._renewals = self._renewals, set()
        for name in renewals:
            self._assessor.renew(name)
        causes = self._causes()
        found = self._assessor.assess()
        with self._lock:  # every region's standing is of the same moment before any plan is made
            for name, event in found.items():
                self._regions[name] = replace(
                    self._regions[name], standing=event.standing, text=event.text
                )
        for name, event in found.items():
            self._guarded(name, replace(event, cause=causes.get(name, "")))

    def handle(self, name: str, event: RegionEvent) -> bool:
        """Let an event happen to a region; return whether that changed anything.

        Raises:
            Transient: the journal could not be written; the region stays as it was.
            KeyError: there is no such region.
        """
        with self._lock:
            before = self._regions[name]
            now = self._now()
            after, commands = step(before, event, self._policy, now)
            changed = region_to_json(after) != region_to_json(before)
            if changed:
                self._record(before, after, now)
            self._regions[name] = after
            if after.phase is not before.phase:
                log.info(
                    "region phase entered",
                    region=name,
                    phase=after.phase.value,
                    before=before.phase.value,
                    note=after.note,
                )
            for command in commands:
                self._give(after, command)
            return changed or bool(commands)

    def _record(self, before: Region, after: Region, now: float) -> None:
        """Write a region's state and, while it is not simply normal, what people are told."""
        name = after.name
        entries = [Entry(now, watch_id(name), KIND, after.plan_key, region_to_json(after))]
        timeline = self._timelines[name] if after.episode == before.episode else ()
        timeline = continued(timeline, before, after, now)
        if after.phase is not RegionPhase.NORMAL or before.phase is not RegionPhase.NORMAL:
            shown = portray(after, self._others(name), self._policy.mode, timeline)
            view = view_to_json(shown)
            entries.append(Entry(now, _episode(after), VIEW_KIND, after.plan_key, view))
        self._journal.append(*entries)
        self._timelines[name] = timeline

    def _guarded(self, name: str, event: Assessed) -> None:
        try:
            self.handle(name, event)
        except Transient as error:
            log.warning("journal not writable, trying again", region=name, error=str(error))

    def _give(self, region: Region, command: RegionCommand) -> None:
        name = region.name
        match command:
            case Announce(text=text, urgent=urgent):
                log.log(30 if urgent else 20, "announced", region=name, text=text)
            case AskApproval(plan_key=key):
                log.warning("approval needed", region=name, plan=key, text=region.note)
            case Renew():
                self._renewals.add(name)
            case PlanMove():
                self._errands.submit(name, lambda: self._planned(name, command))
            case Advance():
                self._errands.submit(name, lambda: self._advanced(name, command))
            case _:
                assert_never(command)

    def _planned(self, name: str, command: PlanMove) -> RegionEvent:
        region, others = self._seen(name)
        return self._mover.plan(region, command.direction, others)

    def _advanced(self, name: str, command: Advance) -> RegionEvent | None:
        region, others = self._seen(name)
        return self._mover.advance(region, command.plan_key, command.stage, others)

    def _seen(self, name: str) -> tuple[Region, tuple[Region, ...]]:
        with self._lock:
            return self._regions[name], self._others(name)

    def _broken(self, name: str, error: Exception) -> RegionEvent:
        """Return what an error of our own means: people are called."""
        with self._lock:
            region = self._regions[name]
        why = f"internal error: {type(error).__name__}"
        if region.phase.moving:
            return ActFailed(region.plan_key, why, conflict=False)
        return PlanRefused((why,))

    def settle(self) -> None:
        """Wait until no plan or stage is in hand."""
        self._errands.settle()

    def close(self) -> None:
        """Take no more jobs and wait for the one in hand, which was asked to stop."""
        self._errands.close()


def _episode(region: Region) -> str:
    """Return the id under which people are told of a region's present episode, or its last."""
    return f"{watch_id(region.name)}@{region.episode}"


def region_to_json(region: Region) -> dict[str, Any]:
    """Return a region as plain JSON values, without what is only of the moment."""
    data = asdict(region) | _OF_THE_MOMENT | {"phase": region.phase.value}
    never = {
        key for key, value in data.items() if isinstance(value, float) and not isfinite(value)
    }
    return {key: None if key in never else value for key, value in data.items()}


def region_from_json(data: Mapping[str, Any]) -> Region:
    """Return the region that ``region_to_json`` wrote. Raises KeyError, TypeError, ValueError."""
    known = {f.name for f in fields(Region)}
    values = {k: v for k, v in data.items() if k in known}
    values["phase"] = RegionPhase(values["phase"])
    values["standing"] = Standing(values["standing"])
    if values["moved_at"] is None:
        values["moved_at"] = float("-inf")
    return Region(**values)
