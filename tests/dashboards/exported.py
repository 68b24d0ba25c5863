"""What rollbackd exports, read from its own telemetry, and what a query asks for."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from analyzer.regions.life import Region
from analyzer.trains.life import waiting
from analyzer.watch import Phase
from rollbackd.kubernetes.cache import CacheState, Snapshot
from rollbackd.telemetry import CONCLUSIONS, Telemetry
from tests.cli import sample_views

TARGET_LABELS = frozenset({"job", "instance"})
"""What Prometheus adds to each series."""

ANY = ".*"
"""What a variable stands for when everything is chosen."""

Labels = Mapping[str, frozenset[str]]


class Synced:
    """A cache that heard of the API server just now."""

    path = "/apis/apps/v1/deployments"

    def snapshot(self) -> Snapshot[str]:
        """Return what it holds."""
        return Snapshot(("shop",), CacheState.SYNCED, 0.5)


def exposition() -> bytes:
    """Return everything that is exported, after one tick with one rollout under way."""
    telemetry = Telemetry(version="test", environ={})
    telemetry.ticked(0.1, 1.0, ok=True)
    telemetry.expect_notifier("slack")
    for phase in CONCLUSIONS:
        telemetry.concluded(phase, 200.0, None)
    telemetry.follow_caches(lambda: (Synced(),))
    seen = replace(sample_views.degraded(), updated_at=time.time())
    one_each = [replace(seen, workload=f"shop/{p.name}", phase=p.value) for p in Phase]
    telemetry.follow(lambda: tuple(one_each))
    telemetry.follow_regions(
        lambda: (Region("eu", since=0.0),), lambda: (waiting("shop", ("eu", "us"), 0.0),)
    )
    text = telemetry.exposition()
    telemetry.close()
    return text


def exported() -> dict[str, Labels]:
    """Return every exported series' name, with its labels and their values."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(exposition().decode()):
        for sample in family.samples:
            known = values[sample.name]
            for label, value in sample.labels.items():
                # A label that collides with one of Prometheus' own is renamed by the scrape.
                known[f"exported_{label}" if label in TARGET_LABELS else label].add(value)
    return {
        name: {label: frozenset(found) for label, found in labels.items()}
        for name, labels in values.items()
    }


@dataclass(frozen=True, slots=True)
class Selected:
    """A series that a query selects, and its matchers: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selections(promql: str) -> list[Selected]:
    """Return everything that a query selects. Raises ValueError when it is no PromQL."""
    return [
        Selected(
            str(node.name), tuple((m.name, str(m.op), m.value) for m in node.matchers.matchers)
        )
        for node in _nodes(promql_parser.parse(promql))
        if isinstance(node, promql_parser.VectorSelector)
    ]


def grouped_by(promql: str) -> set[str]:
    """Return the labels that a query's sums keep or drop."""
    return {
        label
        for node in _nodes(promql_parser.parse(promql))
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
        for label in node.modifier.labels
    }


def _nodes(root: Any) -> Iterator[Any]:  # noqa: ANN401 - the parser's nodes have no common class
    yield root
    for part in ("expr", "lhs", "rhs", "vector_selector", "args"):
        below = getattr(root, part, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None:
                yield from _nodes(child)


def strangers(promql: str, known: Mapping[str, Labels]) -> set[str]:
    """Return what a query asks for and nobody exports: names, labels, values of labels."""
    wrong = set()
    for selected in selections(promql):
        if selected.name not in known:
            wrong.add(selected.name)
            continue
        labels = known[selected.name]
        for label, operator, value in selected.matchers:
            if label in TARGET_LABELS or value == ANY:
                continue
            values = [value] if operator in {"MatchOp.Equal", "="} else value.split("|")
            wrong |= {
                f"{selected.name}{{{label}={v}}}"
                for v in values
                if v not in labels.get(label, frozenset())
            }
    every = {label for s in selections(promql) for label in known.get(s.name, {})}
    return wrong | (grouped_by(promql) - TARGET_LABELS - every)


def with_values(promql: str, window: str = "1m") -> str:
    """Return a panel's query as Grafana sends it, for all daemons."""
    text = re.sub(r"\$__(rate_interval|interval|range)", window, promql)
    return re.sub(r"\$(job|instance|workload)", ANY, text)
