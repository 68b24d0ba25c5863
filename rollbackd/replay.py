"""A watch judged again from its record: the same samples through the same code, tick by tick.

The journal holds what the watch was judged by (policy), whom it compared (roster), what each
comparison began with (armed) and what the cluster said meanwhile (facts); the metric source still
holds the samples. What comes out must be what was decided then, because live, restart and replay are
one code path.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any

import numpy as np

from actions.ports import Entry
from analyzer.comparison import Comparison
from analyzer.distress import Facts
from analyzer.events import Judged
from analyzer.evidence import Evidence, Measured
from analyzer.families.family import Armed
from analyzer.families.membership import MAX_COLUMNS
from analyzer.judge import Judgement, judge
from analyzer.policy import Policy
from analyzer.ports import MetricSource
from analyzer.rollout import Side
from analyzer.roster import Roster
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.watch import Phase, Watch, step
from rollbackd.collect import fetch_moved
from rollbackd.policy_record import policy_from_json
from rollbackd.records import armed_from_json, facts_from_json, roster_from_json, watch_from_json

DECIDED = frozenset({Phase.DEGRADED, Phase.HEALTHY, Phase.INCONCLUSIVE})
"""Phases that the evidence alone leads to, and in which a replay ends."""
LATER_S = 120.0
"""How much longer than the record a replay goes on looking, for a decision that came later."""
SAME_TICKS = 2
"""A live tick comes up to one tick after its samples have settled, and it may be late itself."""
KINDS = frozenset({"policy", "watch", "roster", "armed", "facts"})


class NotReplayable(Exception):
    """The record does not hold what a replay needs; says what and why."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal holds of one watch.

    Attributes:
        begun: the watch as it began. decided: as it was when the evidence decided, or None.
        settle_s: the age at which samples were asked for.
        armed: what each signal's comparison began with, by signal.
        facts: what the cluster said from then on, in order.
    """

    begun: Watch
    decided: Watch | None
    policy: Policy
    tick_s: float
    settle_s: float
    roster: Roster
    id_labels: tuple[str, ...]
    armed: Mapping[str, Armed[Any]]
    facts: tuple[tuple[float, Facts], ...] = ()

    def facts_at(self, now: float) -> Facts:
        """Return what the cluster said at a time; who was warm then is told by the roster."""
        said = [facts for at, facts in self.facts if at <= now]
        newest = said[-1] if said else Facts()
        return replace(newest, warm=self.roster.warm(Side.CANARY, now))


@dataclass(frozen=True, slots=True)
class Look:
    """One judgement of the replay, at the time at which its samples had settled."""

    at: float
    phase: Phase
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Replay:
    """What came out. ``same``: whether it agrees with the record."""

    looks: tuple[Look, ...]
    same: bool
    text: str


def record_of(entries: Iterable[Entry]) -> Record:
    """Gather the record of one watch.

    Args:
        entries: its journal entries of ``KINDS``, in order.

    Raises:
        NotReplayable: something is missing.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    begun: Watch | None = None
    decided: Watch | None = None
    facts: list[tuple[float, Facts]] = []
    for entry in entries:
        if entry.kind == "watch":
            watch = watch_from_json(entry.data)
            begun = begun or watch
            if decided is None and watch.phase in DECIDED:
                decided = watch
        elif entry.kind == "facts":
            facts.append((entry.at, facts_from_json(entry.data)))
        elif entry.kind != "policy" or decided is None:
            newest[entry.kind] = entry.data
    if begun is None:
        raise NotReplayable("the journal holds nothing of this watch")
    for kind, meaning in (
        ("policy", "what it was judged by: it was written by an older rollbackd"),
        ("roster", "which instances it compared: none was ever seen"),
        ("armed", "what its comparisons began with: none ever began"),
    ):
        if kind not in newest and not (kind == "armed" and facts):
            raise NotReplayable(f"the journal does not hold {meaning}")
    return Record(
        begun=replace(begun, phase=Phase.WARMING),
        decided=decided,
        policy=policy_from_json(newest["policy"]),
        tick_s=newest["policy"]["tick_s"],
        settle_s=newest["policy"]["settle_s"],
        roster=roster_from_json(newest["roster"]),
        id_labels=tuple(newest["roster"]["id_labels"]),
        armed=armed_from_json(newest["armed"]) if "armed" in newest else {},
        facts=tuple(facts),
    )


def replay(record: Record, source: MetricSource) -> Replay:
    """Judge a watch again.

    Args:
        record: from ``record_of``.
        source: that which the daemon read; it is asked for the past.

    Raises:
        NotReplayable: the source does not hold the samples any more, or cannot tell them now.
    """
    comparison = Comparison(record.tick_s)
    watch_id = record.begun.id
    comparison.join(watch_id, record.policy, record.id_labels, record.armed)
    comparison.enrol(watch_id, record.roster)
    longest = max((family.tick_s for family in comparison.families), default=record.tick_s)
    grid = _grid(record, longest)
    past = _Past(source, grid, [q for f in comparison.families for q in f.queries()])
    watch, looks = record.begun, list[Look]()
    for at in grid.times[1:].tolist():
        for family in comparison.families:
            stretch = family.due(at)
            if stretch is not None:
                family.advance(past.fetch(family.queries(), stretch), stretch)
        evidence = _as_recorded(comparison.evidence()[watch_id], record.armed)
        now = at + record.settle_s
        judgement = judge(record.policy, evidence, record.facts_at(now))
        measured = any(isinstance(e, Measured) and e.finding.tested for e in evidence.values())
        watch, _ = step(watch, Judged(judgement, measured), record.policy, now)
        looks.append(Look(now, watch.phase, judgement))
        if watch.phase in DECIDED:
            break
    return _compared(record, tuple(looks))


def _grid(record: Record, interval_s: float) -> Grid:
    """Return the grid from an interval before the first comparison to well past the decision."""
    tick_s = record.tick_s
    began = floor(record.begun.started_at / tick_s) * tick_s
    start = min((armed.at for armed in record.armed.values()), default=began) - interval_s
    horizon = record.begun.started_at + record.policy.horizon_s + interval_s
    end = horizon if record.decided is None else min(record.decided.since + LATER_S, horizon)
    return Grid(start, record.tick_s, max(2, round((end - start) / record.tick_s) + 1))


def _as_recorded(
    evidence: Mapping[str, Evidence], armed: Mapping[str, Armed[Any]]
) -> dict[str, Evidence]:
    """Return the evidence with nothing of the signals that were never compared."""
    never = Missing(Absence.NO_SERIES, "was not compared then")
    return {name: found if name in armed else never for name, found in evidence.items()}


def _compared(record: Record, looks: tuple[Look, ...]) -> Replay:
    """Say whether the replay came to the same decision at the same time."""
    last = looks[-1]
    now = last if last.phase in DECIDED else None
    then = record.decided
    if then is None or now is None:
        same = then is None and now is None
        text = f"recorded: {_told(then)}; replayed: {now.phase.value if now else 'undecided'}"
        return Replay(looks, same, text)
    apart = then.since - now.at
    same = then.phase is now.phase and abs(apart) <= SAME_TICKS * record.tick_s
    text = f"recorded: {then.phase.value}; replayed: {now.phase.value}"
    if then.phase is now.phase:
        text += f", {abs(apart):.0f} s {'earlier' if apart >= 0 else 'later'}"
    return Replay(looks, same, text)


def _told(watch: Watch | None) -> str:
    return watch.phase.value if watch is not None else "undecided"


class _Past:
    """A stretch of the past, fetched once; answers for any part of it."""

    def __init__(self, source: MetricSource, grid: Grid, queries: Sequence[Query]) -> None:
        self._grid = grid
        self._series: dict[Query, Reply] = {}
        for query in dict.fromkeys(queries):
            self._series[query] = self._fetched(source, query)

    def fetch(self, queries: Sequence[Query], grid: Grid) -> list[Reply]:
        """Return the part of each answer that lies on a grid."""
        first = round((grid.start - self._grid.start) / self._grid.step)
        stride = round(grid.step / self._grid.step)
        at = slice(first, first + (grid.count - 1) * stride + 1, stride)
        return [self._part(self._series[query], at, grid) for query in queries]

    def _part(self, whole: Reply, at: slice, grid: Grid) -> Reply:
        if isinstance(whole, Missing):
            return whole
        return replace(whole, values=whole.values[:, at], grid=grid)

    def _fetched(self, source: MetricSource, query: Query) -> Reply:
        """Return the answer for the whole stretch, asked for in parts that a source will answer."""
        parts: list[Series] = []
        for first in range(0, self._grid.count, MAX_COLUMNS):
            count = min(MAX_COLUMNS, self._grid.count - first)
            start = self._grid.start + first * self._grid.step
            (reply,) = fetch_moved(source, [query], Grid(start, self._grid.step, count))
            if isinstance(reply, Series):
                parts.append(reply)
            elif reply.reason is Absence.NO_SERIES:
                parts.append(
                    Series(query.by, (), np.empty((0, count)), self._grid_at(start, count))
                )
            else:
                raise NotReplayable(f"the samples cannot be had: {reply}")
        keys = tuple(dict.fromkeys(key for part in parts for key in part.keys))
        place = {key: i for i, key in enumerate(keys)}
        values = np.full((len(keys), self._grid.count), np.nan)
        column = 0
        for part in parts:
            rows = [place[key] for key in part.keys]
            values[rows, column : column + part.grid.count] = part.values
            column += part.grid.count
        return Series(query.by, keys, values, self._grid)

    def _grid_at(self, start: float, count: int) -> Grid:
        return Grid(start, self._grid.step, count)
