"""The spans of a recorded case, through the daemon's book of traces to its signal of traces.

They come in when they ended, as from a collector; are assembled, counted and compared tick by tick. Compared
are the spans of the case's own service, as those of a rollout's own processes; the others tell
whom it called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from analyzer.comparison import Comparison
from analyzer.evidence import Evidence
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Missing
from rollbackd.collect import Collector
from rollbackd.telemetry import Telemetry
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import SERVICE_KEY, Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.ledger import Floats
from rollbackd.traces.spans import NANOSECONDS, Fields, SpanColumns

BEGIN: Final = 1_800_000_000
"""When the case begins, by the daemon's clock; a multiple of every tick."""
TICK_S: Final = 10.0
TURN_S: Final = 5.0
"""The daemon's defaults: how often it compares, and how long spans wait for their children."""
ALIKE: Final = 2.0
"""By what factor the shares of traces kept may differ between both sides: sampling that differs between
versions breaks the comparison (docs/traces.md)."""
WATCH: Final = "case"
SIDE: Final = "recorded.side"
LABELS: Final = {"side": (SIDE,), "service": (SERVICE_KEY,)}
MICROSECONDS: Final = 1000


@dataclass(slots=True)
class Traced:
    """A watch over the spans of one case.

    Attributes:
        service: which is rolled out. policy: with the signal of traces alone, at its part of α.
        signal: its name.
    """

    service: str
    policy: Policy
    signal: str
    unfit: Missing | None = None
    _book: TraceBook = field(init=False)
    _comparison: Comparison = field(init=False)
    _collector: Collector = field(init=False)
    _desk: TraceDesk = field(init=False)
    _spans: Mapping[str, Any] = field(init=False)
    _ends: Mapping[Side, Floats] = field(init=False)
    _until: float = 0.0

    @classmethod
    def of(cls, case: Mapping[str, Any], policy: Policy, signal: str) -> "Traced":
        """Follow a case that has spans by one signal of a policy."""
        mine = tuple(s for s in policy.signals if s.name == signal)
        part = replace(policy, signals=mine, alpha=policy.alpha * policy.weights[signal])
        made = cls(case["service"], part, signal, unfit(case["spans"]))
        made._begin(case["spans"])
        return made

    def _begin(self, spans: Mapping[str, Any]) -> None:
        self._spans = spans
        self._book = TraceBook(Catalogue(LABELS), generation_s=TURN_S)
        counters = TraceCounters(self._book)
        self._desk = TraceDesk(counters)
        telemetry = Telemetry(version="benchmark", environ={})
        self._collector = Collector(counters, TICK_S, 0.0, telemetry)
        self._comparison = Comparison(TICK_S)
        self._comparison.join(WATCH, self.policy, tuple(LABELS))
        stays = tuple(Stay((side.value, self.service), side, -np.inf) for side in Side)
        self._comparison.enrol(WATCH, Roster(stays))
        self._ends = {side: ends_of(spans[side.value]) for side in Side}

    def evidence(self, at: float) -> Evidence:
        """Return what the spans that ended by a time say; times do not go back."""
        if self.unfit is not None:
            return self.unfit
        while self._until + TURN_S <= at:
            self._turn(self._until + TURN_S)
        found = self._comparison.evidence()[WATCH].get(self.signal)
        return found or Missing(Absence.NO_SERIES, "no spans yet")

    def _turn(self, until: float) -> None:
        """Let five seconds pass, and compare where a tick ends."""
        now = BEGIN + until
        for side, ends in self._ends.items():
            chosen = np.flatnonzero((ends > self._until) & (ends <= until)).tolist()
            if chosen:
                fresh = columns_of(self._spans, side, chosen, self._book.catalogue, now)
                self._book.take(fresh, now)
        self._book.turn(now)
        self._until = until
        if until % TICK_S == 0:
            self._desk.tend(self._comparison.traces)
            if self._collector.collect(self._comparison.families, now):
                raise RuntimeError("a family of traces broke")


def unfit(spans: Mapping[str, Any]) -> Missing | None:
    """Return why spans cannot be compared, or None."""
    kept = []
    for side in ("baseline", "canary"):
        of = spans[side]
        if not of["trace"]:
            return Missing(Absence.NO_SERIES, f"no spans of the {side}")
        total = of.get("traces_total")
        kept.append(of["traces_kept"] / total if total else 1.0)
    if not max(kept) <= ALIKE * min(kept):
        said = " and ".join(f"{share:.0%}" for share in kept)
        return Missing(Absence.PARTIAL, f"traces are sampled differently: {said} are kept")
    return None


def ends_of(side: Mapping[str, Sequence[int]]) -> Floats:
    """Return when each span ended, in seconds since the case began; NaN for impossible ones."""
    starts, lengths = (np.array(side[key], np.float64) for key in ("start_us", "dur_us"))
    possible = (starts >= 0) & (lengths >= 0)
    return np.where(possible, starts + lengths, np.nan) / 1e6


def columns_of(
    spans: Mapping[str, Any], side: Side, chosen: Sequence[int], catalogue: Catalogue, now: float
) -> SpanColumns:
    """Return some of a side's spans as the receiver would make them; kinds were not recorded."""
    of: Mapping[str, Sequence[int]] = spans[side.value]
    services, operations = spans["services"], spans["operations"]
    instances = {}
    for number in {of["service"][i] for i in chosen}:
        instance = catalogue.instance({SIDE: side.value, SERVICE_KEY: services[number]})
        if instance is None:
            raise ValueError("a process must be known by its side")
        instance.seen = now
        instances[number] = instance
    names = [operations[of["operation"][i]] for i in chosen]
    rows = [
        catalogue.row(instances[of["service"][i]], name, 0)
        for i, name in zip(chosen, names, strict=True)
    ]
    number = list(Side).index(side) + 1
    starts = [BEGIN * NANOSECONDS + MICROSECONDS * of["start_us"][i] for i in chosen]
    parents = [of["parent"][i] for i in chosen]
    fields = Fields(
        traces=[(number << 64 | of["trace"][i] + 1).to_bytes(16, "big") for i in chosen],
        spans=[_id(number, i) for i in chosen],
        parents=[_id(number, p) if p >= 0 else b"" for p in parents],
        starts=starts,
        ends=[s + MICROSECONDS * of["dur_us"][i] for s, i in zip(starts, chosen, strict=True)],
        names=names,
        kinds=[0] * len(chosen),
    )
    flags = of["error"]
    failed = [(place, "error") for place, i in enumerate(chosen) if flags and flags[i]]
    return SpanColumns.of(fields, rows, failed)


def _id(side: int, row: int) -> bytes:
    return (side << 40 | row + 1).to_bytes(8, "big")
