"""One recorded case as a watch: its samples go through the daemon's own families and judge."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from analyzer.comparison import Comparison
from analyzer.evidence import Evidence
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.sample import Absence, Grid, Missing, Query, Reply, Series
from analyzer.signal import Signal
from benchmarks.recorded.cases import EDGE, Metric
from benchmarks.recorded.catalogue import TRACES, policy_for
from benchmarks.recorded.spans import Traced

LABELS: Final = ("side", "instance")
WATCH: Final = "case"
FINEST_S: Final = 5.0
"""The daemon's usual tick is 10 s; what was recorded at finer steps than half of that is pooled."""
NO_HISTORY: Final = Missing(Absence.NO_SERIES, "the recording begins with the case")


@dataclass(slots=True)
class Following:
    """A watch over one case, fed with what becomes visible.

    Attributes:
        paired: both sides ran at the same time.
        traced: a case whose spans are followed, too; None for metrics alone.
        policy: made for the metrics there are. comparisons: one for each distance of samples.
        judgement: the newest.
    """

    paired: bool
    traced: Mapping[str, Any] | None = None
    spans: Traced | None = None
    names: frozenset[str] = frozenset()
    policy: Policy | None = None
    comparisons: dict[float, Comparison] = field(default_factory=dict)
    judgement: Judgement | None = None

    def look(self, metrics: Sequence[Metric], at: float) -> bool:
        """Take in what is visible at a time; tell whether the canary is judged degraded."""
        metrics = [m for m in (metric.pooled(FINEST_S) for metric in metrics) if len(m.times)]
        by_name = {metric.name: metric for metric in metrics}
        if by_name.keys() != self.names:
            self._begin(metrics)  # a slower series has its first value: walk the grid again
        if self.policy is None:
            return False
        evidence: dict[str, Evidence] = {}
        for step, comparison in self.comparisons.items():
            _advance(comparison, by_name, step)
            evidence |= comparison.evidence()[WATCH]
        if self.spans is not None:
            evidence[TRACES] = self.spans.evidence(at)
        self.judgement = judge(self.policy, evidence)
        return self.judgement.verdict is Verdict.DEGRADED

    def _begin(self, metrics: Sequence[Metric]) -> None:
        self.names, self.comparisons = frozenset(m.name for m in metrics), {}
        spans = self.traced and self.traced["spans"]
        policy = policy_for(metrics, paired=self.paired, traced=bool(spans))
        self.policy = policy
        if self.traced is not None and spans:
            self.spans = Traced.of(self.traced, policy, TRACES)
        steps = {metric.name: float(metric.step_s) for metric in metrics}
        roster = Roster(
            tuple(
                Stay((side.value, name), side, -np.inf)
                for side, names in _instances(metrics).items()
                for name in names
            )
        )
        for step in sorted(set(steps.values())):
            signals = tuple(s for s in policy.signals if steps.get(s.name) == step)
            if signals:
                self.comparisons[step] = _comparison(policy, signals, roster, step)


def _instances(metrics: Sequence[Metric]) -> dict[Side, list[str]]:
    """Return the instances of each side that any metric knows."""
    return {
        Side.CANARY: sorted({name for m in metrics for name in m.canary}),
        Side.BASELINE: sorted({name for m in metrics for name in m.baseline}),
    }


def _comparison(
    policy: Policy, signals: tuple[Signal, ...], roster: Roster, step: float
) -> Comparison:
    """Return a comparison that was armed, without any history, one step before the case began."""
    share = sum(policy.weights[s.name] for s in signals)
    part = replace(policy, signals=signals, alpha=policy.alpha * share)
    comparison = Comparison(step)
    comparison.join(WATCH, part, LABELS)
    comparison.enrol(WATCH, roster)
    before = Grid(-step, step, 1)
    for family in comparison.families:
        nothing = [NO_HISTORY] * len(family.selectors())
        family.advance(nothing, before)
        family.arm(list(family.members), nothing, before)
    return comparison


def _advance(comparison: Comparison, metrics: Mapping[str, Metric], step: float) -> None:
    """Give every family the samples that it has not seen yet."""
    for family in comparison.families:
        names = [query.selector.metric for query in family.selectors()]
        present = [metrics[name] for name in names if name in metrics]
        if not present:
            continue
        grid = family.due(step * max(_column(m.times[-1], step) for m in present))
        if grid is not None:
            family.advance([_reply(q, metrics, grid, step) for q in family.selectors()], grid)


def _reply(query: Query, metrics: Mapping[str, Metric], grid: Grid, step: float) -> Reply:
    """Answer a query from the recording."""
    metric = metrics.get(query.selector.metric)
    if metric is None:
        return Missing(Absence.NO_SERIES, f"{query.selector.metric} is not in the recording")
    sides = {Side.CANARY: metric.canary, Side.BASELINE: metric.baseline}
    rows = {
        (side.value, name): values
        for side, table in sides.items()
        for name, values in table.items()
    }
    out = np.full((len(rows), grid.count), np.nan)
    first = round(grid.start / step)
    columns = np.array([_column(at, step) - first for at in metric.times])
    inside = (columns >= 0) & (columns < grid.count)
    for row, values in enumerate(rows.values()):
        recorded = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        out[row, columns[inside]] = recorded[inside]
    return Series(LABELS, tuple(rows), out, grid)


def _column(at: float, step: float) -> int:
    """Return the number of the interval that a time falls into."""
    return math.floor(at / step + EDGE)
