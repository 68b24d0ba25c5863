"""Scores of a judge, reckoned as the recordings' own evaluator does."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.recorded.cases import EDGE, Metric, seen_metrics

Case = Mapping[str, Any]
"""A case as it is stored."""
Look = Callable[[Sequence[Metric], float], bool]
"""Takes what is visible at a step, and when that is; true raises the alarm."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case. ``alarm_s``: time of the first alarm, None for none."""

    id: str
    source: str
    kind: str
    fault_type: str | None
    silent: bool
    clean: bool
    onset_s: float | None
    step_s: float
    alarm_s: float | None

    @property
    def delay_s(self) -> float | None:
        """Time from the onset to the alarm; None without one, 0 or less when premature."""
        if self.alarm_s is None or self.onset_s is None:
            return None
        return self.alarm_s - self.onset_s


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of some cases; percentages are None where there is no such case."""

    faults: int
    detected_pct: float | None
    premature_pct: float | None
    median_delay_s: float | None
    median_delay_steps: float | None
    aa: int
    false_alarm_pct: float | None
    clean_aa: int
    clean_false_alarm_pct: float | None
    silent: int
    silent_alarm_pct: float | None


def run(case: Case, look: Look) -> Outcome:
    """Return what a judge makes of a case, asked once a step until its first alarm."""
    step, at, alarm = case["step_s"], case["step_s"], None
    while at <= case["duration_s"] + EDGE and alarm is None:
        if look(seen_metrics(case, at), at):
            alarm = at
        at += step
    return Outcome(
        id=case["id"],
        source=case["source"],
        kind=case["kind"],
        fault_type=case.get("fault_type"),
        silent=bool(case["silent"]),
        clean=case["effect_class"] == "none" and not case.get("contaminated"),
        onset_s=case["onset_s"],
        step_s=step,
        alarm_s=alarm,
    )


def score(outcomes: Iterable[Outcome]) -> Score:
    """Return the figures of some cases."""
    found = list(outcomes)
    faults = [o for o in found if o.kind == "fault" and not o.silent]
    silent = [o for o in found if o.kind == "fault" and o.silent]
    healthy = [o for o in found if o.kind == "aa"]
    clean = [o for o in healthy if o.clean]
    delays = [(d, o.step_s) for o in faults if (d := o.delay_s) is not None and d > 0]
    early = [o for o in faults if (d := o.delay_s) is not None and d <= 0]
    return Score(
        faults=len(faults),
        detected_pct=_percent(len(delays), len(faults)),
        premature_pct=_percent(len(early), len(faults)),
        median_delay_s=statistics.median(d for d, _ in delays) if delays else None,
        median_delay_steps=_median_steps(delays),
        aa=len(healthy),
        false_alarm_pct=_alarms(healthy),
        clean_aa=len(clean),
        clean_false_alarm_pct=_alarms(clean),
        silent=len(silent),
        silent_alarm_pct=_alarms(silent),
    )


def by_source(outcomes: Sequence[Outcome]) -> dict[str, Score]:
    """Return the figures of each source, and of all as ``ALL``."""
    sources = sorted({o.source for o in outcomes})
    table = {s: score(o for o in outcomes if o.source == s) for s in sources}
    return {**table, "ALL": score(outcomes)}


def _median_steps(delays: Sequence[tuple[float, float]]) -> float | None:
    return round(statistics.median(d / step for d, step in delays), 1) if delays else None


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _alarms(outcomes: Sequence[Outcome]) -> float | None:
    return _percent(sum(o.alarm_s is not None for o in outcomes), len(outcomes))
